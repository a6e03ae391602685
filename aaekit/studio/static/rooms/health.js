// What the diagnosis of the run says, with the evidence drawn.

import { getBytes, getJson } from "../lib/api.js";
import { chart } from "../lib/chart.js";
import { classColour } from "../lib/colours.js";
import { emptyState, h, icon, s } from "../lib/dom.js";
import { picture } from "../lib/pictures.js";

/** @typedef {{low: number, high: number, codes: number[], prior: number[]}} Histogram */
/** @typedef {{kind: string, title: string, series?: import("../lib/chart.js").Series[], dimensions?: Histogram[], codes?: number[][], prior?: number[][], names?: string[], values?: number[], expected?: number[] | null, what?: string}} Drawing */
/** @typedef {{name: string, severity: "problem" | "warning", evidence: string, meaning: string, option: string, drawing: string}} Finding */

const CODES = 0, PRIOR = 1; // colours

const legend = () => h("div", { className: "chart-legend" }, [["codes", CODES], ["prior", PRIOR]].map(([name, k]) => h("span", {}, h("span", { className: "dot", style: { "--dot": classColour(Number(k)) } }), name)));

/** @param {Histogram} one @param {number} k */
function histogram(one, k) {
  const most = Math.max(...one.codes, ...one.prior, 1e-9), n = one.codes.length;
  /** @param {number[]} values */
  const points = (values) => values.flatMap((v, j) => [`${(100 * j) / n},${50 - (46 * v) / most}`, `${(100 * (j + 1)) / n},${50 - (46 * v) / most}`]);
  return h("figure", {}, s("svg", { viewBox: "0 0 100 50", class: "health-histogram", role: "img", "aria-label": `Histogram of z${k + 1}: codes and prior` },
    s("polygon", { points: ["0,50", ...points(one.codes), "100,50"].join(" "), fill: classColour(CODES), opacity: 0.55 }),
    s("polyline", { points: points(one.prior).join(" "), fill: "none", stroke: classColour(PRIOR), "stroke-width": 1.6 })), h("figcaption", {}, `z${k + 1}`));
}

/** @param {Drawing} d */
function points(d) {
  const codes = d.codes ?? [], prior = d.prior ?? [], all = [...codes, ...prior];
  const span = Math.max(...all.flat().map(Math.abs), 1e-6) * 1.05;
  /** @param {number[][]} places @param {number} k */
  const dots = (places, k) => places.map(([x, y]) => s("circle", { cx: (50 + (50 * x) / span).toFixed(2), cy: (50 - (50 * y) / span).toFixed(2), r: 0.8, fill: classColour(k), opacity: 0.6 }));
  return s("svg", { viewBox: "0 0 100 100", class: "health-plane", role: "img", "aria-label": "Codes and samples of the prior in z1 and z2" }, ...dots(prior, PRIOR), ...dots(codes, CODES));
}

/** @param {Drawing} d */
function bars(d) {
  const values = d.values ?? [], expected = d.expected ?? null, most = Math.max(...values, ...(expected ?? []), 1e-9);
  return h("ul", { className: "health-bars" }, values.map((v, k) => h("li", {}, h("span", { className: "name", title: d.names?.[k] }, d.names?.[k] ?? ""),
    h("span", { className: "health-bar" }, h("span", { style: { width: `${(100 * v) / most}%` } }), expected ? h("i", { style: { left: `${(100 * expected[k]) / most}%` }, title: `expected ${(100 * expected[k]).toFixed(1)} %` }) : null),
    h("span", { className: "number" }, `${(100 * v).toFixed(1)} %`))));
}

/** @param {HTMLElement} element */
export async function mount(element) {
  /** @type {{findings: Finding[], drawings: Record<string, Drawing>, n_rows: number}} */
  const { findings, drawings, n_rows } = await getJson("/api/health/findings");
  const shape = Object.values(drawings).some((d) => d.kind === "pictures") ? /** @type {number[]} */ ((await getJson("/api/map/space")).shape) : null;
  const pictures = shape ? await getBytes("/api/health/pictures") : null;

  /** @param {Drawing} d */
  const body = (d) => {
    if (d.kind === "histograms") return [legend(), h("div", { className: "health-histograms" }, (d.dimensions ?? []).map(histogram))];
    if (d.kind === "points") return [legend(), points(d)];
    if (d.kind === "bars") return [bars(d), d.expected ? h("p", { className: "muted small" }, "The mark is the expected share.") : null];
    if (!pictures || !shape) return [];
    const bytes = new Uint8Array(pictures.bytes), n = Number(pictures.headers.get("x-rows"));
    return [h("div", { className: "health-pairs" }, Array.from({ length: n }, (_, k) => h("div", {}, picture(bytes, shape, k, `row ${k + 1}`), d.what === "pairs" ? picture(bytes, shape, n + k, `reconstruction of row ${k + 1}`) : null)))];
  };
  /** @param {string} name */
  const drawing = (name) => {
    const d = drawings[name];
    if (!d) return null;
    return d.kind === "chart" ? chart(d.title, d.series ?? []) : h("section", { className: "card health-drawing", "aria-label": d.title }, h("h2", {}, d.title), ...body(d).filter((part) => part !== null));
  };

  const draw = () => {
    const drawn = new Set(findings.map((f) => f.drawing));
    const n = { problem: 0, warning: 0 };
    for (const f of findings) n[f.severity]++;
    const summary = findings.length ? [n.problem && `${n.problem} problem${n.problem > 1 ? "s" : ""}`, n.warning && `${n.warning} warning${n.warning > 1 ? "s" : ""}`].filter(Boolean).join(", ") : "Nothing looks wrong";
    const rest = Object.keys(drawings).filter((name) => !drawn.has(name) && !(name === "rows" && "reconstructions" in drawings));
    element.replaceChildren(
      h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Health"), h("p", { className: "muted" }, `Measured on ${n_rows.toLocaleString("en")} held-out rows, as aae doctor does.`)), h("span", { className: findings.length ? "badge" : "badge health-good" }, summary)),
      h("div", { className: "stack" },
        findings.length ? null : h("div", { className: "card" }, emptyState("Nothing looks wrong", "None of the checks found a problem. Below is what they looked at.", "health")),
        ...findings.map((f) => h("article", { className: `card health-finding ${f.severity}`, "aria-label": f.name },
          h("div", { className: "stack health-text" },
            h("div", { className: "row" }, icon("alert", 20), h("h2", {}, f.name[0].toUpperCase() + f.name.slice(1)), h("span", { className: "badge" }, f.severity)),
            h("p", {}, f.meaning),
            h("div", {}, h("h3", {}, "Measured"), h("p", { className: "small" }, f.evidence)),
            h("div", {}, h("h3", {}, "Try first"), h("p", { className: "small" }, h("code", {}, f.option)))),
          drawing(f.drawing))).flat(),
        rest.length ? h("h2", { className: "health-rest" }, findings.length ? "The rest of the evidence" : "The evidence") : null,
        h("div", { className: "training-panels" }, rest.map(drawing))));
  };
  draw();
  addEventListener("themechange", draw);
  return () => removeEventListener("themechange", draw);
}
