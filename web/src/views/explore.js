// Which images look alike to the model, and what is unusual about those that are chosen?

import {
  allNumbers,
  base,
  column,
  columnNow,
  group,
  groupCount,
  isVal,
  levelOf,
  measure,
  metaOf,
  n,
  run,
  valMask,
  valueOf,
} from "../data.js";
import { button, h, icon, link, picker, setStyle, replace } from "../dom.js";
import { bars, interval } from "../charts.js";
import { coloring, middles } from "../color.js";
import { swatch } from "../swatch.js";
import { capital, fixed, percent, plural, short, signed } from "../format.js";
import { makeGrid } from "../grid.js";
import { thumb } from "../images.js";
import { makeMap } from "../map.js";
import { empty, saving } from "../parts.js";
import { contrast, extent, histogram, ordered } from "../stats.js";
import {
  extend,
  openImage,
  rowsOf,
  select,
  selectShown,
  setFilter,
  setState,
  shown,
  shownBut,
  state,
} from "../store.js";

const BINS = 20;
const LEGEND = 14; // rows that are shown of a long legend
const UNUSUAL = 8;
const FIRST = ["loss", "count.person", "count.super.vehicle", "share.background", "brightness"];

export const title = "Explore";

export function mount(root) {
  root.classList.add("ex");
  const map = makeMap(
    { x: base.x, y: base.y, count: n },
    { label: mapLabel(), onselect: chosen, onopen: (i) => openImage(i, listed()), onhover: hover },
  );
  const tip = h("div.tip", { hidden: true });
  const bar = h("div.bar");
  const [legendBox, filterBox] = [h("div"), h("div.filters")];
  const side = h("aside.side", { "aria-label": "Legend and filters" }, legendBox, filterBox);
  const grid = makeGrid("Images");
  const panel = h("div.in", { id: "selection" });
  const gridHead = h("header");
  const nothing = h("div");
  let allLegend = false;
  let extra = /** @type {string[]} */ ([]);
  let colorOf = coloring(state.color);

  root.append(
    h("h1.vh", { tabindex: -1 }, "Explore"),
    bar,
    side,
    h("div.map", {}, map.element, tip, saving(map.canvas, "map"), h("p.note", {}, note())),
    h("div.pane", {}, panel, h("div.gr", { id: "grid" }, gridHead, nothing, grid.element)),
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
    rows.push(["cluster", valueOf(columnOrThrow("cluster"), i)]);
    if (!["loss", "split", "cluster"].includes(state.color) && colorOf.column)
      rows.push([colorOf.column.label, short(valueOf(colorOf.column, i))]);
    replace(
      tip,
      thumb(i),
      h(
        "dl",
        {},
        [["image", base.image_id[i]], ...rows].map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
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
    const val = state.selected ? rows : [...rows.filter(isVal), ...rows.filter((i) => !isVal(i))];
    return state.order === "-loss"
      ? ordered(val, base.loss, false)
      : state.selected
        ? ordered(val, base.loss)
        : [
            ...ordered(rows.filter(isVal), base.loss),
            ...ordered(
              rows.filter((i) => !isVal(i)),
              base.loss,
            ),
          ];
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

  // ---- legend ----
  function drawLegend() {
    replace(legendBox, legend());
  }
  function drawFilters() {
    const old = side.scrollTop;
    const focused = side.contains(document.activeElement) && document.activeElement?.getAttribute("aria-label");
    replace(filterBox, filters());
    side.scrollTop = old;
    // Who moves a handle by the keyboard goes on doing so.
    if (focused)
      [...side.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === focused)?.focus();
  }
  function legend() {
    const { column: of, categories, range } = colorOf;
    if (!of) return [];
    const heading = h(
      "h2.eyebrow",
      {},
      capital(of.label),
      of.kind === "number" ? null : h("span", {}, state.selected ? "selected / shown" : "shown"),
    );
    if (of.kind === "number") {
      const ramp = h("div.ramp");
      return [
        heading,
        ramp,
        h("div.scale", {}, h("span", {}, `≤ ${short(range[0])}`), h("span", {}, `≥ ${short(range[1])}`)),
      ];
    }
    const mask = shownBut(of.name);
    const filter = state.filters[of.name];
    const key = (value) => (of.levels ? of.levels[value] : value);
    const counts = new Map(categories.map(({ value }) => [value, [0, 0]]));
    for (let i = 0; i < n; i++) {
      if (!mask[i]) continue;
      const count = counts.get(of.values[i]);
      count[0] += 1;
      if (state.selected?.[i]) count[1] += 1;
    }
    const rows = categories.map(({ value, name, color }, k) => {
      const [visible, own] = counts.get(value);
      const off = filter?.values && !filter.values.includes(key(value));
      const mark = swatch(`var(${color})`);
      mark.textContent = of.name === "cluster" ? (value < 0 ? "–" : String(value)) : String(k + 1);
      const words = of.name === "cluster" && value >= 0 ? name.replace(/^\d+ /, "") : name;
      return h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: off ? "off" : "",
            "aria-pressed": String(!off),
            data: { level: key(value) },
            title: `${name}: click to see it alone, Shift + click to hide or show it`,
            onclick: (event) => pick(of, key(value), event.shiftKey),
            onpointerenter: () => drawMap(value),
            onpointerleave: () => drawMap(),
            onfocus: () => drawMap(value),
            onblur: () => drawMap(),
          },
          mark,
          h("span.nm", {}, words),
          h("span.ct.num", {}, state.selected ? [h("b", {}, String(own)), " / "] : null, String(visible)),
        ),
      );
    });
    const long = rows.length > LEGEND + 2 && !allLegend;
    return [
      heading,
      h("ul.leg", { id: "legend" }, long ? rows.slice(0, LEGEND) : rows),
      long
        ? link(`${rows.length - LEGEND} more`, () => {
            allLegend = true;
            drawLegend();
          })
        : null,
      filter ? link("Show all again", () => setFilter(of.name, null)) : null,
    ].filter(Boolean);
  }
  function pick(of, value, hide) {
    const all = colorOf.categories.map((each) => (of.levels ? of.levels[each.value] : each.value));
    const now = state.filters[of.name]?.values ?? all;
    let values = hide ? (now.includes(value) ? now.filter((each) => each !== value) : [...now, value]) : [value];
    if (!hide && now.length === 1 && now[0] === value) values = all;
    setFilter(of.name, values.length === all.length || !values.length ? null : { values });
  }

  // ---- filters ----
  function filters() {
    const made = [h("h2.eyebrow", {}, "Filters")];
    const splits = columnNow("split");
    if (splits?.levels && splits.levels.length > 1) {
      const now = state.filters.split?.values;
      made.push(
        h(
          "div.chips",
          { id: "split" },
          splits.levels.map((level, code) => {
            const on = now?.includes(level) ?? false;
            const count = splits.values.reduce((sum, value) => sum + Number(value === code), 0);
            return h(
              "button.chip",
              {
                type: "button",
                class: on ? "on" : "",
                "aria-pressed": String(on),
                onclick: () => setFilter("split", on ? null : { values: [level] }),
              },
              `${level} `,
              h("i.num", {}, String(count)),
            );
          }),
        ),
      );
    }
    const first = FIRST.filter((name) => metaOf(name)?.kind === "number");
    const names = [
      ...new Set([...first, ...extra, ...Object.keys(state.filters).filter((name) => metaOf(name)?.kind !== "name")]),
    ];
    const box = h(
      "div.hists",
      {},
      names.map((name) => rangeFilter(name)),
    );
    made.push(box);
    const others = run.columns.filter((meta) => meta.kind !== "name" && !names.includes(meta.name));
    if (others.length)
      made.push(
        picker(
          "+ Filter",
          [["", "by another column"], ...others.map((meta) => [meta.name, meta.label])],
          "",
          (name) => {
            if (!name) return;
            extra = [...extra, name];
            column(name).then(drawFilters);
          },
          { id: "add-filter" },
        ),
      );
    return made;
  }

  function rangeFilter(name) {
    const of = columnNow(name);
    const box = h("div.hist", { data: { column: name } });
    if (!of) {
      column(name).then(
        () => box.replaceWith(rangeFilter(name)),
        (error) => box.append(error.message),
      );
      return box;
    }
    const mask = shownBut(name);
    const whole = extent(of.values);
    const filter = state.filters[name] ?? {};
    const [low, high] = [filter.low ?? whole[0], filter.high ?? whole[1]];
    const all = histogram(of.values, whole, BINS);
    const kept = histogram(
      of.values,
      whole,
      BINS,
      (i) => Boolean(mask[i]) && of.values[i] >= low && of.values[i] <= high,
    );
    const step = (whole[1] - whole[0]) / 200 || 1;
    const change = (next) => {
      const clipped = {
        ...(next.low > whole[0] && { low: next.low }),
        ...(next.high < whole[1] && { high: next.high }),
      };
      setFilter(name, Object.keys(clipped).length ? clipped : null);
    };
    const slider = (end, value) =>
      knob({
        value,
        whole,
        step,
        label: `${of.label}, ${end === "low" ? "at least" : "at most"}`,
        onchange: (next) => change({ low, high, [end]: end === "low" ? Math.min(next, high) : Math.max(next, low) }),
      });
    const typed = (end, value) =>
      h("input.num", {
        type: "number",
        step: "any",
        value: Number(value.toPrecision(3)),
        "aria-label": `${of.label}, ${end === "low" ? "at least" : "at most"}, typed`,
        data: { typed: end },
        onchange: (event) =>
          change({
            low,
            high,
            [end]: event.target.value === "" ? (end === "low" ? whole[0] : whole[1]) : Number(event.target.value),
          }),
      });
    const shape = bars({
      all,
      kept,
      label: `How ${of.label} is spread: ${short(whole[0])} to ${short(whole[1])}`,
      tone: state.filters[name] ? "var(--accent)" : "var(--line-3)",
    });
    box.append(
      h("div.t", { title: of.label }, h("span", {}, capital(of.label))),
      shape,
      h("div.ends", {}, slider("low", low), slider("high", high)),
      h("div.typed", {}, typed("low", low), typed("high", high)),
    );
    return box;
  }

  // ---- the selection against the rest ----
  let asked = 0;
  function drawPanel() {
    if (!state.selected) {
      replace(
        panel,
        h("header", {}, h("h2", {}, "Nothing selected")),
        h(
          "p.soft",
          {},
          "Draw around points with the lasso, press a cluster or a filter, or type a condition above: what is unusual about these images is shown here.",
        ),
      );
      return;
    }
    const among = valMask;
    const counts = [0, 0];
    for (let i = 0; i < n; i++) if (among[i]) counts[state.selected[i] ? 0 : 1] += 1;
    replace(
      panel,
      h(
        "header",
        {},
        h("h2", {}, `${state.count} selected`),
        h(
          "span.soft",
          {},
          counts[0]
            ? `${counts[0]} of val, against ${plural(counts[1], "other")}`
            : "none of val, which alone is measured on",
        ),
      ),
      ...(counts[0] ? [scoresTable(among)] : []),
      h("h3.eyebrow.odd-head", {}, "Unusual about them"),
      h("div", { id: "unusual", "aria-busy": "true" }, h("p.soft", {}, "Looking at all columns …")),
    );
    const ticket = ++asked;
    allNumbers().then(
      (columns) => ticket === asked && drawUnusual(columns),
      (error) => replace(panel.querySelector("#unusual"), error.message),
    );
  }

  function scoresTable(among) {
    const rows = [...run.scores, "pixel_accuracy"].map((name) => columnNow(name)).filter(Boolean);
    if (metaOf("pixel_accuracy") && !columnNow("pixel_accuracy"))
      column("pixel_accuracy").then(() => state.selected && drawPanel());
    return h(
      "div.cmp",
      { id: "scores" },
      rows.map((of) => {
        const found = contrast(of.values, state.selected ?? new Uint8Array(n), among, group, groupCount, {
          least: run.few,
        });
        const scale = of.name.startsWith("iou.") ? [0, 1] : extent(of.values, isVal);
        const clear = !Number.isNaN(found.low) && (found.low > 0 || found.high < 0);
        const worse = found.difference > 0 === (of.name === "loss");
        const words = Number.isNaN(found.low)
          ? `fewer than ${run.few} ${run.unit.split(" ")[0]} on a side: no interval`
          : `difference ${signed(found.difference, 3)}, ${signed(found.low, 3)} to ${signed(found.high, 3)}`;
        const arrow = h(
          "span",
          { class: clear ? (worse ? "worse" : "better") : "soft", title: words },
          found.difference > 0 ? "▲" : "▼",
        );
        const half = found.high - found.difference;
        return [
          h("span", {}, capital(of.label)),
          interval({
            value: found.inside,
            low: Number.isNaN(half) ? null : found.inside - half,
            high: found.inside + half,
            tick: found.rest,
            scale,
            title: words,
          }),
          h(
            "span.n.num",
            { data: { score: of.name } },
            h("strong", {}, fixed(found.inside, 2)),
            " ",
            h("span.soft", {}, fixed(found.rest, 2)),
            " ",
            Number.isNaN(found.difference) ? "" : arrow,
            h("span.vh", {}, `, ${words}`),
          ),
        ];
      }),
    );
  }

  function drawUnusual(columns) {
    const place = panel.querySelector("#unusual");
    if (!place || !state.selected) return;
    const all = new Uint8Array(n).fill(1);
    const level = 1 - 0.05 / Math.max(1, columns.length);
    const found = columns
      .filter((of) => of.group !== "Scores")
      .map((of) => ({
        of,
        ...contrast(of.values, state.selected ?? all, all, group, groupCount, { least: 5, level }),
      }))
      .filter(({ low, high }) => low > 0 || high < 0)
      .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect))
      .slice(0, UNUSUAL);
    const most = Math.max(1, ...found.map(({ effect }) => Math.abs(effect)));
    place.removeAttribute("aria-busy");
    replace(
      place,
      found.length
        ? h(
            "div.odd",
            {},
            found.map(({ of, inside, rest, effect }) => {
              const bar = h("i");
              const share = (50 * Math.abs(effect)) / most;
              setStyle(bar, { left: `${effect < 0 ? 50 - share : 50}%`, width: `${share}%` });
              const show = of.kind === "truth" ? percent : (value) => short(Number(value.toPrecision(2)));
              return [
                link(
                  of.label,
                  async () => {
                    await column(of.name);
                    setState({ color: of.name });
                  },
                  { title: `${of.label}: colour the map by it` },
                ),
                h("div.dv", { title: `${signed(effect, 1)} standard deviations` }, bar),
                h("span.n.num", {}, h("b", {}, show(inside)), ` vs ${show(rest)}`),
              ];
            }),
          )
        : h("p.soft", {}, `Nothing that chance would not give among ${columns.length} columns (5 %, all together).`),
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
    if (has("filters", "color", "selected", "theme")) drawLegend();
    if (has("filters", "theme")) drawFilters();
    if (has("filters", "color", "size", "selected", "theme")) drawMap();
    if (has("selected")) drawPanel();
    if (has("selected", "filters", "order", "color")) drawGrid();
  }
  update(new Set(["color", "filters", "selected", "theme"]));
  return { update, unmount: map.stop };
}

