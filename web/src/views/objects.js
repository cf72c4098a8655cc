// What became of val's objects, and where do the wrong pixels lie?

import { base, load, measure, namesOf, run } from "../data.js";
import { button, h, link, picker, setStyle, replace } from "../dom.js";
import { interval } from "../charts.js";
import { swatch } from "../swatch.js";
import { percent, plural } from "../format.js";
import { closeUp } from "../images.js";
import { heading, whenLoaded } from "../parts.js";
import { block, cell, rowHead, table } from "../tables.js";
import { openImage, select, setState, state } from "../store.js";

const AT_A_TIME = 24;
let most = AT_A_TIME; // shown at once, also when the view is left for an image

export const title = "Objects";

export function mount(root) {
  root.classList.add("page");
  const list = h("div", { id: "object-list" });
  let content = null;
  root.append(
    heading(
      "Objects",
      "What became of val's objects. An object is an annotation of the model's classes; it is found if half or more of its visible pixels are predicted as its class. An extra region is a predicted one of which less than a tenth is labelled as its class: the model's mistake, or a label that is missing.",
    ),
    errorsBlock(),
    foundBlock(),
    block("ob-list", "Browse the objects", "Of each kind those that matter most come first.", list),
  );
  whenLoaded(list, load("data/objects"), (loaded) => {
    content = loaded;
    return drawn();
  });

  /** A region is of no category. */
  const isAsked = (table) => (k) =>
    table.outcome[k] === state.outcome &&
    (!state.objectClass || table.class[k] === state.objectClass) &&
    (!state.category || table.category[k] === state.category || state.outcome === "extra") &&
    (!state.objectSize || table.size[k] === state.objectSize);
  const places = (table) => Object.values(table)[0].map((_, k) => k);

  function categories({ counts }) {
    const own = places(counts).filter(
      (k) => counts.category[k] && (!state.objectClass || counts.class[k] === state.objectClass),
    );
    return [...new Set(own.map((k) => counts.category[k]))].sort((a, b) => a.localeCompare(b));
  }

  function drawn() {
    const { rows, counts } = content;
    const asked = places(rows).filter(isAsked(rows));
    const all = places(counts)
      .filter(isAsked(counts))
      .reduce((sum, k) => sum + counts.n[k], 0);
    const what = state.outcome === "extra" ? "extra region" : `${state.outcome} object`;
    const any = (values) => [["", "all"], ...values.map((value) => [value, value])];
    const names = categories(content);
    const images = [...new Set(asked.map((k) => rows.sample[k]))];
    const choose = (key) => (value) => {
      most = AT_A_TIME;
      setState(/** @type {any} */ ({ [key]: value, ...(key === "objectClass" && { category: "" }) }));
    };
    return [
      h(
        "div.controls",
        {},
        picker("Outcome", Object.entries(run.outcomes), state.outcome, choose("outcome"), { id: "object-outcome" }),
        picker("Class", any(run.classes.map((each) => each.name)), state.objectClass, choose("objectClass"), {
          id: "object-class",
        }),
        names.every((name) => run.classes.some((each) => each.name === name))
          ? ""
          : picker("Category", any(names), state.category, choose("category"), {
              id: "object-category",
              ...(state.outcome === "extra" && { disabled: true }),
            }),
        picker("Size", any(["small", "medium", "large"]), state.objectSize, choose("objectSize"), {
          id: "object-size",
        }),
        images.length ? link(`Select their ${plural(images.length, "image")}`, () => select(images, `${what}s`)) : "",
      ),
      h(
        "p.soft",
        { id: "objects-count", role: "status" },
        asked.length === all
          ? `${plural(all, what)} of val.`
          : `${asked.length} of ${plural(all, what)} of val are listed: of each class, category and size those that come first; artifacts/objects.parquet has all.`,
      ),
      h(
        "div.g6.objects",
        { id: "objects-shown" },
        asked.slice(0, most).map((k) => objectCard(rows, k, images)),
      ),
      asked.length > most
        ? button("Show more", () => {
            most += AT_A_TIME;
            replace(list, ...drawn());
          })
        : "",
    ];
  }

  function update(changed) {
    if (content && ["outcome", "objectClass", "category", "objectSize"].some((key) => changed.has(key))) {
      const focused = document.activeElement?.id;
      replace(list, ...drawn());
      if (focused) document.getElementById(focused)?.focus();
    }
  }
  return { update };
}

export function objectCard(rows, k, images) {
  const name = [rows.class[k], rows.category[k] !== rows.class[k] && rows.category[k], rows.size[k]]
    .filter(Boolean)
    .join(", ");
  return h(
    "button.thumb",
    {
      type: "button",
      title: namesOf(rows.sample[k]),
      data: { image: base.image_id[rows.sample[k]], object: rows.object_id[k] },
      onclick: () => openImage(rows.sample[k], images, String(rows.object_id[k])),
    },
    closeUp(rows.sample[k], rows.box[k]),
    h("span.c", {}, h("b.name", {}, name)),
    h("span.c", {}, rows.became[k]),
    h("span.c", {}, `image ${base.image_id[rows.sample[k]]}`),
  );
}

