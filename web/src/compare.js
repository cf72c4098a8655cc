// The comparison: is B better, in what, and on which images?

import { listen, load, texts, unpack } from "./data.js";
import { button, copyButton, h, icon, isElsewhere, link, replace, say, segments, setStyle, slider } from "./dom.js";
import { difference } from "./charts.js";
import { save } from "./exports.js";
import { brandMark } from "./brand.js";
import { fixed, plural, signed } from "./format.js";
import { forgetColors, makeMap, rgbOf } from "./map.js";
import { levels, paintClasses, paintErrors, rgb } from "./paint.js";
import { block, cell, rowHead, table } from "./tables.js";
import { swatch } from "./swatch.js";
import { nextTheme, readTheme } from "./theme.js";

const PARTS = [
  ["metrics", "Metrics", "overview"],
  ["maps", "Maps", "explore"],
  ["worse", "Got worse", "down"],
  ["improved", "Improved", "performance"],
];
const SMALL = 0.1; // differences up to this are drawn on a scale of their own
const COLORS = 12;

/** @type {any} */
let page = null;
/** @type {Set<string> | null} the selected images, by `key` */
let selected = null;
let origin = "";
let category = "";
let wanted = ""; // what images are to be called
let layer = "predicted";
let opacity = 0.6;
const maps = /** @type {any} */ ({});

/** Of parts of a whole one is less because another is more. */
const isPart = (metric) => metric.startsWith("errors.");
const isLower = (metric) => metric === "loss";
/** A row's verdict: only where it is shown by all rows together. */
function verdict(row) {
  if (!row.changed) return "unclear";
  if (isPart(row.metric)) return "changed";
  return row.difference > 0 === isLower(row.metric) ? "worse" : "better";
}
const words = (metric) => {
  const [kind, ...rest] = metric.split(".");
  return (
    {
      loss: "Loss",
      pixel_accuracy: "Pixel accuracy",
      iou: `IoU ${rest.join(".")}`,
      mean_iou: `Mean IoU ${rest.join(".")}`,
      boundary_iou: `Boundary IoU ${rest.join(".")}`,
      recall: `Recall ${rest.join(".")}`,
      errors: `Wrong pixels, ${rest.join(" ").replaceAll("_", " ")}`,
    }[kind] ?? metric
  );
};

// ---- the frame ----
function frame() {
  const { a, b } = page.sides;
  const counts = { worse: page.worse.length, improved: page.improved.length };
  const theme = button(icon("theme"), () => nextTheme(drawMaps), { class: "icon quiet", id: "theme" });
  const tabs = h(
    "nav.tabs",
    { "aria-label": "Parts" },
    PARTS.map(([id, text]) => h("a", { href: `#${id}`, data: { part: id } }, text)),
  );
  const classes = (side) => side.classes.map((each) => each.name).join(", ");
  replace(
    document.getElementById("head"),
    h("span.brand", {}, brandMark(), "segscope"),
    h(
      "div.run",
      {},
      h(
        "span.ab",
        {},
        h("span.a", {}, h("span.mkA", {}, "A"), h("b", {}, a.name)),
        h("span.soft", {}, "→"),
        h("span.b", {}, h("span.mkB", {}, "B"), h("b", {}, b.name)),
      ),
      h("span.num", {}, `${page.common} val images judged by both`),
      h("span", {}, `A: ${classes(a)}`),
      h("span", {}, `B: ${classes(b)}`),
    ),
    h("div.tools", {}, searchBox(), theme),
    tabs,
  );
  replace(
    document.getElementById("rail"),
    PARTS.map(([id, text, picture]) =>
      h(
        "a.item",
        { href: `#${id}`, data: { part: id } },
        icon(picture),
        h("span", {}, text),
        h("em.num", {}, counts[id] === undefined ? "" : String(counts[id])),
      ),
    ),
    h("div.foot", {}, h("a", { href: "licences.txt" }, "Licences")),
  );
}
/** Mark the part that is on the screen. */
function spy() {
  const here =
    PARTS.map(([id]) => id)
      .filter((id) => (document.getElementById(id)?.getBoundingClientRect().top ?? 1e9) < 180)
      .at(-1) ?? "metrics";
  for (const each of document.querySelectorAll("[data-part]")) {
    if (/** @type {HTMLElement} */ (each).dataset.part === here) each.setAttribute("aria-current", "true");
    else each.removeAttribute("aria-current");
  }
}

