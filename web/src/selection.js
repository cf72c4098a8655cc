// The selected images against the rest: their scores, and what is unusual about them.

import { allNumbers, column, columnNow, group, groupCount, isVal, metaOf, n, run, units, valMask } from "./data.js";
import { interval } from "./charts.js";
import { h, link, replace, setStyle } from "./dom.js";
import { capital, fixed, percent, plural, short, signed } from "./format.js";
import { contrast, extent } from "./stats.js";
import { failed } from "./parts.js";
import { setState, state } from "./store.js";

const UNUSUAL = 8;
const AFTER = 30; // milliseconds after a selection: it is drawn by then
const SLICE = 12; // milliseconds at a time that columns are looked at

/** A score's least and greatest of val, found once. @type {WeakMap<any, number[]>} */
const ranges = new WeakMap();
function rangeOf({ values }) {
  let known = ranges.get(values);
  if (!known) {
    known = extent(values, isVal);
    ranges.set(values, known);
  }
  return known;
}

export function makePanel() {
  const element = h("div.in", { id: "selection" });
  let asked = 0;
  function draw() {
    if (!state.selected) {
      replace(
        element,
        h("header", {}, h("h2", {}, "Nothing selected")),
        h(
          "p.soft",
          {},
          "Draw around points with the lasso, press a cluster or a filter, or type a condition above: what is unusual about these images is shown here.",
        ),
      );
      return;
    }
    const among = valMask;
    const counts = [0, 0];
    for (let i = 0; i < n; i++) if (among[i]) counts[state.selected[i] ? 0 : 1] += 1;
    replace(
      element,
      h(
        "header",
        {},
        h("h2", {}, `${state.count} selected`),
        h(
          "span.soft",
          {},
          counts[0]
            ? `${counts[0]} of val, against ${plural(counts[1], "other")}`
            : "none of val, and only val is measured on",
        ),
      ),
      ...(counts[0] ? [scoresTable(among)] : []),
      h("h3.eyebrow.odd-head", {}, "Unusual about them"),
      h("div", { id: "unusual", "aria-busy": "true" }, h("p.soft", {}, "Looking at all columns …")),
    );
    const ticket = ++asked;
    const isOld = () => ticket !== asked;
    // The map, the legend and the scores are drawn first.
    setTimeout(() => {
      if (isOld()) return;
      allNumbers()
        .then((columns) => contrasts(columns, isOld))
        .then(
          (found) => isOld() || drawUnusual(found),
          (error) => replace(element.querySelector("#unusual"), failed(error)),
        );
    }, AFTER);
  }

  /** The selection against the rest in each column, a few at a time, so that the page answers meanwhile. */
  async function contrasts(columns, isOld) {
    const own = columns.filter((of) => of.group !== "Scores");
    const all = new Uint8Array(n).fill(1);
    const level = 1 - 0.05 / Math.max(1, own.length);
    const selected = state.selected ?? all;
    const found = [];
    let start = performance.now();
    for (const of of own) {
      if (performance.now() - start > SLICE) {
        await new Promise((go) => setTimeout(go));
        if (isOld()) return { found, looked: own.length };
        start = performance.now();
      }
      found.push({ of, ...contrast(of.values, selected, all, group, groupCount, { least: 5, level, careful: true }) });
    }
    return { found, looked: own.length };
  }

  function scoresTable(among) {
    const rows = [...run.scores, "pixel_accuracy"].map((name) => columnNow(name)).filter(Boolean);
    if (metaOf("pixel_accuracy") && !columnNow("pixel_accuracy"))
      column("pixel_accuracy").then(() => state.selected && draw());
    return h(
      "div.cmp",
      { id: "scores" },
      rows.map((of) => {
        const found = contrast(of.values, state.selected ?? new Uint8Array(n), among, group, groupCount, {
          least: run.few,
        });
        const scale = of.name.startsWith("iou.") ? [0, 1] : rangeOf(of);
        const clear = !Number.isNaN(found.low) && (found.low > 0 || found.high < 0);
        const worse = found.difference > 0 === (of.name === "loss");
        const words = Number.isNaN(found.low)
          ? `fewer than ${run.few} ${units()} on a side: no interval`
          : `difference ${signed(found.difference, 3)}, ${signed(found.low, 3)} to ${signed(found.high, 3)}`;
        const arrow = h(
          "span",
          { class: clear ? (worse ? "worse" : "better") : "soft", title: words },
          found.difference > 0 ? "▲" : "▼",
        );
        const half = found.high - found.difference;
        return [
          h("span", {}, capital(of.label)),
          interval({
            value: found.inside,
            low: Number.isNaN(half) ? null : found.inside - half,
            high: found.inside + half,
            tick: found.rest,
            scale,
            title: words,
          }),
          h(
            "span.n.num",
            { data: { score: of.name } },
            h("strong", {}, fixed(found.inside, 2)),
            " ",
            h("span.soft", {}, fixed(found.rest, 2)),
            " ",
            Number.isNaN(found.difference) ? "" : arrow,
            h("span.vh", {}, `, ${words}`),
          ),
        ];
      }),
    );
  }

  function drawUnusual({ found: all, looked }) {
    const place = element.querySelector("#unusual");
    if (!place || !state.selected) return;
    const found = all
      .filter(({ low, high }) => low > 0 || high < 0)
      .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect))
      .slice(0, UNUSUAL);
    const most = Math.max(1, ...found.map(({ effect }) => Math.abs(effect)));
    place.removeAttribute("aria-busy");
    replace(
      place,
      found.length
        ? h(
            "div.odd",
            {},
            found.map(({ of, inside, rest, effect }) => {
              const bar = h("i");
              const share = (50 * Math.abs(effect)) / most;
              setStyle(bar, { left: `${effect < 0 ? 50 - share : 50}%`, width: `${share}%` });
              const show = of.kind === "truth" ? percent : short;
              return [
                link(
                  of.label,
                  async () => {
                    await column(of.name);
                    setState({ color: of.name });
                  },
                  { title: `${of.label}: colour the map by it` },
                ),
                h("div.dv", { title: `${signed(effect, 1)} standard deviations` }, bar),
                h("span.n.num", {}, h("b", {}, show(inside)), ` vs ${show(rest)}`),
              ];
            }),
          )
        : h("p.soft", {}, `Nothing beyond what chance gives among ${looked} columns (5 %, corrected for all of them).`),
    );
  }

  return { element, draw };
}
