// Runs side by side: errors, curves, settings that differ, figures.

import { getJson } from "../lib/api.js";
import { chart } from "../lib/chart.js";
import { emptyState, field, h, select } from "../lib/dom.js";

/** @typedef {{name: string, system: string, data: string, complete: boolean, scores: Record<string, number>, figures: string[]}} RunLine */
/** @typedef {{own: string, runs: RunLine[], scores: {name: string, title: string, lower: boolean | null}[], settings: Record<string, Record<string, string>>, figures: string[]}} Comparison */
/** @typedef {import("../lib/chart.js").Series} Series */

const MAX_CHOSEN = 6;
const UNTOLD = new Set(["data_dir"]); // settings that say nothing of a training
const TITLES = /** @type {Record<string, string>} */ ({ sample_grid: "Samples", reconstruction_pairs: "Reconstructions", latent_scatter: "Codes", style_label_grid: "Styles and labels", style_grid: "Styles", modes_and_samples: "Modes of clusters", confusion_matrix: "Confusion matrix", confident_mistakes: "Confident mistakes", code_vs_prior: "Codes and prior", learning_curves: "Learning curves" });

/** @param {number} v */
const short = (v) => (Number.isInteger(v) ? v.toLocaleString("en") : String(+v.toPrecision(3)));

/** @param {HTMLElement} element */
export async function mount(element) {
  /** @type {Comparison} */
  const facts = await getJson("/api/compare/runs");
  element.append(h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Compare"), h("p", { className: "muted" }, "This run and those in the same folder. Choose up to six."))));
  if (facts.runs.length < 2) {
    element.append(h("div", { className: "card" }, emptyState("Nothing to compare with", "Runs in the same folder appear here, for instance runs/first and runs/second.", "compare")));
    return;
  }
  const first = facts.runs.filter((r) => r.complete || r.name === facts.own).slice(0, 3);
  const chosen = new Set(first.map((r) => r.name));
  /** @type {Map<string, Series[]>} */
  const curves = new Map();
  let figure = "", number = 0;
  const scores = h("section", { className: "card scroll-x", tabIndex: 0, role: "region", "aria-label": "Scores" });
  const settings = h("section", { className: "card scroll-x", tabIndex: 0, role: "region", "aria-label": "Settings that differ" });
  const figures = h("section", { className: "card", "aria-label": "Figures" });
  const panels = h("div", { className: "training-panels" });
  element.append(h("div", { className: "stack" }, scores, figures, panels, settings));
  const runs = () => facts.runs.filter((r) => chosen.has(r.name));

  const showScores = () => {
    const columns = facts.scores.filter((s) => facts.runs.some((r) => s.name in r.scores));
    const best = new Map(columns.map((c) => {
      const values = runs().map((r) => r.scores[c.name]).filter((v) => v !== undefined);
      return [c.name, c.lower === null || values.length < 2 ? NaN : c.lower ? Math.min(...values) : Math.max(...values)];
    }));
    scores.replaceChildren(h("h2", {}, "Runs"), h("table", { className: "compare-table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Run"), h("th", { scope: "col" }, "System"), h("th", { scope: "col" }, "Data"), columns.map((c) => h("th", { scope: "col", className: "number" }, c.title)))),
      h("tbody", {}, facts.runs.map((r) => h("tr", { className: chosen.has(r.name) ? "" : "muted" },
        h("th", { scope: "row" }, h("label", { className: "row" }, h("input", { type: "checkbox", checked: chosen.has(r.name), onchange: (/** @type {Event} */ event) => {
          const box = /** @type {HTMLInputElement} */ (event.target);
          if (box.checked && chosen.size >= MAX_CHOSEN) box.checked = false;
          else if (box.checked) chosen.add(r.name);
          else chosen.delete(r.name);
          show();
        } }), r.name, r.name === facts.own ? h("span", { className: "badge" }, "this run") : null)),
        h("td", {}, r.system), h("td", {}, r.data),
        columns.map((c) => h("td", { className: chosen.has(r.name) && r.scores[c.name] === best.get(c.name) ? "number compare-best" : "number" }, c.name in r.scores ? short(r.scores[c.name]) : r.complete ? "–" : "…")))))));
  };

  const showSettings = () => {
    const names = runs().map((r) => r.name);
    const keys = [...new Set(names.flatMap((n) => Object.keys(facts.settings[n])))].filter((k) => !UNTOLD.has(k) && new Set(names.map((n) => facts.settings[n][k] ?? "")).size > 1);
    settings.replaceChildren(h("h2", {}, "Settings that differ"), keys.length
      ? h("table", { className: "compare-table" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), names.map((n) => h("th", { scope: "col" }, n)))), h("tbody", {}, keys.map((k) => h("tr", {}, h("th", { scope: "row" }, k), names.map((n) => h("td", {}, facts.settings[n][k] ?? h("span", { className: "muted" }, "–")))))))
      : h("p", { className: "muted" }, "None."));
  };

  const showFigures = () => {
    const titles = facts.figures.filter((f) => runs().some((r) => r.figures.includes(f)));
    if (!titles.includes(figure)) figure = titles[0] ?? "";
    figures.hidden = !titles.length;
    figures.replaceChildren(
      h("div", { className: "spread" }, h("h2", {}, "Figures"), field("Show", select(titles.map((f) => ({ value: f, title: TITLES[f] ?? f })), figure, (v) => {
        figure = v;
        showFigures();
      }), true)),
      h("div", { className: "compare-figures" }, runs().map((r) => h("figure", {}, r.figures.includes(figure)
        ? h("img", { src: `/api/compare/figure?${new URLSearchParams({ name: r.name, figure })}`, alt: `${TITLES[figure] ?? figure} of ${r.name}`, loading: "lazy" })
        : h("div", { className: "compare-none muted small" }, "no such figure"), h("figcaption", {}, r.name)))));
  };

  const showCurves = async () => {
    const now = ++number;
    await Promise.all(runs().filter((r) => !curves.has(r.name)).map(async (r) => curves.set(r.name, await getJson("/api/compare/curves", { name: r.name }))));
    if (now !== number) return;
    const names = [...new Set(runs().flatMap((r) => (curves.get(r.name) ?? []).map((s) => s.name)))].filter((n) => n !== "learning_rate");
    const shared = names.map((name) => ({ name, series: runs().flatMap((r) => (curves.get(r.name) ?? []).filter((s) => s.name === name).map((s) => ({ ...s, name: r.name }))) }));
    panels.replaceChildren(...shared.sort((a, b) => b.series.length - a.series.length).map(({ name, series }) => chart(name, series)));
  };

  const show = () => {
    showScores();
    showSettings();
    showFigures();
    return showCurves();
  };
  await show();
  addEventListener("themechange", showCurves);
  return () => {
    number++;
    removeEventListener("themechange", showCurves);
  };
}
