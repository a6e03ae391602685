// Items as they are shown: pictures, cells of a table, and what is known of them.

import { getJson, post } from "./api.js";
import { h } from "./dom.js";
import { picture } from "./pictures.js";

/** @typedef {{item: number, part: string, label: string | null, prediction?: string, probability?: number, value: number, file?: string, cells?: string[][]}} Facts */

/**
 * Pictures of items.
 * @param {ArrayLike<number>} items
 */
export async function picturesOf(items) {
  return new Uint8Array(await (await post("/api/items/pictures", Uint32Array.from(items))).arrayBuffer());
}

/**
 * What is known of items.
 * @param {ArrayLike<number>} items
 * @returns {Promise<Facts[]>}
 */
export async function factsOf(items) {
  return (await post("/api/items/facts", Uint32Array.from(items))).json();
}

/**
 * The items whose codes are nearest to a code: the value of y, then z.
 * @param {Float32Array} code
 * @param {number} n
 * @returns {Promise<Facts[]>}
 */
export async function neighboursOf(code, n) {
  return (await post(`/api/items/neighbours?n=${n}`, /** @type {BufferSource} */ (code))).json();
}

/**
 * The code of an item.
 * @param {number} item
 * @returns {Promise<{z: number[], value: number, places: Record<string, number[]>}>}
 */
export function codeOf(item) {
  return getJson("/api/items/code", { item });
}

/** @param {Facts} facts */
export function sentence(facts) {
  const parts = [`item ${facts.item}`];
  if (facts.label !== null) parts.push(`label ${facts.label}`);
  if (facts.prediction !== undefined) parts.push(`predicted ${facts.prediction} (${Math.round(100 * (facts.probability ?? 0))} %)`);
  return parts.join(", ");
}

/**
 * Lines of what is known of an item.
 * @param {Facts} facts
 * @param {number} [most] cells
 */
export function factLines(facts, most = 6) {
  const lines = [h("div", { className: "spread" }, h("strong", {}, facts.label ?? facts.prediction ?? `Item ${facts.item}`), h("span", { className: "muted number" }, `#${facts.item}`))];
  if (facts.prediction !== undefined) {
    const right = facts.label === null || facts.prediction === facts.label;
    lines.push(h("div", { className: "muted" }, right ? "Predicted " : "Predicted instead: ", h("strong", {}, facts.prediction), ` ${Math.round(100 * (facts.probability ?? 0))} %`));
  }
  lines.push(h("div", { className: "muted" }, facts.file ? `${facts.part}, ${facts.file}` : facts.part));
  if (facts.cells) lines.push(h("div", {}, cellTable(facts.cells.slice(0, most))));
  return lines;
}

/** @param {string[][]} cells names and values */
export function cellTable(cells) {
  return h("table", {}, h("tbody", {}, cells.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
}

/**
 * Tiles of items, each a button: pictures, or lines of text.
 * @param {Facts[]} facts
 * @param {number[] | null} shape of pictures; null for tables and texts
 * @param {(item: number) => void} choose
 * @param {number} [size] pixels
 */
export async function tiles(facts, shape, choose, size = 46) {
  if (!facts.length) return h("p", { className: "muted small" }, "None.");
  if (!shape) {
    const names = facts[0].cells?.map(([name]) => name).slice(0, 4) ?? [];
    return h("div", { className: "scroll-x", tabIndex: 0, role: "region", "aria-label": "Items" },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Item"), names.map((n) => h("th", { scope: "col" }, n)))),
        h("tbody", {}, facts.map((f) => h("tr", {}, h("td", {}, h("button", { className: "link", type: "button", onclick: () => choose(f.item) }, `#${f.item}`), f.label !== null ? ` ${f.label}` : ""), names.map((_, k) => h("td", {}, (f.cells?.[k]?.[1] ?? "").slice(0, 80))))))));
  }
  const bytes = await picturesOf(facts.map((f) => f.item));
  return h("div", { className: "tiles", style: { "--tile": `${size}px` } },
    facts.map((f, k) => h("button", { className: "tile", type: "button", title: sentence(f), "aria-label": sentence(f), onclick: () => choose(f.item) }, picture(bytes, shape, k, sentence(f)))));
}
