// Which images look alike to the model, and what is unusual about those that are chosen?

import {
  base,
  clusterName,
  column,
  columnNow,
  fileOf,
  isVal,
  levelOf,
  mapOf,
  measure,
  metaOf,
  n,
  run,
  trusted,
  valueOf,
} from "../data.js";
import { button, h, icon, link, picker, replace, setStyle } from "../dom.js";
import { coloring, middles } from "../color.js";
import { capital, fixed, isolated, percent, plural, short } from "../format.js";
import { makeGrid } from "../grid.js";
import { thumb } from "../images.js";
import { makeLegend } from "../legend.js";
import { makeMap } from "../map.js";
import { empty, saving } from "../parts.js";
import { makeFilters } from "../ranges.js";
import { makePanel } from "../selection.js";
import { extent, ordered } from "../stats.js";
import { extend, openImage, rowsOf, select, selectShown, setFilter, setState, shown, state } from "../store.js";

export const title = "Explore";

export function mount(root) {
  root.classList.add("ex");
  const map = makeMap(
    { x: base.x, y: base.y, count: n },
    { label: mapLabel(), onselect: chosen, onopen: (i) => openImage(i, listed()), onhover: hover },
  );
  const tip = h("div.tip", { hidden: true });
  const bar = h("div.bar");
  const side = h("aside.side", { "aria-label": "Legend and filters" });
  const legend = makeLegend(drawMap);
  const filters = makeFilters(side);
  side.append(legend.element, filters.element);
  const grid = makeGrid("Images");
  const panel = makePanel();
  const gridHead = h("header");
  const nothing = h("div");
  let colorOf = coloring(state.color);

  root.append(
    h("h1.vh", { tabindex: -1 }, "Explore"),
    bar,
    side,
    h("div.map", {}, map.element, tip, saving(map.canvas, "map"), h("p.note", {}, note())),
    h("div.pane", {}, panel.element, h("div.gr", { id: "grid" }, gridHead, nothing, grid.element)),
  );

  function chosen(rows, mode) {
    if (mode === "new") select(rows, "the map");
    else extend(rows, mode, "the map");
  }

  function hover(i, x, y) {
    tip.hidden = i < 0;
    if (i < 0) return;
    const rows = [["loss", fixed(base.loss[i])]];
    if (columnNow("split")) rows.push(["split", levelOf("split", i)]);
    rows.push(["cluster", clusterName(base.cluster[i])]);
    if (!["loss", "split", "cluster"].includes(state.color) && colorOf.column)
      rows.push([colorOf.column.label, short(valueOf(colorOf.column, i))]);
    replace(
      tip,
      thumb(i),
      h(
        "dl",
        {},
        [["image", base.image_id[i]], ["file", fileOf(i)], ...rows].map(([name, value]) => [
          h("dt", {}, name),
          h("dd", {}, String(value)),
        ]),
      ),
    );
    const box = map.element.getBoundingClientRect();
    setStyle(tip, {
      left: `${Math.max(4, Math.min(x + 14, box.width - 184))}px`,
      top: `${Math.max(4, Math.min(y + 14, box.height - 250))}px`,
    });
  }

  /** The images of the grid, in its order. */
  function listed() {
    const mask = shown();
    const rows = state.selected ? rowsOf(state.selected) : rowsOf(mask);
    if (state.order === "id") return rows.sort((a, b) => base.image_id[a] - base.image_id[b]);
    if (state.order === "map") return rows.sort((a, b) => base.slot[a] - base.slot[b]);
    if (state.order === "-loss" || state.selected) return ordered(rows, base.loss, state.order === "loss");
    // What was not learned from comes first.
    return [rows.filter(isVal), rows.filter((i) => !isVal(i))].flatMap((part) => ordered(part, base.loss));
  }

  // ---- the bar above ----
  function drawBar() {
    const kept = rowsOf(shown()).length;
    const groups = grouped(run.columns);
    const choices = [...groups].map(([group, of]) => ({ group, of: of.map((meta) => [meta.name, meta.label]) }));
    const sizes = [
      ["", "equal"],
      ...run.columns.filter((meta) => meta.group === "Scores").map((meta) => [meta.name, meta.label]),
    ];
    const chips = Object.entries(state.filters).map(([name, filter]) =>
      h(
        "button.chip.on",
        {
          type: "button",
          "aria-label": `Remove the filter ${filterWords(name, filter)}`,
          onclick: () => setFilter(name, null),
        },
        filterWords(name, filter),
        h("span.x", {}, icon("close", 12)),
      ),
    );
    replace(
      bar,
      picker(
        "Colour",
        choices,
        state.color,
        async (name) => {
          await column(name);
          setState({ color: name });
        },
        { id: "color-by" },
      ),
      picker(
        "Size",
        sizes,
        state.size,
        async (name) => {
          if (name) await column(name);
          setState({ size: name });
        },
        { id: "size-by" },
      ),
      h("span.sep"),
      ...chips,
      chips.length ? link("Clear all", () => setState({ filters: {} })) : null,
      button("Select what is shown", selectShown, { class: "s", id: "select-shown" }),
      h("span.count", { id: "count" }, kept === n ? `all ${n} shown` : `${kept} of ${n} shown, the rest faint`),
    );
  }

  // ---- the images ----
  function drawGrid() {
    const rows = listed();
    /** @type {Array<[string, string]>} */
    const orders = [
      ["loss", "highest loss first"],
      ["-loss", "lowest loss first"],
      ["map", "as on the map"],
      ["id", "by id"],
    ];
    replace(
      gridHead,
      h("h2", {}, "Images"),
      h("span.soft.num", { id: "grid-count" }, String(rows.length)),
      h(
        "span.right",
        {},
        picker("", orders, state.order, (order) => setState({ order }), {
          "aria-label": "Order of the images",
          id: "order",
        }),
      ),
    );
    replace(
      nothing,
      rows.length
        ? null
        : empty(
            "No image passes all filters.",
            link("Take them away", () => setState({ filters: {} })),
          ),
    );
    const of = colorOf.column && colorOf.column.kind === "number" ? colorOf.column : null;
    grid.show(rows, (i) => (of ? short(of.values[i]) : fixed(base.loss[i], 2)));
  }

  /** @param {number | null} [alone] a value of the colouring column that stands out: its legend's row is pointed at */
  function drawMap(alone = null) {
    const mask = shown();
    const values = colorOf.column?.values;
    const sizes = columnNow(state.size);
    const [, top] = sizes ? extent(sizes.values) : [0, 1];
    map.show({
      color: colorOf.color,
      radius: (i) =>
        sizes ? 2 + 6 * Math.sqrt(Math.max(0, Number.isNaN(sizes.values[i]) ? 0 : sizes.values[i]) / (top || 1)) : 3.6,
      shown: (i) => mask[i] === 1 && (alone === null || values[i] === alone),
      selected: alone === null ? state.selected : null,
      labels: state.color === "cluster" ? labels(mask) : [],
    });
  }

  function update(changed) {
    const has = (...keys) => keys.some((key) => changed.has(key));
    if (has("color", "theme")) {
      colorOf = coloring(state.color);
      if (!colorOf.column)
        column(state.color).then(
          () => update(new Set(["color"])),
          () => setState({ color: "cluster" }),
        );
    }
    if (has("filters", "color", "size")) drawBar();
    if (has("filters", "color", "theme")) legend.draw(colorOf);
    else if (has("selected")) legend.count(colorOf);
    if (has("filters", "theme")) filters.draw();
    if (has("filters", "color", "size", "theme")) drawMap();
    else if (has("selected")) map.select(state.selected);
    if (has("selected")) panel.draw();
    if (has("selected", "filters", "order", "color")) drawGrid();
  }
  update(new Set(["color", "filters", "selected", "theme"]));
  function unmount() {
    map.stop();
    grid.stop();
  }
  return { update, unmount };
}

