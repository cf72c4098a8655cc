// What went wrong here? One image under its layers, its scores among all, what is suspect, what is like it.

import { base, clusterName, columnNow, column, isVal, levelOf, load, n, run, unpack, valueOf } from "../data.js";
import { button, h, icon, link, segments, setStyle, replace } from "../dom.js";
import { bars } from "../charts.js";
import { clusterColor } from "../color.js";
import { swatch } from "../swatch.js";
import { capital, fixed, short } from "../format.js";
import { imageButton } from "../grid.js";
import { boxOver, layer, layersOf, nearest, photograph } from "../images.js";
import { failed, whenLoaded } from "../parts.js";
import { extent, histogram, ordered } from "../stats.js";
import { rowsWhere, select, setState, state, toggle } from "../store.js";

const LAYERS = [
  ["photo", "Photo"],
  ["labels", "Labels"],
  ["predicted", "Prediction"],
  ["errors", "Errors"],
  ["loss", "Loss"],
];
const SIMILAR = 8;

export const title = "Image";

export function mount(root) {
  root.classList.add("sm");
  const top = h("div.top");
  const bar = h("div.lay");
  const canvas = h("div.canvas");
  const key = h("div.stagekey");
  const like = h("div.like");
  const inspector = h("aside.insp", { "aria-label": "About this image" });
  root.append(h("div.stage", {}, top, bar, canvas, key, like), inspector);
  let zoom = { k: 1, x: 0, y: 0 };
  const hidden = new Set();

  /** What can be laid over this image. */
  function choices() {
    const maps = (run.heat[state.image] ?? []).map(([script, caption]) => [script, caption]);
    return [...LAYERS, ...maps];
  }
  const queue = () =>
    state.queue.includes(state.image)
      ? state.queue
      : ordered(
          Array.from({ length: n }, (_, i) => i).filter((i) => isVal(i) === isVal(state.image)),
          base.loss,
        );

  function step(by) {
    const rows = queue();
    const next = rows[rows.indexOf(state.image) + by];
    if (next !== undefined) setState({ image: next, object: "", queue: rows });
  }

  // ---- above ----
  function drawTop() {
    const rows = queue();
    const at = rows.indexOf(state.image);
    const cluster = base.cluster[state.image];
    const chosen = Boolean(state.selected?.[state.image]);
    replace(
      top,
      button(icon("close"), () => setState({ view: state.from }), {
        class: "icon s",
        "aria-label": "Close the image",
        id: "close-image",
      }),
      h("h1", { tabindex: -1, id: "sample-title" }, `Image ${base.image_id[state.image]}`),
      h("span.tag", {}, levelOf("split", state.image) ?? ""),
      h(
        "button.tag",
        { type: "button", title: "Select its cluster", onclick: () => selectCluster(cluster) },
        swatch(`var(${clusterColor(cluster)})`),
        clusterName(cluster),
      ),
      button(chosen ? "Selected" : "Select", () => toggle(state.image), { class: "s", "aria-pressed": String(chosen) }),
      h(
        "span.right.soft.num",
        { id: "place" },
        `${at + 1} of ${rows.length}${state.queue.includes(state.image) ? "" : ", highest loss first"}`,
      ),
      button(icon("left"), () => step(-1), {
        class: "icon s",
        "aria-label": "Previous image",
        ...(at <= 0 && { disabled: true }),
      }),
      button(icon("right"), () => step(1), {
        class: "icon s",
        "aria-label": "Next image",
        ...(at >= rows.length - 1 && { disabled: true }),
      }),
    );
  }
  function selectCluster(cluster) {
    select(
      rowsWhere((i) => base.cluster[i] === cluster),
      `cluster ${clusterName(cluster)}`,
      `cluster == ${cluster}`,
    );
  }

  // ---- layers ----
  function shownLayers() {
    const known = choices().map(([name]) => name);
    const wanted = state.layers.filter((name) => known.includes(name));
    if (!wanted.length) return ["labels"];
    return state.layout === "one" ? wanted.slice(-1) : wanted;
  }
  function pickLayer(name) {
    if (state.layout === "one") setState({ layers: [name] });
    else {
      const now = shownLayers();
      const next = now.includes(name) ? now.filter((each) => each !== name) : [...now, name];
      setState({ layers: next.length ? next : [name] });
    }
  }
  function drawBar() {
    const on = new Set(shownLayers());
    replace(
      bar,
      segments(
        "Layout",
        [
          ["one", "Overlay"],
          ["side", "Side by side"],
        ],
        state.layout,
        (layout) =>
          setState({
            layout,
            layers: layout === "one" ? [shownLayers().at(-1) ?? "errors"] : ["labels", "predicted", "errors", "loss"],
          }),
      ),
      choices().map(([name, text], k) =>
        h(
          "button.chip",
          {
            type: "button",
            class: on.has(name) ? "on" : "",
            "aria-pressed": String(on.has(name)),
            data: { layer: name },
            title: text,
            onclick: () => pickLayer(name),
          },
          text.length > 26 ? `${text.slice(0, 25)}…` : text,
          k < 7 && h("i", {}, String(k)),
        ),
      ),
      h(
        "span.right",
        {},
        button(icon("minus"), () => zoomBy(1 / 1.5), { class: "icon s", "aria-label": "Zoom out" }),
        button(icon("plus"), () => zoomBy(1.5), { class: "icon s", "aria-label": "Zoom in" }),
        button(icon("fit"), fit, { class: "icon s", "aria-label": "Whole image" }),
      ),
    );
  }

  let ticket = 0;
  function drawCanvas() {
    const names = shownLayers();
    const texts = Object.fromEntries(choices());
    const now = ++ticket;
    const i = state.image;
    const side = state.layout === "side" && names.length > 1;
    canvas.style.setProperty("--aspect", String(base.width[i] / base.height[i]));
    canvas.className = `canvas ${side ? `quad n${Math.min(4, names.length)}` : "one"}`;
    const shots = names.map((name) => {
      const frame = photograph(i);
      const inner = h("div.ph", {}, frame);
      if (name !== "photo") {
        layer(i, name, hidden).then(
          (made) => {
            if (now !== ticket) return;
            made.style.opacity = String(state.opacity);
            made.setAttribute("role", "img");
            made.setAttribute("aria-label", texts[name]);
            frame.append(made);
            drawObject(frame);
          },
          (error) => now === ticket && inner.append(failed(error)),
        );
      } else drawObject(frame);
      return h("figure.shot", { data: { layer: name } }, h("div.pan", {}, inner), h("figcaption", {}, texts[name]));
    });
    replace(canvas, ...shots);
    applyZoom();
  }
  async function drawObject(frame) {
    for (const old of frame.querySelectorAll(".box")) old.remove();
    if (!state.object) return;
    const own = (await layersOf(state.image)).objects;
    const object = own.find((each) => String(each.object_id) === state.object);
    if (object && !frame.querySelector(".box")) frame.append(boxOver(object.box));
  }

  // ---- zoom and pan, the same in all pictures ----
  function applyZoom() {
    for (const each of canvas.querySelectorAll(".ph"))
      setStyle(each, { transform: `translate(${100 * zoom.x}%, ${100 * zoom.y}%) scale(${zoom.k})` });
    canvas.classList.toggle("zoomed", zoom.k > 1);
  }
  function zoomBy(factor, x = 0.5, y = 0.5) {
    const k = Math.min(12, Math.max(1, zoom.k * factor));
    const part = k / zoom.k;
    // In shares of the picture, from its top left: what lies under x, y stays there.
    zoom = { k, x: x - (x - zoom.x) * part, y: y - (y - zoom.y) * part };
    clampZoom();
    applyZoom();
  }
  function clampZoom() {
    zoom.x = Math.min(0, Math.max(1 - zoom.k, zoom.x));
    zoom.y = Math.min(0, Math.max(1 - zoom.k, zoom.y));
  }
  function fit() {
    zoom = { k: 1, x: 0, y: 0 };
    applyZoom();
  }
  const inPicture = (event) => {
    const pan = event.target.closest(".pan");
    if (!pan) return null;
    const box = pan.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      const place = inPicture(event);
      if (!place) return;
      event.preventDefault();
      zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...place);
    },
    { passive: false },
  );
  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => {
    grabbed = inPicture(event);
    if (grabbed) event.target.setPointerCapture?.(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) return;
    const place = inPicture(event);
    if (!place) return;
    zoom.x += place[0] - grabbed[0];
    zoom.y += place[1] - grabbed[1];
    grabbed = place;
    clampZoom();
    applyZoom();
  });
  canvas.addEventListener("pointerup", () => (grabbed = null));
  canvas.addEventListener("dblclick", (event) => {
    const place = inPicture(event);
    if (place) zoomBy(2, ...place);
  });

  // ---- below ----
  function drawKey() {
    const entries = [...run.classes.map((each) => [each.name, each.color]), ...Object.entries(run.errors)];
    replace(
      key,
      h(
        "div.key",
        { id: "sample-legend" },
        entries.map(([name, color]) =>
          h(
            "button.keyed",
            {
              type: "button",
              "aria-pressed": String(!hidden.has(name)),
              class: hidden.has(name) ? "off" : "",
              title: `Show or hide ${name}`,
              onclick: () => {
                if (hidden.has(name)) hidden.delete(name);
                else hidden.add(name);
                drawKey();
                drawCanvas();
              },
            },
            swatch(color, true),
            name,
          ),
        ),
      ),
      h(
        "label.soft.right",
        {},
        "Opacity ",
        h("input", {
          type: "range",
          min: 0,
          max: 1,
          step: 0.05,
          value: state.opacity,
          id: "opacity",
          oninput: (event) => setState({ opacity: Number(event.target.value) }),
        }),
      ),
    );
  }
  function drawLike() {
    const i = state.image;
    whenLoaded(
      like,
      load("data/neighbors").then(async (content) => [content, await unpack(content)]),
      ([content, places]) => {
        const rows = nearest(i, content, places);
        return [
          h(
            "header",
            {},
            h("h2", {}, "Similar images"),
            h("span.soft", {}, "nearest in latent space"),
            rows.length
              ? link("Select them and this", () => select([i, ...rows], `images similar to ${base.image_id[i]}`))
              : null,
          ),
          rows.length
            ? h(
                "div.row",
                { id: "similar" },
                rows.slice(0, SIMILAR).map((j) => imageButton(j, { queue: () => rows })),
              )
            : h("p.soft", {}, "No image is near to it: it is the only one."),
        ];
      },
    );
  }

  // ---- beside ----
  function drawInspector() {
    const i = state.image;
    const suspects = whenLoaded(h("section", { id: "sample-suspects" }), load("data/suspects"), (content) =>
      suspectsOf(content, i),
    );
    const objects = whenLoaded(h("section", { id: "sample-objects" }), layersOf(i), (own) => objectsOf(own.objects));
    const metadata = whenLoaded(
      h("section", { id: "sample-metadata" }),
      Promise.all(run.columns.map((meta) => column(meta.name))),
      (columns) => metadataOf(columns, i),
    );
    replace(inspector, scores(i), suspects, objects, metadata);
  }

  function scores(i) {
    const names = [...run.scores, "pixel_accuracy", "confidence"].filter((name) => columnNow(name));
    const others = ["pixel_accuracy", "confidence"].filter(
      (name) => run.columns.some((meta) => meta.name === name) && !columnNow(name),
    );
    if (others.length)
      Promise.all(others.map((name) => column(name))).then(
        () => state.image === i && inspector.firstChild?.replaceWith(scores(i)),
      );
    const same = (j) => isVal(j) === isVal(i);
    const of = isVal(i) ? "val" : (levelOf("split", i) ?? "all");
    const rows = names.map((name) => {
      const column = columnNow(name);
      if (!column) return null;
      const value = column.values[i];
      if (Number.isNaN(value))
        return [
          h("span", {}, capital(column.label)),
          h("span.v.soft", {}, "–"),
          h("span.soft", {}, "not in the image"),
        ];
      const range = extent(column.values, same);
      const all = histogram(column.values, range, 28, same);
      const own = all.map(() => 0);
      const bin = Math.min(27, Math.floor(((value - range[0]) / (range[1] - range[0] || 1)) * 28));
      own[bin] = Math.max(...all);
      let [known, above] = [0, 0];
      for (let j = 0; j < n; j++) {
        if (!same(j) || Number.isNaN(column.values[j])) continue;
        known += 1;
        if (column.values[j] > value) above += 1;
      }
      const words = `rank ${above + 1} of ${known}`;
      return [
        h("span", {}, capital(column.label)),
        h("span.v.num", { data: { score: name } }, fixed(value)),
        h(
          "div.tr",
          { title: words },
          bars({
            all,
            kept: own,
            width: 112,
            height: 14,
            label: `${column.label} ${fixed(value)}: ${words}, the highest first`,
          }),
        ),
      ];
    });
    return h(
      "section",
      {},
      h("h2", {}, "Scores ", h("small.soft", {}, `against all of ${of}`)),
      h("div.rank", {}, rows),
    );
  }

  function suspectsOf({ shown, all }, i) {
    const own = all.filter((each) => each.sample === i);
    if (!own.length) return [];
    return [
      h("h2", {}, "Suspect labels ", h("small.soft", {}, String(own.length))),
      own.map((each) => {
        const k = shown.findIndex(
          (other) =>
            other.image_id === base.image_id[i] &&
            other.kind === each.kind &&
            other.score === each.score &&
            other.annotation_id === each.annotation_id,
        );
        return h(
          "div.sus",
          {},
          k >= 0
            ? h(
                "span.pic.crop",
                {},
                h("img", { src: `crops/${k}.webp`, alt: "" }),
                h("img.outlines", { src: `crops/${k}.png`, alt: "" }),
              )
            : h("span"),
          h(
            "div",
            {},
            h("b", {}, each.kind),
            ` ${fixed(each.score, 2)}`,
            h("p.soft", {}, `labelled ${each.labelled}; ${each.evidence}`),
            k >= 0 &&
              h(
                "div.b",
                {},
                button("Review", () => setState({ view: "review", sub: "", kind: "", suspect: k }), { class: "s" }),
              ),
          ),
        );
      }),
    ];
  }

  function objectsOf(own) {
    if (!own.length)
      return [
        h("h2", {}, "Objects"),
        h("p.soft", {}, "None of the model's classes is labelled here, and none is predicted."),
      ];
    return [
      h("h2", {}, "Objects ", h("small.soft", {}, `${own.length}; press one to see where it is`)),
      h(
        "ul.objs",
        {},
        own.map((object) => {
          const name = [object.class, object.category !== object.class && object.category, object.size]
            .filter(Boolean)
            .join(", ");
          const on = String(object.object_id) === state.object;
          return h(
            "li",
            {},
            h(
              "button.link",
              {
                type: "button",
                "aria-pressed": String(on),
                data: { object: object.object_id },
                onclick: () => setState({ object: on ? "" : String(object.object_id) }),
              },
              name,
            ),
            h("span.soft", {}, `${object.outcome}: ${object.became}`),
          );
        }),
      ),
    ];
  }

  function metadataOf(columns, i) {
    const groups = new Map();
    for (const of of columns) {
      const value = of.values[i];
      if (
        of.group === "Scores" ||
        Number.isNaN(value) ||
        (of.kind === "number" && value === 0) ||
        (of.kind === "truth" && !value)
      )
        continue;
      if (!groups.has(of.group)) groups.set(of.group, []);
      const range = of.kind === "number" ? extent(of.values) : null;
      groups.get(of.group).push([of, value, range]);
    }
    const parts = [...groups].map(([group, list]) => [
      h("h3.eyebrow", {}, group),
      h(
        "dl.meta",
        {},
        list.map(([of, value, range]) => {
          const track = h("span.p");
          if (range) {
            const part = percentile(of.values, value);
            const dot = h("i", { class: part > 0.95 || part < 0.05 ? "far" : "" });
            setStyle(dot, { left: `${100 * part}%` });
            track.append(dot);
            track.title = `more than in ${Math.round(100 * part)} % of the images`;
          }
          return [
            h("dt", {}, of.label),
            h("dd.num", { data: { column: of.name } }, short(valueOf(of, i)), range ? track : null),
          ];
        }),
      ),
    ]);
    const size = h("p.soft.num", {}, `${base.width[i]} × ${base.height[i]} pixels`);
    return [
      h("h2", {}, "Metadata ", h("small.soft", {}, "dot: percentile among all; what is 0 is left out")),
      size,
      parts,
    ];
  }

  // ---- keys ----
  function onkey(event) {
    if (
      event.defaultPrevented ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.target.matches("input, select, textarea") ||
      document.querySelector("dialog[open]")
    )
      return;
    if (event.target.closest(".thumb") && ["ArrowUp", "ArrowDown", "Enter", " "].includes(event.key)) return;
    const digit = /^[0-6]$/.test(event.key) ? choices()[Number(event.key)] : null;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "Escape") /** @type {any} */ (document.getElementById("close-image"))?.click();
    else if (digit) pickLayer(digit[0]);
    else if (event.key === "s") setState({ layout: state.layout === "one" ? "side" : "one" });
    else if (event.key === "[" || event.key === "]")
      setState({ opacity: Math.min(1, Math.max(0, state.opacity + (event.key === "]" ? 0.1 : -0.1))) });
    else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === ")") fit();
    else if (event.key === "x") toggle(state.image);
    else return;
    event.preventDefault();
  }
  document.addEventListener("keydown", onkey);

  function update(changed) {
    const has = (...keys) => keys.some((key) => changed.has(key));
    if (has("image")) {
      zoom = { k: 1, x: 0, y: 0 };
      drawLike();
    }
    if (has("image", "queue", "selected")) drawTop();
    if (has("image", "layers", "layout")) drawBar();
    if (has("image", "layers", "layout")) drawCanvas();
    else if (has("object")) for (const frame of canvas.querySelectorAll(".photo")) drawObject(frame);
    if (has("opacity")) for (const each of canvas.querySelectorAll(".l")) each.style.opacity = String(state.opacity);
    if (has("opacity", "image")) drawKey();
    if (has("image")) drawInspector();
    else if (has("object")) {
      const place = inspector.querySelector("#sample-objects");
      layersOf(state.image).then((own) => replace(place, ...objectsOf(own.objects)));
    }
  }
  update(new Set(["image", "layers", "queue"]));
  return { update, unmount: () => document.removeEventListener("keydown", onkey) };
}

/** The share of the known values that are less. */
function percentile(values, value) {
  let [known, less] = [0, 0];
  for (const each of values) {
    if (Number.isNaN(each)) continue;
    known += 1;
    if (each < value) less += 1;
  }
  return known ? less / known : 0;
}
