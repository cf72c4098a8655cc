// A review's marks: kept in this browser by the run, undone, written as data.exclude and data.corrections read them,
// and read again.

import { fileOf, placeOf, run } from "./data.js";

/** @typedef {"E" | "K" | "U" | "C" | "N"} Mark exclude, keep, unsure; correct: the suggested category, no object */

let key = "";
/** @type {Array<{suspect: string, mark: Mark, before: Mark | null}>} */
const history = [];
/** @type {Map<string, Mark>} */
const marks = new Map();
/** Whether the browser keeps them. */
export let kept = true;

/** A suspect's own name: the annotation, or, of what is not labelled, the place. */
export const nameOf = (suspect) =>
  `${suspect.image_id}/${suspect.annotation_id ?? `missing at ${suspect.box.join(" ")}`}/${suspect.kind}`;

export function openMarks() {
  key = `segscope.marks.${run.id}`;
  refresh();
  window.addEventListener("storage", (event) => event.key === key && refresh());
}

/** Take over what the browser keeps: another tab of this report may have marked something. */
function refresh() {
  if (!kept) return; // here are marks that it does not keep
  try {
    const stored = Object.entries(JSON.parse(localStorage.getItem(key) ?? "{}"));
    marks.clear();
    for (const [suspect, mark] of stored) marks.set(suspect, mark);
  } catch {
    kept = false;
  }
}

function keep() {
  try {
    localStorage.setItem(key, JSON.stringify(Object.fromEntries(marks)));
    kept = true;
  } catch {
    kept = false;
  }
}

/** @returns {Mark | null} */
export const markOf = (suspect) => marks.get(nameOf(suspect)) ?? null;

/** @param {any} suspect @param {Mark} mark */
export function setMark(suspect, mark) {
  const name = nameOf(suspect);
  refresh();
  history.push({ suspect: name, mark, before: marks.get(name) ?? null });
  marks.set(name, mark);
  keep();
}

/** Take the last mark back. @returns {string | null} the suspect's name */
export function undo() {
  const last = history.pop();
  if (!last) return null;
  refresh();
  if (last.before) marks.set(last.suspect, last.before);
  else marks.delete(last.suspect);
  keep();
  return last.suspect;
}

/** How many of each. @param {any[]} suspects */
export function tally(suspects) {
  const found = { E: 0, K: 0, U: 0, C: 0, N: 0 };
  for (const suspect of suspects) {
    const mark = markOf(suspect);
    if (mark) found[mark] += 1;
  }
  return found;
}

/** What to leave out, as data.exclude reads it. @param {any[]} suspects */
export function excludeYaml(suspects) {
  const images = new Set();
  /** @type {Map<number, number[]>} */
  const annotations = new Map();
  for (const suspect of suspects) {
    if (markOf(suspect) !== "E") continue;
    if (suspect.annotation_id === null) images.add(suspect.image_id);
    else
      annotations.set(suspect.image_id, [
        ...new Set([...(annotations.get(suspect.image_id) ?? []), suspect.annotation_id]),
      ]);
  }
  const rows = [...annotations.entries()].map(([id, list]) => `  ${id}: [${list.join(", ")}]\n`).join("");
  return `source: ${JSON.stringify(run.origin)}\nimages: [${[...images].join(", ")}]\nannotations:${rows ? `\n${rows}` : " {}\n"}`;
}

/**
 * The category that a suspect's annotation would get: the suggested class's, where the class is one category.
 * @returns {{id: number | string, name: string} | null}
 */
export function categoryFor({ kind, annotation_id: annotation, suggested }) {
  if (kind !== "mislabeled" || annotation === null) return null;
  return run.classes.find((each) => each.name === suggested)?.category ?? null;
}

/**
 * What the review corrects, as data.corrections reads it: a COCO file whose annotations stand for those of the same id.
 * One with a category_id alone gets another category, one that is `removed` is no object. Outlines are drawn elsewhere.
 * @param {any[]} suspects
 */