// ---- metrics ----
function head() {
  const { a, b } = page.sides;
  const counts = ["better", "worse", "unclear", "changed"].map((of) => [
    of,
    page.metrics.filter((row) => verdict(row) === of).length,
  ]);
  const summary = page.metrics.some((row) => row.changed)
    ? `B is shown to be better in ${counts[0][1]}, worse in ${counts[1][1]}${counts[3][1] ? `, otherwise divided in ${counts[3][1]}` : ""} of ${page.metrics.length} figures; of ${counts[2][1]} nothing is shown.`
    : `Nothing is shown to have changed in any of ${page.metrics.length} figures.`;
  return h(
    "header",
    {},
    h("h1", { tabindex: -1 }, `${a.name} and ${b.name}`),
    h("p.lede", {}, `A is variant ${a.variant}, B is variant ${b.variant}. ${summary}`),
    h(
      "div.notice.notes",
      { id: "notes" },
      h(
        "div",
        {},
        page.notes.map((note) => h("p", {}, note)),
        page.sameQuestion
          ? ""
          : h(
              "p",
              {},
              "The sides' classes differ, so loss and pixel accuracy measure different tasks, and an image's change is that of the mean IoU of the groups of categories that both tell apart.",
            ),
      ),
    ),
  );
}

function metrics() {
  const sizes = page.metrics.map((row) =>
    Math.max(Math.abs(row.low ?? row.difference), Math.abs(row.high ?? row.difference)),
  );
  const groups = [
    ["Small differences", page.metrics.filter((_, k) => sizes[k] <= SMALL)],
    ["Large differences", page.metrics.filter((_, k) => !(sizes[k] <= SMALL))],
  ].filter(([, rows]) => rows.length);
  const bodies = groups.map(([title, rows]) => {
    const most = Math.max(
      0.001,
      ...rows.flatMap((row) => [row.low, row.high, row.difference].map((end) => Math.abs(end ?? 0))),
    );
    const scale = h("div.scale", {}, h("span", {}, signed(-most)), h("span", {}, "0"), h("span", {}, signed(most)));
    return [
      h("tr", {}, h("th", { scope: "rowgroup", colspan: 4 }, title), h("td", {}, scale), h("td", { colspan: 3 })),
      rows.map((row) => metricRow(row, most)),
    ];
  });
  const key = h(
    "span.key",
    {},
    h("span", {}, h("i.ring"), "A"),
    h("span", {}, h("i.full"), "B"),
    h("span", {}, "filled: the row's own interval leaves out 0; verdict: corrected for all rows"),
  );
  const list = Object.entries(page.by).map(([name, [x, y]]) =>
    h("li", {}, `${name}: A finds its pixels as ${x}, B as ${y}.`),
  );
  return block(
    "metrics",
    "Metrics",
    key,
    table(
      [
        { title: "Metric" },
        { title: "A", n: true },
        { title: "B", n: true },
        { title: "A to B" },
        { title: "B − A, paired, 95 %" },
        { title: "Difference", n: true },
        { title: "Interval", n: true },
        { title: "Verdict" },
      ],
      bodies.flat(2),
      { label: "Metrics that mean the same for both, on the same images", kind: "stk cp" },
    ),
    list.length ? h("ul.plain.under", { id: "yardsticks" }, list) : "",
    apart(),
  );
}

function metricRow(row, most) {
  const of = verdict(row);
  const worse = row.difference > 0 === isLower(row.metric);
  const tone = isPart(row.metric) ? "var(--accent)" : worse ? "var(--worse)" : "var(--better)";
  const text = row.low === null ? "few images carry it" : `${signed(row.low, 3)} to ${signed(row.high, 3)}`;
  return h(
    "tr",
    { data: { metric: row.metric } },
    rowHead(words(row.metric)),
    cell(fixed(row.a), { n: true, l: "A" }),
    cell(fixed(row.b), { n: true, l: "B" }),
    cell(dumbbell(row), { cls: "off" }),
    cell(
      difference({
        value: row.difference,
        low: row.low,
        high: row.high,
        most,
        tone: row.changed ? tone : "var(--ink-2)",
      }),
      { cls: "all last" },
    ),
    cell(row.changed ? h("strong", { class: of }, signed(row.difference, 3)) : signed(row.difference, 3), {
      n: true,
      l: "B − A",
    }),
    cell(h("span.soft", {}, text), { n: true, cls: "off" }),
    cell(h("span", { class: of === "unclear" ? "soft" : of }, of)),
  );
}

