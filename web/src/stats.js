// The chosen images against the rest. The unit is the group: of near copies the mean counts once.

/** The value below which a normal variable falls with a probability; Acklam's approximation, to 1e-9. @param {number} p */
export function normalQuantile(p) {
  const a = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239,
  ];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572];
  const c = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416];
  const poly = (of, x) => of.reduce((sum, each) => sum * x + each, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return poly(c, q) / (poly(d, q) * q + 1);
  }
  if (p > 1 - 0.02425) return -normalQuantile(1 - p);
  const q = p - 0.5;
  return (poly(a, q * q) * q) / (poly(b, q * q) * q * q + 1);
}

/**
 * The same of Student's t, with any positive degrees of freedom: Hill 1970, Algorithm 396.
 * @param {number} p above 1/2 @param {number} df
 */
export function tQuantile(p, df) {
  const tails = 2 * (1 - p);
  const a = 1 / (df - 0.5);
  const b = 48 / a ** 2;
  let c = (((20700 * a) / b - 98) * a - 16) * a + 96.36;
  const d = ((94.5 / (b + c) - 3) / b + 1) * Math.sqrt((a * Math.PI) / 2) * df;
  let y = (d * tails) ** (2 / df);
  if (y > 0.05 + a) {
    const x = normalQuantile(tails / 2);
    y = x * x;
    if (df < 5) c += 0.3 * (df - 4.5) * (x + 0.6);
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b;
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
    y = Math.expm1(a * y ** 2);
  } else
    y =
      ((1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)) * y - 1) *
        ((df + 1) / (df + 2)) +
      1 / y;
  return Math.sqrt(df * y);
}

/** A mean and the sum of squares about it, value by value; sums are about the first one, so that they stay exact. */
class Moments {
  units = 0;
  origin = 0;
  sum = 0;
  sumOfSquares = 0;

  add(value) {
    if (!this.units) this.origin = value;
    const away = value - this.origin;
    this.units += 1;
    this.sum += away;
    this.sumOfSquares += away * away;
  }
  get mean() {
    return this.units ? this.origin + this.sum / this.units : NaN;
  }
  get squares() {
    return Math.max(0, this.sumOfSquares - this.sum ** 2 / this.units);
  }
}

/**
 * A column's mean over the chosen images and over the others, with the 95 % interval of their difference (Welch's t over
 * groups: of a group that has images on a side their mean counts once). low and high are NaN where a side has fewer
 * than `least` groups. careful: a side by whose few groups nothing seems to vary is taken to vary as both do.
 * @param {ArrayLike<number>} values NaN: unknown
 * @param {Uint8Array} chosen
 * @param {Uint8Array} among the images that count at all
 * @param {ArrayLike<number>} group 0 … groups-1, or -1 of an image that is alone
 * @param {number} groups
 * @param {{least?: number, level?: number, careful?: boolean}} [options]
 */
export function contrast(values, chosen, among, group, groups, { least = 10, level = 0.95, careful = false } = {}) {
  const inside = new Moments();
  const rest = new Moments();
  const sums = [new Float64Array(groups), new Float64Array(groups)];
  const counts = [new Int32Array(groups), new Int32Array(groups)];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!among[i] || Number.isNaN(value)) continue;
    const own = group[i];
    if (own < 0) (chosen[i] ? inside : rest).add(value);
    else {
      const side = chosen[i] ? 0 : 1;
      sums[side][own] += value;
      counts[side][own] += 1;
    }
  }
  [inside, rest].forEach((moments, side) => {
    for (let g = 0; g < groups; g++) if (counts[side][g]) moments.add(sums[side][g] / counts[side][g]);
  });
  const means = [inside.mean, rest.mean];
  const difference = means[0] - means[1];
  const errors = [inside, rest].map(({ units, squares }) => squares / (units - 1) / units);
  const units = [inside.units, rest.units];
  const pooled = (inside.squares + rest.squares) / (units[0] + units[1] - 2);
  const together = careful ? pooled * (1 / units[0] + 1 / units[1]) : 0;
  const error = Math.max(errors[0] + errors[1], together);
  const enough = inside.units >= Math.max(2, least) && rest.units >= Math.max(2, least) && error > 0;
  const df = careful
    ? Math.min(...units) - 1
    : error ** 2 / (errors[0] ** 2 / (inside.units - 1) + errors[1] ** 2 / (rest.units - 1));
  const half = enough ? tQuantile((1 + level) / 2, df) * Math.sqrt(error) : NaN;
  const spread = Math.sqrt(pooled);
  return {
    inside: means[0],
    rest: means[1],
    units,
    difference,
    low: difference - half,
    high: difference + half,
    effect: spread > 0 ? difference / spread : NaN,
  };
}

/** The least and the greatest known value. @param {ArrayLike<number>} values @param {(i: number) => boolean} [among] */
export function extent(values, among = () => true) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isNaN(value) || !among(i)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/**
 * How many of the values fall into each of equal bins.
 * @param {ArrayLike<number>} values
 * @param {number[]} range its least and greatest
 * @param {number} bins
 * @param {(i: number) => boolean} [among]
 */
export function histogram(values, range, bins, among = (_i) => true) {
  const [low, high] = range;
  const counts = new Array(bins).fill(0);
  const scale = bins / (high - low || 1);
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i]) || !among(i) || values[i] < low || values[i] > high) continue;
    counts[Math.min(bins - 1, Math.floor((values[i] - low) * scale))] += 1;
  }
  return counts;
}

/** @type {WeakMap<any, number>} */
const medians = new WeakMap();
/** The median of a column's known values, found once. @param {{values: ArrayLike<number>}} column */
export function medianOf({ values }) {
  let known = medians.get(values);
  if (known === undefined) {
    const sorted = Float64Array.from(values)
      .filter((value) => !Number.isNaN(value))
      .sort();
    known = sorted[sorted.length >> 1] ?? NaN;
    medians.set(values, known);
  }
  return known;
}

/** The places of the images in the order of a column, the greatest first; unknown ones last. */
export function ordered(rows, values, descending = true) {
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
    return sign * (x - y) || a - b;
  });
}
