// The mark.

import { s } from "./dom.js";

/** The mark beside the title. */
export const brandMark = () =>
  s(
    "svg",
    { width: 20, height: 20, viewBox: "0 0 20 20", "aria-hidden": "true" },
    s("rect", { x: 1, y: 1, width: 18, height: 18, rx: 4, fill: "var(--ink)" }),
    s("path", { d: "M4 14.500 8.200 9l2.800 3.200 1.800-2 3.200 4.300z", fill: "var(--k2)" }),
    s("circle", { cx: 7, cy: 6.3, r: 2.1, fill: "var(--k1)" }),
  );
