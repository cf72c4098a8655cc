"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
const noise = "#9aa4af";
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const escapeHtml = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const n = data.ids.length;
const all = data.ids.map((_, i) => i);
const rowOf = new Map(data.ids.map((id, i) => [String(id), i]));
const columns = data.columns;
const scores = Object.keys(columns).filter((name) => name === "loss" || name.startsWith("iou."));
const clusterLabel = (cluster) => (cluster < 0 ? "no cluster" : `${cluster} ${data.clusterNames[cluster]}`);
const isVal = (i) => !columns.split || columns.split.values[i] === "val";
const show = (value) => (value === null || value === undefined ? "–" : typeof value === "number" ? String(+value.toPrecision(3)) : String(value));

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

// ---- views: scripts with a few images each, loaded when they are needed ----
const chunks = new Map();
function viewsOf(i) {
  const number = Math.floor(i / data.chunk);
  if (!chunks.has(number)) {
    chunks.set(number, new Promise((resolve, reject) => {
      const script = element("script", { src: `views/${String(number).padStart(5, "0")}.js` });
      script.onerror = () => reject(new Error(`views/${number} is missing`));
      window.addEventListener(`views-${number}`, (event) => resolve(event.detail), { once: true });
      document.head.append(script);
    }));
  }
  return chunks.get(number).then((views) => views[i % data.chunk]);
}
window.segscopeViews = (number, views) => window.dispatchEvent(new CustomEvent(`views-${number}`, { detail: views }));

const layerOf = (views, layer) => views[layer] ?? views.attention[layer];
async function fill(frame, i, layer = "", opacity = 0.6, box = null) {
  const ticket = (frame.ticket = {});
  const views = await viewsOf(i);
  if (frame.ticket !== ticket) return;
  const pictures = [element("img", { src: views.photo, alt: `Photograph of image ${data.ids[i]}` })];
  const overlay = typeof layer === "string" && layer && typeof layerOf(views, layer) === "string" ? layerOf(views, layer) : null;
  if (overlay) {
    const over = element("img", { src: overlay, alt: `Overlay: ${layer}`, className: "over" });
    over.style.opacity = opacity;
    pictures.push(over);
  }
  if (box) pictures.push(boxOf(box));
  frame.replaceChildren(...pictures);
}

// An object's box, on a picture of which it is [left, top, width, height] as shares.
const percent = (share) => `${100 * share}%`;
function place(made, [left, top, width, height]) {
  Object.assign(made.style, { left: percent(left), top: percent(top), width: percent(width), height: percent(height) });
  return made;
}
const boxOf = (box) => place(element("span", { className: "box" }), box);
async function closeUp(frame, i, box) {
  const photo = element("img", { src: (await viewsOf(i)).photo, alt: `Object in image ${data.ids[i]}` });
  await photo.decode();
  const [x, y, width, height] = surroundings(box, photo.naturalWidth / photo.naturalHeight);
  const zoom = place(element("span", { className: "zoom" }, photo, boxOf(box)), [-x / width, -y / height, 1 / width, 1 / height]);
  frame.replaceChildren(zoom);
}
// What to show around a box in a frame of 4 : 3, as shares of a picture of so many times its height in width.
const CLOSEST = 0.3;
function surroundings([left, top, width, height], aspect) {
  const tall = aspect / (4 / 3); // the frame's height as a share of the picture's, where its width is all of it
  const wide = Math.min(Math.max(2 * width, (2 * height) / tall, CLOSEST), Math.max(1, 1 / tall));
  const start = (middle, part) => (part < 1 ? Math.min(Math.max(middle - part / 2, 0), 1 - part) : (1 - part) / 2);
  return [start(left + width / 2, wide), start(top + height / 2, wide * tall), wide, wide * tall];
}

const visible = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    visible.unobserve(entry.target);
    fillButton(entry.target);
  }
}, { rootMargin: "300px" });
function fillButton(button) {
  if (!rowOf.has(button.dataset.image)) return; // of a split that is not embedded
  if (button.box) { closeUp(button.querySelector(".frame"), rowOf.get(button.dataset.image), button.box); return; }
  const wanted = button.closest("#clusters") ? byId("show-attention").checked : true;
  fill(button.querySelector(".frame"), rowOf.get(button.dataset.image), wanted ? button.dataset.layer : "", 0.75);
}
function viewButton(i, caption = "") {
  const button = element("button", { className: "view" }, element("span", { className: "frame" }), element("span", { textContent: `${data.ids[i]}${caption}` }));
  Object.assign(button.dataset, { image: data.ids[i], layer: "" });
  visible.observe(button);
  return button;
}

