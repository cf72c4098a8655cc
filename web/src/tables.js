// Parts of a page, and tables.

import { h } from "./dom.js";

/** A part of a view that the address can name. */
export const block = (id, title, note, ...children) =>
  h("section.block", { id }, h("header", {}, h("h2", {}, title), note && h("p", {}, note)), children);

/** A table that is sorted by the buttons in its head. @param {Array<{title: any, n?: boolean, sort?: boolean, width?: string}>} columns */
export function table(columns, rows, { label, sorted = -1, ascending = false, kind = "" }) {
  const body = h("tbody", {}, rows);
  const heads = columns.map((column, k) => {
    const head = h(
      "th",
      { scope: "col", class: column.n ? "n" : "" },
      column.sort ? h("button", { type: "button", onclick: () => sortBy(k) }, column.title) : column.title,
    );
    if (k === sorted) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    return head;
  });
  function sortBy(k) {
    const up = heads[k].getAttribute("aria-sort") === "descending";
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[k].setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[k];
      return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === "" ? NaN : Number(cell.dataset.v);
    };
    const order = [...body.rows].sort((p, q) => {
      const [a, b] = [key(p), key(q)];
      if (typeof a === "string") return (up ? 1 : -1) * a.localeCompare(b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
      return (up ? 1 : -1) * (a - b);
    });
    body.append(...order);
  }
  return h(
    "div.wrap",
    { tabindex: 0, role: "region", "aria-label": label },
    h("table", { class: kind }, h("caption.vh", {}, label), h("thead", {}, h("tr", {}, heads)), body),
  );
}

/** A cell of a table: its content, what it is sorted by, and what it is called where the table is a list of cards. */
export function cell(content, { v, l, n, cls = "" } = /** @type {any} */ ({})) {
  return h(
    "td",
    {
      class: [n ? "n" : "", cls].join(" "),
      data: { ...(v !== undefined && { v: v === null || Number.isNaN(v) ? "" : v }), ...(l && { l }) },
    },
    content,
  );
}
export const rowHead = (content, v) => h("th", { scope: "row", data: v === undefined ? {} : { v } }, content);
