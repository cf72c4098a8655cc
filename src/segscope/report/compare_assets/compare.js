"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const palette = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const maps = { "map-a": data.a, "map-b": data.b };
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let selected = null; // image ids, or null: nothing is selected

function draw(id) {
  const { ids, key, x, y, cluster } = maps[id];
  const color = cluster.map((c) => (c < 0 ? "#9aa4af" : palette[c % palette.length]));
  const rows = selected && key.flatMap((image, i) => (selected.has(image) ? [i] : []));
  Plotly.react(id, [{
    type: "scattergl", mode: "markers", x, y, customdata: key, text: ids.map((image) => `image ${image}`),
    hovertemplate: "%{text}<extra></extra>", marker: { color, size: 7 }, selectedpoints: rows ?? undefined, unselected: { marker: { opacity: 0.12 } },
  }], {
    margin: { l: 10, r: 10, t: 30, b: 10 }, dragmode: "lasso", hovermode: "closest", showlegend: false, uirevision: id,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--ink") },
    xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x" },
  }, { responsive: true, displaylogo: false, scrollZoom: true });
}
function select(ids) {
  selected = ids && new Set(ids);
  document.getElementById("selected").textContent = ids ? `${ids.length} images are selected` : "nothing is selected";
  Object.keys(maps).forEach(draw);
}
select(null);
for (const id of Object.keys(maps)) {
  const plot = document.getElementById(id);
  plot.on("plotly_selected", (event) => { if (event) select(event.points.map((point) => point.customdata)); });
  plot.on("plotly_deselect", () => select(null));
}
document.documentElement.dataset.ready = "true";
