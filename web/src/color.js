// How a column colours the map: categories by size, numbers by magnitude.

import { clusterName, columnNow, n } from "./data.js";
import { rgbOf } from "./map.js";
import { extent } from "./stats.js";

const CATEGORIES = 12;
const STEPS = 7;

/**
 * The categories of a column, the largest first; from the 13th on they are grey, as what is none.
 * @param {import("./data.js").Column} column
 * @returns {Array<{value: number, name: string, color: string, count: number}>}
 */
export function categories(column) {
  const counts = new Map();
  for (const value of column.values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const none = (value) =>
    (column.name === "cluster" && value < 0) || ["neither", "none", "–"].includes(column.levels?.[value] ?? "");
  const sorted = [...counts.keys()].sort(
    (a, b) =>
      Number(none(a)) - Number(none(b)) || (column.name === "cluster" ? a - b : counts.get(b) - counts.get(a) || a - b),
  );
  const bySize = sorted.filter((value) => !none(value)).sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const ranks = new Map(bySize.slice(0, CATEGORIES).map((value, k) => [value, k]));
  return sorted.map((value) => {
    const rank = ranks.get(value) ?? -1;
    return {
      value,
      name: nameOf(column, value),
      color: rank >= 0 ? `--c${rank}` : "--c-none",
      count: counts.get(value),
    };
  });
}

function nameOf(column, value) {
  if (column.name === "cluster") return clusterName(value);
  if (column.kind === "truth") return value ? "yes" : "no";
  return column.levels?.[value] ?? "–";
}

/** The colour of each image by a column, and what a legend needs. @param {string} name */
export function coloring(name) {
  const column = columnNow(name);
  if (!column) return { column: null, categories: [], range: [0, 1], color: () => rgbOf("--c-none") };
  if (column.kind === "number") {
    // A few extreme images would leave all others pale.
    const [low, high] = robust(column.values);
    const steps = Array.from({ length: STEPS }, (_, k) => rgbOf(`--s${k}`));
    const color = (i) => {
      const value = column.values[i];
      if (Number.isNaN(value)) return rgbOf("--c-none");
      const at = Math.min(STEPS - 1.0001, Math.max(0, (value - low) / (high - low || 1)) * (STEPS - 1));
      const k = Math.floor(at);
      return steps[k].map((channel, c) => channel + (at - k) * (steps[k + 1][c] - channel));
    };
    return { column, categories: [], range: [low, high], color };
  }
  const found = categories(column);
  const colors = new Map(found.map((each) => [each.value, rgbOf(each.color)]));
  return { column, categories: found, range: [0, 1], color: (i) => colors.get(column.values[i]) ?? [128, 128, 128] };
}

/** The range of a column's values but for the 2 % least and greatest; all of it where they say nothing else. */
function robust(values) {
  const known = Float64Array.from(values)
    .filter((value) => !Number.isNaN(value))
    .sort();
  const [low, high] = [0.02, 0.98].map((q) => known[Math.round(q * (known.length - 1))]);
  return low < high ? [low, high] : extent(values);
}

/** The colour of a cluster wherever it is named. */
let clusterColors = null;
export function clusterColor(cluster) {
  const column = columnNow("cluster");
  if (!column) return "--c-none";
  clusterColors ??= new Map(categories(column).map((each) => [each.value, each.color]));
  return clusterColors.get(cluster) ?? "--c-none";
}

/** The middle of each cluster on the map: the median of its images. */
export function middles(base, among = (_i) => true) {
  const found = new Map();
  for (let i = 0; i < n; i++) {
    const cluster = base.cluster[i];
    if (cluster < 0 || !among(i)) continue;
    if (!found.has(cluster)) found.set(cluster, []);
    found.get(cluster).push(i);
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return [...found.entries()]
    .sort((a, b) => b[1].length - a[1].length)
    .map(([cluster, rows]) => ({
      cluster,
      x: median(rows.map((i) => base.x[i])),
      y: median(rows.map((i) => base.y[i])),
    }));
}
