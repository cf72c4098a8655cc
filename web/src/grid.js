// A grid of images that the keyboard goes through: arrows move, Enter opens, x selects.

import { base, columnNow, namesOf } from "./data.js";
import { h, icon, replace, setStyle } from "./dom.js";
import { fixed } from "./format.js";
import { layer, thumb } from "./images.js";
import { openImage, state, toggle } from "./store.js";

const AT_ONCE = 18; // before it is known how many are on the screen
const SPARE = 3; // rows above and below the screen

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
    {
      type: "button",
      title: namesOf(i),
      data: { place: i, image: base.image_id[i] },
      onclick: () => openImage(i, queue?.()),
    },
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
        (error) => picture.append(h("span.tag.lost", { title: error.message }, `no ${overlay}`)),
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

/**
 * A grid of which only the rows that are on the screen, and a few more, are made.
 * @param {string} label
 */
export function makeGrid(label) {
  const root = h("div.g3.grid", { role: "group", "aria-label": label, tabindex: -1 });
  // As tall as all rows; the rows that are made are moved, and the browser is not to scroll after them.
  const room = h("div.room", { style: { "overflow-anchor": "none" } }, root);
  let rows = /** @type {number[]} */ ([]);
  let from = 0; // the place of the first that is made
  let across = 3;
  let tall = 0; // a row's pixels, 0 while they are unknown
  let note = (_i) => /** @type {string | undefined} */ (undefined);

  function make(i) {
    const item = imageButton(i, { queue: () => rows, note: note(i) });
    item.append(h("span.ck", { "aria-hidden": "true" }, icon("check", 12)));
    return item;
  }
  /** Make the images from one place to another, which is left out; those that are there already stay. */
  function fill(first, last) {
    const focused = root.contains(document.activeElement) ? document.activeElement?.getAttribute("data-place") : null;
    const known = new Map([...root.children].map((item) => [item.dataset.place, item]));
    from = first;
    replace(
      root,
      rows.slice(first, last).map((i) => known.get(String(i)) ?? make(i)),
    );
    setStyle(root, { transform: `translateY(${Math.floor(first / across) * tall}px)` });
    mark();
    if (focused === null || focused === undefined) return;
    (root.querySelector(`[data-place="${focused}"]`) ?? root).focus({ preventScroll: true });
  }
  /** Make what has come near the screen. */
  function follow() {
    if (!tall) return;
    const top = room.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / tall) - SPARE);
    const last = Math.ceil((innerHeight - top) / tall) + SPARE;
    const [start, end] = [Math.min(rows.length, first * across), Math.min(rows.length, last * across)];
    if (start < from || end > from + root.children.length) fill(start, Math.max(end, start));
  }
  function measure() {
    const item = root.firstElementChild;
    if (!item?.isConnected) return;
    const style = getComputedStyle(root);
    across = style.gridTemplateColumns.split(" ").length;
    tall = item.getBoundingClientRect().height + Number.parseFloat(style.rowGap || "0");
    setStyle(room, { height: `${Math.ceil(rows.length / across) * tall}px` });
    follow();
  }
  function mark() {
    for (const item of root.children) {
      const chosen = Boolean(state.selected?.[item.dataset.place]);
      item.classList.toggle("chosen", chosen);
      item.setAttribute("aria-description", chosen ? "selected; x takes it away" : "x selects it");
    }
  }
  const resized = new ResizeObserver(measure);
  resized.observe(root);
  document.addEventListener("scroll", follow, { capture: true, passive: true });
  root.addEventListener("keydown", (event) => {
    const item = event.target.closest(".thumb");
    if (!item) return;
    if (event.key === "x") {
      toggle(Number(item.dataset.place));
      event.preventDefault();
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = from + [...root.children].indexOf(item) + step;
    if (next < 0 || next >= rows.length) return;
    const start = Math.max(0, Math.floor(next / across) - 2 * SPARE) * across;
    if (next < from || next >= from + root.children.length) fill(start, start + 6 * SPARE * across);
    root.children[next - from].focus();
  });

  return {
    element: room,
    /** Show other images. @param {number[]} places @param {(i: number) => string | undefined} [noteOf] */
    show(places, noteOf) {
      if (noteOf) note = noteOf;
      rows = places;
      replace(root); // their notes may be others
      fill(0, AT_ONCE);
      setStyle(room, { height: tall ? `${Math.ceil(rows.length / across) * tall}px` : "auto" });
    },
    mark,
    stop() {
      resized.disconnect();
      document.removeEventListener("scroll", follow, { capture: true });
    },
  };
}
