// Style and content: one style under every label, and what moves it. The style is that of an item, or of a drawing.

import { getJson, post } from "../lib/api.js";
import { decode, linesOf } from "../lib/decoder.js";
import { field, h, icon, select, slider, toast } from "../lib/dom.js";
import { cellTable, codeOf, factLines, factsOf, neighboursOf, picturesOf, sentence, tiles } from "../lib/items.js";
import { bytesOf } from "../lib/network.js";
import { picture } from "../lib/pictures.js";

/**
 * @typedef {{n: number, decoded: string, shape: number[] | null, values: string[], classes: string[], origin: number[], axes: number[][],
 *   deviations: number[], nDims: number, draws: boolean, ink: {light: boolean, x: number, y: number, size: number} | null}} StyleFacts
 * @typedef {{z: number[], value: number}} Code
 */

const N_COLUMNS = 9, PAD = 280;

/** @param {HTMLElement} element */
export async function mount(element) {
  /** @type {StyleFacts} */
  const facts = await getJson("/api/style/facts");
  const names = facts.values.length ? facts.values : ["decoded"];
  /** @type {Code} */
  let code = { z: [...facts.origin], value: 0 };
  let direction = 0, reach = 2.5;
  const source = h("section", { className: "card", "aria-label": "The item" });
  const variants = h("section", { className: "card", "aria-label": "Its style under every label", hidden: !facts.values.length });
  const grid = h("div", { className: "scroll-x", tabIndex: 0, role: "region", "aria-label": "Grid of labels and styles" });
  const near = h("section", { className: "card", "aria-label": "Nearest items" });

  /** Codes of all labels along one direction: (labels × columns, 1 + d). */
  const gridCodes = () => {
    const axis = facts.axes[direction] ?? [], width = 1 + facts.nDims;
    const codes = new Float32Array(names.length * N_COLUMNS * width);
    for (let y = 0, i = 0; y < names.length; y++)
      for (let x = 0; x < N_COLUMNS; x++, i += width) {
        const t = reach * facts.deviations[direction] * ((2 * x) / (N_COLUMNS - 1) - 1);
        codes[i] = y;
        for (let j = 0; j < facts.nDims; j++) codes[i + 1 + j] = code.z[j] + t * (axis[j] ?? 0);
      }
    return codes;
  };

  const showGrid = async () => {
    const bytes = await decode(gridCodes());
    if (facts.decoded === "image" && facts.shape) {
      const shape = facts.shape;
      grid.replaceChildren(h("table", { className: "style-grid" }, h("tbody", {}, names.map((name, y) =>
        h("tr", {}, facts.values.length ? h("th", { scope: "row" }, name) : null, Array.from({ length: N_COLUMNS }, (_, x) => h("td", {}, picture(bytes, shape, y * N_COLUMNS + x, `${name}, ${x + 1} of ${N_COLUMNS}`))))))));
    } else {
      const [header, ...lines] = linesOf(bytes);
      const moved = header.map((_, c) => new Set(lines.map((l) => l[c])).size > 1);
      grid.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, facts.values.length ? h("th", { scope: "col" }, "label") : null, header.map((n, c) => h("th", { scope: "col" }, n, moved[c] ? "" : " (same)")))),
        h("tbody", {}, lines.map((line, k) => h("tr", {}, facts.values.length ? h("th", { scope: "row" }, k % N_COLUMNS ? "" : names[Math.floor(k / N_COLUMNS)]) : null, line.map((cell) => h("td", {}, cell)))))));
    }
  };

  const showVariants = async () => {
    if (!facts.values.length) return;
    const width = 1 + facts.nDims, codes = new Float32Array(names.length * width);
    names.forEach((_, y) => codes.set([y, ...code.z], y * width));
    const bytes = await decode(codes);
    if (facts.decoded === "image" && facts.shape) {
      const shape = facts.shape;
      variants.replaceChildren(h("h2", {}, "The same style under every label"), h("div", { className: "style-variants" }, names.map((name, y) =>
        h("figure", { className: y === code.value ? "own" : "" }, picture(bytes, shape, y, `as ${name}`), h("figcaption", {}, name)))));
    } else {
      const [header, ...lines] = linesOf(bytes);
      variants.replaceChildren(h("h2", {}, "The same style under every label"), h("div", { className: "scroll-x", tabIndex: 0, role: "region", "aria-label": "Rows" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "label"), header.map((n) => h("th", { scope: "col" }, n)))),
        h("tbody", {}, lines.map((line, y) => h("tr", {}, h("th", { scope: "row" }, names[y]), line.map((cell) => h("td", {}, cell))))))));
    }
  };

  const showNear = async () => {
    const items = await neighboursOf(Float32Array.of(code.value, ...code.z), 16);
    near.replaceChildren(h("h2", {}, "Items of the nearest codes"), await tiles(items, facts.shape, choose, 48));
  };

  const showAll = async () => {
    await Promise.all([showVariants(), showGrid(), showNear()]);
  };

  /** The style of an item. @param {number} item */
  const choose = async (item) => {
    const [own, one, bytes] = await Promise.all([codeOf(item), factsOf([item]).then((f) => f[0]), facts.decoded === "image" && facts.shape ? picturesOf([item]) : null]);
    code = { z: own.z, value: Math.max(0, own.value) };
    number.value = String(item);
    const made = await decode(Float32Array.of(code.value, ...code.z));
    const shape = facts.shape;
    const pair = bytes && shape
      ? [h("figure", {}, picture(bytes, shape, 0, sentence(one)), h("figcaption", {}, "item")), h("figure", {}, picture(made, shape, 0, "its reconstruction"), h("figcaption", {}, "reconstruction"))]
      : [h("div", {}, h("h3", {}, "Its reconstruction"), cellTable(pairs(made)))];
    itemBox.replaceChildren(h("div", { className: "style-pair" }, ...pair), h("div", { className: "small" }, factLines(one, 12)));
    await showAll();
  };

  /** @param {Uint8Array} made */
  const pairs = (made) => {
    const [header, line] = linesOf(made);
    return header.map((n, k) => [n, line[k]]);
  };

  const number = h("input", { type: "number", min: "0", max: String(facts.n - 1), value: "0", "aria-label": "Number of an item", style: { width: "100px" } });
  const itemBox = h("div", { className: "stack", style: { gap: "10px" } });
  source.append(h("h2", {}, "An item"), h("form", { className: "row", style: { "margin-bottom": "12px" }, onsubmit: (/** @type {Event} */ e) => {
    e.preventDefault();
    choose(Number(number.value));
  } }, number, h("button", { className: "button", type: "submit" }, "Show"), h("button", { className: "button", type: "button", onclick: () => choose(Math.floor(Math.random() * facts.n)) }, icon("dice", 16), "Any")), itemBox);

  const directions = facts.axes.filter((axis) => axis.some((v) => v)).map((_, k) => ({ value: String(k), title: facts.nDims <= 2 ? `z${k + 1}` : `direction ${k + 1}` }));
  const gridCard = h("section", { className: "card", "aria-label": "Labels and styles" },
    h("div", { className: "spread", style: { "margin-bottom": "10px", "flex-wrap": "wrap" } }, h("h2", {}, facts.values.length ? "Labels by styles" : "Along the code"),
      h("div", { className: "row" }, field("Along", select(directions, "0", (k) => {
        direction = Number(k);
        showGrid();
      }), true), h("div", { style: { width: "230px" } }, slider("Reach", { min: 0.5, max: 5, step: 0.5, value: reach }, (v) => {
        reach = v;
        showGrid();
      }).element))), grid);
  const left = h("div", { className: "stack" }, facts.draws ? drawingCard(facts, async (own, seen) => {
    code = { z: own.z, value: Math.max(0, own.value) };
    const shape = /** @type {number[]} */ (facts.shape);
    const made = await decode(Float32Array.of(code.value, ...code.z));
    itemBox.replaceChildren(h("p", { className: "muted small" }, "The style is that of your picture."));
    await showAll();
    return [h("figure", {}, picture(seen, shape, 0, "what the model sees"), h("figcaption", {}, "seen")), h("figure", {}, picture(made, shape, 0, "its reconstruction"), h("figcaption", {}, "reconstruction"))];
  }) : null, source, near);
  element.append(
    h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Style and content"), h("p", { className: "muted" }, facts.values.length ? "The label says what it is, z how it looks. Take the style of an item, or of your own picture, and see it under every label." : "What the code of an item says, and what changes along it."))),
    h("div", { className: "style-room" }, left, h("div", { className: "stack" }, variants, gridCard)));
  await choose(0);
}

