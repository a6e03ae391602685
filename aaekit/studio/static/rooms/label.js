// Labelling: clusters to name, questions of the model, random rows that measure it, labels that it doubts.

import { getBytes, getJson, postJson } from "../lib/api.js";
import { emptyState, field, h, icon, segments, toast } from "../lib/dom.js";
import { cellTable, factsOf, picturesOf } from "../lib/items.js";
import { personInput, personName } from "../lib/person.js";
import { picture } from "../lib/pictures.js";
import { duration } from "./training.js";

/** @typedef {import("../lib/items.js").Facts} Facts */
/** @typedef {{n: number, correct: number, share: number, low: number, high: number}} Accuracy */
/** @typedef {{running: boolean, seconds: number, problem: string, n_labels?: number}} LabelTraining */
/** @typedef {{n: number, n_labels: number, classes: {name: string, n: number}[], people: {name: string, n: number}[], clusters: {n: number, named: number, done: number}, model: string, is_trained: boolean, n_taught: number, accuracy: Accuracy | null, training: LabelTraining, file: string}} LabelState */
/** @typedef {{cluster: number, share: number, rows: number[], name: string, n_labels: number}} Cluster */
/** @typedef {Facts & {person: string, doubt: number, suggestion: string, people: Record<string, string>}} Suspect */
/** @typedef {"clusters" | "question" | "check" | "suspects"} Way */

const AHEAD = 5; // questions that are fetched before they are needed
const ENOUGH = 4000; // rows whose clusters are computed before sheets are shown
const HINTS = {
  clusters: "Name what the rows of a cluster are. Click rows that do not belong, they get no label.",
  question: "Rows that help the model most. One key labels a row.",
  check: "Random rows measure how often the model is right; it is hidden what it says.",
  suspects: "Labels that the model or another person doubts. Keep or change them.",
};

/** The key of each class: its own character, its first letter if that is free, else a digit.
 * @param {string[]} names */
export function keysOf(names) {
  /** @type {Map<string, string>} */
  const keys = new Map();
  const taken = new Set("uzn");
  const rest = [];
  for (const name of names) {
    const first = name[0].toLowerCase();
    if (name.length === 1 && !taken.has(first)) {
      taken.add(first);
      keys.set(name, first);
    } else rest.push(name);
  }
  for (const name of rest) {
    const key = [...name.toLowerCase(), ..."1234567890abcdefghijklmopqrstvwxy"].find((c) => /[a-z0-9]/.test(c) && !taken.has(c));
    if (!key) continue;
    taken.add(key);
    keys.set(name, key);
  }
  return keys;
}

