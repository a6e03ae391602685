// Line charts of a history: a panel for each kind of quantity, drawn as SVG.

import { classColour } from "./colours.js";
import { h, s } from "./dom.js";

/** @typedef {{name: string, panel: string, points: number[][]}} Series */

const WIDTH = 460, HEIGHT = 210, LEFT = 50, RIGHT = 12, TOP = 10, BOTTOM = 26;
const PROBABILITIES = "Discriminator outputs";
const DASHES = ["", "6 3", "2 3", "9 3 2 3"];

/**
 * Round numbers between two values, about n of them.
 * @param {number} low
 * @param {number} high
 * @param {number} n
 */
export function ticks(low, high, n) {
  const raw = (high - low) / n || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10);
  const values = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) values.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return values;
}

/** @param {number} v */
const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 10000 ? `${+(v / 1000).toPrecision(4)}k` : Math.abs(v) < 0.001 ? v.toExponential(0) : String(+v.toPrecision(3)));

/**
 * A chart of the series of one panel.
 * @param {string} title
 * @param {Series[]} series
 */
export function chart(title, series) {
  const all = series.flatMap((one) => one.points);
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]).filter(Number.isFinite).sort((a, b) => a - b);
  const x1 = Math.max(...xs, 1), x0 = 0;
  let [low, high] = title === PROBABILITIES ? [0, 1] : [ys[0] ?? 0, ys[ys.length - 1] ?? 1];
  const robust = ys[Math.floor(0.97 * (ys.length - 1))] ?? 1;
  if (title !== PROBABILITIES) {
    if (high > robust + 3 * (robust - low)) high = robust + 0.5 * (robust - low); // the first steps
    if (low > 0 && low < 0.6 * high) low = 0;
    if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
    high += 0.04 * (high - low);
  }
  /** @param {number} v */
  const px = (v) => LEFT + ((v - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  /** @param {number} v */
  const py = (v) => HEIGHT - BOTTOM - ((Math.min(v, high) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const lines = series.map((one, k) =>
    s("polyline", { class: "line", stroke: classColour(k), "stroke-dasharray": DASHES[Math.floor(k / 6) % 4], points: one.points.filter((p) => Number.isFinite(p[1])).map((p) => `${px(p[0]).toFixed(1)},${py(p[1]).toFixed(1)}`).join(" ") })
  );
  const cursor = s("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 });
  const grid = [
    ...ticks(low, high, 4).flatMap((v) => [s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: py(v), y2: py(v) }), s("text", { class: "tick", x: LEFT - 7, y: py(v) + 4, "text-anchor": "end" }, short(v))]),
    ...ticks(x0, x1, 5).map((v) => s("text", { class: "tick", x: px(v), y: HEIGHT - 8, "text-anchor": v > 0.95 * x1 ? "end" : "middle" }, short(v))),
  ];
  if (title === PROBABILITIES) grid.push(s("line", { class: "chance", x1: LEFT, x2: WIDTH - RIGHT, y1: py(0.5), y2: py(0.5) }));
  const summary = series.map((one) => `${one.name} ${short(one.points[one.points.length - 1][1])}`).join(", ");
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": `${title} by step. Last values: ${summary}` }, ...grid, cursor, ...lines);
  const values = series.map((one) => h("output", { className: "number" }, short(one.points[one.points.length - 1][1])));
  const at = h("span", { className: "muted small number" }, `step ${x1.toLocaleString("en")}`);
  /** @param {number} x step */
  const show = (x) => {
    cursor.setAttribute("x1", String(px(x)));
    cursor.setAttribute("x2", String(px(x)));
    at.textContent = `step ${Math.round(x).toLocaleString("en")}`;
    series.forEach((one, k) => {
      const nearest = one.points.reduce((best, p) => (Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best));
      values[k].textContent = short(nearest[1]);
    });
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((/** @type {PointerEvent} */ (event).clientX - box.left) / box.width) * WIDTH;
    show(Math.min(x1, Math.max(x0, x0 + ((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (x1 - x0))));
  });
  svg.addEventListener("pointerleave", () => {
    show(x1);
    cursor.setAttribute("x1", "-9");
    cursor.setAttribute("x2", "-9");
  });
  const legend = h("div", { className: "chart-legend" }, series.map((one, k) => h("span", {}, h("span", { className: "dot", style: { "--dot": classColour(k) } }), one.name, " ", values[k])));
  return h("section", { className: "card", "aria-label": title }, h("div", { className: "spread" }, h("h2", {}, title), at), svg, legend);
}
