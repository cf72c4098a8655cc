// A review's marks: kept in this browser by the run, undone, written as data.exclude reads them, and read again.

import { run } from "./data.js";

/** @typedef {"E" | "K" | "U"} Mark exclude, keep, unsure */

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
  try {
    for (const [suspect, mark] of Object.entries(JSON.parse(localStorage.getItem(key) ?? "{}")))
      marks.set(suspect, mark);
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
  history.push({ suspect: name, mark, before: marks.get(name) ?? null });
  marks.set(name, mark);
  keep();
}

/** Take the last mark back. @returns {string | null} the suspect's name */
export function undo() {
  const last = history.pop();
  if (!last) return null;
  if (last.before) marks.set(last.suspect, last.before);
  else marks.delete(last.suspect);
  keep();
  return last.suspect;
}

/** How many of each. @param {any[]} suspects */
export function tally(suspects) {
  const found = { E: 0, K: 0, U: 0 };
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

/** All marks, to be read again here or in another browser. */
export const marksJson = () => `${JSON.stringify({ run: run.id, marks: Object.fromEntries(marks) }, null, 1)}\n`;

/**
 * Read marks from a file that this page wrote: marks.json, or exclude.yaml.
 * @param {string} text
 * @param {any[]} suspects
 * @returns {number} how many were read
 * @throws {Error} what is wrong with it
 */
export function readMarks(text, suspects) {
  const found = text.trimStart().startsWith("{") ? fromJson(text) : fromYaml(text, suspects);
  const known = new Set(suspects.map(nameOf));
  const own = found.filter(([suspect]) => known.has(suspect));
  for (const [suspect, mark] of own) {
    history.push({ suspect, mark, before: marks.get(suspect) ?? null });
    marks.set(suspect, mark);
  }
  keep();
  return own.length;
}

function fromJson(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error("this is no file of marks");
  }
  if (content.run !== run.id) throw new Error(`these marks are of another run (${content.run ?? "unknown"})`);
  return Object.entries(content.marks ?? {}).filter(([, mark]) => ["E", "K", "U"].includes(mark));
}

function fromYaml(text, suspects) {
  const source = text
    .match(/^source: (.*)$/m)?.[1]
    .trim()
    .replace(/^["']|["']$/g, "");
  if (source !== run.origin)
    throw new Error(`this file is of source “${source ?? "unknown"}”, the run of “${run.origin}”`);
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
