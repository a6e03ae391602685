// Elements, icons and messages. Texts are set as text, never as markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element with properties, attributes, listeners (`onclick`) and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, String(text));
    else if (name in element && !name.includes("-") && name !== "list") /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** @type {Record<string, string>} Outlines on a grid of 24. */
const ICONS = {
  map: "M6 7.5a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0-3 0M14 5a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0M15.5 17a2 2 0 1 0 4 0a2 2 0 1 0-4 0M4.5 16a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0M10.5 12.5a1.7 1.7 0 1 0 3.4 0a1.7 1.7 0 1 0-3.4 0M18 10.5a1.1 1.1 0 1 0 2.2 0a1.1 1.1 0 1 0-2.2 0M9.8 19.5a1.1 1.1 0 1 0 2.2 0a1.1 1.1 0 1 0-2.2 0",
  training: "M4 4v16h16M7.5 8c1.5 6 4 8 12 8.2",
  style: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM16.9 13.6l1 2.5 2.5 1-2.5 1-1 2.5-1-2.5-2.5-1 2.5-1z",
  generate: "M12 3.5l1.9 5.1 5.1 1.9-5.1 1.9L12 17.500l-1.9-5.100L5 10.500l5.1-1.900zM18.5 16l.8 2.2 2.2.8-2.2.8-.8 2.2-.8-2.2-2.2-.8 2.2-.8z",
  label: "M4 12.500V5a1 1 0 0 1 1-1h7.500l7.5 7.5-8.5 8.500zM8.5 8.500h.01",
  turing: "M12 4a4 4 0 0 1 4 4c0 3-4 3-4 6M12 18.500h.01",
  compare: "M9 4v16M15 4v16M4 8h5M15 8h5M4 14h5M15 14h5",
  health: "M3.5 12.500h4l2-5 4 10 2-5h5",
  pointer: "M12 3v5M12 16v5M3 12h5M16 12h5M12 12h.01",
  lasso: "M12 5c5 0 8 2.2 8 5s-3 5-8 5-8-2.2-8-5 3-5 8-5zM8 14.800c-1.5 1-1.5 3 0 3.700M8.2 18.500c1 1.5 0 2.5-1.2 2.5",
  path: "M4 18c3-9 6 2 9-5s5-6 7-6M18 5l2.5 2L18 9.5",
  pan: "M12 3v18M3 12h18M12 3 9.5 5.500M12 3l2.5 2.500M12 21l-2.5-2.500M12 21l2.5-2.500M3 12l2.5-2.500M3 12l2.5 2.500M21 12l-2.5-2.500M21 12l-2.5 2.5",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500z",
  play: "M7 4.500v15l12-7.500z",
  pause: "M8 5v14M16 5v14",
  stop: "M6 6h12v12H6z",
  download: "M12 4v11M7.5 11 12 15.5 16.5 11M5 20h14",
  upload: "M12 16V5M7.5 9 12 4.5 16.5 9M5 20h14",
  eraser: "M14 5l6 6-8 8H8l-4-4zM10 9l6 6",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  search: "M11 5a6 6 0 1 0 0 12a6 6 0 1 0 0-12M15.5 15.5 20 20",
  alert: "M12 4 2.8 20h18.400zM12 10v4.500M12 17.300h.01",
  wait: "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M12 8v4.500l3 2",
};

/**
 * @param {string} name
 * @param {number} [size]
 */
export function icon(name, size = 20) {
  return s("svg", { viewBox: "0 0 24 24", width: size, height: size, fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, s("path", { d: ICONS[name] ?? ICONS.alert }));
}

/**
 * A page or part with nothing in it yet: what is missing, and what to do.
 * @param {string} title
 * @param {string} [text]
 * @param {string} [picture]
 * @param {...Child} more
 */
export function emptyState(title, text = "", picture = "wait", ...more) {
  return h("div", { className: "empty" }, icon(picture, 44), h("h2", {}, title), text && h("p", {}, text), ...more);
}

/** @param {string} [label] */
export function loading(label = "Loading") {
  return h("div", { className: "empty" }, h("div", { className: "spinner", role: "status", "aria-label": label }), h("p", {}, label));
}

/**
 * A message that goes away by itself.
 * @param {string} text
 */
export function toast(text) {
  const box = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  if ([...box.children].some((t) => t.firstChild?.textContent === text)) return;
  const element = h("div", { className: "toast" }, h("span", {}, text), h("button", { type: "button", "aria-label": "Dismiss", onclick: () => element.remove() }, "×"));
  box.append(element);
  setTimeout(() => element.remove(), 7000);
}

/**
 * Buttons of which one is pressed.
 * @template {string} T
 * @param {string} label
 * @param {{value: T, title: string, icon?: string}[]} options
 * @param {T} value
 * @param {(value: T) => void} choose
 */
export function segments(label, options, value, choose) {
  const buttons = options.map((o) =>
    h("button", { type: "button", "aria-pressed": String(o.value === value), onclick: () => press(o.value) }, o.icon ? icon(o.icon, 16) : null, o.title)
  );
  /** @param {T} chosen */
  const press = (chosen) => {
    buttons.forEach((b, k) => b.setAttribute("aria-pressed", String(options[k].value === chosen)));
    choose(chosen);
  };
  return h("div", { className: "segments", role: "group", "aria-label": label }, buttons);
}

/**
 * A field with its label.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {boolean} [inline]
 */
export function field(label, control, inline = false) {
  return h("label", { className: inline ? "field inline" : "field" }, label, control);
}

/**
 * A list to choose from.
 * @param {{value: string, title: string}[]} options
 * @param {string} value
 * @param {(value: string) => void} choose
 */
export function select(options, value, choose) {
  const element = h("select", { onchange: () => choose(element.value) }, options.map((o) => h("option", { value: o.value, selected: o.value === value }, o.title)));
  return element;
}

/**
 * A slider with its name and value.
 * @param {string} name
 * @param {{min: number, max: number, step: number, value: number, digits?: number}} range
 * @param {(value: number) => void} change
 */
export function slider(name, range, change) {
  const output = h("output", {}, range.value.toFixed(range.digits ?? 1));
  const input = h("input", { type: "range", min: range.min, max: range.max, step: range.step, "aria-label": name });
  input.value = String(range.value);
  input.addEventListener("input", () => {
    output.textContent = Number(input.value).toFixed(range.digits ?? 1);
    change(Number(input.value));
  });
  /** @param {number} value */
  const set = (value) => {
    input.value = String(value);
    output.textContent = value.toFixed(range.digits ?? 1);
  };
  return { element: h("div", { className: "slider" }, h("span", {}, name), input, output), set };
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