/** Where A and B lie on the scale from 0 to 1; a greater loss is cut off. */
function dumbbell({ a, b }) {
  const at = (value) => `${100 * Math.min(1, Math.max(0, value))}%`;
  const [line, ring, full] = [h("i.s"), h("i.A"), h("i.B")];
  setStyle(line, { left: at(Math.min(a, b)), width: `${100 * Math.abs(Math.min(1, b) - Math.min(1, a))}%` });
  setStyle(ring, { left: at(a) });
  setStyle(full, { left: at(b) });
  return h("div.db", { role: "img", "aria-label": `A ${fixed(a)}, B ${fixed(b)}` }, line, ring, full);
}

const spread = (values, whole) => {
  if (!values?.length) return "–";
  const ends = [Math.min(...values), Math.max(...values)].map((value) => fixed(value, whole ? 0 : 3));
  return ends[0] === ends[1] ? ends[0] : `${ends[0]} to ${ends[1]}`;
};

function apart() {
  const why = page.sameQuestion
    ? "Of a map or clusters of their own"
    : "Of other classes, or of a map or clusters of their own";
  const rows = page.apart.map((row) =>
    h(
      "tr",
      {},
      rowHead(row.metric),
      cell(spread(row.a, row.metric === "clusters"), { n: true, l: "A" }),
      cell(spread(row.b, row.metric === "clusters"), { n: true, l: "B" }),
    ),
  );
  const made = table([{ title: "val" }, { title: "A", n: true }, { title: "B", n: true }], rows, {
    label: "Not compared",
  });
  made.querySelector("table").id = "apart";
  return h(
    "div.apart",
    {},
    h("h3.sub", {}, "Not compared"),
    h("p.soft", {}, `${why}: no difference is taken. Of several runs the least and the greatest.`),
    made,
  );
}

// ---- maps ----
const keyOf = (name, k) =>
  page.sides[name].same[k] ? String(page.sides[name].ids[k]) : `${page.sides[name].ids[k]} of ${name}`;

function mapsBlock() {
  const several = page.sides.a.runs > 1 || page.sides.b.runs > 1 ? " Of several runs the first." : "";
  const cards = ["a", "b"].map((name) => {
    const side = page.sides[name];
    const count = side.ids.length;
    maps[name] = makeMap(side, {
      label: `Map of ${count} images of ${side.shown} in ${side.clusters} clusters; a selection is shown in both maps`,
      onselect: (rows, mode) => chooseOn(name, rows, mode),
      onopen: (k) => chooseOn(name, [k], "new"),
    });
    side.count = count;
    return h(
      "figure.card",
      { id: `map-${name}` },
      h(
        "header",
        {},
        h(name === "a" ? "span.mkA" : "span.mkB", {}, name.toUpperCase()),
        h("h3", {}, side.shown),
        h("span.soft.right", {}, plural(side.clusters, "cluster")),
      ),
      h("div.mapframe", {}, maps[name].element),
    );
  });
  return block(
    "maps",
    "Both maps",
    `One selection in both, with the lasso or the box. Points are coloured by their cluster in their own run. Maps that were not aligned (embed.align_to) may be turned and mirrored.${several}`,
    h("p.soft", {}, h("output", { id: "selected" }, "nothing is selected")),
    h("div.maps2", {}, cards),
  );
}

function chooseOn(name, rows, mode) {
  const keys = rows.map((k) => keyOf(name, k));
  if (mode === "new") choose(keys, `the map of ${name.toUpperCase()}`);
  else {
    const now = new Set(selected ?? []);
    for (const key of keys)
      if (mode === "add") now.add(key);
      else now.delete(key);
    choose([...now], origin || `the map of ${name.toUpperCase()}`);
  }
}

function choose(keys, from) {
  selected = keys.length ? new Set(keys) : null;
  origin = from;
  const text = selected ? `${plural(selected.size, "image is", "images are")} selected` : "nothing is selected";
  replace(document.getElementById("selected"), text);
  say(text);
  drawMaps();
  drawBar();
}

function drawMaps() {
  forgetColors();
  for (const name of ["a", "b"]) {
    const side = page.sides[name];
    if (!maps[name]) continue;
    const sizes = new Map();
    for (const cluster of side.cluster) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
    const order = [...sizes.keys()]
      .filter((cluster) => cluster >= 0)
      .sort((p, q) => sizes.get(q) - sizes.get(p) || p - q);
    const color = new Map(order.map((cluster, rank) => [cluster, rgbOf(rank < COLORS ? `--c${rank}` : "--c-none")]));
    const mask = selected && Uint8Array.from({ length: side.count }, (_, k) => Number(selected?.has(keyOf(name, k))));
    maps[name].show({
      color: (k) => color.get(side.cluster[k]) ?? rgbOf("--c-none"),
      radius: () => 3.4,
      shown: () => true,
      selected: mask,
      labels: [],
    });
  }
}