/** A handle on a range: dragged, or moved by the arrow keys. */
function knob({ value, whole, step, label, onchange }) {
  const [least, most] = whole;
  const place = (at) => `${(100 * (at - least)) / (most - least || 1)}%`;
  const made = h("span.knob", {
    role: "slider",
    tabindex: 0,
    "aria-label": label,
    "aria-valuemin": least,
    "aria-valuemax": most,
    "aria-valuenow": value,
    "aria-valuetext": short(value),
  });
  setStyle(made, { left: place(value) });
  let dragged = null;
  made.addEventListener("pointerdown", (event) => {
    dragged = value;
    made.setPointerCapture(event.pointerId);
  });
  made.addEventListener("pointermove", (event) => {
    if (dragged === null) return;
    const box = made.parentElement.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    dragged = least + share * (most - least);
    setStyle(made, { left: place(dragged) });
  });
  made.addEventListener("pointerup", () => {
    if (dragged !== null && dragged !== value) onchange(dragged);
    dragged = null;
  });
  made.addEventListener("keydown", (event) => {
    const by = {
      ArrowLeft: -step,
      ArrowDown: -step,
      ArrowRight: step,
      ArrowUp: step,
      PageDown: -10 * step,
      PageUp: 10 * step,
    }[event.key];
    const next =
      event.key === "Home"
        ? least
        : event.key === "End"
          ? most
          : by
            ? Math.min(most, Math.max(least, value + by))
            : null;
    if (next === null) return;
    event.preventDefault();
    onchange(next);
  });
  return made;
}