/**
 * A pad to draw on, and a button to upload a picture.
 * @param {StyleFacts} facts
 * @param {(code: Code, seen: Uint8Array) => Promise<HTMLElement[]>} use
 */
function drawingCard(facts, use) {
  const ink = /** @type {{light: boolean, x: number, y: number, size: number}} */ (facts.ink);
  const [, height, width] = /** @type {number[]} */ (facts.shape);
  const pad = h("canvas", { className: "style-pad", width: PAD, height: Math.round((PAD * height) / width), "aria-label": "Draw here with the pointer", role: "img" });
  const context = /** @type {CanvasRenderingContext2D} */ (pad.getContext("2d", { willReadFrequently: true }));
  const ground = ink.light ? "#fff" : "#000", stroke = ink.light ? "#000" : "#fff";
  const answer = h("div", { className: "stack", style: { gap: "8px" }, "aria-live": "polite" });
  let pen = Math.min(44, Math.max(12, (1.9 * PAD) / width));
  /** @type {number[] | null} */
  let last = null;
  let waiting = 0, busy = false;
  const clear = () => {
    context.fillStyle = ground;
    context.fillRect(0, 0, pad.width, pad.height);
    answer.replaceChildren(h("p", { className: "muted small" }, "Draw, or choose a file."));
  };

  /** The drawing as items of the run are placed: its strokes have their size and centre. */
  const placed = () => {
    const { data } = context.getImageData(0, 0, pad.width, pad.height);
    let [x0, y0, x1, y1] = [pad.width, pad.height, 0, 0];
    for (let k = 0; k < pad.width * pad.height; k++)
      if (Math.abs(data[4 * k] - (ink.light ? 255 : 0)) > 60) {
        const [x, y] = [k % pad.width, Math.floor(k / pad.width)];
        [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
      }
    if (x1 <= x0) return null;
    const canvas = h("canvas", { width: 8 * width, height: 8 * height });
    const target = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    target.fillStyle = ground;
    target.fillRect(0, 0, canvas.width, canvas.height);
    const scale = Math.min((ink.size * canvas.width) / (x1 - x0), (ink.size * canvas.height) / (y1 - y0));
    target.imageSmoothingQuality = "high";
    target.drawImage(pad, x0, y0, x1 - x0, y1 - y0, ink.x * canvas.width - (scale * (x1 - x0)) / 2, ink.y * canvas.height - (scale * (y1 - y0)) / 2, scale * (x1 - x0), scale * (y1 - y0));
    return canvas;
  };

  /** @param {Blob} blob */
  const send = async (blob) => {
    const answered = await (await post("/api/style/upload", blob)).json();
    const figures = await use(answered, bytesOf(answered.seen));
    const top = (answered.p ?? []).map((/** @type {number} */ p, /** @type {number} */ k) => [p, k]).sort((/** @type {number[]} */ a, /** @type {number[]} */ b) => b[0] - a[0]).slice(0, 3);
    const headline = answered.outlier !== null ? (answered.outlier ? "Unlike the items of the training" : "Like the items of the training") : facts.classes.length && answered.value >= 0 ? `This is ${facts.classes[answered.value]}` : "";
    answer.replaceChildren(h("strong", { className: "style-answer" }, headline), h("div", { className: "style-pair" }, figures),
      ...top.map((/** @type {number[]} */ [p, k]) => h("div", { className: "row small", style: { "flex-wrap": "nowrap" } }, h("span", { style: { flex: "0 0 54px", overflow: "hidden", "text-overflow": "ellipsis" } }, facts.classes[k]), h("div", { className: "bar", style: { flex: "1" } }, h("span", { style: { width: `${100 * p}%` } })), h("span", { className: "number muted" }, `${Math.round(100 * p)} %`))));
  };

  const sendDrawing = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const canvas = placed();
      if (!canvas || busy) return;
      busy = true;
      try {
        /** @type {Blob | null} */
        const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
        if (blob) await send(blob);
      } catch (error) {
        toast(error instanceof Error ? error.message : String(error));
      }
      busy = false;
    }, 120);
  };
  /** @param {PointerEvent} e */
  const at = (e) => {
    const box = pad.getBoundingClientRect();
    return [((e.clientX - box.left) / box.width) * pad.width, ((e.clientY - box.top) / box.height) * pad.height];
  };
  /** @param {number[]} to */
  const line = (to) => {
    const from = last ?? to;
    context.strokeStyle = stroke;
    context.lineWidth = pen;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from[0], from[1]);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    last = to;
  };
  pad.addEventListener("pointerdown", (e) => {
    pad.setPointerCapture(e.pointerId);
    last = null;
    line(at(e));
  });
  pad.addEventListener("pointermove", (e) => last && line(at(e)));
  pad.addEventListener("pointerup", () => {
    last = null;
    sendDrawing();
  });
  const file = h("input", { type: "file", accept: "image/*", className: "visually-hidden", id: "style-file", onchange: async () => {
    const chosen = file.files?.[0];
    if (chosen) await send(chosen);
    file.value = "";
  } });
  clear();
  return h("section", { className: "card", "aria-label": "Your own picture" }, h("h2", {}, "Draw one yourself"),
    h("div", { className: "style-draw" }, pad, answer),
    h("div", { className: "row", style: { "margin-top": "10px" } }, h("button", { className: "button", type: "button", onclick: clear }, icon("eraser", 16), "Clear"),
      file, h("label", { className: "button", htmlFor: "style-file" }, icon("upload", 16), "Upload a picture"),
      h("div", { style: { flex: "1 1 150px" } }, slider("Pen", { min: 6, max: 60, step: 1, value: pen, digits: 0 }, (v) => (pen = v)).element)));
}