function drawBar() {
  const bar = document.getElementById("bar");
  if (!bar) return;
  bar.hidden = !selected;
  document.documentElement.classList.toggle("no-bar", !selected);
  if (!selected) return;
  const ids = [...selected];
  replace(
    bar,
    h("i.dotmark"),
    h("b", {}, `${plural(ids.length, "image")} selected`),
    h("span.from", {}, `from ${origin}`),
    h(
      "span.acts",
      {},
      button([icon("save"), "Image ids"], () =>
        save(`${ids.map((id) => id.split(" ")[0]).join("\n")}\n`, "images.txt"),
      ),
      button(icon("close"), () => choose([], ""), { class: "icon quiet", "aria-label": "Clear the selection" }),
    ),
  );
}

// ---- pairs ----
function pairs(id, title, cards) {
  const unit = page.score === "loss" ? "loss" : `the mean IoU of the yardsticks ${page.yardsticks.join(", ")}`;
  const shown = cards.filter(
    (card) => (!category || card.categories.includes(category)) && (!wanted || isCalled(card.file, card, wanted)),
  );
  const asked = [category && `shows ${category}`, wanted && `is called “${wanted}”`].filter(Boolean).join(" and ");
  const section = block(
    id,
    title,
    `By ${unit}, mean of a side's trainings: the photograph, A's layer over it, B's.`,
    shown.length
      ? h("div.tri", {}, shown.map(triple))
      : h("p.soft", {}, cards.length ? `None of them ${asked}.` : "None."),
  );
  if (shown.length)
    section.querySelector("header")?.append(
      link(
        `Select these ${shown.length}`,
        () =>
          choose(
            shown.map((card) => String(card.image_id)),
            title.toLowerCase(),
          ),
        { class: "right" },
      ),
    );
  return section;
}
/** @type {Array<[string, string]>} */
const LAYERS = [
  ["predicted", "Predictions"],
  ["errors", "Errors"],
  ["labels", "Labels"],
  ["", "Photograph"],
];
function triple(card) {
  const lower = page.score === "loss";
  const tone = card.change > 0 === lower ? "worse" : "better";
  const named = `image ${card.image_id}, ${card.file}`;
  return h(
    "figure.card.triple",
    { data: { image: card.image_id } },
    h(
      "div",
      {},
      pictureOf(card, "", `Photograph of ${named}`),
      pictureOf(card, "a", `A, ${named}`),
      pictureOf(card, "b", `B, ${named}`),
    ),
    h(
      "figcaption",
      {},
      h("b.num", {}, String(card.image_id)),
      h("span.soft.num", {}, `${page.score} ${fixed(card.a)} → ${fixed(card.b)}`),
      h("span.dl.num", { class: tone }, signed(card.change)),
    ),
    h(
      "p.soft.file",
      { title: `id in its source: ${card.source_id}` },
      h("span.mono", {}, card.file),
      copyButton(card.file, `Copy the file name of image ${card.image_id}`),
    ),
  );
}

/** The photograph, under the layer of a side that is on. */
function pictureOf(card, side, alt) {
  const [width, height] = card.size;
  const file = `images/${card.image_id}.webp`;
  const image = h("img", { loading: "lazy", src: file, alt });
  const photo = h("span.photo", {}, image);
  setStyle(photo, {
    "aspect-ratio": `${width} / ${height}`,
    width: `${Math.min(100, (100 * width) / height / (4 / 3))}%`,
  });
  const frame = h("span.framed", {}, photo);
  image.onerror = () => frame.replaceWith(h("span.pic.missing", {}, `no picture: ${file}`));
  if (side && layer)
    layerOf(card, side).then(
      (canvas) => {
        canvas.style.opacity = String(opacity);
        photo.append(canvas);
      },
      (error) => frame.replaceWith(h("span.pic.missing", { role: "alert" }, error.message)),
    );
  return frame;
}

/** A side's layer of an image, painted. */
async function layerOf(card, side) {
  const own = (await load("data/layers"))[card.image_id][side];
  const colors = page.sides[side].classes.map((each) => rgb(each.color));
  if (layer !== "errors") return paintClasses(await levels(own[layer]), colors);
  const [labels, predicted] = await Promise.all([levels(own.labels), levels(own.predicted)]);
  const errors = Object.fromEntries(Object.entries(page.errors).map(([kind, color]) => [kind, rgb(color)]));
  return paintErrors(labels, predicted, errors);
}

