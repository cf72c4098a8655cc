// Numbers in words.

const MINUS = "−";
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** With so many decimals. @param {number | null | undefined} value */
export const fixed = (value, digits = 3) => (known(value) ? Number(value).toFixed(digits).replace("-", MINUS) : "–");

/** As short as three significant digits say it. @param {any} value */
export function short(value) {
  if (!known(value)) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value).replace("-", MINUS);
  // With a decimal: of a year, 2013.7 is not 2014.
  const text = Math.abs(value) >= 1000 ? value.toFixed(1) : String(Number(value.toPrecision(3)));
  return text.replace("-", MINUS);
}

/** With its sign. @param {number | null} value */
export const signed = (value, digits = 2) =>
  known(value) ? `${Number(value) < 0 ? MINUS : "+"}${Math.abs(Number(value)).toFixed(digits)}` : "–";

/** A share in percent. @param {number | null | undefined} value */
export function percent(value, digits = 0) {
  return known(value) ? `${(100 * Number(value)).toFixed(digits).replace("-", MINUS)} %` : "–";
}

/** An interval. */
export const range = (low, high, digits = 3) => `${fixed(low, digits)} – ${fixed(high, digits)}`;

/** So many of something. @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A name that is written from right to left, so that what stands beside it in a sentence stays there. @param {string} name */
export const isolated = (name) =>
  /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(name) ? `\u2068${name}\u2069` : name;

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
