// The theme: as the system has it, light or dark, kept in this browser.

const THEMES = ["", "light", "dark"];
const now = () => document.documentElement.dataset.theme ?? "";

/** Set the theme that was kept. @param {() => void} onchange called after each change */
export function readTheme(onchange) {
  let theme = "";
  try {
    theme = localStorage.getItem("segscope.theme") ?? "";
  } catch {
    /* a private window */
  }
  set(THEMES.includes(theme) ? theme : "", onchange);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => set(now(), onchange));
}

function set(theme, onchange) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.getElementById("theme")?.setAttribute("aria-label", `Theme: ${theme || "as the system"}`);
  onchange();
}

/** The one after it. @param {() => void} onchange */
export function nextTheme(onchange) {
  const next = THEMES[(THEMES.indexOf(now()) + 1) % THEMES.length];
  try {
    localStorage.setItem("segscope.theme", next);
  } catch {
    /* it holds until the page is closed */
  }
  set(next, onchange);
}