function grouped(metas) {
  const found = new Map();
  for (const meta of metas) found.set(meta.group, [...(found.get(meta.group) ?? []), meta]);
  return found;
}

function labels(mask) {
  return middles(base, (i) => Boolean(mask[i])).map(({ cluster, x, y }) => {
    const found = run.clusters.find((each) => each.cluster === cluster);
    const named = found && (found.stability === null || found.stability >= run.stable);
    const brief = named ? found.name.split(",")[0] : "";
    return { text: `${cluster} ${brief.length > 22 ? `${brief.slice(0, 21)}…` : brief}`.trim(), x, y };
  });
}

function filterWords(name, filter) {
  const label = metaOf(name)?.label ?? name;
  if (filter.values)
    return `${label}: ${filter.values.length > 3 ? `${filter.values.length} kinds` : filter.values.join(", ")}`;
  if (filter.low !== undefined && filter.high !== undefined)
    return `${short(filter.low)} ≤ ${label} ≤ ${short(filter.high)}`;
  return filter.low !== undefined ? `${label} ≥ ${short(filter.low)}` : `${label} ≤ ${short(filter.high ?? NaN)}`;
}

/** What the map shows, in words. */
function mapLabel() {
  const none = measure("unclustered", "");
  return `Map of ${plural(n, "image")} in ${plural(run.clusters.length, "cluster")}${none ? `, ${percent(none.value)} of them in none, near copies being one` : ""}. ${alike()} The legend and the list of images hold the same for the keyboard.`;
}

/** How far near images are of one kind. */
function alike() {
  const purity = measure("neighbor_purity", "all");
  if (!purity) return "The labels are all of one category, so that none of the images are of another kind.";
  return `${percent(purity.value)} of neighbours share the dominant ${run.kind}, by chance ${percent(measure("chance.neighbor_purity", "all")?.value)}.`;
}

/** How far the images that are heavy in one class are from those that are heavy in another. */
function apart() {
  if (!run.sides.length) return "Separability takes two classes; the variant has one.";
  const [one, other] = run.sides.map((name) => `${isolated(name)}-heavy (${measure(`${name}_heavy`)?.value ?? 0})`);
  const of = `${capital(one)} and ${other} val images: `;
  const m = measure("separability");
  if (!m) return `${of}too few for separability, which takes five or more of each.`;
  const interval95 = trusted(m) ? ` (${fixed(m.low, 2)} to ${fixed(m.high, 2)})` : "";
  return `${of}separability ${fixed(m.value, 2)}${interval95}, 0.5 is chance; silhouette ${fixed(measure("silhouette")?.value, 2)}.`;
}

/** What is known of the map as a whole. */
function note() {
  return [
    `Near points look alike to ${mapOf()}.`,
    `Trustworthiness of the map ${fixed(measure("trustworthiness", "")?.value, 2)}.`,
    alike(),
    apart(),
  ].join(" ");
}
