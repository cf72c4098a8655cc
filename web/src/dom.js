// Elements. Text from the data goes into text nodes and properties only: it is never markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `on*` are listeners, `style` custom properties or styles, `data` the dataset, the rest attributes.
 * @param {string} tag with classes: `div.card.detail`
 * @param {Object<string, any>} [props]
 * @param {...any} children nodes, texts, or lists of them; null and false are left out
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name), classes, props, children);
}

/**
 * The same, of SVG.
 * @param {string} tag
 * @param {Object<string, any>} [props]
 * @param {...any} children
 * @returns {any}
 */
export function s(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, props, children);
}

/** @type {(error: Error) => void} */
let tell = (error) => {
  throw error;
};
/** Tell what goes wrong after a click has been answered. A page from disk is not told of rejections by its browser. */
export const onFailure = (to) => (tell = to);
function watched(result) {
  if (result instanceof Promise) result.catch(tell);
}

function fill(element, classes, props, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), (event) => watched(value(event)));
    else if (key === "style") setStyle(element, value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
    else if (key === "value" || key === "checked") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

/** Put other content into an element. @param {any} element @param {...any} children as of `h`; of null nothing is done */
export function replace(element, ...children) {
  element?.replaceChildren(...flat(children));
}

const flat = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

export function setStyle(element, styles) {
  for (const [key, value] of Object.entries(styles)) element.style.setProperty(key, String(value));
}

const ICONS = {
  overview: "M2.5 13.5v-5M6.2 13.5v-9M9.9 13.5v-6.5M13.6 13.5V2.5",
  explore:
    "M5.3 5a1.3 1.3 0 1 1-2.6 0 1.3 1.3 0 0 1 2.6 0ZM8.3 11.4a1.3 1.3 0 1 1-2.6 0 1.3 1.3 0 0 1 2.6 0ZM13 4a1.3 1.3 0 1 1-2.6 0A1.3 1.3 0 0 1 13 4ZM13.6 10.4a1.3 1.3 0 1 1-2.6 0 1.3 1.3 0 0 1 2.6 0Z",
  clusters: "M2.5 2.5h4.4v4.4H2.5zM9.1 2.5h4.4v4.4H9.1zM2.5 9.1h4.4v4.4H2.5zM9.1 9.1h4.4v4.4H9.1z",
  objects: "M2.5 5V2.5H5M11 2.5h2.5V5M13.5 11v2.5H11M5 13.5H2.5V11M5.5 5.5h5v5h-5z",
  review: "M2.5 4h11M2.5 8h6M2.5 12h4M9.4 11.4l1.8 1.8 3.2-3.8",
  performance: "M2.3 2.3v11.4h11.4M4.8 10.4l2.6-3 2.4 1.6 3.6-4.6",
  confusion: "M2.5 2.5h11v11h-11zM2.5 6.2h11M2.5 9.9h11M6.2 2.5v11M9.9 2.5v11",
  duplicates: "M5.4 5.4h8.2v8.2H5.4zM10.6 5.2V2.4H2.4v8.2h2.8",
  find: "M11.2 7a4.2 4.2 0 1 1-8.4 0 4.2 4.2 0 0 1 8.4 0ZM10.2 10.2l3.3 3.3",
  theme:
    "M10.8 8a2.8 2.8 0 1 1-5.6 0 2.8 2.8 0 0 1 5.6 0ZM8 1.4v1.8M8 12.8v1.8M1.4 8h1.8M12.8 8h1.8M3.3 3.3l1.3 1.3M11.4 11.4l1.3 1.3M12.7 3.3l-1.3 1.3M4.6 11.4l-1.3 1.3",
  close: "M4 4l8 8M12 4l-8 8",
  left: "M9.8 3.6 5.4 8l4.4 4.4",
  right: "M6.2 3.6 10.6 8l-4.4 4.4",
  down: "M4 6.2 8 10.2l4-4",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  lasso:
    "M8 2.6c3.3 0 5.6 1.5 5.6 3.7S11.300 10 8 10 2.400 8.500 2.400 6.300 4.700 2.600 8 2.600zM5.200 9.800c-1.600 1.200.4 2.200-.6 3.800",
  box: "M2.6 2.6h10.8v10.8H2.6z",
  pan: "M8 1.800v12.400M1.800 8h12.400M6.200 3.500 8 1.700l1.800 1.800M6.200 12.500 8 14.300l1.800-1.800M3.500 6.200 1.700 8l1.800 1.800M12.500 6.200 14.300 8l-1.800 1.800",
  save: "M8 2.5v8M4.6 7.4 8 10.8l3.4-3.4M2.8 13.5h10.4",
  load: "M8 10.8v-8M4.6 5.9 8 2.5l3.4 3.4M2.8 13.5h10.400",
  undo: "M3 6.5h6.500a3.500 3.500 0 0 1 0 7H6M5.600 3.600 2.700 6.500l2.900 2.900",
  copy: "M5.4 5.4h8.200v8.200H5.400zM10.600 5.200V2.400H2.400v8.200h2.800",
  check: "M3.4 8.400l3 3 6.200-6.800",
};

/** A picture on a button. @param {string} name @param {number} [size] */
export const icon = (name, size = 16) =>
  s(
    "svg",
    {
      width: size,
      height: size,
      viewBox: "0 0 16 16",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.5,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": "true",
    },
    s("path", { d: ICONS[name] }),
  );

/** A button that looks like a link. */
export const link = (text, onclick, props = {}) => h("button.link", { type: "button", onclick, ...props }, text);

/** A button. @param {any} content @param {(event: any) => void} onclick @param {Object<string, any>} [props] */
export const button = (content, onclick, props = {}) => h("button.btn", { type: "button", onclick, ...props }, content);

/** Buttons of which one is on. @param {string} label @param {Array<[string, string]>} choices */
export function segments(label, choices, chosen, onchoose) {
  return h(
    "div.seg",
    { role: "group", "aria-label": label },
    choices.map(([value, text]) =>
      h(
        "button",
        { type: "button", "aria-pressed": String(value === chosen), data: { value }, onclick: () => onchoose(value) },
        text,
      ),
    ),
  );
}

/** A labelled list to choose from. @param {Array<[string, string] | {group: string, of: Array<[string, string]>}>} choices */
export function picker(label, choices, chosen, onchoose, props = {}) {
  const option = ([value, text]) => h("option", { value, selected: value === chosen }, text);
  const made = h(
    "select",
    { onchange: (event) => onchoose(event.target.value), ...props },
    choices.map((each) =>
      Array.isArray(each) ? option(each) : h("optgroup", { label: each.group }, each.of.map(option)),
    ),
  );
  made.value = chosen;
  return h("label.pick", {}, h("span", {}, label), made);
}

/** Say something to those who do not see it. */
export function say(text) {
  const place = document.getElementById("said");
  if (place && place.textContent !== text) place.textContent = text;
}

/** Whether a key is meant for something else than the view: taken already, a shortcut, written into a field, a dialog's. */
export const isElsewhere = (event) =>
  event.defaultPrevented ||
  event.ctrlKey ||
  event.metaKey ||
  event.altKey ||
  event.target.matches("input, select, textarea") ||
  document.querySelector("dialog[open]") !== null;

/** A button that puts a text into the clipboard. @param {string} text @param {string} label */
export function copyButton(text, label) {
  const made = button(icon("copy", 14), () => copy(text).then(done, failedTo), {
    class: "s icon quiet copies",
    "aria-label": label,
    title: label,
  });
  const tell = (name, words) => {
    replace(made, icon(name, 14));
    say(words);
    setTimeout(() => replace(made, icon("copy", 14)), 1500);
  };
  const done = () => tell("check", "copied");
  const failedTo = () => tell("close", "the browser does not let this page copy");
  return made;
}

/** Into the clipboard; where the browser keeps it from a page on disk, by way of a field. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h("textarea.vh", { value: text });
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (!copied) throw new Error("no clipboard");
  }
}

/** A value of 0 to 1 with its name. @param {string} tag of the label, as `h` has it @param {string} name
 * @param {number} value @param {(value: number) => void} changed */
export const slider = (tag, name, value, changed) =>
  h(
    tag,
    {},
    `${name} `,
    h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.05,
      value,
      id: name.toLowerCase(),
      oninput: (event) => changed(Number(event.target.value)),
    }),
  );
