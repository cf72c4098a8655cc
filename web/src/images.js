// Pictures: thumbnails cut from sheets, photographs, and the layers laid over them, painted here from their levels.

import { base, fileOf, load, run, unpack } from "./data.js";
import { h, setStyle } from "./dom.js";
import { heatColor, levels, paint, paintClasses, paintErrors, rgb } from "./paint.js";

// ---- thumbnails ----
/** @type {Map<number, Promise<void>>} */
const sheets = new Map();
const sheetOf = (i) => Math.floor(base.slot[i] / run.sheet);
const sheetFile = (number) => `thumbs/${String(number).padStart(5, "0")}.webp`;

function sheet(number) {
  let known = sheets.get(number);
  if (!known) {
    known = new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve();
      image.onerror = () => reject(new Error(`${sheetFile(number)} cannot be loaded`));
      image.src = sheetFile(number);
    });
    sheets.set(number, known);
  }
  return known;
}

// A thumbnail is loaded when it comes near the screen.
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      /** @type {any} */ (target).fill();
    }
  },
  { rootMargin: "300px" },
);

/**
 * An image's thumbnail, cut to 4 : 3, or what of it is in a frame.
 * @param {number} i
 * @param {{whole?: boolean}} [options] whole: nothing is cut off
 */
export function thumb(i, { whole = false } = {}) {
  const made = h("span.pic", { role: "img", "aria-label": `Image ${base.image_id[i]}, ${fileOf(i)}` });
  made.fill = () => paintThumb(made, i, whole);
  near.observe(made);
  return made;
}

function paintThumb(element, i, whole) {
  const number = sheetOf(i);
  const side = run.thumbnail;
  const total = side * Math.sqrt(run.sheet);
  const scale = Math.min(1, side / Math.max(base.width[i], base.height[i]));
  const width = Math.max(1, Math.round(base.width[i] * scale));
  const height = Math.max(1, Math.round(base.height[i] * scale));
  const aspect = whole ? width / height : 4 / 3;
  const seen = width / height >= aspect ? [height * aspect, height] : [width, width / aspect];
  const cell = base.slot[i] % run.sheet;
  const left = (cell % Math.sqrt(run.sheet)) * side + (width - seen[0]) / 2;
  const top = Math.floor(cell / Math.sqrt(run.sheet)) * side + (height - seen[1]) / 2;
  if (whole) setStyle(element, { "aspect-ratio": `${width} / ${height}` });
  sheet(number).then(
    () =>
      setStyle(element, {
        "background-image": `url("${sheetFile(number)}")`,
        "background-size": `${(100 * total) / seen[0]}% ${(100 * total) / seen[1]}%`,
        "background-position": `${(100 * left) / (total - seen[0])}% ${(100 * top) / (total - seen[1])}%`,
      }),
    () => missing(element, sheetFile(number)),
  );
}

/** Say in a picture's place which file there is none of. */
export function missing(element, file) {
  element.classList.add("missing");
  element.textContent = `no picture: ${file}`;
}

// ---- photographs ----

/** An image at its own size, or, where the report has none, its thumbnail and a word on it. @param {number} i */
export function photograph(i) {
  const file = `photos/${base.image_id[i]}.webp`;
  const frame = h("span.photo", {});
  setStyle(frame, { "aspect-ratio": `${base.width[i]} / ${base.height[i]}` });
  const image = h("img", { alt: `Photograph of image ${base.image_id[i]}, ${fileOf(i)}`, draggable: "false" });
  image.onerror = () => {
    const small = thumb(i, { whole: true });
    small.append(h("span.tag", {}, "thumbnail: the report has no photograph of this image"));
    image.replaceWith(small);
  };
  image.src = file;
  frame.append(image);
  return frame;
}

// ---- layers ----

/** An image's labels, prediction, loss (data URLs) and objects. @param {number} i */
export async function layersOf(i) {
  const content = await load(`layers/${String(sheetOf(i)).padStart(5, "0")}`);
  return content[base.slot[i] % run.sheet];
}

/**
 * A layer of an image as a canvas to lay over it.
 * @param {number} i
 * @param {string} layer labels | predicted | errors | loss | attention/…
 * @param {Set<string>} [hidden] classes and errors that are not painted, by their names
 */
export async function layer(i, layer, hidden = /** @type {Set<string>} */ (new Set())) {
  if (layer.startsWith("attention/")) return heatLayer((await load(layer))[String(base.image_id[i])]);
  const own = await layersOf(i);
  if (layer === "loss") {
    const found = await levels(own.loss);
    const table = run.lossLevels.map((value) => [...heatColor(value), Math.min(255, 280 * value)]);
    const made = paint(found, (k) => table[found.levels[k]]);
    made.classList.add("smooth");
    return made;
  }
  if (layer !== "errors") {
    const colors = run.classes.map((each) => rgb(each.color));
    return paintClasses(await levels(own[layer]), colors, (k) => hidden.has(run.classes[k]?.name));
  }
  const [labels, predicted] = await Promise.all([levels(own.labels), levels(own.predicted)]);
  const shown = Object.entries(run.errors).filter(([kind]) => !hidden.has(kind));
  return paintErrors(labels, predicted, Object.fromEntries(shown.map(([kind, color]) => [kind, rgb(color)])));
}

async function heatLayer(url) {
  if (!url) throw new Error("there is no such map of this image");
  const found = await levels(url);
  const table = Array.from({ length: 256 }, (_, k) => [...heatColor(k / 255), Math.min(255, 60 + 1.4 * k)]);
  const made = paint(found, (k) => table[found.levels[k]]);
  made.classList.add("smooth");
  return made;
}

/** A box over a picture, given as left, top, width and height, shares of it. */
export function boxOver([left, top, width, height]) {
  const made = h("i.box");
  setStyle(made, {
    left: `${100 * left}%`,
    top: `${100 * top}%`,
    width: `${100 * width}%`,
    height: `${100 * height}%`,
  });
  return made;
}

/** What a box is in, of a thumbnail: its surroundings in a frame of 4 : 3. */
export function closeUp(i, box) {
  const made = h("span.closeup", { role: "img", "aria-label": `Object in image ${base.image_id[i]}` });
  const inner = h("span.zoom", {}, photograph(i), boxOver(box));
  const aspect = base.width[i] / base.height[i];
  const [x, y, width, height] = surroundings(box, aspect);
  setStyle(inner, {
    left: `${(-100 * x) / width}%`,
    top: `${(-100 * y) / height}%`,
    width: `${100 / width}%`,
    height: `${100 / height}%`,
  });
  made.append(inner);
  return made;
}

const CLOSEST = 0.3;
function surroundings([left, top, width, height], aspect) {
  const tall = aspect / (4 / 3); // the frame's height as a share of the picture's, where its width is all of it
  const wide = Math.min(Math.max(2 * width, (2 * height) / tall, CLOSEST), Math.max(1, 1 / tall));
  const start = (middle, part) => (part < 1 ? Math.min(Math.max(middle - part / 2, 0), 1 - part) : (1 - part) / 2);
  return [start(left + width / 2, wide), start(top + height / 2, wide * tall), wide, wide * tall];
}

/** The images nearest to one, nearest first. @param {number} i */
export async function nearest(i) {
  const table = await load("data/neighbors");
  table.unpacked ??= unpack(table);
  const places = await table.unpacked;
  return [...places.slice(i * table.each, (i + 1) * table.each)].filter((j) => j >= 0);
}
