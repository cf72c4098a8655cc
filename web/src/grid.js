// A grid of images that the keyboard goes through: arrows move, Enter opens, x selects.

import { base, columnNow } from "./data.js";
import { h, icon, replace } from "./dom.js";
import { fixed } from "./format.js";
import { layer, thumb } from "./images.js";
import { openImage, state, toggle } from "./store.js";

const AT_ONCE = 60;

/**
 * A button with an image that opens it.
 * @param {number} i
 * @param {{queue?: () => number[], note?: string, overlay?: string, caption?: any}} [options] queue: what previous and
 *   next then go through. note: beside its id; else its loss. overlay: a layer. caption: in place of both.
 */
export function imageButton(i, { queue, note, overlay = "", caption } = {}) {
  const loss = columnNow("loss")?.values[i];
  const picture = thumb(i);
  const made = h(
    "button.thumb",
    { type: "button", data: { place: i, image: base.image_id[i] }, onclick: () => openImage(i, queue?.()) },
    picture,
    h("span.c", {}, caption ?? [h("span.id", {}, String(base.image_id[i])), h("b.num", {}, note ?? fixed(loss, 2))]),
  );
  if (overlay) {
    const paint = picture.fill;
    picture.fill = () => {
      paint();
      layer(i, overlay).then(
        (canvas) => {
          canvas.classList.add("at");
          picture.append(cover(canvas, i));
        },
        () => {},
      );
    };
  }
  return made;
}

/** A layer (square, of the whole image) as a thumbnail of 4 : 3 shows it. */
function cover(canvas, i) {
  const aspect = base.width[i] / base.height[i] / (4 / 3);
  const [width, height] = aspect >= 1 ? [100 * aspect, 100] : [100, 100 / aspect];
  Object.assign(canvas.style, {
    width: `${width}%`,
    height: `${height}%`,
    left: `${(100 - width) / 2}%`,
    top: `${(100 - height) / 2}%`,
  });
  return canvas;
}

/** A grid, more of which is made as one scrolls. @param {string} label */
export function makeGrid(label) {
  const root = h("div.g3.grid", { role: "group", "aria-label": label });
  const end = h("div.end");
  let rows = [];
  let made = 0;
  let note = (_i) => /** @type {string | undefined} */ (undefined);

  function more() {
    const next = rows.slice(made, made + AT_ONCE);
    root.append(
      ...next.map((i) => {
        const item = imageButton(i, { queue: () => rows, note: note(i) });
        item.append(h("span.ck", { "aria-hidden": "true" }, icon("check", 12)));
        return item;
      }),
    );
    made += next.length;
    mark();
  }
  function mark() {
    for (const item of root.children) {
      const chosen = Boolean(state.selected?.[item.dataset.place]);
      item.classList.toggle("chosen", chosen);
      item.setAttribute("aria-description", chosen ? "selected; x takes it away" : "x selects it");
    }
  }
  new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting) && made < rows.length) more();
    },
    { rootMargin: "400px" },
  ).observe(end);
  root.addEventListener("keydown", (event) => {
    const item = event.target.closest(".thumb");
    if (!item) return;
    if (event.key === "x") {
      toggle(Number(item.dataset.place));
      event.preventDefault();
      return;
    }
    const items = [...root.children];
    const across = getComputedStyle(root).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (!step) return;
    items[items.indexOf(item) + step]?.focus();
    event.preventDefault();
  });

  return {
    element: h("div", {}, root, end),
    /** Show other images. @param {number[]} places @param {(i: number) => string | undefined} [noteOf] */
    show(places, noteOf) {
      if (noteOf) note = noteOf;
      rows = places;
      made = 0;
      replace(root);
      more();
    },
    mark,
  };
}
