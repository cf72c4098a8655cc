// What every view is framed by: the head with search and theme, the rail, the selection's bar, the keys.

import { base, group, groupCount, measure, n, named, placeOf, run, valMask } from "./data.js";
import { button, h, icon, link, say, replace } from "./dom.js";
import { csvText, idsText, queryText, save } from "./exports.js";
import { fixed, plural } from "./format.js";
import { contrast, ordered } from "./stats.js";
import { clear, openImage, select, selectBy, selectedRows, setState, state } from "./store.js";
import { forgetColors } from "./map.js";
import { nextTheme, readTheme } from "./theme.js";
import { brandMark } from "./brand.js";

const KEYS = [
  ["/", "find an image by its id or file name, or select by a query"],
  ["g then o e c b r p f d", "go to Overview, Explore, Clusters, oBjects, Review, Performance, conFusion, Duplicates"],
  ["Esc", "close what is open, then clear the selection"],
  ["?", "these keys"],
  ["a", "attention on or off"],
  ["← → ↑ ↓, Enter, x", "in a grid: move, open, select"],
  ["← →", "an image: the previous, the next of the grid"],
  ["0 … 6, s, [ ]", "an image: layers, side by side, opacity"],
  ["+ − 0", "an image: zoom in, out, and back (Shift + 0)"],
  ["E K U, C N, Z", "review: exclude, keep, unsure; the suggested category, no object; undo"],
  ["↑ ↓, Space", "review: the one before, the next; hold to hide the outlines"],
];
const GO = {
  o: "overview",
  e: "explore",
  c: "clusters",
  b: "objects",
  r: "review",
  p: "performance",
  f: "confusion",
  d: "duplicates",
};

/** @param {Array<{name: string, title: string, count?: number}>} views @param {() => void} printAll */
export function makeFrame(views, printAll) {
  const counts = Object.fromEntries(views.map((view) => [view.name, view.count]));
  const item = (view) =>
    h(
      "a.item",
      { href: `#${view.name}`, data: { view: view.name }, title: view.title },
      icon(view.name),
      h("span", {}, view.title),
      h("em.num", {}, counts[view.name] === undefined ? "" : String(counts[view.name])),
    );
  const rail = document.getElementById("rail");
  replace(rail, ...views.map(item), foot(printAll));
  const tabs = h(
    "nav.tabs",
    { "aria-label": "Views" },
    views.map((view) => h("a", { href: `#${view.name}`, data: { view: view.name } }, view.title)),
  );
  const search = searchBox();
  const theme = button(icon("theme"), () => nextTheme(themed), { class: "icon quiet", id: "theme" });
  const help = button(h("kbd", {}, "?"), showHelp, {
    class: "icon quiet help",
    "aria-label": "Keyboard shortcuts",
    "aria-haspopup": "dialog",
  });
  replace(
    document.getElementById("head"),
    h("span.brand", {}, brandMark(), run.title),
    facts(),
    h("div.tools", {}, search.element, theme, help),
    tabs,
  );
  document.body.append(helpDialog());
  readTheme(themed);
  listenToKeys(search);
  const bar = makeBar();

  return (changed) => {
    const view = state.view === "image" ? "explore" : state.view;
    for (const each of document.querySelectorAll("[data-view]")) {
      if (/** @type {HTMLElement} */ (each).dataset.view === view) each.setAttribute("aria-current", "page");
      else each.removeAttribute("aria-current");
    }
    if (changed.has("view")) {
      const tab = /** @type {any} */ (tabs.querySelector("[aria-current]"));
      if (tab) tabs.scrollLeft = tab.offsetLeft - 120;
    }
    bar(changed);
  };
}

function facts() {
  const { produced } = run;
  const splits = ["train", "val"].map((split) => [split, measure("images", split)?.value]).filter(([, count]) => count);
  return h(
    "div.run",
    {},
    h("b", { title: run.origin }, run.folder),
    h("b", {}, run.variant),
    run.source === "sample" &&
      h("span.pill", { title: "These images are drawn; the figures say nothing about photographs." }, "drawn sample"),
    h("span.num", {}, splits.map(([split, count]) => `${count} ${split}`).join(", ")),
    h("span", {}, run.classes.map((each) => each.name).join(", ")),
    h("span", {}, produced.resolution ?? ""),
    h("span.mono", { title: "the model's sum in dvc.lock" }, (produced.model ?? "").slice(0, 8)),
  );
}

const foot = (printAll) =>
  h(
    "div.foot",
    {},
    link("Print all views", printAll, { id: "print-all" }),
    h("a", { href: "licences.txt" }, "Licences"),
  );

// ---- search ----
function searchBox() {
  const input = h("input", {
    type: "text",
    "aria-label": "Open an image by its id or file name, or select by a query",
    placeholder: "Id, file or query",
    autocomplete: "off",
    spellcheck: "false",
    id: "find",
  });
  const said = h("output.found-none", { hidden: true, role: "status" });
  const form = h("form.find", { role: "search" }, icon("find"), input, h("kbd", {}, "/"), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    said.hidden = true;
    if (!text) return;
    const place = placeOf.get(text);
    try {
      if (place !== undefined) openImage(place);
      else {
        const called = named(text);
        if (called.length === 1) openImage(called[0]);
        else if (called.length) select(called, `“${text}” in their path`);
        else if (/^-?\d+$/.test(text)) throw new Error(`there is no image ${text}`);
        else if (!(await selectBy(text))) throw new Error("no image meets the condition");
        if (called.length !== 1 && !["explore", "performance"].includes(state.view)) setState({ view: "explore" });
      }
      input.blur();
    } catch (error) {
      said.textContent = /** @type {Error} */ (error).message;
      said.hidden = false;
    }
  });
  input.addEventListener("input", () => (said.hidden = true));
  /** Take the message away. @returns {boolean} whether there was one */
  function close() {
    const open = !said.hidden;
    said.hidden = true;
    return open;
  }
  return { element: form, focus: () => input.focus(), close };
}