const ask = (wanted) => () => {
  setState({ outcome: "missed", objectClass: "", category: "", objectSize: "", ...wanted, sub: "ob-list" });
  document.getElementById("ob-list")?.scrollIntoView();
};

/** A share with its interval, in percent. */
export function shareText(m) {
  if (!m) return "–";
  const known = m.low !== null && m.carriers >= run.trusted;
  return [
    percent(m.value),
    h(
      "small.below",
      {},
      known ? `${(100 * m.low).toFixed(0)} to ${(100 * m.high).toFixed(0)} %` : "too few for an interval",
    ),
  ];
}

function errorsBlock() {
  const classes = run.classes.filter(({ name }) => measure(`errors.${name}.boundary`));
  if (!classes.length)
    return block(
      "ob-errors",
      "Wrong pixels by kind",
      null,
      h("p", {}, "No val pixel of the model's classes is wrong."),
    );
  const kinds = Object.entries(run.errorKinds);
  const rows = kinds.map(([kind, of]) =>
    h(
      "tr",
      {},
      rowHead([
        swatch(of.color, true),
        " ",
        of.label,
        h(
          "small.below",
          {},
          of.meaning,
          of.outcome && [
            "; ",
            link(`show ${of.shows}`, ask({ outcome: of.outcome }), { data: { outcome: of.outcome } }),
          ],
        ),
      ]),
      classes.map(({ name }) => {
        const m = measure(`errors.${name}.${kind}`);
        return cell(shareText(m), { n: true, l: name });
      }),
    ),
  );
  const section = block(
    "ob-errors",
    "Wrong pixels by kind",
    `Of each class's wrong pixels in val (of it, but not predicted so; or predicted so, but not of it), the share of each kind, with its interval where at least ${run.trusted} ${run.unit} carry it.`,
    h("div.card.decomp", {}, classes.map(stackOf)),
    table([{ title: "kind" }, ...classes.map(({ name }) => ({ title: name, n: true }))], rows, {
      label: "Wrong pixels by kind",
      kind: "stk errors",
    }),
  );
  section.querySelector("table").id = "errors";
  return section;
}

/** A class's wrong pixels as one bar. */
export function stackOf({ name }) {
  const parts = Object.entries(run.errorKinds).map(([kind, of]) => [of, measure(`errors.${name}.${kind}`)?.value ?? 0]);
  const words = parts.map(([of, value]) => `${of.label} ${percent(value)}`).join(", ");
  const bar = h("div.stack", { role: "img", "aria-label": `Wrong pixels of ${name}: ${words}` });
  for (const [of, value] of parts) {
    if (value <= 0) continue;
    const part = h("i", { title: `${of.label} ${percent(value)}` }, value >= 0.1 ? percent(value) : "");
    setStyle(part, { width: `${100 * value}%`, "background-color": of.color, color: of.ink });
    bar.append(part);
  }
  return [h("span.strong", {}, name), bar];
}

function foundBlock() {
  const rows = run.found.map((row) => {
    const m = row.measure && {
      value: row.measure[0],
      low: row.measure[1],
      high: row.measure[2],
      carriers: row.measure[4],
    };
    const known = m && m.low !== null && m.carriers >= run.trusted;
    const whole = !(row.category || row.size);
    const text = `${row.class}${row.category ? `: ${row.category}` : row.size ? `, ${row.size}` : ""}`;
    const show = ask({ objectClass: row.class, category: row.category, objectSize: row.size, outcome: "missed" });
    return h(
      "tr",
      { class: whole ? "total" : "", data: { class: row.class, category: row.category, size: row.size } },
      rowHead(link(text, show)),
      cell(
        m ? interval({ value: m.value, low: known ? m.low : null, high: known ? m.high : null, scale: [0, 1] }) : "",
        { cls: "all" },
      ),
      cell(shareText(m), { n: true, v: m?.value ?? null, l: "found" }),
      cell(`${row.found} of ${row.of}`, { n: true, v: row.of, l: "number" }),
    );
  });
  const section = block(
    "ob-found",
    "Objects found",
    `Of val's annotations, crowds and those without a visible pixel left out, the share that is found, with its interval where at least ${run.trusted} ${run.unit} carry what is found and what is missed. Small: below 32 × 32 pixels of the photograph; large: from 96 × 96 on. A row shows those that it misses in the list below.`,
    rows.length
      ? table(
          [
            { title: "Annotations" },
            { title: "Share found, 95 %" },
            { title: "Found", n: true, sort: true },
            { title: "Number", n: true, sort: true },
          ],
          rows,
          { label: "Objects found", kind: "stk fd found-table" },
        )
      : h("p", {}, "Val has no annotation of the model's classes."),
  );
  const made = section.querySelector("table");
  if (made) made.id = "found";
  return section;
}
