// What drives the loss and the IoU?

import { base, classCounts, isVal, measure, metaOf, run } from "../data.js";
import { h, picker, replace } from "../dom.js";
import { bars, difference } from "../charts.js";
import { byColumn, claim, findings, isWorse, queryWords, scoreLabel } from "../findings.js";
import { capital, fixed, percent, plural, short, signed } from "../format.js";
import { empty, heading, intervalText, saving, selects, whenLoaded } from "../parts.js";
import { block, cell, rowHead, table } from "../tables.js";
import { isWithin, quoted } from "../query.js";
import { extent, histogram, medianOf } from "../stats.js";
import { rowsWhere, select, setState, state } from "../store.js";
import { column } from "../data.js";

const SMALL = { width: 236, height: 112 };

export const title = "Performance";

export function mount(root) {
  root.classList.add("page");
  const dash = h("div.card.dash");
  root.append(
    heading("Performance and metadata", lede()),
    block(
      "pf-dash",
      "Each image, against what it shows",
      `Means in bins with 95 % bands over the ${measure("images")?.value ?? 0} val images (dots; of many, some); dashed: the mean of all. Drag across a panel to select, press a dot to open.`,
      dash,
    ),
    findingsBlock(),
    claims(),
    hard(),
  );

  function drawDash() {
    const [fixedColumns, free, choices] = dashColumns();
    if (!free) {
      replace(dash, empty("In no column of numbers do the images differ: there is nothing to compare scores with."));
      return;
    }
    const scores = run.scores.slice(0, 4);
    dash.style.setProperty("--across", String(fixedColumns.length + 1));
    replace(
      dash,
      h("span.corner"),
      ...fixedColumns.map((name) => h("div.ch", {}, metaOf(name)?.label ?? name)),
      h(
        "div.ch",
        {},
        picker("against", choices, free, (against) => setState({ against }), { id: "plot-x" }),
      ),
      ...scores.flatMap((score) => [
        h("div.rh", {}, capital(scoreLabel(score))),
        ...[...fixedColumns, free].map((name) => panel(name, score)),
      ]),
      h("div.rh.last", {}, h("small", {}, "images")),
      ...[...fixedColumns, free].map((name) => whenLoaded(h("div.nb"), column(name), numbers)),
    );
  }

  function panel(name, score) {
    const own = base[score];
    const known = rowsWhere((i) => isVal(i) && !Number.isNaN(own[i]));
    const mean = known.reduce((sum, i) => sum + own[i], 0) / (known.length || 1);
    const label = `${scoreLabel(score)} by ${metaOf(name)?.label ?? name}`;
    const box = h("div.cell", { data: { column: name, score } });
    return whenLoaded(
      box,
      byColumn(name, score, {
        ...SMALL,
        label,
        mean: known.length ? mean : undefined,
        axes: false,
        // What the query says is what is selected.
        onrange: (of, from, to) => {
          const [low, high] = [from, to].map((end) => Number(end.toPrecision(4)));
          const rows = rowsWhere((i) => isVal(i) && isWithin(of.values[i], low, high));
          select(rows, "", `split == "val" and ${quoted(of.name)} >= ${low} and ${quoted(of.name)} <= ${high}`);
        },
      }),
      (chart) => [h("div.mt", {}, label), chart, saving(chart, label)],
    );
  }

  function update(changed) {
    if (changed.has("against")) drawDash();
  }
  drawDash();
  return { update };
}

/** The columns of the panels: counts of the first two classes' categories, of instances, and one that is chosen. */
function dashColumns() {
  const numbers = run.columns.filter((meta) => meta.kind === "number" && meta.group !== "Scores");
  const has = (name) => numbers.some((meta) => meta.name === name);
  const wanted = [...classCounts(), "n_instances", "average_size"];
  const fixedColumns = [...new Set(wanted.filter(has))].slice(0, 3);
  const groups = new Map();
  for (const meta of numbers) groups.set(meta.group, [...(groups.get(meta.group) ?? []), [meta.name, meta.label]]);
  const choices = [...groups].map(([group, of]) => ({ group, of }));
  const free = has(state.against)
    ? state.against
    : has("brightness") && !state.against
      ? "brightness"
      : (numbers.find((meta) => !fixedColumns.includes(meta.name))?.name ?? fixedColumns[0]);
  return [fixedColumns, free, choices];
}

function numbers(of) {
  const whole = extent(of.values, isVal);
  const counts = histogram(of.values, whole, 12, isVal);
  return [
    bars({
      all: counts,
      kept: [],
      width: 192,
      height: 24,
      label: `${of.label}: ${short(whole[0])} to ${short(whole[1])}, of half of the images below ${short(medianOf(of))}`,
    }),
    h("div.scale", {}, h("span", {}, short(whole[0])), h("span", {}, short(whole[1]))),
  ];
}

function lede() {
  const share = run.insights.find((row) => row.kind === "share");
  return share?.statement ?? "What the share of the model's classes does to its scores is not known.";
}

