// The report: loads the run, draws the view that the address names.

import { readAddress, writeAddress } from "./address.js";
import { base, fileOf, LoadError, listen, loadRun, n, run } from "./data.js";
import { h, onFailure, replace } from "./dom.js";
import { makeFrame } from "./frame.js";
import { openMarks } from "./marks.js";
import { failed } from "./parts.js";
import { DEFAULTS, setState, state, subscribe } from "./store.js";
import * as clusters from "./views/clusters.js";
import * as confusion from "./views/confusion.js";
import * as duplicates from "./views/duplicates.js";
import * as explore from "./views/explore.js";
import * as objects from "./views/objects.js";
import * as overview from "./views/overview.js";
import * as performance from "./views/performance.js";
import * as review from "./views/review.js";
import * as sample from "./views/sample.js";

const VIEWS = { overview, explore, clusters, objects, review, performance, confusion, duplicates };
const main = /** @type {HTMLElement} */ (document.getElementById("main"));

let current = "";
let view = /** @type {any} */ (null);
/** What scrolls by itself in a view. */
const SCROLLED = ".pane, .pane .gr, .side";
/** By view: the image that was opened from it, and how far it was scrolled. @type {Map<string, any>} */
const left = new Map();

function show(changed) {
  const shown =
    state.view === "image" ? `image ${base.image_id[state.image]}, ${fileOf(state.image)}` : VIEWS[state.view].title;
  document.title = `${run.title}: ${run.folder}, ${run.variant}, ${shown}`;
  if (state.view !== current) {
    const before = current;
    if (before && state.view === "image") left.set(before, placeNow());
    view?.unmount?.();
    const root = h("div", { id: `view-${state.view}` });
    replace(main, root);
    current = state.view;
    document.documentElement.dataset.page = current;
    const of = state.view === "image" ? sample : VIEWS[state.view];
    try {
      view = of.mount(root);
    } catch (error) {
      view = null;
      root.append(failed(/** @type {Error} */ (error)));
      console.error(error);
    }
    window.scrollTo(0, 0);
    if (before === "image" && left.has(current)) giveBack(root, left.get(current));
    else if (before) root.querySelector("h1")?.focus({ preventScroll: true });
    if (state.sub) document.getElementById(state.sub)?.scrollIntoView();
  } else {
    view?.update?.(changed);
    if (changed.has("sub") && state.sub) document.getElementById(state.sub)?.scrollIntoView();
  }
}

const placeNow = () => ({
  image: state.image,
  top: window.scrollY,
  inner: [...main.querySelectorAll(SCROLLED)].map((each) => each.scrollTop),
});

/** A closed image leaves the view as it was, and the focus on the image, or on that which was opened first. */
async function giveBack(root, { image, top, inner }) {
  const drawn = () => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
  let turns = 30; // a second or less: who scrolls meanwhile is not to be thrown back
  do await drawn();
  while (--turns && root.querySelector("[aria-busy=true]"));
  if (!root.isConnected) return;
  window.scrollTo(0, top);
  [...root.querySelectorAll(SCROLLED)].forEach((each, k) => (each.scrollTop = inner[k]));
  await drawn(); // a grid makes what has come near the screen
  const selectors = [state.image, image].map((i) => `[data-image="${base.image_id[i]}"]`);
  const opener = [`[data-object="${CSS.escape(state.object)}"]`, ...selectors]
    .map((selector) => /** @type {any} */ (root.querySelector(selector)))
    .find(Boolean);
  (opener ?? root.querySelector("h1")).focus({ preventScroll: !opener });
}

/** Follow a link to a view with the selection and the filters kept; an address that is typed, or gone back to, is all. */
function follow(event) {
  const link = event.target.closest("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const [view, sub = ""] = link.getAttribute("href").slice(1).split("/");
  if (!VIEWS[view]) document.getElementById(view)?.focus();
  else if (view === state.view && sub === state.sub) document.getElementById(sub)?.scrollIntoView();
  else setState({ view, sub });
}

/** A file that is not there, and that no part of a view asked for, is told above the view; other errors are errors. */
function tellLost(error) {
  if (!(error instanceof LoadError)) throw error;
  const told = h("div", { id: "lost" }, failed(error));
  document.getElementById("lost")?.remove();
  main.prepend(told);
}

/** Draw every view, wait until all of it is there, and print. */
async function printAll() {
  view?.unmount?.();
  const roots = Object.keys(VIEWS).map((name) => h("div.printed", { id: `view-${name}` }));
  replace(main, roots);
  const views = Object.values(VIEWS).map((of, k) => of.mount(roots[k]));
  document.documentElement.dataset.page = "print";
  showPictures();
  await settled();
  window.print();
  for (const each of views) each.unmount?.();
  current = "";
  show(new Set(["view"]));
}

/** Pictures are loaded as they come near the screen; paper has no screen. */
function showPictures() {
  for (const each of main.querySelectorAll(".pic")) /** @type {any} */ (each).fill?.();
  for (const each of main.querySelectorAll("img")) each.loading = "eager";
}

async function settled() {
  do await new Promise((go) => setTimeout(go, 200));
  while (main.querySelector("[aria-busy=true]"));
  showPictures();
  await Promise.all([...main.querySelectorAll("img")].map((each) => each.decode().catch(() => {})));
}

async function start() {
  listen();
  onFailure(tellLost);
  window.addEventListener("beforeprint", showPictures);
  try {
    await loadRun();
  } catch (error) {
    replace(document.querySelector("#loading .lede"), /** @type {Error} */ (error).message);
    return;
  }
  openMarks();
  const { copies, clusters: found } = run;
  const counts = {
    explore: n,
    clusters: found.length,
    objects: run.found.filter((row) => !row.category && !row.size).reduce((sum, row) => sum + row.of, 0),
    review: run.reviewed,
    performance: run.insights.length,
    duplicates: copies.found + copies.grouped,
  };
  const frame = makeFrame(
    Object.entries(VIEWS).map(([name, { title }]) => ({ name, title, count: counts[name] })),
    printAll,
  );
  subscribe((changed) => {
    frame(changed);
    show(changed);
    writeAddress();
    document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
    document.documentElement.dataset.ready = "true";
  });
  const read = () =>
    readAddress(Object.keys(VIEWS)).catch((error) => {
      setState({ ...DEFAULTS, filters: {} });
      tellLost(error);
    });
  await read();
  document.addEventListener("click", follow);
  window.addEventListener("popstate", read);
}

start();
