// A colour beside a name.

import { h, setStyle } from "./dom.js";

/** A colour as a custom property, for swatches. */
export function swatch(color, square = false) {
  const made = h(square ? "i.sw.sq" : "i.sw");
  setStyle(made, { "--c": color });
  return made;
}
