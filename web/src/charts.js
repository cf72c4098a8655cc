// Small charts in SVG, each with a sentence as its label, and what it draws as a table. d3-scale finds the ticks.

import { scaleLinear } from "d3-scale";
import { h, s, setStyle } from "./dom.js";
import { fixed, plural, short } from "./format.js";

const TEXT = "−";
const tickText = (scale, count) => {
  const form = scale.tickFormat(count);
  return (value) => form(value).replace("-", TEXT);
};

/** An axis-aligned frame: scales, grid lines and ticks. */
function plot({
  width,
  height,
  left = 34,
  right = 10,
  top = 8,
  bottom = 26,
  x,
  y,
  xLabel = "",
  yLabel = "",
  label,
  xTicks = 4,
  yTicks = 3,
}) {
  const sx = scaleLinear()
    .domain(x)
    .range([left, width - right]);
  const sy = scaleLinear()
    .domain(y)
    .range([height - bottom, top]);
  const [xText, yText] = [tickText(sx, xTicks), tickText(sy, yTicks)];
  const root = s("svg.chart", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const value of sy.ticks(yTicks)) {
    root.append(
      s("line.grid", { x1: left, x2: width - right, y1: sy(value), y2: sy(value) }),
      s("text", { x: left - 6, y: sy(value) + 3.5, "text-anchor": "end" }, yText(value)),
    );
  }
  for (const value of sx.ticks(xTicks))
    root.append(s("text", { x: sx(value), y: height - bottom + 15, "text-anchor": "middle" }, xText(value)));
  if (xLabel) root.append(s("text", { x: width - right, y: height - 1, "text-anchor": "end" }, xLabel));
  if (yLabel) root.append(s("text", { x: 0, y: 8 }, yLabel));
  return { root, sx, sy };
}

/** A line through points; one whose y is null breaks it. */
const path = (points) =>
  points
    .map(([x, y], k) =>
      y === null ? "" : `${k && points[k - 1][1] !== null ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`,
    )
    .join("");

/**
 * A score by a column: a dot an image, means of bins with their 95 % band.
 * @param {{points: Array<[number, number, number]>, bins: any[], x: number[], y: number[], label: string,
 *   xLabel?: string, yLabel?: string, mean?: number, shade?: [number, number] | null, width?: number, height?: number,
 *   onpick?: (place: number) => void, onrange?: (low: number, high: number) => void}} options points: x, y and place
 */
export function scatter({
  points,
  bins,
  x,
  y,
  label,
  xLabel,
  yLabel,
  mean,
  shade,
  width = 300,
  height = 132,
  onpick,
  onrange,
}) {
  const bottom = xLabel ? 30 : 18;
  const top = yLabel ? 18 : 6;
  const { root, sx, sy } = plot({ width, height, x, y, label, xLabel, yLabel, bottom, top });
  if (shade) {
    const [from, to] = shade.map((value) => Math.min(width - 10, Math.max(34, sx(value))));
    root.prepend(
      s("rect", {
        x: from,
        y: top,
        width: Math.max(0, to - from),
        height: height - bottom - top,
        fill: "var(--accent-soft)",
      }),
    );
  }
  if (mean !== undefined) root.append(s("line.mean", { x1: 34, x2: width - 10, y1: sy(mean), y2: sy(mean) }));
  for (const [px, py, place] of points) {
    if (px < x[0] || px > x[1]) continue;
    const dot = s("circle.dot", { cx: sx(px).toFixed(1), cy: sy(Math.min(y[1], py)).toFixed(1), r: 2 });
    if (onpick) dot.addEventListener("click", () => onpick(place));
    root.append(dot);
  }
  const middles = bins.map((bin) => ({ ...bin, x: sx(Math.min(x[1], (bin.low + bin.high) / 2)) }));
  const banded = middles.filter((bin) => bin.mean_low !== null);
  if (banded.length > 1) {
    const upper = banded.map((bin) => [bin.x, sy(Math.min(y[1], bin.mean_high))]);
    const lower = banded.map((bin) => [bin.x, sy(Math.max(y[0], bin.mean_low))]).reverse();
    root.append(s("path.band", { d: `${path([...upper, ...lower])}Z` }));
  }
  if (middles.length > 1) root.append(s("path.line", { d: path(middles.map((bin) => [bin.x, sy(bin.mean)])) }));
  for (const bin of middles) {
    const interval = bin.mean_low === null ? "" : `, ${fixed(bin.mean_low)} to ${fixed(bin.mean_high)}`;
    root.append(
      s(
        "circle.node",
        { cx: bin.x, cy: sy(bin.mean), r: 2.6 },
        s(
          "title",
          {},
          `${short(bin.low)} to ${short(bin.high)}: mean ${fixed(bin.mean)}${interval}; ${plural(bin.images, "image")}`,
        ),
      ),
    );
  }
  if (onrange) brush(root, sx, width, top, height - bottom, onrange);
  root.table = [
    ["from", "to", "images", "mean", "low", "high"],
    ...bins.map((bin) => [bin.low, bin.high, bin.images, bin.mean, bin.mean_low, bin.mean_high]),
  ];
  return root;
}

