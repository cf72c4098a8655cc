// State in the address: #view/sub?key=value. Images are told by their ids, so that a link holds after another run.

import { base, column, metaOf, placeOf } from "./data.js";
import { DEFAULTS, rowsOf, select, selectBy, setState, state } from "./store.js";

const MOST = 400; // ids of a selection that fit an address
const PLAIN = [
  "color",
  "size",
  "order",
  "layout",
  "object",
  "against",
  "outcome",
  "objectClass",
  "category",
  "objectSize",
  "cluster",
  "kind",
];

/** The state as an address. */
export function address() {
  const parts = new URLSearchParams();
  for (const key of PLAIN) if (state[key] !== DEFAULTS[key]) parts.set(key, state[key]);
  if (state.layers.join() !== DEFAULTS.layers.join()) parts.set("layers", state.layers.join("."));
  if (state.suspect !== DEFAULTS.suspect) parts.set("suspect", String(state.suspect));
  for (const [name, { low, high, values }] of Object.entries(state.filters)) {
    const told = values ? values.map(encodeURIComponent).join("|") : `${low ?? ""}..${high ?? ""}`;
    parts.append("f", `${encodeURIComponent(name)}=${told}`);
  }
  if (state.query && state.count) parts.set("query", state.query);
  else if (state.selected && state.count <= MOST)
    parts.set(
      "ids",
      rowsOf(state.selected)
        .map((i) => base.image_id[i])
        .join("_"),
    );
  const query = parts.toString();
  return `${pathNow()}${query ? `?${query}` : ""}`;
}

/** Its part that names the view. */
const pathNow = () =>
  `#${state.view === "image" ? `image/${base.image_id[state.image]}` : state.view + (state.sub ? `/${state.sub}` : "")}`;

let written = "";
let place = "";

/** Selections that no address holds, for Back and Forward. @type {Uint8Array[]} */
const large = [];
function largeNow() {
  if (!state.selected || state.count <= MOST || (state.query && state.count)) return null;
  if (large.at(-1) !== state.selected) large.push(state.selected);
  return { large: large.length - 1 };
}

/** Write the state into the address; another view or image is a step of its own for Back. */
export function writeAddress() {
  if (pathNow() !== place) write();
  else if (!waiting) {
    waiting = true;
    setTimeout(write); // after the frame is drawn: nobody waits for it
  }
}

let waiting = false;
function write() {
  waiting = false;
  const [hash, kept] = [address(), largeNow()];
  if (hash === written && kept?.large === history.state?.large) return;
  const here = pathNow();
  if (here !== place && written) history.pushState(kept, "", hash);
  else history.replaceState(kept, "", hash);
  [written, place] = [hash, here];
}

/** As it was before it became part of an address; what never was one is left. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Read the state from the address; what is no such thing is left as it is by default. @param {string[]} views */
export async function readAddress(views) {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [view, sub = ""] = path.split("/").map(decoded);
  const parts = new URLSearchParams(query);
  const patch = { ...DEFAULTS, filters: {} };
  for (const key of PLAIN) if (parts.has(key)) patch[key] = parts.get(key);
  if (parts.has("layers")) patch.layers = String(parts.get("layers")).split(".");
  if (parts.has("suspect")) patch.suspect = Number(parts.get("suspect")) || 0;
  if (!metaOf(patch.color)) patch.color = DEFAULTS.color;
  for (const text of parts.getAll("f")) {
    const at = text.indexOf("=");
    const meta = metaOf(decoded(text.slice(0, at)));
    if (!meta) continue;
    const [low, high] = text.slice(at + 1).split("..");
    if (meta.kind === "name") {
      const values = text
        .slice(at + 1)
        .split("|")
        .map(decoded);
      patch.filters[meta.name] = { values: meta.name === "cluster" ? values.map(Number) : values };
    } else patch.filters[meta.name] = { ...(low && { low: Number(low) }), ...(high && { high: Number(high) }) };
  }
  await Promise.all(
    [...Object.keys(patch.filters), patch.color, ...(metaOf(patch.size) ? [patch.size] : [])].map((name) =>
      column(name),
    ),
  );
  const image = view === "image" ? placeOf.get(sub) : undefined;
  if (image !== undefined) Object.assign(patch, { view: "image", image });
  else if (views.includes(view)) Object.assign(patch, { view, sub });
  setState(patch);
  const before = large[history.state?.large ?? -1];
  if (before) select(rowsOf(before), "images selected before");
  else if (parts.has("query")) await selectBy(String(parts.get("query"))).catch(() => select([], ""));
  else {
    const ids = (parts.get("ids") ?? "").split("_").map((id) => placeOf.get(id));
    select(
      ids.filter((i) => i !== undefined),
      "images of a link",
    );
  }
  const hash = address();
  [written, place] = [location.hash || hash, hash.split("?")[0]];
}
