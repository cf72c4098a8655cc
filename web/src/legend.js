// What the colours of the map mean, and how many images are of each: a row filters, and stands out when pointed at.

import { n } from "./data.js";
import { h, link, replace } from "./dom.js";
import { capital, short } from "./format.js";
import { setFilter, shownBut, state } from "./store.js";
import { swatch } from "./swatch.js";

const LEGEND = 14; // rows that are shown of a long legend

/** @param {(value: number | null) => void} onpoint a row's value is pointed at, or none is */
export function makeLegend(onpoint) {
  const element = h("div");
  let whole = false;

  /** @param {any} colorOf of `coloring` */
  function draw(colorOf) {
    const focused = element.contains(document.activeElement) && document.activeElement?.getAttribute("data-level");
    replace(element, rows(colorOf));
    if (focused)
      [...element.querySelectorAll("[data-level]")].find((row) => row.getAttribute("data-level") === focused)?.focus();
  }

  function rows(colorOf) {
    const { column: of, categories, range } = colorOf;
    if (!of) return [];
    const heading = h(
      "h2.eyebrow",
      {},
      capital(of.label),
      of.kind === "number" ? null : h("span", {}, state.selected ? "selected / shown" : "shown"),
    );
    if (of.kind === "number") {
      const ramp = h("div.ramp");
      return [
        heading,
        ramp,
        h("div.scale", {}, h("span", {}, `≤ ${short(range[0])}`), h("span", {}, `≥ ${short(range[1])}`)),
      ];
    }
    const mask = shownBut(of.name);
    const filter = state.filters[of.name];
    const key = (value) => (of.levels ? of.levels[value] : value);
    const counts = new Map(categories.map(({ value }) => [value, [0, 0]]));
    for (let i = 0; i < n; i++) {
      if (!mask[i]) continue;
      const count = counts.get(of.values[i]);
      count[0] += 1;
      if (state.selected?.[i]) count[1] += 1;
    }
    const items = categories.map(({ value, name, color }, k) => {
      const [visible, own] = counts.get(value);
      const off = filter?.values && !filter.values.includes(key(value));
      const mark = swatch(`var(${color})`);
      mark.textContent = of.name === "cluster" ? (value < 0 ? "–" : String(value)) : String(k + 1);
      const words = of.name === "cluster" && value >= 0 ? name.replace(/^\d+ /, "") : name;
      return h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: off ? "off" : "",
            "aria-pressed": String(!off),
            data: { level: key(value) },
            title: `${name}: click to see it alone, Shift + click to hide or show it`,
            onclick: (event) => pick(colorOf, key(value), event.shiftKey),
            onpointerenter: () => onpoint(value),
            onpointerleave: () => onpoint(null),
            onfocus: () => onpoint(value),
            onblur: () => onpoint(null),
          },
          mark,
          h("span.nm", {}, words),
          h("span.ct.num", {}, state.selected ? [h("b", {}, String(own)), " / "] : null, String(visible)),
        ),
      );
    });
    const long = items.length > LEGEND + 2 && !whole;
    return [
      heading,
      h("ul.leg", { id: "legend" }, long ? items.slice(0, LEGEND) : items),
      long
        ? link(`${items.length - LEGEND} more`, () => {
            whole = true;
            draw(colorOf);
          })
        : null,
      filter ? link("Show all again", () => setFilter(of.name, null)) : null,
    ].filter(Boolean);
  }

  return { element, draw };
}

/** See a value alone, or hide and show it. */
function pick({ column: of, categories }, value, hide) {
  const all = categories.map((each) => (of.levels ? of.levels[each.value] : each.value));
  const now = state.filters[of.name]?.values ?? all;
  let values = hide ? (now.includes(value) ? now.filter((each) => each !== value) : [...now, value]) : [value];
  if (!hide && now.length === 1 && now[0] === value) values = all;
  setFilter(of.name, values.length === all.length || !values.length ? null : { values });
}