/** @param {HTMLElement} element */
export async function mount(element) {
  const space = await getJson("/api/map/space");
  /** @type {number[] | null} */
  const shape = space.kind === "image" ? space.shape : null;
  let person = personName();
  /** @type {LabelState} */
  let state = await getJson("/api/label/state");
  /** @type {Way} */
  let way = state.is_trained ? "question" : "clusters";
  let left = false, visit = 0;
  /** @type {(event: KeyboardEvent) => boolean} */
  let onKey = () => false;

  const stage = h("section", { className: "label-stage", "aria-label": "Rows to label" });
  const side = h("div", { className: "stack label-side" });
  const hint = h("p", { className: "muted" }, HINTS[way]);
  const names = h("datalist", { id: "label-names" });
  const nameInput = personInput((name) => {
    person = name;
    enter(way);
  });
  /** @type {{value: Way, title: string}[]} */
  const ways = [{ value: "clusters", title: "Clusters" }, { value: "question", title: "Questions" }, { value: "check", title: "Check" }, { value: "suspects", title: "Doubtful labels" }];
  const tabs = segments("What to label", ways, way, (value) => enter(value));
  element.append(
    h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Label"), hint), h("div", { className: "row" }, tabs)),
    h("div", { className: "label-room" }, stage, side), names);

  // --- the side: what there is --------------------------------------------------------------------------------------
  const labels = h("section", { className: "card stack", "aria-label": "Labels" });
  const model = h("section", { className: "card stack", "aria-label": "Model" });
  const people = h("section", { className: "card stack", "aria-label": "People" });
  const others = h("div", {});
  people.append(field("Your name", nameInput), others);
  side.append(labels, model, people);

  /** @param {LabelState} now */
  const showState = (now) => {
    state = now;
    const most = Math.max(1, ...now.classes.map((c) => c.n));
    labels.replaceChildren(
      h("div", { className: "spread" }, h("h2", {}, `${now.n_labels.toLocaleString("en")} labels`), h("button", { className: "button", type: "button", onclick: undo, disabled: !now.n_labels }, "Undo ", h("kbd", {}, "U"))),
      now.classes.length
        ? h("ul", { className: "label-counts" }, now.classes.map((c) => h("li", {}, h("span", { className: "name", title: c.name }, c.name), h("span", { className: "bar" }, h("span", { style: { width: `${(100 * c.n) / most}%` } })), h("span", { className: "number" }, c.n))))
        : h("p", { className: "muted small" }, "None yet."),
      h("p", { className: "muted small" }, "In ", h("code", {}, now.file), " as soon as you answer."));
    const a = now.accuracy;
    const t = now.training;
    const percent = (/** @type {number} */ v) => `${(100 * v).toFixed(v > 0.995 && v < 1 ? 1 : 0)} %`;
    model.replaceChildren(...[
      h("div", { className: "spread" }, h("h2", {}, "Accuracy"), h("span", { className: "label-accuracy number" }, a ? percent(a.share) : "–")),
      a ? interval(a) : h("p", { className: "muted small" }, "Answer random rows under Check to measure it."),
      a ? h("p", { className: "muted small number" }, `${percent(a.low)} to ${percent(a.high)} with 95 % confidence, ${a.correct} of ${a.n} random rows.`) : null,
      t.problem && !t.running ? h("p", { className: "notice bad" }, t.problem) : null,
      t.running
        ? h("div", { className: "row", role: "status" }, h("div", { className: "spinner label-spinner" }), h("span", { className: "small" }, `Training${t.n_labels ? ` on ${t.n_labels} labels` : ""}, ${duration(t.seconds)}. Go on labelling.`))
        : h("button", { className: "button main", type: "button", disabled: now.classes.length < 2, onclick: train }, icon("play", 16), now.is_trained ? "Train again" : "Train a classifier"),
      h("p", { className: "muted small" }, now.is_trained ? `The present classifier knows ${now.n_taught} labels.` : `No classifier yet: names of clusters are the predictions. ${now.clusters.named} of ${now.clusters.n} clusters have labels.`),
    ].filter((part) => part !== null));
    others.replaceChildren(h("ul", { className: "label-people" }, now.people.map((p) => h("li", {}, h("span", {}, p.name === person ? `${p.name} (you)` : p.name), h("span", { className: "muted number" }, `${p.n} labels`)))));
    names.replaceChildren(...now.classes.map((c) => h("option", { value: c.name })));
  };

  /** @param {Accuracy} a */
  const interval = (a) => h("div", { className: "label-interval", role: "img", "aria-label": `${Math.round(100 * a.low)} to ${Math.round(100 * a.high)} percent` },
    h("span", { className: "range", style: { left: `${100 * a.low}%`, width: `${100 * (a.high - a.low)}%` } }), h("span", { className: "mark", style: { left: `${100 * a.share}%` } }));

  /** @param {"cluster" | "question" | "check" | "suspect" | "skip"} how @param {Record<string, string>} answers */
  const send = async (how, answers) => {
    const answer = await postJson("/api/label/answers", { person, how, labels: answers });
    if (!left) showState(answer);
    return /** @type {string[]} */ (answer.predictions);
  };

  async function undo() {
    const answer = await postJson("/api/label/undo", { person });
    showState(answer);
    toast(answer.rows.length === 1 ? "Your last answer is undone." : `Your last ${answer.rows.length} labels are undone.`);
    enter(way, answer.rows);
  }

  async function train() {
    showState(await postJson("/api/label/train", {}));
  }

  // --- clusters -----------------------------------------------------------------------------------------------------
  const clusters = async () => {
    const now = ++visit;
    while (state.clusters.done < 1 && state.clusters.done * state.n < ENOUGH) {
      stage.replaceChildren(h("div", { className: "card" }, emptyState("Clusters are being computed", `${Math.round(100 * state.clusters.done)} % of the rows`, "wait")));
      await new Promise((done) => setTimeout(done, 300));
      if (now !== visit) return;
      showState(await getJson("/api/label/state"));
    }
    /** @type {Cluster[]} */
    const all = await getJson("/api/label/clusters");
    const { bytes } = await getBytes("/api/label/modes");
    const modes = shape && bytes.byteLength ? new Uint8Array(bytes) : null;
    if (now !== visit) return;
    let current = Math.max(0, all.findIndex((c) => !c.name));
    const rail = h("div", { className: "label-rail", role: "group", "aria-label": "Clusters" });
    const sheet = h("div", { className: "card label-sheet" });
    const drawRail = () => {
      rail.replaceChildren(...all.map((c, k) => h("button", { type: "button", "aria-pressed": String(k === current), title: `cluster ${c.cluster}`, onclick: () => go(k) },
        modes && shape ? picture(modes, shape, c.cluster, `mode of cluster ${c.cluster}`) : h("span", { className: "muted number" }, `#${c.cluster}`),
        h("span", { className: c.name ? "name" : "name muted" }, c.name || "?"))));
      rail.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    };
    /** @param {number} k */
    const go = async (k) => {
      const now = ++visit;
      current = (k + all.length) % all.length;
      drawRail();
      const one = all[current];
      const [pictures, facts] = await Promise.all([shape ? picturesOf(one.rows) : null, shape ? null : factsOf(one.rows)]);
      if (now !== visit) return;
      const struck = new Set();
      const tiles = one.rows.map((row, j) => {
        const tile = h("button", { className: shape ? "tile" : "label-line", type: "button", "aria-pressed": "true", title: "Click if it does not belong", onclick: () => {
          if (!struck.delete(row)) struck.add(row);
          tile.setAttribute("aria-pressed", String(!struck.has(row)));
          tile.classList.toggle("struck", struck.has(row));
          input.focus();
        } }, shape && pictures ? picture(pictures, shape, j, `row ${row}`) : facts?.[j].cells?.slice(0, 6).map(([name, value]) => `${name} ${value}`).join(" · ") ?? `row ${row}`);
        return tile;
      });
      const input = h("input", { type: "text", value: one.name, maxLength: 80, autocomplete: "off", placeholder: "name", "aria-label": `Name of cluster ${one.cluster}` });
      input.setAttribute("list", "label-names");
      const name = async () => {
        const text = input.value.trim();
        if (!text) return go(current + 1);
        const rows = one.rows.filter((row) => !struck.has(row));
        one.name = text;
        go(current + 1);
        if (rows.length) await send("cluster", Object.fromEntries(rows.map((row) => [row, text])));
      };
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") name();
        else if (event.key === "ArrowDown" || event.key === "ArrowUp") go(current + (event.key === "ArrowDown" ? 1 : -1));
        else return;
        event.preventDefault();
      });
      sheet.replaceChildren(
        h("div", { className: "label-head" },
          modes && shape ? h("figure", {}, picture(modes, shape, one.cluster, `mode of cluster ${one.cluster}`), h("figcaption", {}, "mode")) : null,
          h("div", { className: "label-naming" },
            h("h2", {}, `Cluster ${one.cluster}`, h("span", { className: "muted" }, `  ${(100 * one.share).toFixed(1)} % of the rows`)),
            h("div", { className: "row" }, input, h("button", { className: "button main", type: "button", onclick: name }, "Name it ", h("kbd", {}, "Enter"))),
            h("p", { className: "muted small" }, h("kbd", {}, "Enter"), " without a name: leave it out · ", h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " another cluster"))),
        h("div", { className: shape ? "tiles label-tiles" : "stack label-lines" }, tiles));
      input.focus();
      input.select();
    };
    stage.replaceChildren(rail, sheet);
    await go(current);
  };

  // --- questions and checks -----------------------------------------------------------------------------------------
  /** @param {"question" | "check"} how @param {number[]} [first] rows to begin with */
  const questions = async (how, first = []) => {
    const now = visit;
    /** @type {{facts: Facts, picture: HTMLElement | null}[]} */
    let queue = [];
    let fetching = false, ended = false, model_ = state.model;
    const card = h("div", { className: "card label-question" });
    const strip = h("div", { className: "label-strip", "aria-label": "Your last answers" });
    stage.replaceChildren(card, strip);
    /** @param {Facts[]} facts */
    const add = async (facts) => {
      const pictures = shape && facts.length ? await picturesOf(facts.map((f) => f.item)) : null;
      queue.push(...facts.map((f, k) => ({ facts: f, picture: shape && pictures ? picture(pictures, shape, k, `row ${f.item}`) : null })));
    };
    const more = async () => {
      if (fetching) return;
      fetching = true;
      try {
        /** @type {Facts[]} */
        const facts = await getJson("/api/label/questions", { person, how, n: 12 });
        const have = new Set([...queue.map((q) => q.facts.item), ...sent]);
        const fresh = facts.filter((f) => !have.has(f.item));
        if (now !== visit) return;
        if (state.model !== model_) queue = queue.slice(0, 1); // the new model asks for others
        model_ = state.model;
        await add(fresh);
        ended = !fresh.length;
      } finally {
        fetching = false;
      }
      if (now === visit && queue.length && !card.dataset.item) show();
      else if (now === visit && !queue.length) card.replaceChildren(emptyState(how === "check" ? "No rows left" : "No questions yet", "The model still looks at the rows, or all have labels.", "wait", h("button", { className: "button", type: "button", onclick: () => enter(way) }, "Look again")));
    };
    /** @type {Set<number>} */
    const sent = new Set();
    /** @param {string} label */
    const answer = async (label) => {
      const one = queue.shift();
      if (!one) return;
      const row = one.facts.item;
      sent.add(row);
      show();
      if (queue.length < AHEAD && !ended) more();
      const said = (await send(label ? how : "skip", { [row]: label }))[0];
      const chip = h("figure", { className: how === "check" && label && said ? (said === label ? "right" : "wrong") : "" }, one.picture?.cloneNode() ?? h("span", { className: "muted number" }, `#${row}`), h("figcaption", {}, label || "skipped", how === "check" && label && said && said !== label ? h("span", { className: "muted" }, ` not ${said}`) : null));
      const copy = chip.querySelector("canvas");
      if (copy && one.picture instanceof HTMLCanvasElement) copy.getContext("2d")?.drawImage(one.picture, 0, 0);
      strip.prepend(chip);
      while (strip.children.length > 14) strip.lastElementChild?.remove();
    };
    const input = h("input", { type: "text", maxLength: 80, autocomplete: "off", placeholder: "another label", "aria-label": "Another label" });
    input.setAttribute("list", "label-names");
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") input.blur();
      if (event.key !== "Enter" || !input.value.trim()) return;
      const text = input.value.trim();
      input.value = "";
      input.blur();
      answer(text);
    });
    const show = () => {
      const one = queue[0];
      if (!one) {
        delete card.dataset.item;
        card.replaceChildren(emptyState("More rows are being chosen", "", "wait"));
        return;
      }
      card.dataset.item = String(one.facts.item);
      const keys = keysOf(state.classes.map((c) => c.name));
      card.replaceChildren(
        h("div", { className: one.picture ? "label-row" : "label-row of-table" }, one.picture ?? cellTable(one.facts.cells ?? [])),
        h("p", { className: "muted small number" }, one.facts.file ? `row ${one.facts.item}, ${one.facts.file}` : `row ${one.facts.item}`,
          how === "question" && one.facts.prediction !== undefined && state.is_trained ? ` · the model hesitates: ${one.facts.prediction}, ${Math.round(100 * (one.facts.probability ?? 0))} %` : ""),
        h("div", { className: "label-keys", role: "group", "aria-label": "Labels" },
          [...state.classes].map((c) => h("button", { className: "button", type: "button", onclick: () => answer(c.name) }, keys.has(c.name) ? h("kbd", {}, keys.get(c.name) ?? "") : null, keys.get(c.name) === c.name ? null : c.name)),
          h("button", { className: "button", type: "button", onclick: () => answer("") }, h("kbd", {}, "Space"), "skip")),
        h("div", { className: "row" }, input, h("span", { className: "muted small" }, h("kbd", {}, "N"), " new label · ", h("kbd", {}, "U"), " undo")));
    };
    onKey = (event) => {
      const key = event.key.toLowerCase();
      const chosen = [...keysOf(state.classes.map((c) => c.name))].find(([, k]) => k === key);
      if (key === " " && event.target instanceof Node && stage.contains(event.target) && event.target !== stage) return false;
      if (key === " ") answer("");
      else if (key === "n") input.focus();
      else if (chosen) answer(chosen[0]);
      else return false;
      return true;
    };
    if (first.length) await add(await factsOf(first));
    if (queue.length) show();
    await more();
  };

  // --- labels in doubt ----------------------------------------------------------------------------------------------
  const suspects = async () => {
    const now = visit;
    if (!state.is_trained) return stage.replaceChildren(h("div", { className: "card" }, emptyState("No classifier yet", "Labels can be doubted once a classifier is trained.", "label")));
    /** @type {Suspect[]} */
    const all = await getJson("/api/label/suspects");
    if (now !== visit) return;
    if (!all.length) return stage.replaceChildren(h("div", { className: "card" }, emptyState("No label is in doubt", "The classifier predicts every label that people gave, and people agree.", "label")));
    const pictures = shape ? await picturesOf(all.map((s) => s.item)) : null;
    const cards = all.map((one, k) => {
      const agreed = Object.entries(one.people).map(([name, label]) => `${name}: ${label}`);
      const input = h("input", { type: "text", maxLength: 80, autocomplete: "off", placeholder: "other", "aria-label": `Another label of row ${one.item}` });
      input.setAttribute("list", "label-names");
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && input.value.trim()) decide(card, one, input.value.trim());
      });
      const card = h("article", { className: "card label-suspect", tabIndex: 0, "aria-label": `Row ${one.item}, labelled ${one.label}` },
        shape && pictures ? picture(pictures, shape, k, `row ${one.item}`) : cellTable((one.cells ?? []).slice(0, 6)),
        h("p", {}, h("strong", {}, one.label ?? ""), h("span", { className: "muted small" }, one.person ? ` by ${one.person}` : "")),
        h("p", { className: "muted small" }, "The model: ", h("strong", {}, one.suggestion), ` ${Math.round(100 * (one.probability ?? 0))} %`),
        agreed.length > 1 ? h("p", { className: "small" }, agreed.join(", ")) : null,
        h("div", { className: "row" },
          h("button", { className: "button", type: "button", onclick: () => decide(card, one, one.label ?? "") }, h("kbd", {}, "K"), `keep ${one.label}`),
          one.suggestion !== one.label ? h("button", { className: "button", type: "button", onclick: () => decide(card, one, one.suggestion) }, h("kbd", {}, "C"), `change to ${one.suggestion}`) : null, input));
      card.addEventListener("keydown", (event) => {
        if (event.target !== card) return;
        if (event.key === "k") decide(card, one, one.label ?? "");
        else if (event.key === "c") decide(card, one, one.suggestion);
      });
      return card;
    });
    /** @param {HTMLElement} card @param {Suspect} one @param {string} label */
    const decide = async (card, one, label) => {
      const next = /** @type {HTMLElement | null} */ (card.nextElementSibling ?? card.previousElementSibling);
      card.remove();
      next?.focus();
      await send("suspect", { [one.item]: label });
      if (!next) enter(way);
    };
    stage.replaceChildren(h("div", { className: "cards label-suspects" }, cards));
    cards[0].focus();
  };

  // --- between them -------------------------------------------------------------------------------------------------
  /** @param {Way} value @param {number[]} [rows] */
  async function enter(value, rows = []) {
    way = value;
    visit++;
    onKey = () => false;
    hint.textContent = HINTS[way];
    [...tabs.children].forEach((button, k) => button.setAttribute("aria-pressed", String(ways[k].value === way)));
    if (way === "clusters") await clusters();
    else if (way === "suspects") await suspects();
    else await questions(way, rows);
  }

  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const handled = onKey(event);
    if (handled) event.preventDefault();
    else if (event.key.toLowerCase() === "u") undo();
  };
  document.addEventListener("keydown", pressed);
  let trained = state.model;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const now = await getJson("/api/label/state").catch(() => null);
    if (!now || left) return;
    showState(now);
    if (now.model === trained) return;
    trained = now.model;
    toast(`The new classifier is ready: it knows ${now.n_taught} labels.`);
    if (way === "suspects") enter(way);
  }, 2000);
  showState(state);
  element.addEventListener("shown", () => enter(way), { once: true });
  return () => {
    left = true;
    visit++;
    clearInterval(timer);
    document.removeEventListener("keydown", pressed);
  };
}
