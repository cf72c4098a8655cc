// Findings: a condition on the metadata, and how much worse (or better) the model is where it holds.

import { base, column, columnNow, isVal, load, metaOf, n, run } from "./data.js";
import { h } from "./dom.js";
import { scatter, strips } from "./charts.js";
import { capital, fixed, plural, signed } from "./format.js";
import { imageButton } from "./grid.js";
import { selects, whenLoaded } from "./parts.js";
import { extent, ordered } from "./stats.js";
import { openImage } from "./store.js";

const DOTS = 400;

export const scoreLabel = (metric) => metaOf(metric)?.label ?? metric;

/** A query in words: columns by their labels. @param {string} query */
export function queryWords(query) {
  return query
    .replace(/`([^`]+)`/g, (_, name) => metaOf(name)?.label ?? name)
    .replaceAll(">=", "≥")
    .replaceAll("<=", "≤");
}

/** The column of a query of one condition. */
export function columnOf(query) {
  const match = query.match(/^(?:`([^`]+)`|([A-Za-z_][\w.]*)) (>=|<=|>|<) (-?[\d.e+-]+)$/);
  return match ? { name: match[1] ?? match[2], sign: match[3], value: Number(match[4]) } : null;
}

/** Whether the score is higher there: at a given share, where that is what was asked. */
const isHigher = (insight) => (insight.difference ?? insight.inside - insight.rest) > 0;
export const isWorse = (insight) => isHigher(insight) === (insight.metric === "loss");

/** What a finding claims, in a line. */
export function claim(insight) {
  const held = insight.difference === null ? "" : ", at a given share";
  return `${capital(scoreLabel(insight.metric))} is ${isHigher(insight) ? "higher" : "lower"} where ${queryWords(insight.query)}${held}`;
}

export const findings = () => run.insights.filter((each) => each.kind !== "claim");

/** A finding as a card: claim, figures, chart, images, query. @param {any} insight */
export function findingCard(insight) {
  const tone = isWorse(insight) ? "worse" : "better";
  const held = insight.difference !== null;
  const places = insight.points;
  const order = () => ordered(places, base[insight.metric] ?? base.loss, insight.metric === "loss");
  return h(
    "article.card.finding",
    {},
    h("h3", {}, claim(insight)),
    h(
      "div.versus",
      {},
      h("b.num", {}, fixed(insight.inside, 2)),
      h("span.soft", {}, `against ${fixed(insight.rest, 2)} in the rest`),
      held &&
        h(
          "span.d",
          {},
          h("strong.num", { class: tone }, signed(insight.difference)),
          h("br"),
          h("span.num", {}, `${signed(insight.low)} to ${signed(insight.high)}`),
        ),
    ),
    whenLoaded(h("div.chartbox"), chart(insight), (made) => made),
    h(
      "div.strip4",
      {},
      order()
        .slice(0, 4)
        .map((i) => imageButton(i, { queue: order, caption: [] })),
    ),
    h("p.soft.statement", {}, insight.statement),
    h(
      "footer",
      {},
      h("code", { title: insight.query }, insight.query),
      places.length
        ? selects(places, plural(places.length, "image"), claim(insight), `split == "val" and (${insight.query})`)
        : plural(insight.images, "image"),
    ),
  );
}

async function chart(insight) {
  const of = columnOf(insight.query);
  const label = `${claim(insight)}: ${fixed(insight.inside, 2)} against ${fixed(insight.rest, 2)}`;
  if (of && metaOf(of.name)) return byColumn(of.name, insight.metric, { label, shade: of });
  const inside = new Set(insight.points);
  const values = base[insight.metric] ?? base.loss;
  const val = Array.from({ length: n }, (_, i) => i).filter((i) => isVal(i) && !Number.isNaN(values[i]));
  const side = (own) => thinned(val.filter((i) => inside.has(i) === own)).map((i) => values[i]);
  const [low, high] = insight.metric === "loss" ? [0, extent(values, isVal)[1]] : [0, 1];
  return strips({
    sides: [
      { name: "these", values: side(true), mean: insight.inside, own: true, interval: null },
      { name: "the rest", values: side(false), mean: insight.rest, own: false, interval: null },
    ],
    x: [low, high],
    xLabel: scoreLabel(insight.metric),
    label,
  });
}

/** At most DOTS of the images, evenly. */
export function thinned(rows) {
  const step = Math.ceil(rows.length / DOTS);
  return step > 1 ? rows.filter((_, k) => k % step === 0) : rows;
}

/** The chart of a score by a column, val's images only. @param {string} name @param {string} metric @param {any} options */
export async function byColumn(
  name,
  metric,
  { label, shade, mean, width, height, axes = true, onrange } = /** @type {any} */ ({}),
) {
  const [of, bins] = await Promise.all([column(name), load("data/bins")]);
  const score = columnNow(metric) ?? (await column(metric));
  const known = (i) => isVal(i) && !Number.isNaN(Number(of.values[i])) && !Number.isNaN(score.values[i]);
  const rows = Array.from({ length: n }, (_, i) => i).filter(known);
  const all = extent(of.values, known);
  const x = all[0] === all[1] ? [all[0], all[0] + 1] : all;
  const top =
    metric === "loss"
      ? quantile(
          rows.map((i) => score.values[i]),
          0.98,
        )
      : 1;
  const own = bins[`${name}|${metric}`] ?? [];
  const finding = own.length
    ? `, from ${fixed(own[0].mean, 2)} where it is least to ${fixed(own[own.length - 1].mean, 2)} where it is most`
    : ", of too few images for means";
  const made = scatter({
    points: thinned(rows).map((i) => [Number(of.values[i]), score.values[i], i]),
    bins: own,
    x,
    y: [0, top || 1],
    label: `${label ?? `${scoreLabel(metric)} by ${of.label}`}${finding}`,
    xLabel: axes ? of.label : "",
    yLabel: axes ? scoreLabel(metric) : "",
    shade: shade ? (shade.sign.startsWith(">") ? [shade.value, x[1]] : [x[0], shade.value]) : null,
    mean,
    width,
    height,
    onpick: (i) => openImage(i, ordered(rows, score.values, metric === "loss")),
    onrange: onrange && ((low, high) => onrange(of, low, high)),
  });
  return made;
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 1;
}
