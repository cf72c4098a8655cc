// What is beside an opened image.

import {
  base,
  clusterName,
  column,
  columnNow,
  isVal,
  levelOf,
  load,
  metaOf,
  pathOf,
  rowOf,
  run,
  sourceIdOf,
} from "./data.js";
import { bars } from "./charts.js";
import { button, copyButton, h, replace, setStyle } from "./dom.js";
import { capital, fixed, short } from "./format.js";
import { layersOf } from "./images.js";
import { whenLoaded } from "./parts.js";
import { extent, histogram } from "./stats.js";
import { setState, state } from "./store.js";

/** What is beside an image: its scores among all, suspect labels, objects, metadata. @param {any} place @param {number} i */
export function inspect(place, i) {
  const suspects = whenLoaded(h("section", { id: "sample-suspects" }), load("data/suspects"), (content) =>
    suspectsOf(content, i),
  );
  const objects = whenLoaded(h("section", { id: "sample-objects" }), layersOf(i), (own) => objectsOf(own.objects));
  const metadata = whenLoaded(h("section", { id: "sample-metadata" }), rowOf(i), (row) => metadataOf(row, i));
  replace(place, scores(place, i), suspects, objects, metadata);
}

const BINS = 28;
/** Of a column and split: the range, the bins, the known values in order; found once. @type {WeakMap<any, Map<boolean, any>>} */
const spreads = new WeakMap();
function spreadOf({ values }, val) {
  if (!spreads.has(values)) spreads.set(values, new Map());
  const own = spreads.get(values);
  if (!own.has(val)) {
    const same = (j) => isVal(j) === val;
    const range = extent(values, same);
    const sorted = Float64Array.from(values)
      .filter((value, j) => same(j) && !Number.isNaN(value))
      .sort();
    own.set(val, { range, bins: histogram(values, range, BINS, same), sorted });
  }
  return own.get(val);
}

/** How many of ascending values are greater. */
function greater(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > value) high = middle;
    else low = middle + 1;
  }
  return sorted.length - low;
}

function scores(place, i) {
  const names = [...run.scores, "pixel_accuracy", "confidence"].filter((name) => columnNow(name));
  const others = ["pixel_accuracy", "confidence"].filter((name) => metaOf(name) && !columnNow(name));
  if (others.length)
    Promise.all(others.map((name) => column(name))).then(
      () => state.image === i && place.firstChild?.replaceWith(scores(place, i)),
      () => {}, // the metadata say what cannot be loaded
    );
  const of = isVal(i) ? "val" : (levelOf("split", i) ?? "all");
  const rows = names.map((name) => {
    const column = columnNow(name);
    if (!column) return null;
    const value = column.values[i];
    if (Number.isNaN(value))
      return [h("span", {}, capital(column.label)), h("span.v.soft", {}, "–"), h("span.soft", {}, "not in the image")];
    const { range, bins: all, sorted } = spreadOf(column, isVal(i));
    const own = all.map(() => 0);
    own[Math.min(BINS - 1, Math.floor(((value - range[0]) / (range[1] - range[0] || 1)) * BINS))] = Math.max(...all);
    const words = `rank ${greater(sorted, value) + 1} of ${sorted.length}`;
    return [
      h("span", {}, capital(column.label)),
      h("span.v.num", { data: { score: name } }, fixed(value)),
      h(
        "div.tr",
        { title: words },
        bars({
          all,
          kept: own,
          width: 112,
          height: 14,
          label: `${column.label} ${fixed(value)}: ${words}, the highest first`,
        }),
      ),
    ];
  });
  return h("section", {}, h("h2", {}, "Scores ", h("small.soft", {}, `against all of ${of}`)), h("div.rank", {}, rows));
}

function suspectsOf({ shown, all }, i) {
  const own = all.filter((each) => each.sample === i);
  if (!own.length) return [];
  return [
    h("h2", {}, "Suspect labels ", h("small.soft", {}, String(own.length))),
    own.map((each) => {
      const k = shown.findIndex((other) => other.row === each.row);
      return h(
        "div.sus",
        {},
        k >= 0
          ? h(
              "span.pic.crop",
              {},
              h("img", { src: `crops/${k}.webp`, alt: "" }),
              h("img.outlines", { src: `crops/${k}.png`, alt: "" }),
            )
          : h("span"),
        h(
          "div",
          {},
          h("b", {}, each.kind),
          ` ${fixed(each.score, 2)}`,
          h("p.soft", {}, `labelled ${each.labelled}; ${each.evidence}`),
          k >= 0 &&
            h(
              "div.b",
              {},
              button("Review", () => setState({ view: "review", sub: "", kind: "", suspect: k }), { class: "s" }),
            ),
        ),
      );
    }),
  ];
}

/** The objects of an image, each a button that shows where it is. @param {any[]} own */
export function objectsOf(own) {
  if (!own.length)
    return [
      h("h2", {}, "Objects"),
      h("p.soft", {}, "None of the model's classes is labelled here, and none is predicted."),
    ];
  return [
    h("h2", {}, "Objects ", h("small.soft", {}, `${own.length}; press one to see where it is`)),
    h(
      "ul.objs",
      {},
      own.map((object) => {
        const name = [object.class, object.category !== object.class && object.category, object.size]
          .filter(Boolean)
          .join(", ");
        const on = String(object.object_id) === state.object;
        return h(
          "li",
          {},
          h(
            "button.link",
            {
              type: "button",
              "aria-pressed": String(on),
              data: { object: object.object_id },
              onclick: () => setState({ object: on ? "" : String(object.object_id) }),
            },
            name,
          ),
          h("span.soft", {}, `${object.outcome}: ${object.became}`),
        );
      }),
    ),
  ];
}

function metadataOf(row, i) {
  const groups = new Map();
  for (const { meta, value, percent } of row) {
    if (meta.group === "Scores" || Number.isNaN(value) || (meta.kind !== "name" && value === 0)) continue;
    if (!groups.has(meta.group)) groups.set(meta.group, []);
    groups.get(meta.group).push({ meta, value, percent });
  }
  const parts = [...groups].map(([group, list]) => [
    h("h3.eyebrow", {}, group),
    h(
      "dl.meta",
      {},
      list.map(({ meta, value, percent }) => {
        const track = h("span.p");
        const dot = h("i", { class: percent > 95 || percent < 5 ? "far" : "" });
        setStyle(dot, { left: `${percent}%` });
        track.append(dot);
        track.title = `more than in ${percent} % of the images`;
        return [
          h("dt", {}, meta.label),
          h("dd.num", { data: { column: meta.name } }, inWords(meta, value), meta.kind === "number" ? track : null),
        ];
      }),
    ),
  ]);
  return [
    h("h2", {}, "Metadata ", h("small.soft", {}, "dot: percentile among all; what is 0 is left out")),
    h(
      "dl.facts.names",
      { id: "sample-names" },
      [
        ["path", pathOf(i)],
        ["id in its source", sourceIdOf(i)],
        ["id here", String(base.image_id[i])],
      ].map(([name, text]) => [
        h("dt", {}, name),
        h("dd", {}, h("span.mono", {}, text), copyButton(text, `Copy the image's ${name}`)),
      ]),
      h("dt", {}, "size"),
      h("dd.num", {}, `${base.width[i]} × ${base.height[i]} pixels`),
    ),
    parts,
  ];
}

function inWords(meta, value) {
  if (meta.name === "cluster") return clusterName(value);
  return meta.kind === "truth" ? "yes" : short(value);
}