// ---- state, kept in the address so that a view can be shared ----
const state = { section: "", color: "cluster", size: "", split: "", cluster: "", low: "", high: "", sample: "", layer: "labels", object: "", outcome: "missed", objectClass: "", category: "", objectSize: "", x: "", y: "loss", sel: "" };
const defaults = { ...state };
function readState() {
  const [section, query = ""] = location.hash.slice(1).split("?");
  const found = Object.fromEntries(new URLSearchParams(query));
  Object.assign(state, defaults, { section }, Object.fromEntries(Object.entries(found).filter(([key]) => key in defaults)));
  if (!columns[state.color]) state.color = defaults.color in columns ? defaults.color : Object.keys(columns)[0];
  if (!columns[state.x]) state.x = defaults.x;
  if (!scores.includes(state.y)) state.y = defaults.y;
  if (![...byId("object-outcome").options].some(({ value }) => value === state.outcome)) state.outcome = defaults.outcome;
}
function writeState() {
  const changed = Object.entries(state).filter(([key, value]) => key !== "section" && value !== defaults[key] && value !== "");
  const query = new URLSearchParams(changed).toString();
  history.replaceState(null, "", `#${state.section || "map"}${query ? `?${query}` : ""}`);
}
let selected = [];
const MOST_IN_ADDRESS = 400;
function select(rows) {
  selected = rows;
  state.sel = rows.length && rows.length <= MOST_IN_ADDRESS ? rows.join("_") : "";
  writeState();
  drawSelection();
}

// ---- charts ----
function layout(more) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  return {
    margin: { l: 45, r: 15, t: 10, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style("--ink"), family: "system-ui, sans-serif" }, legend: { orientation: "h", y: -0.35 },
    ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}
const draw = (id, traces, more, options = {}) =>
  Plotly.react(id, traces, layout(more), { responsive: true, displaylogo: false, displayModeBar: false, ...options });

function drawTraining() {
  const { epoch, ...history } = data.history;
  const shown = ["objective", ...data.classes.map((name) => `iou_${name}`)].filter((name) => history[name]);
  const traces = shown.flatMap((metric, i) => [metric, `val_${metric}`].map((name) => ({
    x: epoch, y: history[name], name: escapeHtml(name), mode: "lines+markers",
    line: { dash: name.startsWith("val_") ? "solid" : "dot", color: palette[i % palette.length] },
  })));
  draw("chart-training", traces, { xaxis: { title: { text: "epoch" } }, yaxis: { rangemode: "tozero" } });
}
function drawIou() {
  const names = data.classes.map(escapeHtml);
  const traces = Object.entries(data.iou).map(([split, iou], i) => ({
    type: "bar", name: split, x: names, y: iou.value, marker: { color: palette[i] },
    error_y: { // without caps: of no interval nothing is to be seen
      type: "data", symmetric: false, width: 0,
      array: iou.value.map((value, k) => (iou.high[k] === null ? null : iou.high[k] - value)),
      arrayminus: iou.value.map((value, k) => (iou.low[k] === null ? null : value - iou.low[k])),
    },
  }));
  draw("chart-iou", traces, { barmode: "group", yaxis: { range: [0, 1], title: { text: "IoU" } } });
}
function heatmap(id, x, y, z, xTitle, yTitle) {
  draw(id, [{
    type: "heatmap", x: x.map(escapeHtml), y: y.map(escapeHtml), z, zmin: 0, zmax: 1, colorscale: "Cividis", showscale: false,
    texttemplate: "%{z:.2f}", hovertemplate: `${yTitle} %{y}, ${xTitle} %{x}: %{z:.3f}<extra></extra>`,
  }], { xaxis: { title: { text: xTitle }, type: "category" }, yaxis: { title: { text: yTitle }, type: "category", autorange: "reversed" } });
}
function drawConfusion() {
  const { actual, predicted, share } = data.confusion;
  heatmap("chart-confusion", predicted, actual, share, "predicted", "true");
  const { category, pixels, share_of_category: part, predicted: as } = data.pairs;
  const total = new Map();
  category.forEach((name, i) => total.set(name, (total.get(name) ?? 0) + pixels[i]));
  const most = [...total.entries()].sort((a, b) => b[1] - a[1]).slice(0, 15).map(([name]) => name);
  const rows = category.map((name, i) => i).filter((i) => most.includes(category[i]));
  byId("chart-categories").style.height = `${90 + 26 * most.length}px`;
  heatmap("chart-categories", rows.map((i) => as[i]), rows.map((i) => category[i]), rows.map((i) => part[i]), "predicted", "category");
}

