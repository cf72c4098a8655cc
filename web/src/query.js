// Conditions on columns as pandas' DataFrame.query has them: read, asked of an image, and written.

const TOKEN =
  /\s*(?:(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`([^`]+)`|([A-Za-z_][\w.]*)|(==|!=|<=|>=|[<>()[\],+\-*/&|~]))/iy;
const WORDS = new Set(["and", "or", "not", "in", "True", "False"]);

const ESCAPES = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f" };

/** The text that Python, or JSON, writes so between quotes. */
const unescaped = (text) =>
  text.replace(/\\(?:x([\da-f]{2})|u([\da-f]{4})|U([\da-f]{8})|(.))/gis, (_, x, u, long, letter) =>
    letter === undefined ? String.fromCodePoint(parseInt(x ?? u ?? long, 16)) : (ESCAPES[letter] ?? letter),
  );

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  const trimmed = text.trimEnd();
  while (TOKEN.lastIndex < trimmed.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(trimmed);
    if (!match) throw new Error(`“${trimmed.slice(at)}” is not understood`);
    const [, number, double, single, quoted, word, sign] = match;
    if (number !== undefined) found.push({ kind: "value", value: Number(number) });
    else if (double !== undefined || single !== undefined)
      found.push({ kind: "value", value: unescaped(double ?? single) });
    else if (quoted !== undefined) found.push({ kind: "name", value: quoted });
    else if (word === "True" || word === "False") found.push({ kind: "value", value: word === "True" });
    else if (word !== undefined) found.push({ kind: WORDS.has(word) ? "sign" : "name", value: word });
    else found.push({ kind: "sign", value: { "&": "and", "|": "or", "~": "not" }[sign] ?? sign });
  }
  return found;
}

const COMPARE = {
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};
const plain = (value) => (typeof value === "boolean" ? Number(value) : value);

const DAY = /^\d{4}-\d\d-\d\d/;
/** Columns of parts are float32, what is written beside them is not: 0.7 of one is 0.7 of the other. */
const asStored = (value, other) =>
  typeof value === "number" && !Number.isInteger(value) && Math.fround(other) === other ? Math.fround(value) : value;
/** Whether a column's value is from one number to another, as a query would have it. */
export const isWithin = (value, low, high) => value >= asStored(low, value) && value <= asStored(high, value);
/** A date beside a number is the year, and the part of it: the page has columns of dates so. */
const beside = (value, other) =>
  typeof value === "string" && typeof other === "number" && DAY.test(value) ? yearOf(value) : asStored(value, other);
function yearOf(text) {
  const time = Date.parse(text.length > 10 ? `${text.replace(" ", "T")}Z` : text);
  const year = new Date(time).getUTCFullYear();
  const [start, end] = [year, year + 1].map((each) => Date.UTC(each));
  return year + (time - start) / (end - start);
}

/**
 * Read a condition.
 * @param {string} text
 * @returns {{names: string[], texts: any[], test: (get: (name: string, i: number) => any, i: number) => boolean}} names:
 *   the columns it asks for. texts: those it compares with. test: whether it holds of an image, where get gives a
 *   column's value.
 * @throws {Error} saying what is not understood
 */
export function parse(text) {
  const list = tokens(text);
  const names = new Set();
  let at = 0;
  const is = (sign) => list[at]?.kind === "sign" && list[at].value === sign;
  const take = (sign) => is(sign) && Boolean(++at);
  const must = (sign) => {
    if (!take(sign)) throw new Error(`“${sign}” is missing${list[at] ? ` before “${list[at].value}”` : " at the end"}`);
  };

  function either() {
    let left = both();
    while (take("or")) {
      const [a, b] = [left, both()];
      left = (get, i) => a(get, i) || b(get, i);
    }
    return left;
  }
  function both() {
    let left = negation();
    while (take("and")) {
      const [a, b] = [left, negation()];
      left = (get, i) => a(get, i) && b(get, i);
    }
    return left;
  }
  function negation() {
    if (!take("not")) return comparison();
    const of = negation();
    return (get, i) => !of(get, i);
  }
  function comparison() {
    const first = sum();
    if (take("in")) return membership(first, false);
    if (is("not") && list[at + 1]?.value === "in") {
      at += 2;
      return membership(first, true);
    }
    const links = [];
    while (list[at]?.kind === "sign" && list[at].value in COMPARE) links.push([COMPARE[list[at++].value], sum()]);
    if (!links.length) return first;
    return (get, i) => {
      let left = plain(first(get, i));
      return links.every(([compare, side]) => {
        const right = plain(side(get, i));
        const holds = compare(beside(left, right), beside(right, left));
        left = right;
        return holds;
      });
    };
  }
  function membership(of, negated) {
    must("[");
    const values = new Set();
    while (!is("]")) {
      const minus = take("-");
      const token = list[at++];
      if (token?.kind !== "value") throw new Error("a list holds numbers or quoted names");
      values.add(minus ? -token.value : plain(token.value));
      if (!take(",")) break;
    }
    must("]");
    const stored = new Set([...values].map((value) => asStored(value, 0)));
    return (get, i) => {
      const value = plain(of(get, i));
      return (values.has(value) || stored.has(value)) !== negated;
    };
  }
  function sum() {
    let left = product();
    while (is("+") || is("-")) {
      const sign = list[at++].value === "+" ? 1 : -1;
      const [a, b] = [left, product()];
      left = (get, i) => a(get, i) + sign * b(get, i);
    }
    return left;
  }
  function product() {
    let left = unit();
    while (is("*") || is("/")) {
      const times = list[at++].value === "*";
      const [a, b] = [left, unit()];
      left = (get, i) => (times ? a(get, i) * b(get, i) : a(get, i) / b(get, i));
    }
    return left;
  }
  function unit() {
    if (take("-")) {
      const of = unit();
      return (get, i) => -of(get, i);
    }
    if (take("(")) {
      const of = either();
      must(")");
      return of;
    }
    const token = list[at++];
    if (!token) throw new Error("the condition ends too soon");
    if (token.kind === "value") return () => token.value;
    if (token.kind !== "name") throw new Error(`“${token.value}” is not expected here`);
    names.add(token.value);
    return (get, i) => get(token.value, i);
  }

  const test = either();
  if (at < list.length) throw new Error(`“${list[at].value}” is not expected here`);
  const texts = list
    .filter(({ kind, value }) => kind === "value" && typeof value === "string")
    .map(({ value }) => value);
  return { names: [...names], texts, test: (get, i) => Boolean(test(get, i)) };
}

/** A condition as pandas reads it: names with dots are quoted, which the page does not ask for. @param {string} text */
export const forPandas = (text) =>
  text.replace(new RegExp(TOKEN, "giy"), (token, _number, _double, _single, _quoted, word) =>
    word?.includes(".") ? token.replace(word, quoted(word)) : token,
  );

/** A column's name as a query has it. @param {string} name */
export const quoted = (name) => (/^[A-Za-z_]\w*$/.test(name) && !WORDS.has(name) ? name : `\`${name}\``);

const literal = (value) =>
  typeof value === "string"
    ? JSON.stringify(value)
    : String(Number.isInteger(value) ? value : Number(value.toPrecision(9)));

/**
 * Filters as a query.
 * @param {Object<string, {low?: number, high?: number, values?: Array<string | number>}>} filters
 */
export function write(filters) {
  const parts = [];
  for (const [name, { low, high, values }] of Object.entries(filters)) {
    const column = quoted(name);
    if (values)
      parts.push(
        values.length === 1 ? `${column} == ${literal(values[0])}` : `${column} in [${values.map(literal).join(", ")}]`,
      );
    if (low !== undefined) parts.push(`${column} >= ${literal(low)}`);
    if (high !== undefined) parts.push(`${column} <= ${literal(high)}`);
  }
  return parts.join(" and ");
}