/** After a change of theme all is drawn anew. */
function themed() {
  forgetColors();
  setState(/** @type {any} */ ({ theme: document.documentElement.dataset.theme }));
}

// ---- keys ----
function helpDialog() {
  return h(
    "dialog.help",
    { id: "help", "aria-labelledby": "help-title" },
    h(
      "header",
      {},
      h("h2", { id: "help-title" }, "Keys"),
      button(icon("close"), () => hide("help"), { class: "icon quiet", "aria-label": "Close" }),
    ),
    h(
      "dl.facts",
      {},
      KEYS.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]),
    ),
  );
}
const dialog = (id) => /** @type {HTMLDialogElement} */ (document.getElementById(id));
const hide = (id) => dialog(id).close();
const showHelp = () => dialog("help").showModal();

let going = false;
function listenToKeys(search) {
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=checkbox]), select, textarea")) {
      if (event.key === "Escape") {
        search.close();
        target.blur();
      }
      return;
    }
    if (going) {
      going = false;
      if (GO[event.key]) setState({ view: GO[event.key], sub: "" });
      event.preventDefault(); // in Review the same letter would mark a label
      return;
    }
    if (event.key === "/") search.focus();
    else if (event.key === "?") showHelp();
    else if (event.key === "g") going = true;
    else if (event.key === "a") setState({ attention: !state.attention });
    else if (event.key !== "Escape" || !stepBack(search)) return;
    event.preventDefault();
  });
}

/** Close what is open, or else clear the selection. @returns {boolean} whether there was anything to do */
function stepBack(search) {
  if (closeOpen(search)) return true;
  if (state.view === "image" || !state.count) return false;
  clear();
  return true;
}

/** Close what lies open above the view: menus, what the search said. @returns {boolean} whether anything was */
function closeOpen(search) {
  const menus = [...document.querySelectorAll("details.menu[open]")];
  for (const menu of menus) {
    if (menu.contains(document.activeElement)) menu.querySelector("summary")?.focus();
    menu.removeAttribute("open");
  }
  return search.close() || menus.length > 0;
}

// ---- the selection ----
function makeBar() {
  const bar = document.getElementById("bar");
  return (changed) => {
    if (!bar || ![...changed].some((key) => ["selected", "view", "theme"].includes(key))) return;
    const hidden = !state.count || state.view === "review";
    document.documentElement.classList.toggle("no-bar", hidden);
    bar.hidden = hidden;
    if (!state.count) return;
    const [inside, rest] = losses();
    if (changed.has("selected"))
      say(`${plural(state.count, "image")} selected, loss ${fixed(inside, 2)} against ${fixed(rest, 2)}`);
    if (hidden) return;
    replace(
      bar,
      h("i.dotmark"),
      h("b", {}, `${plural(state.count, "image")} selected`),
      h("span.from", {}, "from ", state.query ? h("code", {}, state.query) : state.origin),
      h(
        "span.vs.num",
        {},
        h("span", {}, "loss ", h("b", {}, fixed(inside, 2))),
        h("span.soft", {}, `rest ${fixed(rest, 2)}`),
      ),
      h(
        "span.acts",
        {},
        state.view !== "explore" && button("Show on map", () => setState({ view: "explore", sub: "" })),
        button([icon("clusters"), "Open"], () => openImage(byLoss()[0], byLoss()), {
          title: "Open the selected images one by one, that of the highest loss first",
        }),
        exportMenu(),
        button(icon("close"), clear, { class: "icon quiet", "aria-label": "Clear the selection" }),
      ),
    );
  };
}

const byLoss = () => ordered(selectedRows(), base.loss);

function losses() {
  const among = valMask.includes(1) ? valMask : new Uint8Array(n).fill(1);
  const { inside, rest } = contrast(base.loss, state.selected ?? new Uint8Array(n), among, group, groupCount);
  return [inside, rest];
}

function exportMenu() {
  const rows = selectedRows();
  const menu = h(
    "details.menu",
    {},
    h("summary.btn", {}, "Export", icon("down", 12)),
    h(
      "div.drop",
      {},
      link("Image ids, one a line", () => save(idsText(rows), "images.txt"), { data: { export: "ids" } }),
      link("A table with all columns (CSV)", async () => save(await csvText(rows), "images.csv", "text/csv"), {
        data: { export: "csv" },
      }),
      link("A query for samples.parquet (pandas)", () => save(`${queryText(rows, state.query)}\n`, "query.txt"), {
        data: { export: "query" },
      }),
    ),
  );
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(/** @type {any} */ (event).relatedTarget)) menu.removeAttribute("open");
  });
  return menu;
}