/** Which layer lies over the photographs, and how much it covers. */
function layerControls(redraw) {
  return h(
    "div.controls.layers",
    {},
    segments("Over the photographs", LAYERS, layer, (value) => {
      layer = value;
      redraw();
    }),
    slider("label.soft", "Opacity", opacity, (value) => {
      opacity = value;
      for (const each of document.querySelectorAll(".triple canvas.l")) setStyle(each, { opacity });
    }),
    layer === "errors"
      ? h(
          "div.key",
          {},
          Object.entries(page.errors).map(([kind, color]) => h("span", {}, swatch(color, true), kind)),
        )
      : "",
  );
}

/** The colours of each side's predictions. */
const sideKey = (name) =>
  h(
    "div.key",
    {},
    h("b", {}, name.toUpperCase()),
    page.sides[name].classes.map((each) => h("span", {}, swatch(each.color, true), each.name)),
  );

/** Whether an image is called so: by its id, its source's, or a part of its file's name. */
const isCalled = (file, { image_id: id, source_id: own }, text) =>
  String(id) === text || own === text || file.toLowerCase().includes(text.toLowerCase());

/** Show the pairs that are called so, and select them in both maps. @param {string} text */
function find(text) {
  wanted = text;
  drawPairs(pairsPlace);
  if (!text) return choose([], "");
  const keys = new Set();
  for (const name of ["a", "b"]) {
    const { ids, files } = page.sides[name];
    for (let k = 0; k < ids.length; k++)
      if (isCalled(files[k], { image_id: ids[k], source_id: "" }, text)) keys.add(keyOf(name, k));
  }
  choose([...keys], `a search for “${text}”`);
}

function searchBox() {
  const input = h("input", {
    type: "text",
    "aria-label": "Find images by id or file name",
    placeholder: "Id or file name",
    autocomplete: "off",
    spellcheck: "false",
    id: "find",
  });
  const form = h("form.find", { role: "search" }, icon("find"), input, h("kbd", {}, "/"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    find(input.value.trim());
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || isElsewhere(event)) return;
    input.focus();
    event.preventDefault();
  });
  return form;
}

const pairsPlace = h("div");
function drawPairs(place) {
  const counts = new Map();
  for (const card of [...page.worse, ...page.improved])
    for (const name of card.categories) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts.keys()].sort((p, q) => counts.get(q) - counts.get(p)).slice(0, 14);
  const chip = (name, text) =>
    h(
      "button.chip",
      {
        type: "button",
        class: name === category ? "on" : "",
        "aria-pressed": String(name === category),
        data: { category: name },
        onclick: () => {
          category = name;
          drawPairs(place);
        },
      },
      text,
    );
  replace(
    place,
    names.length > 1
      ? h(
          "div.chips.block",
          { role: "group", "aria-label": "Images that show" },
          chip("", "All"),
          names.map((name) => chip(name, [`${name} `, h("i.num", {}, String(counts.get(name)))])),
        )
      : "",
    wanted
      ? h(
          "p.controls",
          {},
          h(
            "button.chip.on",
            { type: "button", id: "no-search", onclick: () => find("") },
            `called “${wanted}”`,
            h("span.x", {}, icon("close", 12)),
          ),
        )
      : "",
    layerControls(() => drawPairs(place)),
    h("div.keys", {}, sideKey("a"), sideKey("b")),
    pairs("worse", "Got worse most", page.worse),
    pairs("improved", "Improved most", page.improved),
  );
}

async function start() {
  listen();
  try {
    page = await load("data/compare");
    for (const side of Object.values(page.sides))
      for (const name of ["ids", "same", "x", "y", "cluster"]) side[name] = await unpack(side[name]);
    for (const side of Object.values(page.sides)) {
      side.count = side.ids.length;
      side.files = await texts(side.files);
    }
  } catch (error) {
    replace(document.querySelector("#loading .lede"), /** @type {Error} */ (error).message);
    return;
  }
  frame();
  replace(document.getElementById("main"), h("div.page", {}, head(), metrics(), mapsBlock(), pairsPlace));
  drawPairs(pairsPlace);
  readTheme(drawMaps);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && selected) choose([], "");
  });
  addEventListener("scroll", spy, { passive: true });
  spy();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.documentElement.dataset.ready = "true";
}

start();