// ---- the map ----
function shownRows() {
  const { split, cluster, color } = state;
  const low = state.low === "" ? -Infinity : Number(state.low), high = state.high === "" ? Infinity : Number(state.high);
  const ranged = columns[color].kind === "number" && (state.low !== "" || state.high !== "");
  return all.filter((i) => (!split || columns.split.values[i] === split)
    && (cluster === "" || String(columns.cluster.values[i]) === cluster)
    && (!ranged || (columns[color].values[i] !== null && columns[color].values[i] >= low && columns[color].values[i] <= high)));
}
function sizes(rows) {
  if (!state.size) return 8;
  const loss = columns.loss.values, largest = Math.max(...loss.filter((v) => v !== null));
  return rows.map((i) => 4 + 18 * Math.sqrt(Math.max(0, loss[i] ?? 0) / largest));
}
function trace(rows, more, marker) {
  return {
    type: "scattergl", mode: "markers", x: rows.map((i) => data.x[i]), y: rows.map((i) => data.y[i]), customdata: rows,
    text: rows.map((i) => escapeHtml(`image ${data.ids[i]}`)), hovertemplate: "%{text}<extra></extra>", marker: { size: sizes(rows), ...marker }, ...more,
  };
}
let listening = false;
function drawMap() {
  drawn.add("chart-map");
  const { kind, values, label } = columns[state.color];
  const rows = shownRows();
  let traces;
  if (kind === "number") {
    const known = rows.filter((i) => values[i] !== null);
    const colorbar = { title: { text: escapeHtml(label), side: "right" }, thickness: 12 };
    traces = [trace(known, { showlegend: false }, { color: known.map((i) => values[i]), colorscale: "Cividis", colorbar })];
  } else {
    const groups = [...new Set(rows.map((i) => values[i]))].sort((a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b))));
    traces = groups.map((group, g) => {
      const number = state.color === "cluster" ? group : g;
      const faint = number < 0 || group === "neither";
      const name = escapeHtml(state.color === "cluster" ? clusterLabel(group) : show(group));
      return trace(rows.filter((i) => values[i] === group), { name }, faint ? { color: noise, opacity: 0.5 }
        : { color: palette[number % palette.length], symbol: symbols[Math.floor(number / palette.length) % symbols.length] });
    });
  }
  const more = {
    xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x" }, hovermode: "closest", dragmode: "lasso",
    margin: { l: 10, r: 10, t: 40, b: 10 }, legend: { orientation: "h", y: 0 }, uirevision: "map",
  };
  const removed = ["toImage", "autoScale2d"];
  draw("chart-map", traces, more, { displayModeBar: true, scrollZoom: true, modeBarButtonsToRemove: removed });
  if (!listening) listenToMap();
  listening = true;
}
function listenToMap() {
  const plot = byId("chart-map"), hover = byId("hover");
  plot.on("plotly_selected", (event) => { if (event) select(event.points.map((p) => p.customdata)); });
  plot.on("plotly_deselect", () => select([]));
  plot.on("plotly_click", (event) => openSample(event.points[0].customdata));
  plot.on("plotly_hover", (event) => {
    const box = plot.getBoundingClientRect(), mouse = event.event;
    hover.style.left = `${Math.min(mouse.clientX - box.left + 14, box.width - 180)}px`;
    hover.style.top = `${mouse.clientY - box.top + 14}px`;
    hover.hidden = false;
    fill(hover, event.points[0].customdata);
  });
  plot.on("plotly_unhover", () => { hover.hidden = true; });
}

