"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "x"];
const noise = "#9aa4af";
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function layout(more) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  return {
    margin: { l: 45, r: 15, t: 10, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style("--ink"), family: "system-ui, sans-serif" },
    legend: { orientation: "h", y: -0.35 },
    ...more,
    xaxis: { ...axis, ...more.xaxis },
    yaxis: { ...axis, ...more.yaxis },
  };
}
const draw = (id, traces, more, toolbar = false) =>
  Plotly.react(id, traces, layout(more), { responsive: true, displaylogo: false, displayModeBar: toolbar });

function drawTraining() {
  const { epoch, ...columns } = data.history;
  const shown = ["loss", ...data.classes.map((name) => `iou_${name}`)];
  const traces = shown.flatMap((metric, i) => [metric, `val_${metric}`].map((name) => ({
    x: epoch, y: columns[name], name, mode: "lines+markers",
    line: { dash: name.startsWith("val_") ? "solid" : "dot", color: palette[i % palette.length] },
  })));
  draw("chart-training", traces, { xaxis: { title: { text: "epoch" } }, yaxis: { rangemode: "tozero" } });
}

function drawIou() {
  const traces = Object.entries(data.iou).map(([split, iou], i) => ({
    type: "bar", name: split, x: data.classes, y: data.classes.map((name) => iou[name]),
    marker: { color: palette[i] },
    error_y: {
      type: "data", symmetric: false,
      array: data.classes.map((name) => iou[`${name}_high`] - iou[name]),
      arrayminus: data.classes.map((name) => iou[name] - iou[`${name}_low`]),
    },
  }));
  draw("chart-iou", traces, { barmode: "group", yaxis: { range: [0, 1], title: { text: "IoU" } } });
}

function drawConfusion() {
  const { actual, predicted, share } = data.confusion;
  draw("chart-confusion", [{
    type: "heatmap", x: predicted, y: actual, z: share, zmin: 0, zmax: 1, colorscale: "Cividis", showscale: false,
    texttemplate: "%{z:.2f}", hovertemplate: "true %{y}, predicted %{x}: %{z:.3f}<extra></extra>",
  }], {
    xaxis: { title: { text: "predicted" }, type: "category" },
    yaxis: { title: { text: "true" }, type: "category", autorange: "reversed" },
  });
}

const clusterLabel = (cluster) => (cluster < 0 ? "no cluster" : `${cluster} ${data.clusterNames[cluster]}`);

function groupedTraces(field, label) {
  const { x, y, image_id } = data.points;
  const values = data.points[field];
  const groups = [...new Set(values)].sort((a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b))));
  return groups.map((group, i) => {
    const chosen = values.flatMap((value, j) => (value === group ? [j] : []));
    const number = field === "cluster" ? group : i;
    return {
      type: "scattergl", mode: "markers", name: label(group),
      x: chosen.map((j) => x[j]), y: chosen.map((j) => y[j]), text: chosen.map(hover),
      customdata: chosen.map((j) => image_id[j]), hovertemplate: "%{text}<extra></extra>",
      marker: number < 0
        ? { color: noise, size: 6, opacity: 0.5 }
        : { color: palette[number % palette.length], symbol: symbols[Math.floor(number / palette.length) % symbols.length], size: 8 },
    };
  });
}

function shadedTrace(field) {
  const { x, y, image_id } = data.points;
  return [{
    type: "scattergl", mode: "markers", x, y, text: x.map((_, j) => hover(j)), customdata: image_id,
    hovertemplate: "%{text}<extra></extra>", showlegend: false,
    marker: { color: data.points[field], colorscale: "Cividis", size: 8, colorbar: { title: { text: field } } },
  }];
}

const escapeHtml = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function hover(j) {
  const p = data.points;
  return [`image ${p.image_id[j]} (${p.split[j]})`, clusterLabel(p.cluster[j]), `loss ${p.loss[j]}`, `mostly ${p.dominant[j]}`]
    .map(escapeHtml).join("<br>");
}

function drawMap() {
  const field = document.getElementById("color-by").value;
  const discrete = ["cluster", "split", "is_gray", "dominant"].includes(field);
  const traces = discrete ? groupedTraces(field, (v) => escapeHtml(field === "cluster" ? clusterLabel(v) : v)) : shadedTrace(field);
  draw("chart-map", traces, { xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x" }, hovermode: "closest", margin: { l: 10, r: 10, t: 40, b: 10 }, legend: { orientation: "h", y: 0 } }, true);
}

function drawAll() {
  drawTraining();
  drawIou();
  drawConfusion();
  drawMap();
}

const select = document.getElementById("color-by");
for (const field of Object.keys(data.points).filter((name) => !["image_id", "x", "y"].includes(name))) {
  select.add(new Option(field, field, false, field === "cluster"));
}
select.addEventListener("change", drawMap);
document.getElementById("show-attention").addEventListener("change", (event) => {
  for (const image of document.querySelectorAll(".gallery img")) {
    image.src = event.target.checked ? image.dataset.attention : image.dataset.photograph;
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
