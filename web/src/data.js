// Data beside the page, in scripts: a page opened from disk may load scripts, but not read files.

/** @type {Map<string, {promise: Promise<any>, resolve: (content: any) => void}>} */
const loading = new Map();
const TYPES = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

/** @type {any} what is said of the run as a whole: data/run.js */
export let run = null;
/** @type {any} the arrays that are always there: image_id, x, y, slot, group, width, height, split, cluster and the scores */
export let base = null;
/** How many images there are. */
export let n = 0;
/** @type {Map<string, number>} an image's place by its id */
export const placeOf = new Map();
/** @type {Map<string, Column>} those that are loaded */
const columns = new Map();

/**
 * @typedef {{name: string, label: string, kind: "number" | "truth" | "name", group: string,
 *   sample: boolean, file: string | null}} Meta
 * @typedef {Meta & {values: any, levels?: string[]}} Column
 */

/** A file beside the page is not there. */
export class LoadError extends Error {}

/** The content of NAME.js. @param {string} name @returns {Promise<any>} */
export function load(name) {
  const known = loading.get(name);
  if (known) return known.promise;
  let resolve = (_content) => {};
  const promise = new Promise((resolved, reject) => {
    resolve = resolved;
    const script = document.createElement("script");
    script.src = `${name}.js`;
    script.onerror = () => reject(new LoadError(`${name}.js cannot be loaded: is it still beside this page?`));
    script.onload = () => script.remove();
    document.head.append(script);
  });
  loading.set(name, { promise, resolve });
  return promise;
}

/** Take what the scripts hand over. */
export function listen() {
  /** @type {any} */ (window).segscope = (name, content) => loading.get(name)?.resolve(content);
}

async function inflate(data) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")));
}

/** An array as Python packed it. @param {{type: string, data: string}} packed */
export async function unpack({ type, data }) {
  return new TYPES[type](await (await inflate(data)).arrayBuffer());
}

/** Texts as Python packed them. @param {string | null} packed */
export const texts = async (packed) => (packed === null ? null : (await inflate(packed)).json());

/** @type {string[]} by place: the image's path below the source's folder */
let paths = [];
/** @type {string[] | null} by place: the source's own ids; null where they are the image's */
let sourceIds = null;
/** @param {number} i */
export const pathOf = (i) => paths[i] ?? "";
/** An image's file name. @param {number} i */
export const fileOf = (i) => pathOf(i).split("/").at(-1) ?? "";
/** What the source calls an image. @param {number} i */
export const sourceIdOf = (i) => sourceIds?.[i] ?? String(base.image_id[i]);
/** An image by all its names, in a line. @param {number} i */
export const namesOf = (i) =>
  `${pathOf(i)}, image ${base.image_id[i]}${sourceIds ? `, in its source ${sourceIdOf(i)}` : ""}`;

/** The images that have a text in their path, or are called so by their source. @param {string} text */
export function named(text) {
  const wanted = text.toLowerCase();
  const rows = [];
  for (let i = 0; i < n; i++) if (sourceIds?.[i] === text || paths[i].toLowerCase().includes(wanted)) rows.push(i);
  const exact = rows.filter((i) => sourceIds?.[i] === text || paths[i] === text || fileOf(i) === text);
  return exact.length ? exact : rows;
}

/** What is known of one image, without loading whole columns: value and hundredths of the images that have less. @param {number} i */
export async function rowOf(i) {
  const script = `data/rows/${String(Math.floor(base.slot[i] / run.sheet)).padStart(5, "0")}`;
  const content = await load(script);
  content.unpacked ??= Promise.all([unpack(content.numbers), unpack(content.percent)]);
  const [numbers, percent] = await content.unpacked;
  const own = base.slot[i] % run.sheet;
  return run.columns.map((meta, k) => {
    const at = own * run.columns.length + k;
    return { meta, value: content.words[meta.name]?.[own] ?? numbers[at], percent: percent[at] };
  });
}

