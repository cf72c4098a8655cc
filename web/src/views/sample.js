// What went wrong here? One image under its layers, its scores among all, what is suspect, what is like it.

import { base, clusterName, fileOf, isVal, levelOf, pathOf, run, sourceIdOf } from "../data.js";
import { button, copyButton, h, icon, isElsewhere, link, replace, segments, slider } from "../dom.js";
import { clusterColor } from "../color.js";
import { imageButton } from "../grid.js";
import { boxOver, layer, layersOf, nearest, photograph } from "../images.js";
import { inspect, objectsOf } from "../inspector.js";
import { failed, whenLoaded } from "../parts.js";
import { ordered } from "../stats.js";
import { DEFAULTS, rowsWhere, select, setState, state, toggle } from "../store.js";
import { swatch } from "../swatch.js";
import { makeZoom } from "../zoom.js";

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
  const zoom = makeZoom(canvas);
  const hidden = new Set();

  /** What can be laid over this image. */
  function choices() {
    const maps = (run.heat[state.image] ?? []).map(([script, caption]) => [script, caption]);
    return [...LAYERS, ...maps];
  }
  const all = { val: /** @type {number[] | null} */ (null), rest: /** @type {number[] | null} */ (null) };
  function queue() {
    if (state.queue.includes(state.image)) return state.queue;
    const val = isVal(state.image);
    return (all[val ? "val" : "rest"] ??= ordered(
      rowsWhere((i) => isVal(i) === val),
      base.loss,
    ));
  }

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
      h(
        "span.file",
        { id: "sample-file", title: `in its source: ${pathOf(state.image)}, id ${sourceIdOf(state.image)}` },
        h("span.mono", {}, fileOf(state.image)),
        copyButton(pathOf(state.image), "Copy the image's path"),
      ),
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
  function arrange(layout) {
    setState({ layout, layers: layout === "one" ? [shownLayers().at(-1) ?? "errors"] : DEFAULTS.layers });
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
        arrange,
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
        button(icon("minus"), () => zoom.by(1 / 1.5), { class: "icon s", "aria-label": "Zoom out" }),
        button(icon("plus"), () => zoom.by(1.5), { class: "icon s", "aria-label": "Zoom in" }),
        button(icon("fit"), zoom.fit, { class: "icon s", "aria-label": "Whole image" }),
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
    zoom.apply();
  }
  async function drawObject(frame) {
    for (const old of frame.querySelectorAll(".box")) old.remove();
    if (!state.object) return;
    const own = (await layersOf(state.image)).objects;
    const object = own.find((each) => String(each.object_id) === state.object);
    if (object && !frame.querySelector(".box")) frame.append(boxOver(object.box));
  }

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
      slider("label.soft.right", "Opacity", state.opacity, (opacity) => setState({ opacity })),
    );
  }
  function drawLike() {
    const i = state.image;
    whenLoaded(like, nearest(i), (rows) => [
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
    ]);
  }

  // ---- keys ----
  function onkey(event) {
    if (isElsewhere(event)) return;
    if (event.target.closest(".thumb") && ["ArrowUp", "ArrowDown", "Enter", " "].includes(event.key)) return;
    const digit = /^[0-6]$/.test(event.key) ? choices()[Number(event.key)] : null;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "Escape") /** @type {any} */ (document.getElementById("close-image"))?.click();
    else if (digit) pickLayer(digit[0]);
    // Whatever the layout of the keyboard writes there: "=" of a German one would zoom in.
    else if (event.code === "Digit0" && event.shiftKey) zoom.fit();
    else if (event.key === "s") arrange(state.layout === "one" ? "side" : "one");
    else if (event.key === "[" || event.key === "]")
      setState({ opacity: Math.min(1, Math.max(0, state.opacity + (event.key === "]" ? 0.1 : -0.1))) });
    else if (event.key === "+" || event.key === "=") zoom.by(1.5);
    else if (event.key === "-") zoom.by(1 / 1.5);
    else if (event.key === "x") toggle(state.image);
    else return;
    event.preventDefault();
  }
  document.addEventListener("keydown", onkey);

  function update(changed) {
    const has = (...keys) => keys.some((key) => changed.has(key));
    if (has("image")) {
      zoom.fit();
      drawLike();
    }
    if (has("image", "queue", "selected")) drawTop();
    if (has("image", "layers", "layout")) drawBar();
    if (has("image", "layers", "layout")) drawCanvas();
    else if (has("object")) for (const frame of canvas.querySelectorAll(".photo")) drawObject(frame);
    if (has("opacity")) for (const each of canvas.querySelectorAll(".l")) each.style.opacity = String(state.opacity);
    if (has("opacity", "image")) drawKey();
    if (has("image")) inspect(inspector, state.image);
    else if (has("object")) {
      const place = inspector.querySelector("#sample-objects");
      layersOf(state.image).then((own) => replace(place, ...objectsOf(own.objects)));
    }
  }
  update(new Set(["image", "layers", "queue"]));
  return { update, unmount: () => document.removeEventListener("keydown", onkey) };
}
