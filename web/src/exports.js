// What the page hands out: ids, tables, queries, charts.

import { base, column, metaOf, pathOf, run, sourceIdOf, UNKNOWN, valueOf } from "./data.js";
import { forPandas, parse, quoted } from "./query.js";

/** Save text as a file. @param {string} text @param {string} name */
export function save(text, name, type = "text/plain") {
  saveBlob(new Blob([text], { type }), name);
}

function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export const idsText = (rows) => `${rows.map((i) => base.image_id[i]).join("\n")}\n`;

/** A text that a spreadsheet would take for a formula begins with ', as in the files that segscope writes. @param {string} text */
const plain = (text) => (/^'*[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text);

const cell = (value) => {
  const missing = value === null || value === undefined || Number.isNaN(value);
  const text = missing ? "" : typeof value === "string" ? plain(value) : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Rows as CSV. @param {any[][]} rows */
export const csvOf = (rows) => `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;

/** The images with all their columns. @param {number[]} rows */
export async function csvText(rows) {
  const columns = await Promise.all(run.columns.map((meta) => column(meta.name)));
  const lines = rows.map((i) => [
    base.image_id[i],
    pathOf(i),
    sourceIdOf(i),
    ...columns.map((of) => (of.name === "cluster" ? of.values[i] : valueOf(of, i))),
  ]);
  return csvOf([["image_id", "path", "source_id", ...columns.map((of) => of.name)], ...lines]);
}

/** A query for pandas that selects them in samples.parquet: theirs, where that means the same there, else their ids. */
export const queryText = (rows, query) =>
  query && isOfSamples(parse(query))
    ? forPandas(query)
    : `${quoted("image_id")} in [${rows.map((i) => base.image_id[i]).join(", ")}]`;

/** Whether samples.parquet has all its columns; what the page calls UNKNOWN is no text there. */
const isOfSamples = ({ names, texts }) => names.every((name) => metaOf(name)?.sample) && !texts.includes(UNKNOWN);

/** A chart as a file of its own: what style sheets say of it is written into it. @param {SVGElement} chart */
function standalone(chart) {
  const copy = /** @type {SVGElement} */ (chart.cloneNode(true));
  const box = chart.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(Math.round(box.width)));
  copy.setAttribute("height", String(Math.round(box.height)));
  const [own, copies] = [chart, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  const kept = [
    "fill",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "opacity",
    "fill-opacity",
    "font-family",
    "font-size",
    "font-weight",
  ];
  own.forEach((element, k) => {
    const style = getComputedStyle(element);
    for (const name of kept) copies[k].setAttribute(name, style.getPropertyValue(name));
    copies[k].removeAttribute("class");
  });
  return new XMLSerializer().serializeToString(copy);
}

/** Save a chart, or the table of what it draws. @param {any} chart an SVG or a canvas @param {string} name @param {"svg" | "png" | "csv"} type */
export async function saveChart(chart, name, type) {
  if (chart instanceof HTMLCanvasElement) {
    chart.toBlob((blob) => blob && saveBlob(blob, `${name}.png`));
    return;
  }
  if (type === "csv") {
    save(csvOf(chart.table), `${name}.csv`, "text/csv");
    return;
  }
  const text = standalone(chart);
  if (type === "svg") {
    save(text, `${name}.svg`, "image/svg+xml");
    return;
  }
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => blob && saveBlob(blob, `${name}.png`));
}
