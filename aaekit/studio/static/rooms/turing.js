// A visual Turing test: which of two pictures is real?

import { getBytes, getJson, postJson } from "../lib/api.js";
import { field, h } from "../lib/dom.js";
import { personInput, personName } from "../lib/person.js";
import { picture } from "../lib/pictures.js";

/** @typedef {{n: number, correct: number, share: number | null, low: number, high: number}} Score */
/** @typedef {{people: (Score & {name: string})[], all: Score}} Results */
/** @typedef {"a" | "b"} Side */

const MILLISECONDS = 650; // for which the answer is shown

/** @param {number} v */
const percent = (v) => `${Math.round(100 * v)} %`;

/**
 * A share with its interval, beside chance.
 * @param {string} name
 * @param {Score} score
 */
function scoreLine(name, score) {
  const verdict = score.n === 0 ? "" : score.low > 0.5 ? "tells them apart" : score.high < 0.5 ? "takes made ones for real" : "not told from chance";
  return h("li", {},
    h("div", { className: "spread" }, h("strong", {}, name), h("span", { className: "number" }, score.share === null ? "–" : percent(score.share))),
    h("div", { className: "turing-scale", role: "img", "aria-label": score.share === null ? "no answers" : `${percent(score.low)} to ${percent(score.high)}` },
      h("span", { className: "range", style: { left: `${100 * score.low}%`, width: `${100 * (score.high - score.low)}%` } }),
      h("span", { className: "chance" }), score.share === null ? null : h("span", { className: "mark", style: { left: `${100 * score.share}%` } })),
    h("div", { className: "spread small muted number" }, h("span", {}, `${score.correct} of ${score.n} right`), h("span", {}, score.n ? `${percent(score.low)} to ${percent(score.high)}` : ""), h("span", {}, verdict)));
}

/** @param {HTMLElement} element */
export async function mount(element) {
  let person = personName();
  const pair = h("div", { className: "turing-pair", role: "group", "aria-label": "Which picture is real?" });
  const said = h("p", { className: "turing-said", role: "status" }), count = h("span", { className: "number" });
  const results = h("ul", { className: "turing-results" });
  const nameInput = personInput((name) => {
    person = name;
    next();
  });
  element.append(
    h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Turing test"), h("p", { className: "muted" }, "One picture is from the data, the other one is made by the model. Which one is real?"))),
    h("div", { className: "turing-room" },
      h("section", { className: "card turing-stage", "aria-label": "Pair" }, pair, said, h("p", { className: "muted small" }, h("kbd", {}, "←"), " the left one is real · ", h("kbd", {}, "→"), " the right one is real", count)),
      h("div", { className: "stack" }, h("section", { className: "card stack" }, field("Your name", nameInput)), h("section", { className: "card", "aria-label": "Results" }, h("h2", {}, "Right answers"), results, h("p", { className: "muted small" }, "With exact 95 % intervals; the line is chance. Answers are saved in turing.csv.")))));

  let left = false, current = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {Results} now */
  const showResults = (now) => {
    const lines = now.people.map((p) => scoreLine(p.name === person ? `${p.name} (you)` : p.name, p));
    results.replaceChildren(...lines, ...(now.people.length === 1 ? [] : [scoreLine("All", now.all)]));
  };

  const next = async () => {
    clearTimeout(timer);
    const { bytes, headers } = await getBytes("/api/turing/pair", { person });
    if (left) return;
    current = headers.get("x-pair") ?? "";
    if (!current) {
      pair.replaceChildren(h("p", { className: "empty" }, "You have judged all pairs. Another person may enter a name."));
      said.textContent = count.textContent = "";
      return;
    }
    const all = new Uint8Array(bytes), shape = (headers.get("x-shape") ?? "").split(",").map(Number);
    pair.replaceChildren(.../** @type {Side[]} */ (["a", "b"]).map((side, k) => h("button", { type: "button", className: "turing-choice", onclick: () => choose(side), "aria-label": `The ${k ? "right" : "left"} picture is real` }, picture(all, shape, k, `${k ? "right" : "left"} picture`))));
    said.textContent = "";
    const nLeft = headers.get("x-left");
    count.textContent = nLeft ? ` · ${nLeft} to go` : "";
  };

  /** @param {Side} side */
  const choose = async (side) => {
    if (!current) return;
    const asked = current;
    current = "";
    const answer = await postJson("/api/turing/answer", { pair: asked, side });
    if (left) return;
    const [a, b] = pair.children;
    (answer.real === "a" ? a : b).classList.add("real");
    said.textContent = answer.right ? "Right." : "That one is made.";
    said.className = `turing-said ${answer.right ? "right" : "wrong"}`;
    showResults(answer);
    timer = setTimeout(next, MILLISECONDS);
  };

  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.target instanceof HTMLInputElement || (event.key !== "ArrowLeft" && event.key !== "ArrowRight")) return;
    event.preventDefault();
    choose(event.key === "ArrowLeft" ? "a" : "b");
  };
  document.addEventListener("keydown", pressed);
  showResults(await getJson("/api/turing/results"));
  await next();
  return () => {
    left = true;
    clearTimeout(timer);
    document.removeEventListener("keydown", pressed);
  };
}
