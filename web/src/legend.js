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
  /** @type {Map<number, any>} by value: where its counts stand */
  let counters = new Map();

  /** @param {any} colorOf of `coloring` */
  function draw(colorOf) {
    counters = new Map();
    const focused = element.contains(document.activeElement) && document.activeElement?.getAttribute("data-level");
    replace(element, rows(colorOf));
    count(colorOf);
    if (focused)
      [...element.querySelectorAll("[data-level]")].find((row) => row.getAttribute("data-level") === focused)?.focus();
  }

  function rows(colorOf) {
    const { column: of, categories, range } = colorOf;
    if (!of) return [];
    const heading = h("h2.eyebrow", {}, capital(of.label), of.kind === "number" ? null : h("span.counted"));
    if (of.kind === "number") {
      const ramp = h("div.ramp");
      return [
        heading,
        ramp,
        h("div.scale", {}, h("span", {}, `≤ ${short(range[0])}`), h("span", {}, `≥ ${short(range[1])}`)),
      ];
    }
    const filter = state.filters[of.name];
    const key = (value) => (of.levels ? of.levels[value] : value);
    const long = categories.length > LEGEND + 2 && !whole;
    const items = (long ? categories.slice(0, LEGEND) : categories).map(({ value, name, color }, k) => {
      const counter = h("span.ct.num");
      counters.set(value, counter);
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
          counter,
        ),
      );
    });
    return [
      heading,
      h("ul.leg", { id: "legend" }, items),
      long
        ? link(`${categories.length - LEGEND} more`, () => {
            whole = true;
            draw(colorOf);
          })
        : null,
      filter ? link("Show all again", () => setFilter(of.name, null)) : null,
    ].filter(Boolean);
  }

  /** Count the images of each row anew. @param {any} colorOf */
  function count({ column: of }) {
    if (!of || of.kind === "number") return;
    const mask = shownBut(of.name);
    const { selected } = state;
    const counts = new Map([...counters.keys()].map((value) => [value, [0, 0]]));
    for (let i = 0; i < n; i++) {
      if (!mask[i]) continue;
      const known = counts.get(of.values[i]);
      if (!known) continue;
      known[0] += 1;
      if (selected?.[i]) known[1] += 1;
    }
    replace(element.querySelector(".counted"), selected ? "selected / shown" : "shown");
    for (const [value, counter] of counters) {
      const [visible, own] = counts.get(value) ?? [0, 0];
      replace(counter, selected ? [h("b", {}, String(own)), " / "] : null, String(visible));
    }
  }

  return { element, draw, count };
}

/** See a value alone, or hide and show it. */
function pick({ column: of, categories }, value, hide) {
  const all = categories.map((each) => (of.levels ? of.levels[each.value] : each.value));
  const now = state.filters[of.name]?.values ?? all;
  let values = hide ? (now.includes(value) ? now.filter((each) => each !== value) : [...now, value]) : [value];
  if (!hide && now.length === 1 && now[0] === value) values = all;
  setFilter(of.name, values.length === all.length || !values.length ? null : { values });
}
