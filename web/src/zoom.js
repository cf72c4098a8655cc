// Zoom and pan, the same in all pictures of a canvas.

import { setStyle } from "./dom.js";

const MOST = 12;

/** @param {any} canvas holds pictures: `.pan` clips, the `.ph` in it is moved */
export function makeZoom(canvas) {
  let zoom = { k: 1, x: 0, y: 0 };

  function apply() {
    for (const each of canvas.querySelectorAll(".ph"))
      setStyle(each, { transform: `translate(${100 * zoom.x}%, ${100 * zoom.y}%) scale(${zoom.k})` });
    canvas.classList.toggle("zoomed", zoom.k > 1);
  }
  function by(factor, x = 0.5, y = 0.5) {
    const k = Math.min(MOST, Math.max(1, zoom.k * factor));
    const part = k / zoom.k;
    // In shares of the picture, from its top left: what lies under x, y stays there.
    zoom = { k, x: x - (x - zoom.x) * part, y: y - (y - zoom.y) * part };
    clamp();
    apply();
  }
  function clamp() {
    zoom.x = Math.min(0, Math.max(1 - zoom.k, zoom.x));
    zoom.y = Math.min(0, Math.max(1 - zoom.k, zoom.y));
  }
  function fit() {
    zoom = { k: 1, x: 0, y: 0 };
    apply();
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
      by(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...place);
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
    clamp();
    apply();
  });
  canvas.addEventListener("pointerup", () => (grabbed = null));
  canvas.addEventListener("dblclick", (event) => {
    const place = inPicture(event);
    if (place) by(2, ...place);
  });

  return { apply, by, fit };
}