// ---- the selection ----
// Sums over all images, or all of val, are kept, so that a selection costs only its own images.
const sums = new Map();
function sumOf(name, rows, onlyVal) {
  let sum = 0, squares = 0, count = 0;
  for (const i of rows) {
    const value = columns[name].values[i];
    if (value === null || (onlyVal && !isVal(i))) continue;
    sum += Number(value); squares += Number(value) ** 2; count += 1;
  }
  return { sum, squares, count };
}
function contrast(name, rows, onlyVal) {
  const key = `${onlyVal}|${name}`;
  if (!sums.has(key)) sums.set(key, sumOf(name, all, onlyVal));
  const total = sums.get(key), inside = sumOf(name, rows, onlyVal);
  const outside = { sum: total.sum - inside.sum, count: total.count - inside.count };
  const average = ({ sum, count }) => (count ? sum / count : null);
  const deviation = Math.sqrt(Math.max(0, total.squares / total.count - (total.sum / total.count) ** 2));
  return { a: average(inside), b: average(outside), known: Math.min(inside.count, outside.count), deviation };
}
function unusual(rows) {
  const found = [];
  for (const [name, column] of Object.entries(columns)) {
    if (column.kind === "name" || scores.includes(name) || ["pixel_accuracy", "confidence"].includes(name)) continue;
    const { a, b, known, deviation } = contrast(name, rows, false);
    if (known >= 5 && deviation > 0) found.push({ label: column.label, a, b, d: (a - b) / deviation });
  }
  return found.sort((p, q) => Math.abs(q.d) - Math.abs(p.d)).slice(0, 6);
}
function drawSelection() {
  const panel = byId("selection");
  if (!selected.length) {
    const hardest = all.filter(isVal).sort((a, b) => (columns.loss.values[b] ?? 0) - (columns.loss.values[a] ?? 0)).slice(0, 12);
    panel.replaceChildren(element("h3", { textContent: "Hardest val images" }),
      element("div", { className: "gallery" }, ...hardest.map((i) => viewButton(i, ` · ${show(columns.loss.values[i])}`))));
    return;
  }
  const table = element("table", {}, element("tbody", {}, ...scores.map((name) => {
    const { a, b } = contrast(name, selected, true);
    return element("tr", {}, element("th", { scope: "row", textContent: `${columns[name].label} (val)` }), element("td", { textContent: show(a) }), element("td", { textContent: `rest ${show(b)}` }));
  })));
  const facts = unusual(selected).map(({ label, a, b, d }) => element("li", { textContent: `${label}: ${show(a)} against ${show(b)} (${d > 0 ? "+" : "−"}${Math.abs(d).toFixed(1)} sd)` }));
  const order = [...selected].sort((a, b) => (columns.loss.values[b] ?? 0) - (columns.loss.values[a] ?? 0)).slice(0, 24);
  const clear = element("button", { textContent: "Clear" });
  clear.addEventListener("click", () => { select([]); if (drawn.has("chart-map")) Plotly.restyle("chart-map", { selectedpoints: [null] }); });
  panel.replaceChildren(element("h3", { textContent: `${selected.length} images selected ` }, clear), table,
    element("h4", { textContent: "Unusual about them" }), element("ul", {}, ...facts),
    element("h4", { textContent: selected.length > 24 ? "The 24 of highest loss" : "All of them" }),
    element("div", { className: "gallery" }, ...order.map((i) => viewButton(i))));
}

// ---- objects ----
const rowsOf = (table) => Object.values(table)[0].map((_, k) => Object.fromEntries(Object.entries(table).map(([name, values]) => [name, values[k]])));
const objects = rowsOf(data.objects), objectCounts = rowsOf(data.objectCounts);
const OBJECTS_A_TIME = 24;
let objectsShown = OBJECTS_A_TIME;
const objectName = (object) => [object.class, object.category !== object.class && object.category, object.size].filter(Boolean).join(", ");
// A region is of no category.
const isAsked = (object) => object.outcome === state.outcome && (!state.objectClass || object.class === state.objectClass)
  && (!state.category || object.category === state.category || object.outcome === "extra") && (!state.objectSize || object.size === state.objectSize);