function columnOrThrow(name) {
  const of = columnNow(name);
  if (!of) throw new Error(`column ${name} is not loaded`);
  return of;
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

const mapLabel = () =>
  `Map of ${n} images in ${run.clusters.length} clusters; near points look alike to the model. The legend and the list of images hold the same for the keyboard.`;

/** What is known of the map as a whole. */
function note() {
  const separability = measure("separability");
  const purity = measure("neighbor_purity", "all");
  const chance = measure("chance.neighbor_purity", "all");
  const interval95 =
    separability && separability.low !== null && separability.carriers >= 10
      ? ` (${fixed(separability.low, 2)} to ${fixed(separability.high, 2)})`
      : "";
  return [
    "Near points look alike to the model.",
    `Trustworthiness of the map ${fixed(measure("trustworthiness", "")?.value, 2)}.`,
    `${percent(purity?.value)} of neighbours share the dominant super-category, by chance ${percent(chance?.value)}.`,
    `Person-heavy (${measure("person_heavy")?.value ?? 0}) and vehicle-heavy (${measure("vehicle_heavy")?.value ?? 0}) val images: separability ${separability ? fixed(separability.value, 2) : "unknown"}${interval95}, 0.5 is chance; silhouette ${fixed(measure("silhouette")?.value, 2)}.`,
  ].join(" ");
}