/** Load what every view needs. */
export async function loadRun() {
  const [content, packed, called] = await Promise.all([load("data/run"), load("data/base"), load("data/names")]);
  [paths, sourceIds] = await Promise.all([called.paths, called.ids].map(texts));
  const names = Object.keys(packed);
  const arrays = await Promise.all(names.map((name) => unpack(packed[name])));
  base = Object.fromEntries(names.map((name, i) => [name, arrays[i]]));
  run = content;
  n = base.image_id.length;
  for (let i = 0; i < n; i++) placeOf.set(String(base.image_id[i]), i);
  findGroups(base.group);
  for (const meta of run.columns)
    if (!meta.file) columns.set(meta.name, { ...meta, values: base[meta.name], levels: packed[meta.name].levels });
  const val = columns.get("split")?.levels?.indexOf("val");
  valMask = Uint8Array.from(base.split, (code) => Number(code === val));
}

function findGroups(own) {
  const sizes = new Int32Array(n);
  for (const each of own) sizes[each] += 1;
  const number = sizes.map((size) => (size > 1 ? groupCount++ : -1));
  group = Int32Array.from(own, (each) => number[each]);
}

/** A column, or undefined if it is not loaded. @param {string} name */
export const columnNow = (name) => columns.get(name);

/** The columns that count the instances of the variant's classes, if there are such columns. */
export const classCounts = () =>
  run.classes
    .flatMap(({ name, of }) => [name, ...of].flatMap((each) => [`count.${each}`, `count.super.${each}`]))
    .filter((name, i, all) => metaOf(name) && all.indexOf(name) === i);

/** What is known of a column. @param {string} name @returns {Meta | undefined} */
export const metaOf = (name) => run.columns.find((meta) => meta.name === name);

/** Load a column. @param {string} name @returns {Promise<Column>} */
export async function column(name) {
  const known = columns.get(name);
  if (known) return known;
  const meta = metaOf(name);
  if (!meta) throw new Error(`there is no column ${name}`);
  const packed = await load(/** @type {string} */ (meta.file));
  const made = { ...meta, values: await unpack(packed), levels: packed.levels };
  columns.set(name, made);
  return made;
}

/** Load all columns of numbers and truths. @returns {Promise<Column[]>} */
export const allNumbers = () =>
  Promise.all(run.columns.filter((meta) => meta.kind !== "name").map((meta) => column(meta.name)));

/** What stands for a name that is not known, in columns of names too. */
export const UNKNOWN = "–";

/** An image's value in words. @param {Column} of @param {number} i */
export function valueOf(of, i) {
  const value = of.values[i];
  if (of.name === "cluster") return clusterName(value);
  if (of.kind === "name") return of.levels?.[value] ?? UNKNOWN;
  if (of.kind === "truth") return value ? "yes" : "no";
  return value;
}

/** Whether the run trained its model: of another one nobody but its owner knows what it learned from. */
export const isTrained = () => run.modelSource === "train";

/** In whose eyes images are alike on the map. */
export const mapOf = () => (run.unseen ? "the pretrained encoder" : "the model");

/** @param {number} c */
export const clusterOf = (c) => run.clusters.find((each) => each.cluster === c);
export const clusterName = (c) => (c < 0 ? "no cluster" : `${c} ${clusterOf(c)?.name ?? ""}`);

/** @type {Uint8Array} by place: 1 of the split that is only ever measured on */
export let valMask;
/** Whether an image is of that split. @param {number} i */
export const isVal = (i) => valMask[i] === 1;
/** @type {Int32Array} by place: the group that an image shares with others, 0 …, or -1 of one that is alone */
export let group;
/** How many groups of several images there are. */
export let groupCount = 0;
export function levelOf(name, i) {
  const of = columns.get(name);
  return of?.levels?.[of.values[i]];
}

/** How many groups must carry a measure for its interval; where two sides are compared, each side. @param {string} name */
export function least(name) {
  if (name === "separability") return 50;
  return /^(difference|held)\./.test(name) ? run.few : run.trusted;
}
/**
 * A measure of a split, or null.
 * @returns {{value: number, low: number | null, high: number | null, images: number, carriers: number, least: number} | null}
 */
export function measure(name, split = "val") {
  const row = run.measures[split]?.[name];
  return row
    ? { value: row[0], low: row[1], high: row[2], images: row[3], carriers: row[4], least: least(name) }
    : null;
}
/** What is independent, in a word: images, or groups of them. */
export const units = () => run.unit.split(" ")[0];
/** Whether enough groups carry it for its interval. */
export const trusted = (m) => m !== null && m.low !== null && m.carriers >= m.least;
