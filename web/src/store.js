// One state; whoever changes it asks for one rendering a frame.

import { base, column, columnNow, n, run } from "./data.js";
import { isWithin, parse, write } from "./query.js";

/** @typedef {{low?: number, high?: number, values?: Array<string | number>}} Filter */

/** What the address holds too. */
export const DEFAULTS = {
  view: "overview",
  sub: "",
  image: -1, // the opened image's place
  color: "cluster",
  size: "",
  /** @type {Object<string, Filter>} by column */
  filters: {},
  order: "loss", // the grid's
  layout: "side",
  layers: ["labels", "predicted", "errors", "loss"],
  object: "",
  against: "",
  outcome: "missed",
  objectClass: "",
  category: "",
  objectSize: "",
  cluster: "",
  kind: "", // of the review's queue
  suspect: 0,
};

export const state = {
  ...DEFAULTS,
  /** @type {Uint8Array | null} by place */
  selected: null,
  count: 0,
  origin: "", // how the selection was made, in words
  query: "", // or as a query
  /** @type {number[]} the images that previous and next go through */
  queue: [],
  opacity: 0.6,
  attention: true,
  from: "explore", // the view that an image was opened from
};

const listeners = [];
const changed = new Set();
let waiting = false;

/** Be called with the set of changed keys, once a frame. @param {(changed: Set<string>) => void} listener */
export const subscribe = (listener) => listeners.push(listener);

/** @param {Partial<typeof state>} patch */
export function setState(patch) {
  Object.assign(state, patch);
  for (const key of Object.keys(patch)) changed.add(key);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(flush);
}

function flush() {
  waiting = false;
  const keys = new Set(changed);
  changed.clear();
  for (const listener of listeners) listener(keys);
}

// ---- which images are shown ----
let shownFor = null;
let shownMask = null;

/** The images that the filters keep, by place; the columns of filters are loaded. */
export function shown() {
  if (shownFor !== state.filters || !shownMask) {
    shownMask = new Uint8Array(n).fill(1);
    for (const [name, filter] of Object.entries(state.filters)) keep(shownMask, name, filter);
    shownFor = state.filters;
  }
  return shownMask;
}

/** @param {Uint8Array} mask @param {string} name @param {Filter} filter */
function keep(mask, name, { low = -Infinity, high = Infinity, values }) {
  const of = columnNow(name);
  if (!of) return;
  const wanted = values && new Set(of.levels ? values.map((value) => of.levels?.indexOf(String(value))) : values);
  for (let i = 0; i < n; i++) {
    const value = of.values[i];
    if (wanted ? !wanted.has(value) : !isWithin(value, low, high)) mask[i] = 0;
  }
}

/** The mask of all images but that of one filter: what its histogram stands on. */
export function shownBut(name) {
  const mask = new Uint8Array(n).fill(1);
  for (const [other, filter] of Object.entries(state.filters)) if (other !== name) keep(mask, other, filter);
  return mask;
}

/** Change a filter, or take it away. @param {string} name @param {Filter | null} filter */
export async function setFilter(name, filter) {
  await column(name);
  const filters = { ...state.filters };
  if (filter) filters[name] = filter;
  else delete filters[name];
  setState({ filters });
}

/** The places of the images that something holds of. @param {(i: number) => boolean} holds */
export function rowsWhere(holds) {
  const rows = [];
  for (let i = 0; i < n; i++) if (holds(i)) rows.push(i);
  return rows;
}

export function rowsOf(mask) {
  const rows = [];
  for (let i = 0; i < n; i++) if (mask[i]) rows.push(i);
  return rows;
}

// ---- the selection ----

/** Select images. @param {Iterable<number>} rows their places @param {string} origin in words @param {string} [query] */
export function select(rows, origin, query = "") {
  const selected = new Uint8Array(n);
  let count = 0;
  for (const i of rows) {
    if (!selected[i]) count += 1;
    selected[i] = 1;
  }
  setState({ selected: count ? selected : null, count, origin: count ? origin : "", query: count ? query : "" });
}

/** Add images to the selection, or take them away. */
export function extend(rows, mode, origin) {
  const mask = state.selected ? state.selected.slice() : new Uint8Array(n);
  for (const i of rows) mask[i] = mode === "remove" ? 0 : 1;
  select(rowsOf(mask), state.count ? `${state.origin}, changed` : origin);
}

export function toggle(i) {
  extend([i], state.selected?.[i] ? "remove" : "add", "chosen one by one");
}

export const clear = () => select([], "");

/** The places of the selected images. */
export const selectedRows = () => (state.selected ? rowsOf(state.selected) : []);

/** Select by a condition. @param {string} text @returns {Promise<number>} how many @throws {Error} what is wrong with it */
export async function selectBy(text) {
  const { names, test } = parse(text);
  const chosen = await matching(names, test);
  select(chosen, "", text);
  return chosen.length;
}

async function matching(names, test) {
  const known = new Set([...run.columns.map((meta) => meta.name), "image_id", "x", "y", "width", "height"]);
  for (const name of names) if (!known.has(name)) throw new Error(`there is no column “${name}”`);
  await Promise.all(names.filter((name) => !(name in base)).map((name) => column(name)));
  const getters = Object.fromEntries(names.map((name) => [name, getterOf(name)]));
  const get = (name, i) => getters[name](i);
  const rows = [];
  for (let i = 0; i < n; i++) if (test(get, i)) rows.push(i);
  return rows;
}

/** What gives an image's value of a column: its level, where it has levels. */
function getterOf(name) {
  const of = columnNow(name);
  const values = of?.values ?? base[name];
  const levels = of?.levels;
  return levels ? (i) => levels[values[i]] : (i) => values[i];
}

/** Select what the filters keep. */
export const selectShown = () => select(rowsOf(shown()), "all images", write(state.filters));

/** Open an image; `queue`: those that previous and next go through. @param {number} i @param {number[]} [queue] */
export function openImage(i, queue, object = "") {
  const from = state.view === "image" ? state.from : state.view;
  setState({ view: "image", sub: "", image: i, object, from, ...(queue ? { queue } : {}) });
}
