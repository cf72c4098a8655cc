// Who is taken for what; at outlines or inside objects; and what in an image makes the model say so?

import { measure, run } from "../data.js";
import { h, link, segments, setStyle, replace } from "../dom.js";
import { meter } from "../charts.js";
import { swatch } from "../swatch.js";
import { isolated, percent, plural } from "../format.js";
import { imageButton } from "../grid.js";
import { empty, heading } from "../parts.js";
import { block } from "../tables.js";
import { select, setState, state } from "../store.js";
import { stackOf } from "./objects.js";

const CATEGORIES = 15;
const TAKEN = 6;
const WIDE = 7; // classes of a matrix that needs the page's width

export const title = "Confusion";

export function mount(root) {
  root.classList.add("page");
  const names = ["background", ...run.classes.map((each) => each.name)];
  if (!run.confusion.actual?.length) {
    root.append(heading("Confusion", null), empty("There is no val image with labels: nothing can be confused."));
    return {};
  }
  const supports = h("div");
  root.append(
    heading("Confusion", lede()),
    h(
      names.length > WIDE ? "section.matrices.one-a-row" : "section.two.matrices",
      { id: "cf-matrix" },
      h(
        "div.card",
        {},
        h("header.line", {}, h("h2", {}, "True class, by prediction"), h("span.soft", {}, "% of the row, val")),
        h("div.scrolls", { tabindex: 0, role: "region", "aria-label": "Matrix of classes" }, matrix(names)),
        h(
          "p.soft",
          {},
          "Outlined: right. Colour scales with the errors only, so that they show. Press a cell to select the images with most such pixels.",
        ),
        h("h3.sub", {}, "Where the errors lie"),
        stacks(),
      ),
      h(
        "div.card",
        {},
        h("header.line", {}, h("h2", {}, "Category, by prediction"), h("span.soft", {}, "% of the category's pixels")),
        h("div.scrolls", { tabindex: 0, role: "region", "aria-label": "Matrix of categories" }, categories(names)),
      ),
    ),
    taken(),
    supports,
  );

  const without = run.classes
    .map(({ name }) => name)
    .filter((name) => !run.supports.some((each) => each.class === name));
  function drawSupports() {
    const none = !run.explained
      ? "What supports wrong pixels is not shown: cluster.explained is 0."
      : `No pixel is wrongly predicted as ${without.map(isolated).join(", ")}, or this model has no layers to look into.`;
    replace(
      supports,
      run.classes.map(({ name }, k) => support(name, k + 1)),
      without.length ? h("p.soft.under", {}, none) : null,
    );
  }
  drawSupports();
  return { update: (changed) => changed.has("attention") && drawSupports() };
}

function lede() {
  const { actual, predicted, share } = run.confusion;
  const cells = actual.map((_, k) => k).filter((k) => actual[k] !== predicted[k] && share[k] !== null);
  const ofClass = (name) => cells.filter((k) => actual[k] === name).sort((a, b) => share[b] - share[a])[0];
  const parts = run.classes
    .slice(0, 4)
    .map(({ name }) => ofClass(name))
    .filter((k) => k !== undefined)
    .map((k) => `${percent(share[k])} of ${isolated(actual[k])} is taken for ${isolated(predicted[k])}`);
  const edges = run.classes
    .slice(0, 4)
    .map(({ name }) => [name, measure(`errors.${name}.boundary`)])
    .filter(([, m]) => m)
    .map(([name, m]) => `${percent(m.value)} of ${isolated(name)}'s`);
  return `Of the pixels, ${parts.join(", ") || "none is taken for another class"}. ${edges.length ? `On outlines lie ${edges.join(", ")} wrong pixels.` : ""}`;
}

const tones = (value, most) =>
  `color-mix(in oklab, var(--s3) ${Math.round(80 * Math.min(1, value / (most || 1)))}%, var(--sunk))`;

/** A matrix whose cells select the images with most such pixels. */
function heat({ rows, columns, value, isRight, key, head, extra = null, small = false }) {
  const most = Math.max(
    0,
    ...rows.flatMap((row) => columns.filter((name) => !isRight(row, name)).map((name) => value(row, name) ?? 0)),
  );
  return h(
    "table",
    { class: `heat${small ? " small" : ""}`, style: { "min-width": `${108 + 46 * columns.length}px` } },
    h("caption.vh", {}, head),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td"),
        columns.map((name) => h("th", { scope: "col", title: name }, name)),
        extra && h("th.n", { scope: "col" }, extra.title),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, row),
          columns.map((name) => {
            const share = value(row, name);
            const images = run.cells[`${key}|${name}|${row}`] ?? [];
            const right = isRight(row, name);
            const words = `${row} predicted as ${name}`;
            const cell = h(
              "td",
              { class: right ? "diag" : "" },
              h(
                "button",
                {
                  type: "button",
                  title: images.length
                    ? `Select the ${plural(images.length, "image")} with most pixels of ${words}`
                    : words,
                  "aria-label": `${words}: ${percent(share, 1)}`,
                  data: { cell: `${name}|${row}` },
                  onclick: () => {
                    if (!images.length) return;
                    select(images, `most pixels of ${words}`);
                    setState({ view: "explore", sub: "" });
                  },
                },
                share === null || share === undefined ? "–" : (100 * share).toFixed(1),
              ),
            );
            setStyle(cell, { background: right || !share ? "var(--sunk)" : tones(share, most) });
            return cell;
          }),
          extra && h("td.n.num.soft", {}, extra.of(row)),
        ),
      ),
    ),
  );
}

