// A map of images: points stamped into one ImageData, so that 100,000 are drawn at once without WebGL.

import { button, h, icon } from "./dom.js";

/**
 * @typedef {{x: ArrayLike<number>, y: ArrayLike<number>, count: number}} Points
 * @typedef {{color: (i: number) => number[], radius: (i: number) => number, shown: (i: number) => boolean,
 *   selected: Uint8Array | null, labels: Array<{text: string, x: number, y: number}>}} Look
 */

const probe = h("span.vh");
let resolved = new Map();

/** A colour of the style sheet as red, green and blue, in the theme that is on. @param {string} name */
export function rgbOf(name) {
  let known = resolved.get(name);
  if (!known) {
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = name.startsWith("--") ? `var(${name})` : name;
    known = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["0", "0", "0"]).slice(0, 3).map(Number);
    resolved.set(name, known);
  }
  return known;
}
/** Forget the colours: the theme has changed. */
export const forgetColors = () => (resolved = new Map());

/** The pixels of a disc: their places around its middle, and how far each is covered. */
const discs = new Map();
function disc(radius) {
  const key = Math.round(radius * 4);
  let known = discs.get(key);
  if (!known) {
    const r = key / 4;
    const reach = Math.ceil(r + 0.5);
    const [xs, ys, covers] = [[], [], []];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const cover = Math.min(1, Math.max(0, r + 0.5 - Math.hypot(dx, dy)));
        if (cover > 0) {
          xs.push(dx);
          ys.push(dy);
          covers.push(cover);
        }
      }
    }
    known = { xs: Int32Array.from(xs), ys: Int32Array.from(ys), covers: Float64Array.from(covers) };
    discs.set(key, known);
  }
  return known;
}

/**
 * Stamp a disc into a picture.
 * @param {ImageData} picture @param {number} cx @param {number} cy @param {number} radius in its pixels
 * @param {number[]} color @param {number} alpha
 */
function stamp({ data, width, height }, cx, cy, radius, [red, green, blue], alpha) {
  if (cx < -20 || cy < -20 || cx > width + 20 || cy > height + 20) return;
  const { xs, ys, covers } = disc(radius);
  for (let k = 0; k < covers.length; k++) {
    const x = cx + xs[k];
    const y = cy + ys[k];
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    const at = 4 * (y * width + x);
    const part = covers[k] * alpha;
    if (part >= 1) {
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
      data[at + 3] = 255;
      continue;
    }
    const under = (data[at + 3] / 255) * (1 - part);
    const total = part + under;
    data[at] = (red * part + data[at] * under) / total;
    data[at + 1] = (green * part + data[at + 1] * under) / total;
    data[at + 2] = (blue * part + data[at + 2] * under) / total;
    data[at + 3] = 255 * total;
  }
}

/**
 * @param {Points} points
 * @param {{label: string, onselect: (rows: number[], mode: string) => void, onopen: (i: number) => void, onhover?: (i: number, x: number, y: number) => void, tools?: boolean}} options
 */