function objectCard(object) {
  const button = element("button", { className: "view" }, element("span", { className: "frame" }), element("strong", { textContent: objectName(object) }),
    element("span", { textContent: object.became }), element("span", { textContent: `image ${data.ids[object.sample]}` }));
  button.box = object.box;
  Object.assign(button.dataset, { image: data.ids[object.sample], layer: "errors", object: object.object_id });
  visible.observe(button);
  return button;
}
function drawObjects() {
  const asked = objects.filter(isAsked), all = objectCounts.filter(isAsked).reduce((sum, { n }) => sum + n, 0);
  const what = state.outcome === "extra" ? "extra regions" : `${state.outcome} objects`;
  byId("objects-count").textContent = asked.length === all ? `${all} ${what} of val.`
    : `${asked.length} of ${all} ${what} of val are listed: of each class, category and size those that come first; artifacts/objects.parquet has all.`;
  byId("objects-shown").replaceChildren(...asked.slice(0, objectsShown).map(objectCard));
  byId("more-objects").hidden = asked.length <= objectsShown;
  byId("object-category").disabled = state.outcome === "extra";
}
function askFor(wanted) {
  Object.assign(state, wanted);
  objectsShown = OBJECTS_A_TIME;
  fillCategories();
  showState();
  writeState();
  drawObjects();
}
function askForRow({ class: objectClass, category, size: objectSize }) {
  askFor({ objectClass, category, objectSize, outcome: state.outcome === "found" ? "found" : "missed" });
  goTo("object-list");
}
function fillCategories() {
  const own = objectCounts.filter(({ category, class: of }) => category && (!state.objectClass || of === state.objectClass)).map(({ category }) => category);
  const names = [...new Set(own)].sort((a, b) => a.localeCompare(b));
  if (!names.includes(state.category)) state.category = "";
  byId("object-category").closest("label").hidden = names.every((name) => data.classes.includes(name));
  byId("object-category").replaceChildren(new Option("all", ""), ...names.map((name) => new Option(name, name)));
}

// ---- one sample ----
let opened = -1;
const FIXED_LAYERS = { "": "none", labels: "labels", predicted: "prediction", errors: "errors", loss: "loss" };
async function openSample(i, layer, object = "") {
  const dialog = byId("sample");
  opened = i;
  state.sample = String(data.ids[i]);
  state.object = object;
  if (layer !== undefined) state.layer = layer;
  byId("sample-title").textContent = `Image ${data.ids[i]}`;
  const issues = data.issues.filter((issue) => issue.sample === i);
  byId("sample-suspects").replaceChildren(...(issues.length ? [element("h3", { textContent: "Suspect labels" }),
    element("ul", {}, ...issues.map((issue) => element("li", { textContent: `${issue.kind}, ${show(issue.score)}: ${issue.evidence}` })))] : []));
  const listed = Object.entries(columns).filter(([, column]) => column.values[i] !== null && column.values[i] !== 0);
  byId("sample-metadata").tBodies[0].replaceChildren(...listed.map(([name, column]) => element("tr", {},
    element("th", { scope: "row", textContent: column.label }),
    element("td", { textContent: name === "cluster" ? clusterLabel(column.values[i]) : show(column.values[i]) }))));
  byId("sample-neighbors").replaceChildren(...data.neighbors[i].map((j) => viewButton(j)));
  const views = await viewsOf(i);
  if (opened !== i) return;
  const layers = { ...FIXED_LAYERS, ...Object.fromEntries(Object.keys(views.attention).map((name) => [name, `attention: ${name}`])) };
  if (!(state.layer in layers)) state.layer = "labels";
  byId("sample-layer").replaceChildren(...Object.entries(layers).map(([value, text]) => new Option(text, value, false, value === state.layer)));
  listObjects(views.objects);
  writeState();
  drawSample();
  if (!dialog.open) dialog.showModal();
}
function listObjects(own) {
  const items = own.map((object) => {
    const button = element("button", { className: "link", ariaPressed: String(String(object.object_id) === state.object), textContent: objectName(object) });
    button.dataset.box = object.object_id;
    return element("li", {}, button, ` ${object.outcome}: ${object.became}`);
  });
  byId("sample-objects").replaceChildren(...(own.length ? [element("h3", { textContent: "Objects" }), element("ul", {}, ...items)] : []));
}
function markObject(object) {
  state.object = state.object === object ? "" : object;
  for (const button of document.querySelectorAll("[data-box]")) button.ariaPressed = String(button.dataset.box === state.object);
  writeState();
  drawSample();
}
async function drawSample() {
  const i = opened, marked = (await viewsOf(i)).objects.find((object) => String(object.object_id) === state.object);
  if (opened === i) fill(byId("sample-view"), i, state.layer, byId("sample-opacity").value, marked?.box);
}

