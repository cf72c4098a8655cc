// Filters: the split, and ranges of columns over their histograms.

import { classCounts, column, columnNow, metaOf, run } from "./data.js";
import { bars } from "./charts.js";
import { h, picker, replace, setStyle } from "./dom.js";
import { capital, short } from "./format.js";
import { isWithin } from "./query.js";
import { extent, histogram, medianOf } from "./stats.js";
import { setFilter, shownBut, state } from "./store.js";

const BINS = 20;

/** The filters; `scrolled` is what scrolls around them. @param {any} scrolled */
export function makeFilters(scrolled) {
  const element = h("div.filters");
  let extra = /** @type {string[]} */ ([]);

  function draw() {
    const top = scrolled.scrollTop;
    const focused = element.contains(document.activeElement) && document.activeElement?.getAttribute("aria-label");
    replace(element, parts());
    scrolled.scrollTop = top;
    // Who moves a handle by the keyboard goes on doing so.
    if (focused)
      [...element.querySelectorAll("[aria-label]")]
        .find((each) => each.getAttribute("aria-label") === focused)
        ?.focus();
  }

  function parts() {
    const made = [h("h2.eyebrow", {}, "Filters")];
    const splits = columnNow("split");
    if (splits?.levels && splits.levels.length > 1) {
      const now = state.filters.split?.values;
      made.push(
        h(
          "div.chips",
          { id: "split" },
          splits.levels.map((level, code) => {
            const on = now?.includes(level) ?? false;
            const count = splits.values.reduce((sum, value) => sum + Number(value === code), 0);
            return h(
              "button.chip",
              {
                type: "button",
                class: on ? "on" : "",
                "aria-pressed": String(on),
                onclick: () => setFilter("split", on ? null : { values: [level] }),
              },
              `${level} `,
              h("i.num", {}, String(count)),
            );
          }),
        ),
      );
    }
    const first = ["loss", ...classCounts().slice(0, 2), "share.background", "brightness"].filter(
      (name) => metaOf(name)?.kind === "number",
    );
    const names = [
      ...new Set([...first, ...extra, ...Object.keys(state.filters).filter((name) => metaOf(name)?.kind !== "name")]),
    ];
    const box = h(
      "div.hists",
      {},
      names.map((name) => rangeFilter(name)),
    );
    made.push(box);
    const others = run.columns.filter((meta) => meta.kind !== "name" && !names.includes(meta.name));
    if (others.length)
      made.push(
        picker(
          "+ Filter",
          [["", "by another column"], ...others.map((meta) => [meta.name, meta.label])],
          "",
          (name) => {
            if (!name) return;
            extra = [...extra, name];
            column(name).then(draw);
          },
          { id: "add-filter" },
        ),
      );
    return made;
  }

  return { element, draw };
}

/** A column's histogram, what is kept of it, and the ends of its range. @param {string} name @returns {any} */
function rangeFilter(name) {
  const of = columnNow(name);
  const box = h("div.hist", { data: { column: name } });
  if (!of) {
    column(name).then(
      () => box.replaceWith(rangeFilter(name)),
      (error) => box.append(error.message),
    );
    return box;
  }
  const mask = shownBut(name);
  const whole = extent(of.values);
  const filter = state.filters[name] ?? {};
  const [low, high] = [filter.low ?? whole[0], filter.high ?? whole[1]];
  const all = histogram(of.values, whole, BINS);
  const kept = histogram(of.values, whole, BINS, (i) => Boolean(mask[i]) && isWithin(of.values[i], low, high));
  const step = (whole[1] - whole[0]) / 200 || 1;
  const change = (next) => {
    const clipped = {
      ...(next.low > whole[0] && { low: next.low }),
      ...(next.high < whole[1] && { high: next.high }),
    };
    return setFilter(name, Object.keys(clipped).length ? clipped : null);
  };
  const slider = (end, value) =>
    knob({
      value,
      whole,
      step,
      label: `${of.label}, ${end === "low" ? "at least" : "at most"}`,
      onchange: (next) => change({ low, high, [end]: end === "low" ? Math.min(next, high) : Math.max(next, low) }),
    });
  const typed = (end, value) =>
    h("input.num", {
      type: "number",
      step: "any",
      value: Number(value.toPrecision(7)),
      "aria-label": `${of.label}, ${end === "low" ? "at least" : "at most"}, typed`,
      data: { typed: end },
      onchange: (event) =>
        change({
          low,
          high,
          [end]: event.target.value === "" ? (end === "low" ? whole[0] : whole[1]) : Number(event.target.value),
        }),
    });
  const shape = bars({
    all,
    kept,
    label: `How ${of.label} is spread: ${short(whole[0])} to ${short(whole[1])}, of half of the images below ${short(medianOf(of))}`,
    tone: state.filters[name] ? "var(--accent)" : "var(--line-3)",
  });
  box.append(
    h("div.t", { title: of.label }, h("span", {}, capital(of.label))),
    shape,
    h("div.ends", {}, slider("low", low), slider("high", high)),
    h("div.typed", {}, typed("low", low), typed("high", high)),
  );
  return box;
}

/** A handle on a range: dragged, or moved by the arrow keys. */
function knob({ value, whole, step, label, onchange }) {
  const [least, most] = whole;
  const place = (at) => `${(100 * (at - least)) / (most - least || 1)}%`;
  const made = h("span.knob", {
    role: "slider",
    tabindex: 0,
    "aria-label": label,
    "aria-valuemin": least,
    "aria-valuemax": most,
    "aria-valuenow": value,
    "aria-valuetext": short(value),
  });
  setStyle(made, { left: place(value) });
  let dragged = null;
  made.addEventListener("pointerdown", (event) => {
    dragged = value;
    made.setPointerCapture(event.pointerId);
  });
  made.addEventListener("pointermove", (event) => {
    if (dragged === null) return;
    const box = made.parentElement.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    dragged = least + share * (most - least);
    setStyle(made, { left: place(dragged) });
  });
  made.addEventListener("pointerup", () => {
    if (dragged !== null && dragged !== value) onchange(dragged);
    dragged = null;
  });
  made.addEventListener("keydown", (event) => {
    const by = {
      ArrowLeft: -step,
      ArrowDown: -step,
      ArrowRight: step,
      ArrowUp: step,
      PageDown: -10 * step,
      PageUp: 10 * step,
    }[event.key];
    const next =
      event.key === "Home"
        ? least
        : event.key === "End"
          ? most
          : by
            ? Math.min(most, Math.max(least, value + by))
            : null;
    if (next === null) return;
    event.preventDefault();
    onchange(next);
  });
  return made;
}
