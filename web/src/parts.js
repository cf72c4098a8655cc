// Pieces that several views are made of.

import { run, trusted, units } from "./data.js";
import { button, h, icon, replace } from "./dom.js";
import { saveChart } from "./exports.js";
import { fixed, short } from "./format.js";
import { select, setState } from "./store.js";
import { swatch } from "./swatch.js";
import { cell, table } from "./tables.js";

/** The top of a reading view. @param {string} title @param {any} lede */
export const heading = (title, lede, ...more) =>
  h("header", {}, h("h1", { tabindex: -1 }, title), lede && h("p.lede", {}, lede), more);

/** A button that selects images, and shows them. @param {number[]} rows @param {string} text @param {string} origin @param {string} [query] */
export const selects = (rows, text, origin, query = "", view = "explore") =>
  h(
    "button.link",
    {
      type: "button",
      data: { selects: rows.length },
      onclick: () => {
        select(rows, origin, query);
        if (view) setState({ view, sub: "" });
      },
    },
    text,
  );

/** A chart with its title and the buttons that save it. */
export function figure(title, chart, note, ...more) {
  return h("figure.card", {}, h("h3", {}, title), saving(chart, title), chart, note && h("p.soft", {}, note), more);
}

/** The menu that saves a chart. @param {any} chart an SVG, a canvas, or a function that gives one */
export function saving(chart, name) {
  const file = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  const of = () => (typeof chart === "function" ? chart() : chart);
  const menu = h(
    "details.menu.saves",
    {},
    h("summary", { "aria-label": `Data and files of the chart: ${name}`, title: "Data and files" }, icon("save", 14)),
  );
  const data = () => {
    menu.removeAttribute("open");
    showData(name, of().table);
  };
  const item = (type) =>
    button(
      type.toUpperCase(),
      () => {
        saveChart(of(), file, type);
        menu.removeAttribute("open");
      },
      { class: "s", data: { save: type } },
    );
  menu.append(
    h(
      "div.drop",
      {},
      of().table && button("Data", data, { class: "s", data: { save: "data" }, "aria-haspopup": "dialog" }),
      of().table && item("csv"),
      !(of() instanceof HTMLCanvasElement) && item("svg"),
      item("png"),
    ),
  );
  return menu;
}

/** What a chart draws, as a table in a dialog. @param {string} name @param {any[][]} rows the first: the columns' names */
function showData(name, [head, ...rows]) {
  const dialog = h("dialog.data", { id: "chart-data", "aria-labelledby": "chart-data-title" });
  const shown = (value) => (typeof value === "number" || value === null ? short(value) : String(value));
  dialog.append(
    h(
      "header",
      {},
      h("h2", { id: "chart-data-title" }, name),
      button(icon("close"), () => dialog.close(), { class: "icon quiet", "aria-label": "Close" }),
    ),
    table(
      head.map((title, k) => ({ title, n: typeof rows[0]?.[k] === "number" })),
      rows.map((row) =>
        h(
          "tr",
          {},
          row.map((value) => cell(shown(value), { n: typeof value === "number" })),
        ),
      ),
      { label: `What the chart draws: ${name}` },
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** What there is nothing of, and what to do about it. */
export const empty = (text, ...more) => h("div.empty", {}, h("p", {}, text), more);

/** What could not be loaded, in its place. */
export const failed = (error) => h("p.notice", { role: "alert" }, error.message);

/** Fill an element when something is loaded; say in its place what failed. */
export function whenLoaded(element, promise, make) {
  element.setAttribute("aria-busy", "true");
  promise
    .then(
      (content) => replace(element, ...[make(content)].flat()),
      (error) => replace(element, failed(error)),
    )
    .finally(() => element.removeAttribute("aria-busy"));
  return element;
}

/** An interval in words, or why there is none. @param {any} m of `measure` */
export function intervalText(m, digits = 3) {
  if (!m || m.low === null) return "";
  if (!trusted(m)) return `${m.carriers.toFixed(1)} ${units()} carry it: too few for an interval`;
  return `${fixed(m.low, digits)} to ${fixed(m.high, digits)}, n ${m.carriers.toFixed(0)}`;
}

/** The classes with their colours. */
export const classKey = () =>
  h(
    "div.key",
    {},
    run.classes.map((each) => h("span", {}, swatch(each.color, true), `${each.name}: ${each.of.join(", ")}`)),
  );