/** Drag across a chart to choose a range. */
function brush(root, sx, width, top, bottom, onrange) {
  root.classList.add("brushed");
  let from = null;
  const shade = s("rect.brush", { y: top, height: bottom - top, width: 0 });
  root.prepend(shade);
  const at = (event) => {
    const box = root.getBoundingClientRect();
    return Math.min(width - 10, Math.max(34, ((event.clientX - box.left) / box.width) * width));
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.target.classList.contains("dot")) return;
    from = at(event);
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = at(event);
    shade.setAttribute("x", String(Math.min(from, to)));
    shade.setAttribute("width", String(Math.abs(to - from)));
  });
  root.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [low, high] = [from, at(event)].sort((a, b) => a - b);
    from = null;
    shade.setAttribute("width", "0");
    if (high - low > 4) onrange(sx.invert(low), sx.invert(high));
  });
}

/** Two groups of images side by side on one score: a dot an image, the mean with its interval. */
export function strips({ sides, x, label, xLabel, width = 300, height = 132 }) {
  const { root, sx } = plot({ width, height, left: 58, x, y: [0, 1], label, xLabel, bottom: 30, yTicks: 0 });
  for (const value of sx.ticks(4))
    root.append(s("line.grid", { x1: sx(value), x2: sx(value), y1: 6, y2: height - 30 }));
  sides.forEach(({ name, values, mean, interval, own }, row) => {
    const middle = 26 + row * 46;
    root.append(s("text", { x: 50, y: middle + 4, "text-anchor": "end", class: own ? "strong" : "" }, name));
    values.forEach((value, k) => {
      const offset = ((k * 7919) % 29) - 14; // spread so that dots lie side by side, the same each time
      root.append(
        s("circle", {
          class: own ? "dot own" : "dot",
          cx: sx(Math.min(x[1], value)).toFixed(1),
          cy: middle + offset,
          r: 2,
        }),
      );
    });
    if (interval)
      root.append(
        s("line", {
          class: own ? "whisker own" : "whisker",
          x1: sx(Math.max(x[0], interval[0])),
          x2: sx(Math.min(x[1], interval[1])),
          y1: middle,
          y2: middle,
        }),
      );
    root.append(
      s(
        "circle",
        { class: own ? "node own" : "node rest", cx: sx(mean), cy: middle, r: 5 },
        s("title", {}, `${name}: mean ${fixed(mean)}`),
      ),
    );
  });
  root.table = [["images", xLabel], ...sides.flatMap(({ name, values }) => values.map((value) => [name, value]))];
  return root;
}

/** Curves over epochs: solid val, dashed train. @param {{x: number[], lines: Array<{name: string, color: string, val: number[], train: number[]}>, kept: number | null, label: string, width?: number, height?: number}} options */
export function curves({ x, lines, kept, label, width = 440, height = 210 }) {
  const highest = Math.max(1, ...lines.flatMap(({ val, train }) => [...val, ...train]).filter(Number.isFinite));
  const { root, sx, sy } = plot({
    width,
    height,
    right: 86,
    x: [x[0], Math.max(x[x.length - 1], x[0] + 1)],
    y: [0, highest],
    label,
    yTicks: 4,
    xTicks: Math.min(5, x.length),
  });
  if (kept !== null) {
    root.append(
      s("line.kept", { x1: sx(kept), x2: sx(kept), y1: 8, y2: height - 26 }),
      s("text", { x: sx(kept) - 4, y: 16, "text-anchor": "end" }, `kept: epoch ${kept}`),
    );
  }
  const ends = [];
  for (const { name, color, val, train } of lines) {
    for (const values of [train, val]) {
      const points = values.map((value, k) => [sx(x[k]), Number.isFinite(value) ? sy(value) : null]);
      root.append(
        s("path.curve", { d: path(points), stroke: color, "stroke-dasharray": values === train ? "2.5 2.5" : null }),
      );
    }
    const last = (val.length ? val : train).filter(Number.isFinite).at(-1);
    if (last !== undefined) ends.push({ name, color, y: sy(last) });
  }
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((end, k) => (end.at = k ? Math.max(end.y, ends[k - 1].at + 13) : end.y));
  for (const { name, color, y, at } of ends) {
    root.append(
      s("circle", { cx: width - 80, cy: y, r: 3, fill: color }),
      s("text.strong", { x: width - 72, y: at + 4 }, name.length > 12 ? `${name.slice(0, 11)}…` : name),
    );
  }
  root.table = [
    ["epoch", ...lines.flatMap(({ name }) => [`${name}, val`, `${name}, train`])],
    ...x.map((epoch, k) => [epoch, ...lines.flatMap(({ val, train }) => [val[k], train[k]])]),
  ];
  return root;
}

