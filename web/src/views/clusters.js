// Which groups of images does the model see, which does it do badly, and why are they groups?

import { base, isVal, mapOf, measure, run, trusted } from "../data.js";
import { button, h, segments, setStyle, replace } from "../dom.js";
import { interval, pairBars } from "../charts.js";
import { clusterColor } from "../color.js";
import { swatch } from "../swatch.js";
import { capital, fixed, percent, plural } from "../format.js";
import { imageButton } from "../grid.js";
import { scoreLabel } from "../findings.js";
import { empty, heading, selects } from "../parts.js";
import { cell, rowHead, table } from "../tables.js";
import { rowsWhere, select, setState, state } from "../store.js";

export const title = "Clusters";

const found = (cluster) => run.clusters.find((each) => String(each.cluster) === String(cluster));
const rowsIn = (cluster) => rowsWhere((i) => base.cluster[i] === cluster);
const color = (cluster) => `var(${clusterColor(cluster)})`;
const isStable = (cluster) => cluster.stability === null || cluster.stability >= run.stable;
const attentionTones = () => ["--c-none", "--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];

export function mount(root) {
  root.classList.add("page");
  if (!run.clusters.length) {
    root.append(
      heading("Clusters", null),
      empty(
        "No clusters were found: no group of images is denser than what lies around it.",
        h("p.soft", {}, "A smaller ", h("code", {}, "cluster.min_cluster_size"), " finds more."),
      ),
    );
    return {};
  }
  const controls = h("div.controls");
  const detail = h("section.card.detail", { id: "cl-detail", "aria-live": "off" });
  const stable = run.clusters.filter(isStable);
  const unstable = run.clusters.filter((each) => !isStable(each));
  root.append(
    heading("Clusters", lede(stable, unstable)),
    h(
      "section",
      { id: "cl-table" },
      controls,
      list(stable.length ? stable : unstable, "Clusters"),
      run.unseen ? "" : attentionKey(),
      h("p.soft", {}, byChance()),
    ),
    detail,
    unstable.length && stable.length
      ? h(
          "section.block",
          { id: "cl-unstable" },
          h(
            "header",
            {},
            h("h2", {}, "Not found again"),
            h(
              "p",
              {},
              `In 80 % of the images these are hardly found again (Jaccard below ${run.stable}): they have no name, and may be no groups at all.`,
            ),
          ),
          list(unstable, "Clusters that are not found again"),
        )
      : "",
    h("p.soft.under", {}, grayText()),
  );

  function drawControls() {
    replace(
      controls,
      run.unseen
        ? ""
        : segments(
            "Pictures",
            [
              ["photo", "Photo"],
              ["attention", "Attention"],
            ],
            state.attention ? "attention" : "photo",
            (value) => setState({ attention: value === "attention" }),
          ),
      h("span.soft", {}, run.unseen || "where the cluster's direction in latent space comes from"),
      h(
        "span.key.right",
        {},
        h("span", {}, h("i.tk"), "cluster, val"),
        h("span", {}, h("i.band"), "95 % interval of the difference"),
        h("span", {}, h("i.tk2"), "rest"),
        h("span", {}, h("b.worse", {}, "0.00"), "worse than the rest"),
        h("span", {}, h("b.better", {}, "0.00"), "better"),
      ),
    );
  }
  function drawDetail() {
    const cluster = found(state.cluster) ?? [...(stable.length ? stable : unstable)].sort((a, b) => b.size - a.size)[0];
    for (const row of root.querySelectorAll("tr[data-cluster]")) {
      if (row.dataset.cluster === String(cluster.cluster)) row.setAttribute("aria-selected", "true");
      else row.removeAttribute("aria-selected");
    }
    replace(detail, ...detailOf(cluster));
  }
  function update(changed) {
    if (changed.has("attention")) drawControls();
    if (changed.has("cluster") || changed.has("attention")) drawDetail();
  }
  update(new Set(["attention", "cluster"]));
  return { update };
}

function lede(stable, unstable) {
  const seeds = measure("stability.seeds", "");
  const again = seeds
    ? ` Found again with other seeds, they agree by ${fixed(seeds.value, 2)}, in 80 % of the images by ${fixed(measure("stability.subsamples", "")?.value, 2)} (adjusted Rand index; 1 is the same, 0 chance).`
    : "";
  const none = measure("unclustered", "");
  return `${plural(stable.length + unstable.length, "group")} of images that look alike to ${mapOf()}; ${percent(none?.value)} of the images, near copies being one, belong to none. Each is named by what is over-represented in it and holds for half of it or more; ${foundAgain(stable, unstable)}${again}`;
}

function foundAgain(stable, unstable) {
  if (unstable.length === 1) return "one is hardly found again and has no name.";
  if (unstable.length) return `${unstable.length} are hardly found again and have no name.`;
  return stable.some((each) => each.stability !== null)
    ? "all are found again."
    : "whether they are found again was not looked at.";
}

/** How many of the table's intervals would leave out 0 of random groups. */
function byChance() {
  const known = run.clusters.flatMap((each) => each.performance).filter((row) => row.low !== null).length;
  return `Each interval is by itself: of ${known} figures about ${Math.round(0.05 * known)} would leave out 0 by chance.`;
}

function grayText() {
  const difference = measure("difference.grayscale file.loss");
  const inside = measure("inside.grayscale file.loss");
  const count = (name) => measure(name, "")?.value ?? 0;
  const start = `${plural(count("gray"), "image is", "images are")} gray: ${count("grayscale_files")} of one colour channel, ${count("gray_rgb_files")} colourless RGB.`;
  if (!difference || !inside) return start;
  const interval95 = trusted(difference)
    ? `difference ${fixed(difference.low)} to ${fixed(difference.high)}`
    : "too few to compare";
  return `${start} Val loss of grayscale files ${fixed(inside.value)}, of RGB files ${fixed(inside.value - difference.value)} (${interval95}).`;
}

// ---- the table ----
function list(clusters, label) {
  const scores = run.scores.slice(0, 5);
  const columns = [
    { title: "Cluster", sort: true },
    { title: "Images", n: true, sort: true },
    { title: "Examples" },
    ...scores.map((name) => ({ title: capital(scoreLabel(name)), sort: true })),
    { title: "Found again", n: true, sort: true },
    { title: "Under the attention" },
  ];
  const row = (cluster) =>
    h(
      "tr",
      { data: { cluster: cluster.cluster }, onclick: (event) => event.target.closest("button") || open(cluster) },
      rowHead(
        h(
          "button.name",
          { type: "button", title: cluster.name, onclick: () => open(cluster) },
          swatch(color(cluster.cluster)),
          h("span.num.soft", {}, String(cluster.cluster)),
          h("span", {}, cluster.name),
        ),
        cluster.cluster,
      ),
      cell(
        [
          selects(
            rowsIn(cluster.cluster),
            String(cluster.size),
            `cluster ${cluster.cluster} ${cluster.name}`,
            `cluster == ${cluster.cluster}`,
          ),
          h("span.only-s", {}, "\u00a0images"),
          cluster.groups !== cluster.size && h("small.below", {}, `${cluster.groups} groups`),
        ],
        { n: true, v: cluster.size },
      ),
      cell(
        h(
          "div.mini5",
          {},
          cluster.images.slice(0, 5).map((i) => imageButton(i, { queue: () => cluster.images, caption: [] })),
        ),
        { cls: "all" },
      ),
      scores.map((name) => scoreCell(cluster, name)),
      cell(cluster.stability === null ? "–" : fixed(cluster.stability, 2), {
        n: true,
        v: cluster.stability,
        l: "found again",
        cls: isStable(cluster) ? "" : "worse",
      }),
      cell(attentionBar(cluster), { cls: "all" }),
    );
  return table(columns, [...clusters].sort((a, b) => b.size - a.size).map(row), { label, sorted: 1, kind: "stk" });
}

function open(cluster) {
  setState({ cluster: String(cluster.cluster) });
  document.getElementById("cl-detail")?.scrollIntoView({ block: "nearest" });
}

const performanceOf = (cluster, name) => cluster.performance.find((row) => row.feature === name);

function scoreCell(cluster, name) {
  const row = performanceOf(cluster, name);
  const label = scoreLabel(name);
  if (!row || row.inside === null) return cell(h("span.soft", {}, "shown in too few"), { v: null, l: label });
  const clear = row.low !== null && (row.low > 0 || row.high < 0);
  const worse = row.inside > row.rest === (name === "loss");
  const scale =
    name === "loss"
      ? [0, 1.5 * Math.max(...run.clusters.map((each) => performanceOf(each, name)?.inside ?? 0))]
      : [0, 1];
  return cell(
    h(
      "span.scored",
      {},
      glyph(row, scale),
      h("span.num", { class: clear ? (worse ? "worse strong" : "better strong") : "" }, fixed(row.inside, 2)),
    ),
    { v: row.inside, l: label },
  );
}

/** A cluster's value, the rest's, and the interval of their difference, laid about the cluster's. */
function glyph(row, scale) {
  const known = row.low !== null;
  return interval({
    value: row.inside,
    low: known ? row.rest + row.low : null,
    high: known ? row.rest + row.high : null,
    tick: row.rest,
    scale,
    title: known ? `difference ${fixed(row.low)} to ${fixed(row.high)}` : "too few for an interval",
  });
}

function attentionFeatures() {
  const total = new Map();
  for (const cluster of run.clusters)
    for (const row of cluster.attention) total.set(row.feature, (total.get(row.feature) ?? 0) + row.inside);
  return [...total.entries()]
    .sort((a, b) => Number(b[0] === "unlabelled") - Number(a[0] === "unlabelled") || b[1] - a[1])
    .slice(0, 8)
    .map(([name]) => name);
}
function attentionBar(cluster) {
  const names = attentionFeatures();
  const interval = (row) =>
    row.inside_low === null ? "" : ` (${percent(row.inside_low)} to ${percent(row.inside_high)})`;
  const words = cluster.attention.map((row) => `${row.feature} ${percent(row.inside)}${interval(row)}`).join(", ");
  return h(
    "div.share",
    { role: "img", "aria-label": `Attention: ${words}`, title: words },
    names.map((name, k) => {
      const part = h("i");
      setStyle(part, {
        width: `${100 * (cluster.attention.find((row) => row.feature === name)?.inside ?? 0)}%`,
        background: `var(${attentionTones()[k]})`,
      });
      return part;
    }),
  );
}
const attentionKey = () =>
  h(
    "div.key.under",
    {},
    h("span", {}, "Under the attention:"),
    attentionFeatures().map((name, k) => h("span", {}, swatch(`var(${attentionTones()[k]})`, true), name)),
  );

// ---- one cluster ----
function detailOf(cluster) {
  const rows = rowsIn(cluster.cluster);
  const val = rows.filter(isVal).length;
  const query = `cluster == ${cluster.cluster}`;
  const origin = `cluster ${cluster.cluster} ${cluster.name}`;
  const overlay = state.attention && !run.unseen ? `attention/cluster-${cluster.cluster}` : "";
  const again = cluster.stability === null ? "" : `, found again by ${fixed(cluster.stability, 2)}`;
  return [
    h(
      "header",
      {},
      swatch(color(cluster.cluster)),
      h("h2", {}, `${cluster.cluster} · ${cluster.name}`),
      h(
        "span.soft",
        {},
        `${cluster.size} images${cluster.groups !== cluster.size ? ` in ${cluster.groups} groups` : ""}, ${val} of val${again}`,
      ),
      h(
        "span.right",
        {},
        button("Select", () => select(rows, origin, query), { class: "s" }),
        button(
          "Show on map",
          () => {
            select(rows, origin, query);
            setState({ view: "explore", sub: "" });
          },
          { class: "s", data: { selectCluster: cluster.cluster } },
        ),
      ),
    ),
    h(
      "div.g8",
      {},
      cluster.images.slice(0, 8).map((i) => imageButton(i, { queue: () => cluster.images, overlay })),
    ),
    h("div.cols", {}, facts(cluster), performance(cluster), attention(cluster)),
  ];
}

function facts(cluster) {
  const rows = cluster.facts.map((row) => [
    h(
      "span",
      { title: `${percent(row.recall)} of all such images; p ${Number(row.p_value).toPrecision(1)}` },
      row.feature,
    ),
    pairBars(row.inside, row.rest, color(cluster.cluster)),
    h(
      "span.n.num",
      {},
      h("b", {}, percent(row.inside)),
      ` · ${percent(row.rest)}`,
      h("small.below", {}, `${percent(row.recall)} of such, p ${Number(row.p_value).toPrecision(1)}`),
    ),
  ]);
  return h(
    "div",
    {},
    h("h3.eyebrow", {}, "Over-represented: cluster · rest"),
    rows.length ? h("div.pair", {}, rows) : h("p.soft", {}, "Nothing significant."),
  );
}

function performance(cluster) {
  const rows = cluster.performance.map((row) => {
    const scale = row.feature === "loss" ? [0, 2 * Math.max(row.inside, row.rest)] : [0, 1];
    const clear = row.low !== null && (row.low > 0 || row.high < 0);
    const worse = row.inside > row.rest === (row.feature === "loss");
    return [
      h("span", {}, capital(scoreLabel(row.feature))),
      glyph(row, scale),
      h(
        "span.n.num",
        {},
        h("strong", {}, fixed(row.inside, 2)),
        " ",
        h("span.soft", {}, fixed(row.rest, 2)),
        " ",
        row.rest !== null &&
          h("span", { class: clear ? (worse ? "worse" : "better") : "soft" }, row.inside > row.rest ? "▲" : "▼"),
        h(
          "small.below",
          {},
          row.low === null ? "too few for an interval" : `difference ${fixed(row.low)} to ${fixed(row.high)}`,
        ),
      ),
    ];
  });
  const none = rowsIn(cluster.cluster).some(isVal)
    ? "No score of its val images is known."
    : "None of its images is of val.";
  return h(
    "div",
    {},
    h("h3.eyebrow", {}, "Val performance against the rest"),
    rows.length ? h("div.cmp", {}, rows) : h("p.soft", {}, none),
  );
}

function attention(cluster) {
  if (run.unseen) return h("div", {}, h("h3.eyebrow", {}, "Under the attention"), h("p.soft", {}, run.unseen));
  const span = (low, high) => `${Math.round(100 * low)} to ${percent(high)}`;
  const rows = cluster.attention.map((row) => {
    const clear = row.p_value !== null && row.p_value <= 0.05;
    return [
      h("span", {}, clear ? h("strong", {}, row.feature) : row.feature),
      pairBars(row.inside, row.rest),
      h(
        "span.n.num",
        {},
        h("b", {}, percent(row.inside)),
        ` · ${percent(row.rest)}`,
        row.inside_low !== null && h("small.below", {}, `95 %: ${span(row.inside_low, row.inside_high)}`),
        row.low !== null && h("small.below", {}, `random: ${span(row.low, row.high)}`),
      ),
    ];
  });
  return h(
    "div",
    {},
    h("h3.eyebrow", {}, "Under the attention: attention · all pixels"),
    h("div.pair", {}, rows),
    h(
      "p.soft",
      {},
      "95 %: interval over its images. Random: what random clusters of its size would show; bold: more or less than that.",
    ),
  );
}