export function correctionsJson(suspects) {
  /** @type {Map<string, any>} by image and annotation: two suspects may be of one */
  const found = new Map();
  const categories = new Map();
  for (const suspect of suspects) {
    const { annotation_id: id, image_id: image } = suspect;
    const category = categoryFor(suspect);
    const key = `${image}/${id}`;
    if (markOf(suspect) === "N" && id !== null) found.set(key, { id, image_id: image, removed: true });
    else if (markOf(suspect) === "C" && category && !found.get(key)?.removed) {
      found.set(key, { id, image_id: image, category_id: category.id });
      categories.set(category.id, category);
    }
  }
  const annotations = [...found.values()];
  const images = [...new Set(annotations.map((each) => each.image_id))];
  const content = {
    info: { description: "corrections of a review in segscope's report", segscope_source: run.origin },
    images: images.map((id) => ({ id, file_name: fileOf(placeOf.get(String(id)) ?? -1) })),
    annotations,
    categories: [...categories.values()],
  };
  return `${JSON.stringify(content, null, 1)}\n`;
}

/** All marks, to be read again here or in another browser. */
export const marksJson = () => `${JSON.stringify({ run: run.id, marks: Object.fromEntries(marks) }, null, 1)}\n`;

/**
 * Read marks from a file that this page wrote: marks.json, exclude.yaml or corrections.json.
 * @param {string} text
 * @param {any[]} suspects
 * @returns {number} how many were read
 * @throws {Error} what is wrong with it
 */
export function readMarks(text, suspects) {
  const found = text.trimStart().startsWith("{") ? fromJson(text, suspects) : fromYaml(text, suspects);
  const known = new Set(suspects.map(nameOf));
  const own = found.filter(([suspect]) => known.has(suspect));
  for (const [suspect, mark] of own) {
    history.push({ suspect, mark, before: marks.get(suspect) ?? null });
    marks.set(suspect, mark);
  }
  keep();
  return own.length;
}

function fromJson(text, suspects) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error("this is no file of marks");
  }
  if (Array.isArray(content.annotations)) return fromCorrections(content, suspects);
  if (content.run !== run.id) throw new Error(`these marks are of another run (${content.run ?? "unknown"})`);
  return Object.entries(content.marks ?? {}).filter(([, mark]) => ["E", "K", "U", "C", "N"].includes(mark));
}

/** Of the corrections those that are a suspect's suggestion, or remove it; others are not a review's. */
function fromCorrections({ info, annotations }, suspects) {
  sameSource(info?.segscope_source);
  // Ids of annotations may be unique in their image only.
  const own = new Map(annotations.map((each) => [`${each.image_id ?? ""}/${each.id}`, each]));
  return suspects
    .map((suspect) => {
      const { image_id: image, annotation_id: id } = suspect;
      const found = own.get(`${image}/${id}`) ?? own.get(`/${id}`);
      if (!found) return null;
      if (found.removed === true) return [nameOf(suspect), "N"];
      return found.category_id === categoryFor(suspect)?.id ? [nameOf(suspect), "C"] : null;
    })
    .filter((each) => each !== null);
}

function sameSource(source) {
  if (source !== run.origin)
    throw new Error(`this file is of source “${source ?? "unknown"}”, the run of “${run.origin}”`);
}

function fromYaml(text, suspects) {
  const source = text.match(/^source: (.*)$/m)?.[1].trim();
  sameSource(source?.startsWith('"') ? JSON.parse(source) : source?.replace(/^'|'$/g, ""));
  const numbers = (list) =>
    (list ?? "")
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean)
      .map(Number);
  const images = new Set(numbers(text.match(/^images: *\[([^\]]*)\]/m)?.[1]));
  const annotations = new Map(
    [...text.matchAll(/^ +(-?\d+): *\[([^\]]*)\]/gm)].map(([, id, list]) => [Number(id), new Set(numbers(list))]),
  );
  return suspects
    .filter((each) =>
      each.annotation_id === null ? images.has(each.image_id) : annotations.get(each.image_id)?.has(each.annotation_id),
    )
    .map((each) => [nameOf(each), "E"]);
}