/** How sure against how right, a dot a bin whose area is its share of the pixels. */
export function reliability({ lines, label, width = 320, height = 210 }) {
  const low = Math.min(0.5, ...lines.flatMap(({ bins }) => bins.flatMap((bin) => [bin.confidence, bin.accuracy])));
  const from = Math.floor(10 * low) / 10;
  const { root, sx, sy } = plot({
    width,
    height,
    x: [from, 1],
    y: [from, 1],
    label,
    xLabel: "confidence; area: share of pixels",
    bottom: 34,
    yTicks: 4,
  });
  root.append(s("line.diagonal", { x1: sx(from), y1: sy(from), x2: sx(1), y2: sy(1) }));
  for (const { name, color, bins } of lines) {
    root.append(s("path.curve", { d: path(bins.map((bin) => [sx(bin.confidence), sy(bin.accuracy)])), stroke: color }));
    const most = Math.max(...bins.map((bin) => bin.pixels));
    for (const bin of bins) {
      root.append(
        s(
          "circle",
          {
            cx: sx(bin.confidence),
            cy: sy(bin.accuracy),
            r: 2 + 6 * Math.sqrt(bin.pixels / most),
            fill: color,
            class: "bin",
          },
          s("title", {}, `${name}: sure by ${fixed(bin.confidence, 2)}, right ${fixed(bin.accuracy, 2)}`),
        ),
      );
    }
  }
  root.table = [
    ["class", "confidence", "right", "share of pixels"],
    ...lines.flatMap(({ name, bins }) => bins.map((bin) => [name, bin.confidence, bin.accuracy, bin.pixels])),
  ];
  return root;
}

/** Bars of two histograms over each other: all, and those kept. */
export function bars({ all, kept, width = 188, height = 40, label, tone = "var(--accent)" }) {
  const most = Math.max(1, ...all);
  const step = width / all.length;
  const bar = (count, k, fill) => {
    const tall = count ? Math.max(1, (height * count) / most) : 0;
    return s("rect", { x: k * step, y: height - tall, width: Math.max(0.5, step - 1), height: tall, fill });
  };
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    all.map((count, k) => bar(count, k, "var(--line-2)")),
    kept.map((count, k) => bar(count, k, tone)),
  );
}

/** @param {number} value @param {number[]} scale */
const share = (value, scale) =>
  `${(100 * Math.min(1, Math.max(0, (value - scale[0]) / (scale[1] - scale[0] || 1)))).toFixed(2)}%`;

/**
 * A value on its scale with its 95 % interval as a band, and a thin tick for what it is compared with.
 * @param {{value: number, low?: number | null, high?: number | null, tick?: number | null, scale: number[], title?: string}} of
 */
export function interval({ value, low = null, high = null, tick = null, scale, title = "" }) {
  const made = h("div.ib", title ? { title } : {});
  const put = (name, styles) => {
    const part = h(`i.${name}`);
    setStyle(part, styles);
    made.append(part);
  };
  if (low !== null && high !== null && Number.isFinite(low)) {
    const [from, to] = [low, high].map((end) => Math.min(scale[1], Math.max(scale[0], end)));
    put("r", { left: share(from, scale), width: `${(100 * (to - from)) / (scale[1] - scale[0] || 1)}%` });
  }
  if (tick !== null && Number.isFinite(tick)) put("t", { left: share(tick, scale) });
  if (Number.isFinite(value)) put("d", { left: share(value, scale) });
  return made;
}

/** A difference with its interval about 0: filled where the interval leaves out 0. */
export function difference({ value, low, high, most, tone }) {
  const clear = low !== null && !Number.isNaN(low) && (low > 0 || high < 0);
  const made = h("div.fo", { class: clear ? "sig" : "" });
  setStyle(made, { "--c": clear ? tone : "var(--ink-3)" });
  const at = (of) => `${50 + 50 * Math.min(1, Math.max(-1, of / most))}%`;
  if (low !== null && !Number.isNaN(low)) {
    const band = h("i.r");
    const [from, to] = [low, high].map((end) => Math.min(1, Math.max(-1, end / most)));
    setStyle(band, { left: `${50 + 50 * from}%`, width: `${50 * (to - from)}%` });
    made.append(band);
  }
  const dot = h("i.d");
  setStyle(dot, { left: at(value) });
  made.append(dot);
  return made;
}

/** A share as a bar. */
export function meter(value, tone = "") {
  const bar = h("i");
  setStyle(bar, { width: `${100 * Math.min(1, Math.max(0, value))}%` });
  const made = h("div.hb", {}, bar);
  if (tone) setStyle(made, { "--c": tone });
  return made;
}

/** Two shares, one above the other: of these, and of the rest. */
export function pairBars(a, b, tone = "") {
  const made = h(
    "div.pb",
    {},
    [
      ["a", a],
      ["b", b],
    ].map(([name, value]) => {
      const bar = h(`i.${name}`);
      setStyle(bar, { width: `${100 * Math.min(1, Math.max(0, value))}%` });
      return bar;
    }),
  );
  if (tone) setStyle(made, { "--c": tone });
  return made;
}