// ---- findings ----
function findingsBlock() {
  const own = findings();
  const most = Object.fromEntries(
    run.scores.map((score) => [
      score,
      Math.max(
        0.01,
        ...own
          .filter((row) => row.metric === score && row.low !== null)
          .flatMap((row) => [Math.abs(row.low), Math.abs(row.high)]),
      ),
    ]),
  );
  const rows = own.map((row) => {
    const tone = isWorse(row) ? "var(--worse)" : "var(--better)";
    const held = row.difference !== null;
    return h(
      "tr",
      {},
      rowHead([queryWords(row.query), h("small.below", {}, h("code", {}, row.query))]),
      cell(h("span.tag", {}, row.kind)),
      cell(
        row.points.length
          ? selects(row.points, String(row.images), claim(row), `split == "val" and (${row.query})`)
          : String(row.images),
        { n: true, v: row.images, l: "images" },
      ),
      cell(scoreLabel(row.metric), { l: "score" }),
      cell(h("span.num", {}, fixed(row.inside, 2), " ", h("span.soft", {}, fixed(row.rest, 2))), {
        l: "these, the rest",
        v: row.inside,
      }),
      cell(
        held ? difference({ value: row.difference, low: row.low, high: row.high, most: most[row.metric], tone }) : "",
        { cls: "all" },
      ),
      cell(
        held
          ? [
              h("span", { class: isWorse(row) ? "worse strong" : "better strong" }, signed(row.difference)),
              h("small.below", {}, `${signed(row.low)} to ${signed(row.high)}`),
            ]
          : "–",
        { n: true, v: row.difference, l: "difference" },
      ),
      cell(percent(row.explained), { n: true, v: row.explained, l: "explained" }),
      h("td.all.wide", {}, h("p.soft", {}, row.statement)),
    );
  });
  const others = own.filter((row) => row.kind !== "share").length;
  const note = `First what the share of the model's classes does to its scores on val; then, at a given share, what the metadata tells of them, that which explains most first. All intervals are 95 %, over ${run.unit}, and what was looked at together is corrected together. Explained: of the score's variance over all val images, beyond the share.`;
  const made = table(
    [
      { title: "Where", sort: true },
      { title: "Kind", sort: true },
      { title: "Images", n: true, sort: true },
      { title: "Score", sort: true },
      { title: "These, the rest", sort: true },
      { title: "At a given share, 95 %" },
      { title: "Difference", n: true, sort: true },
      { title: "Explained", n: true, sort: true },
      { title: "In a sentence" },
    ],
    rows,
    { label: "Findings", sorted: 7, kind: "stk sl" },
  );
  made.querySelector("table").id = "insights";
  return block(
    "pf-findings",
    "Findings",
    note,
    own.length ? made : "",
    others ? "" : h("p", {}, "At a given share of its classes, nothing else is shown to move the scores."),
  );
}

function claims() {
  const own = run.insights.filter((row) => row.kind === "claim");
  const items = own.map((row) => {
    const [question, answer = ""] = row.statement.split(/(?<=\?) /);
    return h(
      "div.card",
      {},
      h("h3", {}, question),
      h("p", {}, answer),
      h(
        "footer",
        {},
        h("code", {}, row.query),
        row.points.length
          ? selects(row.points, plural(row.images, "image"), question, `split == "val" and ${row.query}`)
          : "",
      ),
    );
  });
  return block(
    "pf-claims",
    "More instances, worse?",
    "Two common claims about such models, tested on this one.",
    h("div.two", { id: "claims" }, items.length ? items : h("p", {}, "There is no class to test.")),
  );
}

/** The kinds of images of which a score is told. @param {string} score */
const hardKinds = (score) =>
  Object.keys(run.measures.val ?? {})
    .filter((name) => name.startsWith("inside.") && name.endsWith(`.${score}`))
    .map((name) => name.slice("inside.".length, -`.${score}`.length));

function hard() {
  const score = run.scores.find((name) => hardKinds(name).length) ?? run.scores[0] ?? "loss";
  const label = capital(scoreLabel(score));
  const names = hardKinds(score);
  const rows = names.map((name) => {
    const inside = measure(`inside.${name}.${score}`);
    const shown = ["difference", "held"].map((key) => {
      const m = measure(`${key}.${name}.${score}`);
      return cell(
        m && m.carriers >= m.least
          ? [fixed(m.value), h("small.below", {}, intervalText(m))]
          : h("span.soft", {}, "too few"),
        { n: true, v: m?.value ?? null, l: key === "held" ? "at a given share" : "difference" },
      );
    });
    return h(
      "tr",
      {},
      rowHead(name),
      cell(String(inside?.images ?? "–"), { n: true, v: inside?.images ?? null, l: "number" }),
      cell(fixed(inside?.value), { n: true, v: inside?.value ?? null, l: scoreLabel(score) }),
      shown,
    );
  });
  const note = `${label} on val, these images against the others. At a given share: the difference of what the share of the model's classes leaves, with its interval. Of fewer than ${run.few} ${run.unit} on a side nothing is said.`;
  const made = rows.length
    ? table(
        [
          { title: "Images", sort: true },
          { title: "Number", n: true, sort: true },
          { title: label, n: true, sort: true },
          { title: "Difference", n: true, sort: true },
          { title: "At a given share", n: true, sort: true },
        ],
        rows,
        { label: "Images known to be hard", kind: "stk" },
      )
    : h("p", {}, "None of val's images is of a kind known to be hard.");
  if (rows.length) made.querySelector("table").id = "hard";
  return block("pf-hard", "Images known to be hard", note, made);
}