// ---- suspects: marks, and the file that data.exclude reads ----
function marked() {
  const images = new Set(), annotations = new Map();
  for (const set of document.querySelectorAll("fieldset[data-mark-image]")) {
    if (set.querySelector("input:checked")?.value !== "exclude") continue;
    const { markImage: image, markAnnotation: annotation } = set.dataset;
    if (annotation) annotations.set(image, [...(annotations.get(image) ?? []), annotation]);
    else images.add(image);
  }
  return { images: [...images], annotations: [...annotations] };
}
function excludeYaml({ images, annotations }) {
  const rows = annotations.map(([image, ids]) => `  ${image}: [${ids.join(", ")}]\n`).join("");
  return `source: ${JSON.stringify(data.source)}\nimages: [${images.join(", ")}]\nannotations:${rows ? `\n${rows}` : " {}\n"}`;
}
function countMarks() {
  const { images, annotations } = marked();
  const kept = document.querySelectorAll('fieldset input[value="keep"]:checked').length;
  const ids = annotations.reduce((sum, [, list]) => sum + list.length, 0);
  byId("marks-count").textContent = `${ids} annotations and ${images.length} images to exclude, ${kept} to keep`;
}

// ---- performance ----
function drawPerformance() {
  drawn.add("chart-performance");
  const { x, y } = state;
  if (!columns[x] || !columns[y]) {
    byId("chart-performance").textContent = "Nothing to show: no metadata differs between the images.";
    return;
  }
  const rows = all.filter((i) => isVal(i) && columns[x].values[i] !== null && columns[y].values[i] !== null);
  const points = {
    type: "scattergl", mode: "markers", name: "images", x: rows.map((i) => Number(columns[x].values[i])), y: rows.map((i) => columns[y].values[i]),
    customdata: rows, text: rows.map((i) => escapeHtml(`image ${data.ids[i]}`)), hovertemplate: "%{text}: %{x}, %{y}<extra></extra>", marker: { color: palette[4], size: 6, opacity: 0.6 },
  };
  const bins = data.bins[`${x}|${y}`] ?? [];
  const means = {
    mode: "lines+markers", name: "means", x: bins.map((b) => (b.low + b.high) / 2), y: bins.map((b) => b.mean), line: { color: palette[5] },
    text: bins.map((b) => `${b.images} images`), hovertemplate: "%{text}: %{y:.3f}<extra></extra>",
    error_y: { type: "data", symmetric: false, width: 0, array: bins.map((b) => (b.mean_high === null ? null : b.mean_high - b.mean)), arrayminus: bins.map((b) => (b.mean_low === null ? null : b.mean - b.mean_low)) },
  };
  draw("chart-performance", [points, means], { xaxis: { title: { text: escapeHtml(columns[x].label) } }, yaxis: { title: { text: escapeHtml(columns[y].label) } } })
    .then((plot) => { plot.removeAllListeners("plotly_click"); plot.on("plotly_click", (event) => { if (event.points[0].curveNumber === 0) openSample(event.points[0].customdata); }); });
}

// ---- wiring ----
const CONTROLS = { "color-by": "color", "filter-split": "split", "filter-cluster": "cluster", "filter-low": "low", "filter-high": "high", "plot-x": "x", "plot-y": "y",
  "object-outcome": "outcome", "object-class": "objectClass", "object-category": "category", "object-size": "objectSize" };
