// The live training: how far it is, its curves, what it makes; pause, stop and resume.

import { getBytes, getJson, post } from "../lib/api.js";
import { chart } from "../lib/chart.js";
import { emptyState, h, icon } from "../lib/dom.js";
import { drawPicture } from "../lib/pictures.js";

const SECONDS = 1; // between two looks
const ORDER = ["Reconstruction", "Discriminator outputs", "Error", "Adversarial losses", "Losses of labelled rows", "Losses of unlabelled rows"];

/** @typedef {{state: string, step: number, steps: number, seconds: number, left: number | null, what: string, problem: string}} State */

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const TITLES = /** @type {Record<string, string>} */ ({
  waiting: "Waiting for the training to begin",
  preparing: "Preparing the training",
  training: "Training",
  paused: "Paused",
  stopped: "Stopped",
  complete: "Complete",
});

/** @param {HTMLElement} element @param {import("../app.js").Studio} studio */
export async function mount(element, studio) {
  const status = h("section", { className: "card training-status", "aria-label": "State of the training" });
  const grid = h("canvas", { className: "picture", role: "img", "aria-label": "Pictures that the model makes" });
  const caption = h("p", { className: "muted small" });
  const made = h("section", { className: "card training-made", "aria-label": "Samples", hidden: true }, h("h2", {}, "What the model makes"), grid, caption);
  const panels = h("div", { className: "training-panels" });
  element.append(
    h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Training"), h("p", { className: "muted" }, "Training has converged when both outputs of the discriminator stay near 0.5 and the reconstruction no longer falls."))),
    h("div", { className: "training-room" }, h("div", { className: "stack" }, status, made), panels));

  let version = "", drawn = -1, left = false, last = "";
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;

  /** @param {string} request */
  const ask = async (request) => {
    await post(`/api/training/${request}`, "");
    clearTimeout(timer);
    await new Promise((done) => setTimeout(done, 350));
    look();
  };

  /** @param {State} state */
  const showStatus = (state) => {
    const share = state.steps ? Math.min(1, state.step / state.steps) : 0;
    /** @param {string} name @param {string} title @param {string} request @param {string} [kind] */
    const button = (name, title, request, kind = "") => h("button", { className: `button ${kind}`, type: "button", onclick: () => ask(request) }, icon(name, 16), title);
    const buttons = {
      training: [button("pause", "Pause", "pause"), button("stop", "Stop", "stop", "bad")],
      paused: [button("play", "Go on", "go", "main"), button("stop", "Stop", "stop", "bad")],
      stopped: [button("play", "Resume", "resume", "main")],
    }[state.state] ?? [];
    const facts = state.state === "preparing" ? [state.what || "before the first step"] : state.state === "waiting" ? ["the directory of the run is not there yet"] : [`step ${state.step.toLocaleString("en")}${state.steps ? ` of ${state.steps.toLocaleString("en")}` : ""}`, `${duration(state.seconds)} so far`];
    if (state.state === "training" && state.left !== null) facts.push(`${duration(state.left)} left`);
    const focused = status.contains(document.activeElement) ? document.activeElement?.textContent : null;
    status.replaceChildren(
      h("div", { className: "spread" }, h("h2", { role: "status" }, h("span", { className: `lamp ${state.state}` }), TITLES[state.state] ?? state.state), h("span", { className: "number muted" }, state.steps ? `${Math.floor(100 * share)} %` : "")),
      h("div", { className: "bar", role: "progressbar", "aria-label": "Steps", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.floor(100 * share) }, h("span", { style: { width: `${100 * share}%` } })),
      h("p", { className: "small muted number" }, facts.join(" · ")),
      ...(state.problem ? [h("p", { className: "notice bad" }, state.problem)] : []),
      ...(buttons.length ? [h("div", { className: "row" }, buttons)] : []));
    if (focused) [...status.querySelectorAll("button")].find((b) => b.textContent === focused)?.focus();
  };

  const showCurves = async () => {
    const answer = await getJson("/api/training/curves", { version });
    if (!answer.series || left) return;
    version = answer.version;
    /** @type {Map<string, import("../lib/chart.js").Series[]>} */
    const groups = new Map();
    for (const one of answer.series) groups.set(one.panel, [...(groups.get(one.panel) ?? []), one]);
    const rank = (/** @type {string} */ name) => (ORDER.indexOf(name) + 1 || 50);
    const names = [...groups.keys()].sort((a, b) => rank(a) - rank(b));
    if (!names.length) panels.replaceChildren(emptyState("No curves yet", "They appear with the first steps.", "training"));
    else panels.replaceChildren(...names.map((name) => chart(name, /** @type {import("../lib/chart.js").Series[]} */ (groups.get(name)))));
  };

  const showSamples = async () => {
    const { bytes, headers } = await getBytes("/api/training/samples", { step: drawn });
    if (!bytes.byteLength || left) return;
    drawn = Number(headers.get("x-step"));
    const [c, height, width] = (headers.get("x-shape") ?? "1,1,1").split(",").map(Number);
    const n = bytes.byteLength / (c * height * width), side = Math.ceil(Math.sqrt(n)), gap = 1;
    grid.width = side * (width + gap) - gap;
    grid.height = Math.ceil(n / side) * (height + gap) - gap;
    const one = document.createElement("canvas");
    const context = /** @type {CanvasRenderingContext2D} */ (grid.getContext("2d"));
    for (let k = 0; k < n; k++) {
      drawPicture(one, new Uint8Array(bytes), [c, height, width], k * c * height * width);
      context.drawImage(one, (k % side) * (width + gap), Math.floor(k / side) * (height + gap));
    }
    caption.textContent = `At step ${drawn.toLocaleString("en")}.`;
    made.hidden = false;
  };

  const look = async () => {
    let wait = SECONDS;
    try {
      /** @type {State} */
      const state = await getJson("/api/training/state");
      if (left) return;
      showStatus(state);
      await Promise.all([showCurves(), showSamples()]);
      if (state.state !== last && last) await studio.refresh();
      last = state.state;
      if (state.state === "complete" || state.state === "stopped") wait = 4;
    } catch (error) {
      if (left) return;
      status.replaceChildren(emptyState("No news of the training", error instanceof Error ? error.message : "", "alert"));
      wait = 4;
    }
    clearTimeout(timer);
    timer = setTimeout(look, 1000 * wait);
  };
  await look();
  addEventListener("themechange", redraw);
  function redraw() {
    version = "";
    showCurves();
  }
  return () => {
    left = true;
    clearTimeout(timer);
    removeEventListener("themechange", redraw);
  };
}