function matrix(names) {
  const { actual, predicted, share } = run.confusion;
  const found = new Map(actual.map((name, k) => [`${name}|${predicted[k]}`, share[k]]));
  const made = heat({
    rows: names,
    columns: names,
    small: names.length > WIDE,
    value: (row, name) => found.get(`${row}|${name}`),
    isRight: (row, name) => row === name,
    key: "class",
    head: "Of each true class, the share of pixels predicted as each class",
  });
  made.id = "confusion-classes";
  return made;
}

function categories(names) {
  const { category, pixels, share_of_category: share, predicted } = run.pairs;
  const total = new Map();
  category.forEach((name, k) => total.set(name, (total.get(name) ?? 0) + pixels[k]));
  const rows = [...total.entries()]
    .sort((a, b) => b[1] - a[1])
    .slice(0, CATEGORIES)
    .map(([name]) => name);
  const found = new Map(category.map((name, k) => [`${name}|${predicted[k]}`, share[k]]));
  const made = heat({
    rows,
    columns: names,
    value: (row, name) => found.get(`${row}|${name}`) ?? 0,
    isRight: (row, name) => classOf(row) === name,
    key: "category",
    head: "Of each category, the share of pixels predicted as each class",
    extra: { title: "pixels", of: (row) => (total.get(row) ?? 0).toLocaleString("en") },
    small: true,
  });
  made.id = "confusion-categories";
  return made;
}

/** The class that a category is of: what its row's right cell is. */
function classOf(category) {
  const own = run.categoryClass?.[category];
  return own ?? "background";
}

function stacks() {
  const classes = run.classes.filter(({ name }) => measure(`errors.${name}.boundary`));
  if (!classes.length) return h("p.soft", {}, "No val pixel of the model's classes is wrong.");
  return [
    h("div.decomp", {}, classes.map(stackOf)),
    h(
      "div.key",
      {},
      Object.values(run.errorKinds).map((of) => h("span", { title: of.meaning }, swatch(of.color, true), of.label)),
    ),
    link("What the kinds mean, and their intervals", () => setState({ view: "objects", sub: "ob-errors" })),
  ];
}

function taken() {
  const cards = Object.entries(run.taken).map(([name, of]) => {
    const rows = Object.entries(of.categories)
      .sort((a, b) => b[1].share - a[1].share)
      .slice(0, TAKEN);
    const bars = rows.map(([category, { share, taken: part, low, high, carriers }]) => {
      const images = run.cells[`category|${name}|${category}`] ?? [];
      const interval95 =
        low !== null && low !== undefined && carriers >= run.trusted
          ? ` (${percent(low, 1)} to ${percent(high, 1)})`
          : "";
      return [
        images.length
          ? link(category, () => {
              select(images, `most pixels of ${category} taken for ${name}`);
              setState({ view: "explore", sub: "" });
            })
          : h("span", {}, category),
        meter(share, category === "unlabelled" ? "var(--ink-3)" : "var(--e-confused)"),
        h("span.n.num", {}, percent(share, 1)),
        h("span.soft.sub", {}, `${percent(part, 1)} of its pixels are taken${interval95}`),
      ];
    });
    return h(
      "div.card",
      {},
      h("h3", {}, `Taken for ${name}`),
      rows.length ? h("div.taken", {}, bars) : h("p.soft", {}, "No pixel is."),
      h("p.soft.statement", {}, of.statement),
    );
  });
  return block(
    "cf-taken",
    "What is taken for what",
    "Of the pixels wrongly predicted as a class, the categories they really are; and the merge that would pay, if one would.",
    h("div.two", {}, cards),
  );
}

function support(name, number) {
  const rows = run.supports.filter((each) => each.class === name);
  if (!rows.length) return null;
  const images = rows.map((each) => each.sample);
  const overlay = state.attention ? `attention/support-${number}` : "";
  const figures = rows.map((each) =>
    h(
      "figure",
      {},
      imageButton(each.sample, { queue: () => images, overlay, note: `${each.pixels.toLocaleString("en")} px` }),
      h(
        "figcaption",
        {},
        `support on ${each.on.map(([category, share]) => `${category} ${percent(share)}`).join(", ")}`,
      ),
    ),
  );
  const section = block(
    `cf-support-${number}`,
    `What supports wrong ${isolated(name)} pixels`,
    `The val images with most pixels wrongly predicted as ${name}, and what in them supports it there (gradient times input, from the logits back to what the decoder is given).`,
    h("div.g6", {}, figures),
  );
  section.querySelector("header")?.append(
    h(
      "span.right",
      {},
      segments(
        "Pictures",
        [
          ["photo", "Photo"],
          ["support", "Support"],
        ],
        state.attention ? "support" : "photo",
        (value) => setState({ attention: value === "support" }),
      ),
    ),
  );
  return section;
}
