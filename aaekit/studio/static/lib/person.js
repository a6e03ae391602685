// The name under which somebody answers, remembered by the browser for all rooms.

import { h } from "./dom.js";

const KEY = "aae-studio-person";

/** The name so far, at first an invented one. */
export function personName() {
  const name = localStorage.getItem(KEY) ?? `person ${Math.floor(1000 + 9000 * Math.random())}`;
  localStorage.setItem(KEY, name);
  return name;
}

/**
 * An input for the name.
 * @param {(name: string) => void} change is called with a new name
 */
export function personInput(change) {
  const input = h("input", { type: "text", value: personName(), maxLength: 40, autocomplete: "off", onchange: () => {
    const name = input.value.trim() || personName();
    input.value = name;
    localStorage.setItem(KEY, name);
    change(name);
  } });
  return input;
}
