// New rows: by class, temperature and component of the prior; to look at and to download.

import { getBytes, getJson } from "../lib/api.js";
import { linesOf } from "../lib/decoder.js";
import { download, field, h, icon, select, slider } from "../lib/dom.js";
import { drawPicture, picture } from "../lib/pictures.js";

/** @typedef {{decoded: string, shape: number[] | null, values: string[], components: number, prior: string}} GenerateFacts */

/** @param {HTMLElement} element */
export async function mount(element) {
  /** @type {GenerateFacts} */
  const facts = await getJson("/api/generate/facts");
  const wish = { n: facts.decoded === "image" ? 60 : 20, value: -1, component: -1, temperature: 1, seed: 0 };
  const made = h("section", { className: "card generate-made", "aria-label": "New rows", "aria-busy": "true" });
  /** @type {{bytes: Uint8Array, n: number} | null} */
  let pictures = null;
  let number = 0;

  const show = async () => {
    const now = ++number;
    made.setAttribute("aria-busy", "true");
    const { bytes, headers } = await getBytes("/api/generate/rows", { ...wish });
    if (now !== number) return;
    if (facts.decoded === "image" && facts.shape) {
      const shape = facts.shape, all = new Uint8Array(bytes);
      const values = (headers.get("x-values") ?? "").split(",").filter(Boolean).map(Number);
      pictures = { bytes: all, n: wish.n };
      made.replaceChildren(h("div", { className: "generate-grid" }, Array.from({ length: wish.n }, (_, k) => picture(all, shape, k, values.length ? `a new ${facts.values[values[k]]}` : `new row ${k + 1}`))));
    } else {
      const [header, ...lines] = linesOf(bytes);
      made.replaceChildren(h("div", { className: "scroll-x", tabIndex: 0, role: "region", "aria-label": "New rows" }, h("table", {}, h("thead", {}, h("tr", {}, header.map((n) => h("th", { scope: "col" }, n)))), h("tbody", {}, lines.map((line) => h("tr", {}, line.map((cell) => h("td", {}, cell))))))));
    }
    made.setAttribute("aria-busy", "false");
  };

  const savePng = () => {
    if (!pictures || !facts.shape) return;
    const [c, height, width] = facts.shape, columns = Math.ceil(Math.sqrt(pictures.n)), scale = Math.max(1, Math.round(64 / width));
    const canvas = h("canvas", { width: columns * (width * scale + 2) - 2, height: Math.ceil(pictures.n / columns) * (height * scale + 2) - 2 });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const one = h("canvas", {});
    for (let k = 0; k < pictures.n; k++) {
      drawPicture(one, pictures.bytes, facts.shape, k * c * height * width);
      context.drawImage(one, (k % columns) * (width * scale + 2), Math.floor(k / columns) * (height * scale + 2), width * scale, height * scale);
    }
    canvas.toBlob((blob) => blob && download(blob, "rows.png"));
  };

  /** @param {string} kind */
  const save = async (kind) => {
    const { bytes } = await getBytes(`/api/generate/rows.${kind}`, { ...wish, n: Number(count.value) });
    download(new Blob([bytes]), `rows.${kind}`);
  };

  const count = h("input", { type: "number", min: "1", max: "10000", value: "1000", style: { width: "100px" } });
  const controls = h("section", { className: "card stack", "aria-label": "What to make" },
    facts.values.length ? field(facts.values[0].startsWith("cluster") ? "Cluster" : "Class", select([{ value: "-1", title: "any, as frequent as in the data" }, ...facts.values.map((name, k) => ({ value: String(k), title: name }))], "-1", (v) => {
      wish.value = Number(v);
      show();
    })) : null,
    facts.components ? field("Component of the prior", select([{ value: "-1", title: "any" }, ...Array.from({ length: facts.components }, (_, k) => ({ value: String(k), title: `component ${k + 1}` }))], "-1", (v) => {
      wish.component = Number(v);
      show();
    })) : null,
    slider("Temperature", { min: 0, max: 2, step: 0.05, value: 1, digits: 2 }, (v) => {
      wish.temperature = v;
      show();
    }).element,
    h("p", { className: "small muted" }, "Temperature: how far draws of the prior are from its mean. Below 1 typical rows, above 1 unusual ones."),
    h("button", { className: "button main", type: "button", onclick: () => {
      wish.seed = Math.floor(Math.random() * 2 ** 32);
      show();
    } }, icon("dice", 16), "Draw others"),
    h("h3", {}, "Download"),
    facts.decoded === "image" ? h("button", { className: "button", type: "button", onclick: savePng }, icon("download", 16), "These as PNG") : null,
    h("div", { className: "row" }, field("Rows", count, true),
      h("button", { className: "button", type: "button", onclick: () => save("npz") }, icon("download", 16), "NPZ"),
      facts.decoded === "table" ? h("button", { className: "button", type: "button", onclick: () => save("csv") }, icon("download", 16), "CSV") : null),
    h("p", { className: "small muted" }, `Prior: ${facts.prior}`));
  element.append(
    h("div", { className: "room-head" }, h("div", {}, h("h1", {}, "Generate"), h("p", { className: "muted" }, "New rows, decoded from draws of the prior."))),
    h("div", { className: "generate-room" }, controls, made));
  await show();
}