export function makeMap(points, { label, onselect, onopen, onhover = () => {}, tools = true }) {
  const canvas = h("canvas", { role: "img", "aria-label": label });
  const over = h("canvas", { "aria-hidden": "true" });
  const root = h("div.mapbox", {}, canvas, over);
  /** @type {Look | null} */
  let look = null;
  let tool = "lasso";
  let zoom = { k: 1, dx: 0, dy: 0 };
  let size = { width: 0, height: 0, ratio: 1 };
  const px = new Float32Array(points.count);
  const py = new Float32Array(points.count);
  const bounds = boundsOf(points);

  // ---- drawing ----
  function project() {
    const { width, height } = size;
    const pad = 28;
    const scale = Math.min((width - 2 * pad) / (bounds.width || 1), (height - 2 * pad) / (bounds.height || 1));
    for (let i = 0; i < points.count; i++) {
      px[i] = ((points.x[i] - bounds.x) * scale + width / 2) * zoom.k + zoom.dx;
      py[i] = ((bounds.y - points.y[i]) * scale + height / 2) * zoom.k + zoom.dy;
    }
  }

  /** The points that are not selected, by whether others are; kept until something else than the selection changes. */
  let under = /** @type {Object<string, Uint8ClampedArray>} */ ({});
  /** @type {ImageData | null} */
  let picture = null;

  function draw() {
    under = {};
    if (!look || !size.width) return;
    project();
    drawPoints();
    drawOver();
  }

  function drawPoints() {
    if (!look || !size.width) return;
    const context = canvas.getContext("2d");
    if (picture?.width !== canvas.width || picture.height !== canvas.height)
      picture = context.createImageData(canvas.width, canvas.height);
    const key = look.selected ? "faint" : "full";
    if (under[key]) picture.data.set(under[key]);
    else {
      picture.data.fill(0);
      stampAll(picture, look.selected ? 0.42 : 0.85);
      under[key] = picture.data.slice();
    }
    if (look.selected) stampSelected(picture, look.selected);
    context.putImageData(picture, 0, 0);
  }

  const crowded = points.count > 4000 ? 0.62 : 1;
  function stampAll(into, alpha) {
    const faint = rgbOf("--c-none");
    const { ratio } = size;
    const { shown, radius, color } = /** @type {Look} */ (look);
    const [x, y] = [(i) => Math.round(px[i] * ratio), (i) => Math.round(py[i] * ratio)];
    const small = (2 * crowded + 0.4) * ratio;
    for (let i = 0; i < points.count; i++) if (!shown(i)) stamp(into, x(i), y(i), small, faint, 0.28);
    for (let i = 0; i < points.count; i++)
      if (shown(i)) stamp(into, x(i), y(i), radius(i) * crowded * ratio, color(i), alpha);
  }

  /** Selected points lie above all others, ringed: what is under them does not show. */
  function stampSelected(into, selected) {
    const [ink, paper] = [rgbOf("--ink"), rgbOf("--bg")];
    const { ratio } = size;
    const { radius, color } = /** @type {Look} */ (look);
    for (let i = 0; i < points.count; i++) {
      if (!selected[i]) continue;
      const [x, y, r] = [Math.round(px[i] * ratio), Math.round(py[i] * ratio), radius(i) * crowded + 0.8];
      stamp(into, x, y, (r + 2.4) * ratio, paper, 0.9);
      stamp(into, x, y, (r + 1.4) * ratio, ink, 1);
      stamp(into, x, y, r * ratio, color(i), 1);
    }
  }

  let trail = [];
  function drawOver() {
    const context = over.getContext("2d");
    const { ratio, width, height } = size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    drawLabels(context);
    if (trail.length < 2) return;
    context.beginPath();
    outline(context);
    const [r, g, b] = rgbOf("--accent");
    context.fillStyle = `rgb(${r} ${g} ${b} / 10%)`;
    context.strokeStyle = `rgb(${r} ${g} ${b})`;
    context.setLineDash([4, 3]);
    context.lineWidth = 1.5;
    context.fill();
    context.stroke();
    context.setLineDash([]);
  }
  function outline(context) {
    if (tool === "box") {
      const [[x0, y0]] = trail;
      const [x1, y1] = trail[trail.length - 1];
      context.rect(x0, y0, x1 - x0, y1 - y0);
      return;
    }
    trail.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
  }

  /** The clusters' names, those of the largest first; one that would lie on another is left out. */
  function drawLabels(context) {
    const taken = [];
    context.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.lineJoin = "round";
    const [ink, paper] = ["--ink", "--bg"].map((name) => `rgb(${rgbOf(name).join(" ")})`);
    const scale = Math.min((size.width - 56) / (bounds.width || 1), (size.height - 56) / (bounds.height || 1));
    for (const { text, x, y } of look?.labels ?? []) {
      const at = [
        ((x - bounds.x) * scale + size.width / 2) * zoom.k + zoom.dx,
        ((bounds.y - y) * scale + size.height / 2) * zoom.k + zoom.dy - 14,
      ];
      const half = context.measureText(text).width / 2 + 4;
      at[0] = Math.min(size.width - half, Math.max(half, at[0]));
      at[1] = Math.max(14, at[1]);
      const box = [at[0] - half, at[1] - 12, at[0] + half, at[1] + 6];
      if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]))
        continue;
      taken.push(box);
      context.strokeStyle = paper;
      context.lineWidth = 4;
      context.strokeText(text, at[0], at[1]);
      context.fillStyle = ink;
      context.fillText(text, at[0], at[1]);
    }
  }

  // ---- what lies where ----
  function closest(x, y, reach = 12) {
    let [best, least] = [-1, reach ** 2];
    for (let i = 0; i < points.count; i++) {
      if (!look?.shown(i)) continue;
      const away = (px[i] - x) ** 2 + (py[i] - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }
  function inside() {
    const { width, height } = size;
    const mask = h("canvas", { width: Math.ceil(width), height: Math.ceil(height) });
    const context = mask.getContext("2d", { willReadFrequently: true });
    context.beginPath();
    outline(context);
    context.fill();
    const filled = context.getImageData(0, 0, mask.width, mask.height).data;
    const rows = [];
    for (let i = 0; i < points.count; i++) {
      const [x, y] = [Math.round(px[i]), Math.round(py[i])];
      if (x < 0 || y < 0 || x >= mask.width || y >= mask.height || !look?.shown(i)) continue;
      if (filled[4 * (y * mask.width + x) + 3] > 100) rows.push(i);
    }
    return rows;
  }

  // ---- the pointer ----
  const at = (event) => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  let down = null;
  let start = [0, 0];
  let moved = false; // farther than a hand shakes: dragged, not pressed
  const isFar = (here) => Math.hypot(here[0] - start[0], here[1] - start[1]) > 4;
  root.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".tl")) return;
    down = start = at(event);
    moved = false;
    trail = tool === "pan" ? [] : [down];
    root.setPointerCapture(event.pointerId);
    onhover(-1, 0, 0);
  });
  root.addEventListener("pointermove", (event) => {
    const here = at(event);
    if (!down) {
      const i = event.target.closest(".tl") ? -1 : closest(here[0], here[1]);
      root.classList.toggle("over", i >= 0);
      onhover(i, here[0], here[1]);
      return;
    }
    moved ||= isFar(here);
    if (tool === "pan") {
      zoom.dx += here[0] - down[0];
      zoom.dy += here[1] - down[1];
      down = here;
      draw();
      return;
    }
    trail.push(here);
    drawOver();
  });
  root.addEventListener("pointerup", (event) => {
    if (!down) return;
    const here = at(event);
    if (tool !== "pan") trail.push(here);
    if (!moved && !isFar(here)) {
      const i = closest(here[0], here[1]);
      if (i >= 0 && (event.shiftKey || event.altKey)) onselect([i], event.altKey ? "remove" : "add");
      else if (i >= 0) onopen(i);
      else if (tool !== "pan" && !event.shiftKey && !event.altKey) onselect([], "new");
    } else if (tool !== "pan") onselect(inside(), event.altKey ? "remove" : event.shiftKey ? "add" : "new");
    down = null;
    trail = [];
    drawOver();
  });
  root.addEventListener("pointerleave", () => onhover(-1, 0, 0));
  root.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, at(event));
    },
    { passive: false },
  );
  /** @param {number} factor @param {number[]} [about] */
  function zoomBy(factor, about = [size.width / 2, size.height / 2]) {
    const [x, y] = about;
    // What lies under x, y stays there.
    const k = Math.min(60, Math.max(0.5, zoom.k * factor));
    const part = k / zoom.k;
    zoom = { k, dx: x - (x - zoom.dx) * part, dy: y - (y - zoom.dy) * part };
    draw();
  }
  function fit() {
    zoom = { k: 1, dx: 0, dy: 0 };
    draw();
  }

  const resize = new ResizeObserver(() => {
    const box = root.getBoundingClientRect();
    if (!box.width || !box.height) return;
    size = { width: box.width, height: box.height, ratio: Math.min(2, window.devicePixelRatio || 1) };
    for (const each of [canvas, over])
      [each.width, each.height] = [Math.round(box.width * size.ratio), Math.round(box.height * size.ratio)];
    draw();
  });
  resize.observe(root);

  if (tools) {
    const kinds = [
      ["lasso", "Lasso"],
      ["box", "Box"],
      ["pan", "Pan"],
    ];
    const buttons = kinds.map(([name, text]) =>
      button(icon(name), () => setTool(name), {
        class: "icon",
        "aria-label": text,
        title: text,
        "aria-pressed": String(name === tool),
        data: { tool: name },
      }),
    );
    function setTool(name) {
      tool = name;
      for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.tool === name));
      root.dataset.tool = name;
    }
    const zooms = [
      ["plus", "Zoom in", () => zoomBy(1.5)],
      ["minus", "Zoom out", () => zoomBy(1 / 1.5)],
      ["fit", "Show all", fit],
    ];
    root.append(
      h(
        "div.tl",
        {},
        h("div.grp", { role: "group", "aria-label": "What dragging does" }, buttons),
        h(
          "div.grp",
          { role: "group", "aria-label": "Zoom" },
          zooms.map((/** @type {any} */ [name, text, act]) =>
            button(icon(name), act, { class: "icon", "aria-label": text, title: text }),
          ),
        ),
      ),
    );
  }

  return {
    element: root,
    canvas,
    /** Draw anew. @param {Look} next */
    show(next) {
      look = next;
      draw();
    },
    /** Mark other images, all else as it is. @param {Uint8Array | null} selected */
    select(selected) {
      if (look) look.selected = selected;
      drawPoints();
    },
    stop: () => resize.disconnect(),
  };
}

function boundsOf({ x, y, count }) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < count; i++) {
    x0 = Math.min(x0, x[i]);
    x1 = Math.max(x1, x[i]);
    y0 = Math.min(y0, y[i]);
    y1 = Math.max(y1, y[i]);
  }
  return count
    ? { x: (x0 + x1) / 2, y: (y0 + y1) / 2, width: x1 - x0, height: y1 - y0 }
    : { x: 0, y: 0, width: 1, height: 1 };
}
