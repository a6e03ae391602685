// Light and dark: as the system has it, until somebody chooses.

import { icon } from "./dom.js";

/** Show the theme, and let the button switch it. */
export function showTheme() {
  const button = /** @type {HTMLElement} */ (document.getElementById("theme"));
  let stored = null;
  try {
    stored = localStorage.getItem("aae-theme");
  } catch {
    // a page in a file may have no storage
  }
  stored = document.documentElement.dataset.theme ?? stored;
  if (stored) document.documentElement.dataset.theme = stored;
  const dark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  button.replaceChildren(icon(dark ? "sun" : "moon"));
  button.onclick = () => {
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("aae-theme", dark ? "light" : "dark");
    } catch {
      // it lasts as long as the page
    }
    showTheme();
    dispatchEvent(new Event("themechange"));
  };
}
