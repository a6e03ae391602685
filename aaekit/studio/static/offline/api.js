// Answers from the page itself, in place of those of a server.

import { PageDecoder, bytesOf, floatsOf } from "../lib/network.js";

const stored = JSON.parse(document.getElementById("data")?.textContent ?? "{}");
const pixels = stored.pictures ? bytesOf(stored.pictures) : new Uint8Array(0);
const styles = floatsOf(stored.z);
const values = floatsOf(stored.columns.value);
const { n, nDims, shape } = stored.space;
const decoder = stored.network.layers ? new PageDecoder(stored.network, nDims) : null;
const size = shape ? shape[0] * shape[1] * shape[2] : 0;

/** @param {number} item */
const styleOf = (item) => styles.subarray(item * nDims, (item + 1) * nDims);

/**
 * @param {string} path
 * @param {Record<string, any>} [query]
 * @returns {Promise<any>}
 */
export async function getJson(path, query = {}) {
  if (path === "/api/map/space") return stored.space;
  if (path === "/api/map/network") return stored.network;
  if (!(query.item >= 0 && query.item < n)) throw new Error(`expected an item from 0 to ${n - 1}, got ${query.item}`);
  return { z: [...styleOf(query.item)], value: values[query.item], places: {} };
}

/**
 * @param {string} path
 * @param {Record<string, any>} [query]
 */
export async function getBytes(path, query = {}) {
  const headers = new Headers({ "x-done": String(n), "x-total": String(n) });
  const start = Number(query.start ?? 0);
  if (path === "/api/map/column") return { bytes: floatsOf(stored.columns[query.name]).slice(start).buffer, headers };
  const places = floatsOf(stored.places[query.plane]), rows = new ArrayBuffer(12 * Math.max(0, n - start));
  const [ids, floats] = [new Uint32Array(rows), new Float32Array(rows)];
  for (let i = start, j = 0; i < n; i++, j += 3) {
    ids[j] = i;
    floats[j + 1] = places[2 * i];
    floats[j + 2] = places[2 * i + 1];
  }
  return { bytes: rows, headers };
}

/**
 * @param {string} path
 * @param {any} body
 */
export async function post(path, body) {
  if (path === "/api/decode") return new Response(/** @type {BodyInit} */ (decoder?.decode(body)));
  if (path.startsWith("/api/items/neighbours")) return Response.json(nearestItems(body, Number(path.split("n=")[1])).map((k) => stored.facts[k]));
  const items = [.../** @type {Uint32Array} */ (body)];
  if (path === "/api/items/facts") return Response.json(items.map((k) => stored.facts[k]));
  const out = new Uint8Array(items.length * size);
  items.forEach((k, j) => out.set(pixels.subarray(k * size, (k + 1) * size), j * size));
  return new Response(out);
}

/** As `Trained.neighbours`. @param {Float32Array} code @param {number} most */
function nearestItems(code, most) {
  const all = Array.from({ length: n }, (_, i) => i);
  const same = stored.space.values.length ? all.filter((i) => values[i] === code[0]) : [];
  const distances = (same.length ? same : all).map((i) => [styleOf(i).reduce((sum, v, j) => sum + (v - code[j + 1]) ** 2, 0), i]);
  return distances.sort((a, b) => a[0] - b[0]).slice(0, most).map(([, i]) => i);
}
