// Layers painted from the levels of grey PNGs: classes, errors, heat.

import { h } from "./dom.js";

const HEAT = [
  [0, 0, 0],
  [120, 28, 109],
  [237, 105, 37],
  [252, 255, 164],
];

/** @type {Map<string, Promise<{width: number, height: number, levels: Uint8ClampedArray}>>} */
const decoded = new Map();

/** The levels of a grey PNG. @param {string} url */
export function levels(url) {
  let known = decoded.get(url);
  if (!known) {
    known = decode(url);
    decoded.set(url, known);
    if (decoded.size > 300) decoded.delete(/** @type {string} */ (decoded.keys().next().value));
  }
  return known;
}

async function decode(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const grey = new Uint8ClampedArray(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = pixels[4 * i];
  return { width, height, levels: grey };
}

/** A colour as red, green and blue. @param {string} hex */
export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** The colour of heat 0 … 1. */
export function heatColor(value) {
  const at = Math.min(HEAT.length - 1.0001, Math.max(0, value) * (HEAT.length - 1));
  const k = Math.floor(at);
  return HEAT[k].map((channel, c) => channel + (at - k) * (HEAT[k + 1][c] - channel));
}

/** A canvas of the size of levels. @param {{width: number, height: number}} size @param {(i: number) => number[] | null} colorOf a pixel's */
export function paint({ width, height }, colorOf) {
  const canvas = h("canvas.l", { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const color = colorOf(i);
    if (color) picture.data.set([color[0], color[1], color[2], color[3] ?? 255], 4 * i);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

/**
 * Classes in their colours.
 * @param {any} found of `levels` @param {number[][]} colors of the classes from 1 on @param {(k: number) => boolean} [isHidden] of a class
 */
export const paintClasses = (found, colors, isHidden = (_k) => false) =>
  paint(found, (i) => {
    const value = found.levels[i];
    if (value === 255) return [128, 128, 128, 200];
    return value && !isHidden(value - 1) ? colors[value - 1] : null;
  });

/** Where a prediction is not what the labels say. @param {any} labels of `levels` @param {any} predicted @param {Object<string, number[]>} colors by the kind of error; of none that are left out */
export const paintErrors = (labels, predicted, colors) =>
  paint(predicted, (i) => {
    const [truth, said] = [labels.levels[i], predicted.levels[i]];
    if (truth === said || truth === 255) return null;
    return colors[truth === 0 ? "extra" : said === 0 ? "missed" : "confused"] ?? null;
  });
