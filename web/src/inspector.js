// What is beside an opened image.

import { base, column, columnNow, isVal, levelOf, load, n, run, valueOf } from "./data.js";
import { bars } from "./charts.js";
import { button, h, replace, setStyle } from "./dom.js";
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
  const metadata = whenLoaded(
    h("section", { id: "sample-metadata" }),
    Promise.all(run.columns.map((meta) => column(meta.name))),
    (columns) => metadataOf(columns, i),
  );
  replace(place, scores(place, i), suspects, objects, metadata);
}

function scores(place, i) {
  const names = [...run.scores, "pixel_accuracy", "confidence"].filter((name) => columnNow(name));
  const others = ["pixel_accuracy", "confidence"].filter(
    (name) => run.columns.some((meta) => meta.name === name) && !columnNow(name),
  );
  if (others.length)
    Promise.all(others.map((name) => column(name))).then(
      () => state.image === i && place.firstChild?.replaceWith(scores(place, i)),
    );
  const same = (j) => isVal(j) === isVal(i);
  const of = isVal(i) ? "val" : (levelOf("split", i) ?? "all");
  const rows = names.map((name) => {
    const column = columnNow(name);
    if (!column) return null;
    const value = column.values[i];
    if (Number.isNaN(value))
      return [h("span", {}, capital(column.label)), h("span.v.soft", {}, "–"), h("span.soft", {}, "not in the image")];
    const range = extent(column.values, same);
    const all = histogram(column.values, range, 28, same);
    const own = all.map(() => 0);
    const bin = Math.min(27, Math.floor(((value - range[0]) / (range[1] - range[0] || 1)) * 28));
    own[bin] = Math.max(...all);
    let [known, above] = [0, 0];
    for (let j = 0; j < n; j++) {
      if (!same(j) || Number.isNaN(column.values[j])) continue;
      known += 1;
      if (column.values[j] > value) above += 1;
    }
    const words = `rank ${above + 1} of ${known}`;
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
      const k = shown.findIndex(
        (other) =>
          other.image_id === base.image_id[i] &&
          other.kind === each.kind &&
          other.score === each.score &&
          other.annotation_id === each.annotation_id,
      );
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

function metadataOf(columns, i) {
  const groups = new Map();
  for (const of of columns) {
    const value = of.values[i];
    if (
      of.group === "Scores" ||
      Number.isNaN(value) ||
      (of.kind === "number" && value === 0) ||
      (of.kind === "truth" && !value)
    )
      continue;
    if (!groups.has(of.group)) groups.set(of.group, []);
    const range = of.kind === "number" ? extent(of.values) : null;
    groups.get(of.group).push([of, value, range]);
  }
  const parts = [...groups].map(([group, list]) => [
    h("h3.eyebrow", {}, group),
    h(
      "dl.meta",
      {},
      list.map(([of, value, range]) => {
        const track = h("span.p");
        if (range) {
          const part = percentile(of.values, value);
          const dot = h("i", { class: part > 0.95 || part < 0.05 ? "far" : "" });
          setStyle(dot, { left: `${100 * part}%` });
          track.append(dot);
          track.title = `more than in ${Math.round(100 * part)} % of the images`;
        }
        return [
          h("dt", {}, of.label),
          h("dd.num", { data: { column: of.name } }, short(valueOf(of, i)), range ? track : null),
        ];
      }),
    ),
  ]);
  const size = h("p.soft.num", {}, `${base.width[i]} × ${base.height[i]} pixels`);
  return [
    h("h2", {}, "Metadata ", h("small.soft", {}, "dot: percentile among all; what is 0 is left out")),
    size,
    parts,
  ];
}

/** The share of the known values that are less. */
function percentile(values, value) {
  let [known, less] = [0, 0];
  for (const each of values) {
    if (Number.isNaN(each)) continue;
    known += 1;
    if (each < value) less += 1;
  }
  return known ? less / known : 0;
}