function showState() {
  for (const [id, key] of Object.entries(CONTROLS)) byId(id).value = state[key];
  byId("size-by-loss").checked = Boolean(state.size);
}
function fillControls() {
  const numbers = Object.keys(columns).filter((name) => columns[name].kind !== "name" && !scores.includes(name));
  defaults.x = numbers.includes("count.person") ? "count.person" : numbers[0];
  byId("color-by").append(...Object.entries(columns).map(([name, column]) => new Option(column.label, name)));
  byId("plot-x").append(...numbers.map((name) => new Option(columns[name].label, name)));
  byId("plot-y").append(...scores.map((name) => new Option(columns[name].label, name)));
  if (columns.split) byId("filter-split").append(...[...new Set(columns.split.values)].map((split) => new Option(split, split)));
  byId("object-class").append(...data.classes.map((name) => new Option(name, name)));
  byId("object-size").append(...["small", "medium", "large"].map((size) => new Option(size, size)));
  if (columns.cluster) byId("filter-cluster").append(...[...new Set(columns.cluster.values)].sort((a, b) => a - b).map((c) => new Option(clusterLabel(c), c)));
}
function changeControl(id) {
  if (id.startsWith("object-")) { askFor({ [CONTROLS[id]]: byId(id).value }); return; }
  state[CONTROLS[id]] = byId(id).value;
  writeState();
  if (id.startsWith("plot-")) drawPerformance(); else drawMap();
}
function goTo(section) {
  state.section = section;
  writeState();
  byId(section)?.scrollIntoView();
}
// A chart is drawn when it comes near the screen.
const CHARTS = { "chart-training": drawTraining, "chart-iou": drawIou, "chart-map": drawMap, "chart-performance": drawPerformance, "chart-confusion": drawConfusion };
const drawn = new Set();
const approaching = new IntersectionObserver((entries) => {
  for (const { target: { id } } of entries.filter((entry) => entry.isIntersecting)) {
    approaching.unobserve(byId(id));
    if (drawn.has(id)) continue;
    drawn.add(id);
    CHARTS[id]();
  }
}, { rootMargin: "200px" });
const drawAll = () => drawn.forEach((id) => CHARTS[id]());
function apply() {
  readState();
  fillCategories();
  showState();
  selected = state.sel ? state.sel.split("_").map(Number).filter((i) => i >= 0 && i < n) : [];
  drawAll();
  drawSelection();
  drawObjects();
  if (state.section) byId(state.section)?.scrollIntoView();
  if (rowOf.has(state.sample)) openSample(rowOf.get(state.sample), undefined, state.object); else byId("sample").close();
}

fillControls();
for (const id of Object.keys(CONTROLS)) byId(id).addEventListener("change", () => changeControl(id));
byId("size-by-loss").addEventListener("change", (event) => { state.size = event.target.checked ? "loss" : ""; writeState(); drawMap(); });
byId("select-shown").addEventListener("click", () => select(shownRows()));
byId("open-image").addEventListener("change", (event) => { const i = rowOf.get(event.target.value.trim()); if (i !== undefined) openSample(i); });
byId("sample-layer").addEventListener("change", (event) => { state.layer = event.target.value; writeState(); drawSample(); });
byId("sample-opacity").addEventListener("input", drawSample);
byId("sample").addEventListener("close", () => { opened = -1; state.sample = state.object = ""; writeState(); });
byId("more-objects").addEventListener("click", () => { objectsShown += OBJECTS_A_TIME; drawObjects(); });
byId("show-attention").addEventListener("change", () => document.querySelectorAll("#clusters .view").forEach(fillButton));
byId("export-marks").addEventListener("click", () => {
  const link = element("a", { href: URL.createObjectURL(new Blob([excludeYaml(marked())], { type: "application/yaml" })), download: "exclude.yaml" });
  link.click();
  URL.revokeObjectURL(link.href);
});
document.addEventListener("change", (event) => { if (event.target.closest("fieldset")) countMarks(); });
document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-class]");
  if (row) { askForRow(row.dataset); return; }
  const target = event.target.closest("button, a");
  if (!target) return;
  if (rowOf.has(target.dataset.image)) openSample(rowOf.get(target.dataset.image), target.dataset.layer || undefined, target.dataset.object);
  if (target.dataset.box) markObject(target.dataset.box);
  if (target.dataset.outcome) { askFor({ outcome: target.dataset.outcome, objectClass: "", category: "", objectSize: "" }); goTo("object-list"); }
  if (target.dataset.points) { select(target.dataset.points.split(" ").map(Number)); goTo("map"); }
  if (target.dataset.selectCluster) { select(all.filter((i) => String(columns.cluster?.values[i]) === target.dataset.selectCluster)); goTo("map"); }
  if (target.matches("nav a")) { event.preventDefault(); goTo(target.hash.slice(1)); }
});
document.querySelectorAll("main .view").forEach((button) => visible.observe(button));
window.addEventListener("hashchange", apply);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
apply();
Object.keys(CHARTS).forEach((id) => approaching.observe(byId(id)));
document.documentElement.dataset.ready = "true";
