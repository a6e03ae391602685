// The latent map: items in a plane of codes, and what the decoder makes of each place.

import { getBytes, getJson } from "../lib/api.js";
import { classColour, classTexture, rampGradient, rampTexture } from "../lib/colours.js";
import { Decoder, decode, linesOf } from "../lib/decoder.js";
import { emptyState, field, h, icon, s, segments, select, slider, toast } from "../lib/dom.js";
import { cellTable, codeOf, factLines, factsOf, neighboursOf, picturesOf, tiles } from "../lib/items.js";
import { PageDecoder } from "../lib/network.js";
import { drawPicture } from "../lib/pictures.js";
import { DIMMED, HIDDEN, NORMAL, SELECTED, Scatter } from "../lib/scatter.js";

/**
 * @typedef {{low: number[], high: number[], bins: number, values: number[]}} Density
 * @typedef {{name: string, title: string, centres: number[][], scale: number, prior: Density | null}} Plane
 * @typedef {{name: string, title: string, names: string[] | null}} Column
 * @typedef {{n: number, kind: string, shape: number[] | null, decoded: string | null, planes: Plane[], origin: number[], axes: number[][],
 *   deviations: number[], nDims: number, values: string[], columns: Column[]}} Space
 */

const N_FRAMES = 90; // of a path
const N_TILES = 60; // of a selection
const N_FOR_RANGE = 20000; // points by whose numbers the range of colours is chosen

/** @param {HTMLElement} element */
export async function mount(element) {
  /** @type {Space} */
  const space = await getJson("/api/map/space");
  const map = new MapRoom(element, space);
  element.addEventListener("shown", () => map.start(), { once: true });
  return () => map.close();
}

class MapRoom {
  /** @param {HTMLElement} element @param {Space} space */
  constructor(element, space) {
    this.space = space;
    this.plane = space.planes[0];
    this.column = space.columns[0];
    this.mode = "pointer";
    this.probe = [0, 0];
    this.value = 0; // of y, where the plane does not say it
    this.components = new Float32Array(space.axes.length); // of z along the directions beyond the plane
    this.rest = new Float32Array(space.nDims); // of the z of an item, outside of all directions
    this.rows = new Uint32Array(space.n); // the item of each point
    this.numbers = new Float32Array(space.n); // the column, by point
    this.counts = /** @type {Map<number, number>} */ (new Map()); // of the values of a column with names
    this.range = [0, 1];
    this.hidden = new Set();
    this.selection = /** @type {number[]} */ ([]);
    this.ends = /** @type {{item: number, code: Float32Array}[]} */ ([]);
    this.closed = false;
    this.playing = 0;
    this.asked = /** @type {{pointer: number, handler: number} | undefined} */ (undefined); // when the last place was
    this.hovered = -1; // the item below the pointer
    this.itemCode = new Float32Array(1 + space.nDims); // of the item at the probe, where places have no codes
    this.nextItem = -1; // that the probe has moved to, and whose code is not asked for yet
    this.snapping = /** @type {Promise<void> | undefined} */ (undefined);
    this.stroke = /** @type {number[][] | undefined} */ (undefined); // that is being drawn
    this.path = /** @type {number[][] | undefined} */ (undefined); // that is played
    this.pictures = /** @type {Map<number, Promise<[import("../lib/items.js").Facts, Uint8Array | null]>>} */ (new Map());
    this.decoder = new Decoder((bytes) => this.showDecoded(bytes), (error) => toast(error.message));
    this.build(element);
  }

  // --- page
  /** @param {HTMLElement} element */
  build(element) {
    const { space } = this;
    this.glCanvas = h("canvas", {});
    this.priorCanvas = h("canvas", {});
    this.overlay = s("svg", { "aria-hidden": "true" });
    this.surface = h("div", { className: "plane", tabIndex: 0, role: "application", "aria-label": "Latent map. Arrow keys move the probe, plus and minus zoom, Enter shows the nearest item." });
    this.probeMark = h("div", { className: "probe", hidden: !space.decoded });
    this.hoverCard = h("div", { className: "hover-card", hidden: true });
    this.hint = h("span", {});
    this.progress = h("span", { className: "number", role: "status" });
    const tools = h("div", { className: "map-tools", role: "toolbar", "aria-label": "Tools of the map" });
    for (const [mode, title] of [["pointer", space.decoded ? "Decode under the pointer" : "Choose items"], ["lasso", "Select with a lasso"], ["path", "Draw a path and play it"], ["pan", "Move the map"]]) {
      if (mode === "path" && !space.decoded) continue;
      tools.append(h("button", { className: "icon-button", type: "button", title, "aria-label": title, "data-mode": mode, "aria-pressed": String(mode === this.mode), onclick: () => this.setMode(mode) }, icon(mode)));
    }
    for (const [name, title, act] of /** @type {[string, string, () => void][]} */ ([["plus", "Zoom in", () => this.scatter?.zoom(1.5)], ["minus", "Zoom out", () => this.scatter?.zoom(1 / 1.5)], ["fit", "Show all", () => this.scatter?.fit()]]))
      tools.append(h("button", { className: "icon-button", type: "button", title, "aria-label": title, onclick: act }, icon(name)));
    this.tools = tools;
    this.box = h("div", { className: "map" }, this.priorCanvas, this.glCanvas, this.overlay, this.probeMark, this.surface, tools, this.hoverCard, h("div", { className: "map-hint" }, this.hint, this.progress));

    const head = h("div", { className: "room-head" },
      h("div", {}, h("h1", {}, "Latent map"), h("p", { className: "muted" }, this.purpose())),
      h("div", { className: "row" },
        space.planes.length > 1 && segments("Plane", space.planes.map((p) => ({ value: p.name, title: p.title })), this.plane.name, (name) => this.setPlane(name)),
        field("Colour", select(space.columns.map((c) => ({ value: c.name, title: c.title })), this.column.name, (name) => this.setColumn(name)), true)));
    this.legend = h("div", { className: "card" });
    this.selected = h("div", { className: "card", hidden: true });
    this.near = h("div", { className: "card" });
    const side = h("div", { className: "side" }, this.decodedCard(), this.legend, this.selected, this.near);
    element.append(h("div", { className: "map-room" }, head, this.box, side));
    this.showNear([]);
  }

  purpose() {
    const { decoded, kind } = this.space;
    if (decoded === "image") return "Each point is an item. Drag anywhere in the plane: the decoder draws what that place means.";
    if (decoded === "table") return "Each point is a row. Drag anywhere in the plane: the decoder writes the row that belongs there.";
    return kind === "image" ? "Each point is an image. This model has no decoder of images: the nearest items are shown instead." : "Each point is an item. This model has no decoder: the nearest items are shown instead.";
  }

  decodedCard() {
    const { space } = this;
    this.decodedTitle = h("span", { className: "muted small" });
    this.decodedCanvas = h("canvas", { className: "picture", role: "img", "aria-label": "Decoded place", width: space.shape?.[2] ?? 1, height: space.shape?.[1] ?? 1 });
    this.decodedBox = h("div", { className: space.decoded === "table" ? "decoded of-table" : "decoded", tabIndex: space.decoded === "table" ? 0 : -1 }, space.decoded === "image" ? this.decodedCanvas : "");
    const card = h("section", { className: "card", "aria-label": "Decoded" }, h("div", { className: "spread" }, h("h2", {}, space.decoded ? "Decoded" : "Nearest item"), this.decodedTitle), this.decodedBox);
    this.sliders = space.axes.slice(2).map((_, k) => {
      const extent = 3 * Math.max(space.deviations[k + 2], 1e-3);
      return slider(`Direction ${k + 3}`, { min: -extent, max: extent, step: extent / 60, value: 0 }, (value) => {
        this.components[k + 2] = value;
        this.decodeProbe();
      });
    });
    if (!space.decoded) return card;
    this.directions = this.sliders.length ? h("details", {}, h("summary", { className: "small" }, `${this.sliders.length} more directions`), this.sliders.map((one) => one.element)) : h("div", { hidden: true });
    this.valueField = field("Decode as", select(space.values.map((name, k) => ({ value: String(k), title: name })), "0", (k) => {
      this.value = Number(k);
      this.decodeProbe();
    }), true);
    card.append(h("div", { className: "stack", style: { gap: "8px", "margin-top": "10px" } }, this.valueField,
      this.directions,
      (this.interpolation = h("div", { hidden: true })),
      (this.player = h("div", { className: "row", hidden: true }))));
    return card;
  }

  start() {
    try {
      this.scatter = new Scatter(/** @type {HTMLCanvasElement} */ (this.glCanvas), this.space.n);
    } catch (error) {
      this.box?.replaceChildren(emptyState("No map", error instanceof Error ? error.message : "", "alert"));
      return;
    }
    this.scatter.onview = () => this.drawOver();
    this.observer = new ResizeObserver(() => this.scatter?.resize());
    this.observer.observe(/** @type {HTMLElement} */ (this.box));
    this.onTheme = () => this.paint();
    addEventListener("themechange", this.onTheme);
    this.listen();
    this.setMode("pointer");
    this.decodeHere();
    this.setPlane(this.plane.name);
  }

  /** Decode in the page from now on, if it can. */
  async decodeHere() {
    const facts = await getJson("/api/map/network");
    if (facts.layers) this.decoder.local = new PageDecoder(facts, this.space.nDims);
    this.box?.setAttribute("data-decoder", facts.layers ? "page" : "server");
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.playing);
    this.observer?.disconnect();
    if (this.onTheme) removeEventListener("themechange", this.onTheme);
  }

  // --- points and their colours
  /** @param {string} name */
  async setPlane(name) {
    this.plane = /** @type {Plane} */ (this.space.planes.find((p) => p.name === name));
    if (this.valueField) this.valueField.hidden = !this.space.values.length || name === "islands" || this.snaps;
    if (this.directions) this.directions.hidden = !this.sliders?.length || this.snaps;
    this.tools?.querySelector("[data-mode=path]")?.toggleAttribute("hidden", this.snaps);
    this.setMode(this.snaps && this.mode === "path" ? "pointer" : this.mode);
    this.drawPrior();
    this.framed = false;
    this.box?.removeAttribute("data-complete");
    const version = (this.version = (this.version ?? 0) + 1);
    if (this.scatter) {
      this.scatter.n = 0;
      this.scatter.draw();
    }
    this.nColoured = 0;
    while (!this.closed && version === this.version && this.scatter) {
      const from = this.scatter.n;
      const { bytes, headers } = await getBytes("/api/map/points", { plane: name, start: from });
      if (this.closed || version !== this.version) return;
      const [ids, floats] = [new Uint32Array(bytes), new Float32Array(bytes)];
      const n = ids.length / 3;
      for (let i = 0; i < n; i++) {
        this.rows[from + i] = ids[3 * i];
        this.scatter.places[2 * (from + i)] = floats[3 * i + 1];
        this.scatter.places[2 * (from + i) + 1] = floats[3 * i + 2];
      }
      this.scatter.n = from + n;
      if (!this.framed && this.scatter.n > Math.min(300, this.space.n - 1)) this.frame();
      this.box?.setAttribute("data-points", String(this.scatter.n));
      this.scatter.upload(["places"], from);
      await this.colour();
      const total = Number(headers.get("x-total"));
      const coloured = this.nColoured >= total;
      if (this.progress) this.progress.textContent = this.snaps && !this.scatter.n ? "t-SNE is being computed" : this.scatter.n < total ? `${this.scatter.n.toLocaleString("en")} of ${total.toLocaleString("en")} items ${this.snaps ? "placed" : "encoded"}` : coloured ? `${total.toLocaleString("en")} items` : "computing colours";
      if (this.scatter.n >= total && coloured) break;
      await new Promise((done) => setTimeout(done, n ? 150 : 400));
    }
    this.box?.setAttribute("data-complete", "true");
  }

  /** Whether places have no codes of their own, so that the probe moves from item to item. */
  get snaps() {
    return this.plane.name === "tsne";
  }

  frame() {
    const scatter = /** @type {Scatter} */ (this.scatter);
    /** @param {number} c */
    const extent = (c) => {
      const values = Float32Array.from({ length: scatter.n }, (_, i) => scatter.places[2 * i + c]).sort();
      return [values[Math.floor(0.002 * (scatter.n - 1))], values[Math.ceil(0.998 * (scatter.n - 1))]];
    };
    const [x, y] = [extent(0), extent(1)];
    const margin = 0.06 * Math.max(x[1] - x[0], y[1] - y[0]);
    scatter.frame([x[0] - margin, y[0] - margin], [x[1] + margin, y[1] + margin]);
    this.framed = true;
    const first = this.plane.name === "islands" ? this.plane.centres[0] : [...scatter.home.centre];
    this.moveProbe(first);
  }

  /** @param {string} name */
  async setColumn(name) {
    this.column = /** @type {Column} */ (this.space.columns.find((c) => c.name === name));
    this.nColoured = 0;
    this.hidden.clear();
    await this.colour();
    if (this.nColoured < this.space.n && this.box?.getAttribute("data-complete")) this.waitForColours();
  }

  async waitForColours() {
    const column = this.column;
    while (!this.closed && column === this.column && (this.nColoured ?? 0) < this.space.n) {
      if (this.progress) this.progress.textContent = `${this.column.title}: ${(this.nColoured ?? 0).toLocaleString("en")} of ${this.space.n.toLocaleString("en")}`;
      await new Promise((done) => setTimeout(done, 300));
      await this.colour();
    }
    if (column === this.column && this.progress) this.progress.textContent = `${this.space.n.toLocaleString("en")} items`;
  }

  /** Fetch the values of the column that are new, and paint. */
  async colour() {
    const column = this.column, from = this.nColoured ?? 0;
    const { bytes, headers } = await getBytes("/api/map/column", { name: column.name, start: from });
    if (column !== this.column || from !== this.nColoured) return;
    this.numbers.set(new Float32Array(bytes), from);
    this.nColoured = Number(headers.get("x-done"));
    if (!from) this.counts.clear();
    if (column.names) for (let i = from; i < this.nColoured; i++) this.counts.set(this.numbers[i], (this.counts.get(this.numbers[i]) ?? 0) + 1);
    this.paint(from);
  }

  /** @param {number} [from] points before it have the right colours already */
  paint(from = 0) {
    const { scatter, numbers, column } = this;
    if (!scatter) return;
    const n = Math.min(this.nColoured ?? 0, scatter.n);
    if (column.names) {
      const last = column.names.length <= 12 ? 12 : column.names.length;
      for (let i = from; i < scatter.n; i++) scatter.colours[i] = i < n && numbers[i] >= 0 ? numbers[i] % Math.max(12, Math.min(last, 240)) : 255;
      scatter.setPalette(classTexture());
    } else {
      const before = this.range, m = Math.min(n, N_FOR_RANGE); // the order of points is random
      const sorted = numbers.slice(0, m).sort();
      this.range = m ? [sorted[Math.floor(0.01 * (m - 1))], sorted[Math.ceil(0.99 * (m - 1))]] : [0, 1];
      if (before[0] !== this.range[0] || before[1] !== this.range[1]) from = 0;
      const width = this.range[1] - this.range[0] || 1;
      for (let i = from; i < scatter.n; i++) scatter.colours[i] = i < n ? Math.max(0, Math.min(255, (255 * (numbers[i] - this.range[0])) / width)) : 0;
      scatter.setPalette(rampTexture());
    }
    this.setStates(from);
    this.showLegend();
    if (!from) this.drawPrior();
  }

  /** @param {number} [from] points before it have the right states already */
  setStates(from = 0) {
    const { scatter } = this;
    if (!scatter) return;
    const chosen = new Set(this.selection);
    for (let i = from; i < scatter.n; i++) {
      const hidden = this.column.names && this.hidden.has(i < (this.nColoured ?? 0) ? this.numbers[i] : -1);
      scatter.states[i] = hidden ? HIDDEN : chosen.size ? (chosen.has(this.rows[i]) ? SELECTED : DIMMED) : NORMAL;
    }
    scatter.upload(["colours", "states"], from);
  }

  showLegend() {
    const { column, legend } = this;
    if (!legend) return;
    if (!column.names) {
      legend.replaceChildren(h("h2", {}, column.title), h("div", { className: "ramp", style: { background: rampGradient } }),
        h("div", { className: "spread small muted number" }, h("span", {}, this.range[0].toPrecision(3)), h("span", {}, this.range[1].toPrecision(3))));
      return;
    }
    const entries = [...this.counts].sort((a, b) => (a[0] < 0 ? 1 : b[0] < 0 ? -1 : a[0] - b[0]));
    const scroll = legend.querySelector(".legend")?.scrollTop ?? 0;
    legend.replaceChildren(h("h2", {}, column.title),
      h("div", { className: "legend", tabIndex: entries.length > 7 ? 0 : -1 }, entries.map(([k, n]) =>
        h("button", { type: "button", "aria-pressed": String(!this.hidden.has(k)), title: "Show or hide", onclick: () => {
          if (!this.hidden.delete(k)) this.hidden.add(k);
          this.setStates();
          this.showLegend();
        } }, h("span", { className: "dot", style: { "--dot": classColour(k) } }), h("span", { className: "name" }, k < 0 ? "unknown" : column.names?.[k] ?? String(k)), h("span", { className: "muted number" }, n.toLocaleString("en"))))));
    /** @type {HTMLElement} */ (legend.querySelector(".legend")).scrollTop = scroll;
  }

  drawPrior() {
    const { prior } = this.plane, canvas = this.priorCanvas;
    this.priorImage = null;
    if (!canvas || !prior) return;
    const ink = getComputedStyle(canvas).color.match(/\d+/g)?.map(Number) ?? [0, 0, 0];
    const image = new ImageData(prior.bins, prior.bins);
    for (let k = 0; k < prior.values.length; k++) {
      const row = prior.bins - 1 - Math.floor(k / prior.bins), j = 4 * (row * prior.bins + (k % prior.bins));
      image.data.set([ink[0], ink[1], ink[2], Math.round(0.14 * prior.values[k])], j);
    }
    const small = new OffscreenCanvas(prior.bins, prior.bins);
    /** @type {OffscreenCanvasRenderingContext2D} */ (small.getContext("2d")).putImageData(image, 0, 0);
    this.priorImage = small;
    this.scatter?.draw();
  }

  /** What is drawn below and above the points, whenever the view changes. */
  drawOver() {
    const scatter = /** @type {Scatter} */ (this.scatter), canvas = /** @type {HTMLCanvasElement} */ (this.priorCanvas);
    const { prior } = this.plane;
    if (canvas.width !== canvas.clientWidth || canvas.height !== canvas.clientHeight) {
      canvas.width = canvas.clientWidth;
      canvas.height = canvas.clientHeight;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (prior && this.priorImage) {
      const [x0, y1] = scatter.pixelOf(prior.low), [x1, y0] = scatter.pixelOf(prior.high);
      context.imageSmoothingQuality = "high";
      context.drawImage(this.priorImage, x0, y0, x1 - x0, y1 - y0);
    }
    this.placeProbe();
    const overlay = /** @type {SVGElement} */ (this.overlay);
    overlay.querySelectorAll(".island-name").forEach((e) => e.remove());
    if (this.plane.name === "islands" && this.plane.centres.length <= 60)
      this.plane.centres.forEach((centre, k) => {
        const [x, y] = scatter.pixelOf([centre[0], centre[1] - 1.28]);
        overlay.append(s("text", { class: "island-name", x, y }, this.space.values[k] ?? ""));
      });
    this.drawStroke();
  }

  // --- pointer and keyboard
  listen() {
    const surface = /** @type {HTMLElement} */ (this.surface);
    /** @type {Map<number, number[]>} */
    const pointers = new Map();
    let moved = 0;
    /** @param {PointerEvent | WheelEvent} e */
    const pixel = (e) => {
      const box = surface.getBoundingClientRect();
      return [e.clientX - box.left, e.clientY - box.top];
    };
    surface.addEventListener("pointerdown", (e) => {
      surface.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, pixel(e));
      moved = 0;
      this.hoverCard?.setAttribute("hidden", "");
      this.stopPlaying();
      if (pointers.size === 1 && (this.mode === "lasso" || this.mode === "path")) this.stroke = [this.placeOf(pixel(e))];
      if (pointers.size === 2) this.stroke = undefined;
      if (this.mode === "pan" || e.button === 1) surface.classList.add("panning");
    });
    surface.addEventListener("pointermove", (e) => {
      const here = pixel(e), before = pointers.get(e.pointerId);
      if (!before) {
        this.hover(here);
        return;
      }
      moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
      const scatter = /** @type {Scatter} */ (this.scatter);
      if (pointers.size === 2) {
        const other = /** @type {number[]} */ ([...pointers].find(([id]) => id !== e.pointerId)?.[1]);
        scatter.pan((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
        scatter.zoom(Math.hypot(here[0] - other[0], here[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
      } else if (this.mode === "pan" || e.buttons === 4) scatter.pan(here[0] - before[0], here[1] - before[1]);
      else if (this.stroke) {
        this.stroke.push(this.placeOf(here));
        this.drawStroke();
      } else if (this.mode === "pointer" && moved > 3) this.moveProbe(this.placeOf(here), e.timeStamp);
      pointers.set(e.pointerId, here);
    });
    /** @param {PointerEvent} e */
    const up = (e) => {
      const last = pointers.get(e.pointerId);
      pointers.delete(e.pointerId);
      surface.classList.remove("panning");
      if (!last) return;
      if (this.stroke) this.endStroke();
      else if (moved <= 3 && e.type === "pointerup") this.click(last);
      else if (this.mode === "pointer") this.searchNear();
    };
    surface.addEventListener("pointerup", up);
    surface.addEventListener("pointercancel", up);
    surface.addEventListener("pointerleave", () => this.hoverCard?.setAttribute("hidden", ""));
    surface.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.scatter?.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)), ...pixel(e));
    }, { passive: false });
    surface.addEventListener("keydown", (e) => {
      const scatter = /** @type {Scatter} */ (this.scatter);
      const step = (e.shiftKey ? 40 : 8) / scatter.scale;
      const moves = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] });
      if (moves[e.key]) this.moveBy(moves[e.key]);
      else if (e.key === "+" || e.key === "=") scatter.zoom(1.25);
      else if (e.key === "-") scatter.zoom(0.8);
      else if (e.key === "0") scatter.fit();
      else if (e.key === "Escape") this.select([]);
      else if (e.key === "Enter") this.click(scatter.pixelOf(this.probe), Infinity);
      else return;
      e.preventDefault();
    });
  }

  /** @param {number[]} pixel */
  placeOf(pixel) {
    return /** @type {Scatter} */ (this.scatter).placeAt(pixel[0], pixel[1]);
  }

  /** @param {string} mode */
  setMode(mode) {
    this.mode = mode;
    this.tools?.querySelectorAll("[data-mode]").forEach((b) => b.setAttribute("aria-pressed", String(b.getAttribute("data-mode") === mode)));
    this.surface?.classList.toggle("pan", mode === "pan");
    const hints = /** @type {Record<string, string>} */ ({
      pointer: this.space.decoded && this.snaps ? "Drag over items to decode their codes, scroll to zoom" : this.space.decoded ? "Drag to decode, click an item, scroll to zoom" : "Click an item, scroll to zoom",
      lasso: "Draw around items to select them", path: "Draw a path; it is played when you let go", pan: "Drag to move the map" });
    if (this.hint) this.hint.textContent = hints[mode];
  }

  /** @param {number[]} pixel */
  async hover(pixel) {
    const scatter = /** @type {Scatter} */ (this.scatter), card = /** @type {HTMLElement} */ (this.hoverCard);
    const point = scatter.nearest(this.placeOf(pixel), 9);
    if (point < 0) {
      card.hidden = true;
      this.hovered = -1;
      return;
    }
    const item = this.rows[point];
    const [x, y] = scatter.pixelOf(scatter.places.subarray(2 * point, 2 * point + 2));
    const width = this.space.kind === "image" ? 148 : 232;
    card.style.left = `${x + 16 + width > scatter.canvas.clientWidth ? x - 16 - width : x + 16}px`;
    card.style.top = `${Math.max(6, Math.min(y - 30, scatter.canvas.clientHeight - 210))}px`;
    if (item === this.hovered) {
      card.hidden = false;
      return;
    }
    this.hovered = item;
    const [facts, bytes] = await this.itemOf(item);
    if (this.hovered !== item) return;
    card.className = this.space.kind === "image" ? "hover-card" : "hover-card of-table";
    const canvas = h("canvas", { className: "picture" });
    if (bytes && this.space.shape) drawPicture(canvas, bytes, this.space.shape);
    card.replaceChildren(...(bytes ? [canvas] : []), ...factLines(facts));
    card.hidden = false;
  }

  /** Facts and picture of an item, remembered. @param {number} item */
  itemOf(item) {
    if (this.pictures.size > 500) this.pictures.clear();
    if (!this.pictures.has(item)) this.pictures.set(item, Promise.all([factsOf([item]).then((f) => f[0]), this.space.shape ? picturesOf([item]) : null]));
    return /** @type {Promise<[import("../lib/items.js").Facts, Uint8Array | null]>} */ (this.pictures.get(item));
  }

  /** @param {number[]} pixel @param {number} [reach] */
  async click(pixel, reach = 10) {
    const scatter = /** @type {Scatter} */ (this.scatter);
    const point = reach === Infinity ? scatter.closest(this.placeOf(pixel)) : scatter.nearest(this.placeOf(pixel), reach);
    if (this.mode !== "pointer") return;
    if (point >= 0) await this.goTo(this.rows[point]);
    else {
      this.moveProbe(this.placeOf(pixel));
      this.searchNear();
    }
  }

  // --- the probe: a place, its code, and what it decodes to
  /** The code at the probe: the value of y, then z. @param {number[]} [place] */
  codeAt(place = this.probe) {
    const { space, plane } = this;
    if (this.snaps) return this.itemCode.slice();
    let [value, centre] = [this.value, [0, 0]];
    if (plane.name === "islands") {
      let least = Infinity;
      plane.centres.forEach((c, k) => {
        const d = (c[0] - place[0]) ** 2 + (c[1] - place[1]) ** 2;
        if (d < least) [least, value, centre] = [d, k, c];
      });
    }
    const along = [(place[0] - centre[0]) / plane.scale, (place[1] - centre[1]) / plane.scale, ...this.components.slice(2)];
    const code = new Float32Array(1 + space.nDims);
    code[0] = value;
    for (let j = 0; j < space.nDims; j++) {
      code[j + 1] = space.origin[j] + this.rest[j];
      for (let k = 0; k < space.axes.length; k++) code[j + 1] += along[k] * space.axes[k][j];
    }
    return code;
  }

  /** @param {number[]} place @param {number} [time] when the pointer was there */
  moveProbe(place, time) {
    if (this.snaps) {
      const point = this.scatter?.closest(place) ?? -1;
      if (point >= 0) this.snapTo(this.rows[point], [.../** @type {Scatter} */ (this.scatter).places.subarray(2 * point, 2 * point + 2)]);
      return;
    }
    this.probe = place;
    if (time !== undefined) this.asked = { pointer: time, handler: performance.now() };
    this.placeProbe();
    this.decodeProbe();
  }

  /** Move the probe on, to another item where places have no codes. @param {number[]} step */
  moveBy([dx, dy]) {
    const scatter = /** @type {Scatter} */ (this.scatter), [x, y] = this.probe;
    /** @param {number} k */
    const at = (k) => [x + k * dx, y + k * dy];
    let k = 1;
    /** @param {number} point */
    const isHere = (point) => point >= 0 && scatter.places[2 * point] === x && scatter.places[2 * point + 1] === y;
    while (this.snaps && k < 256 && isHere(scatter.closest(at(k)))) k *= 2;
    this.moveProbe(at(k));
  }

  /** Move the probe to an item and decode its code; of many, the last one. @param {number} item @param {number[]} place */
  snapTo(item, place) {
    this.probe = place;
    this.placeProbe();
    this.nextItem = item;
    this.snapping ??= this.decodeItems().finally(() => (this.snapping = undefined));
  }

  async decodeItems() {
    while (this.nextItem >= 0 && !this.closed && this.snaps) {
      const item = this.nextItem;
      this.nextItem = -1;
      const code = await codeOf(item);
      this.itemCode = Float32Array.of(Math.max(0, code.value), ...code.z);
      this.decodeProbe();
    }
  }

  placeProbe() {
    const mark = /** @type {HTMLElement} */ (this.probeMark), scatter = this.scatter;
    if (!scatter) return;
    const [x, y] = scatter.pixelOf(this.probe);
    mark.style.transform = `translate(${x}px, ${y}px)`;
  }

  decodeProbe() {
    const code = this.codeAt();
    if (!this.space.decoded) {
      clearTimeout(this.nearTimer);
      this.nearTimer = setTimeout(() => this.searchNear(), 120);
      return;
    }
    if (this.decodedTitle) this.decodedTitle.textContent = this.space.values[code[0]] ?? "";
    this.decoder.request(code);
  }

  /** @param {Uint8Array} bytes */
  showDecoded(bytes) {
    const { space } = this;
    if (space.decoded === "image" && space.shape) drawPicture(/** @type {HTMLCanvasElement} */ (this.decodedCanvas), bytes, space.shape);
    else {
      const [names, values] = linesOf(bytes);
      this.decodedBox?.replaceChildren(cellTable(names.map((n, k) => [n, values[k]])));
    }
    if (this.asked) {
      const now = performance.now();
      this.box?.dispatchEvent(new CustomEvent("decoded", { detail: [now - this.asked.pointer, now - this.asked.handler] }));
      this.asked = undefined;
    }
  }

  /** Move to an item, exactly to its code. @param {number} item */
  async goTo(item) {
    const { space } = this;
    const code = await codeOf(item);
    this.value = Math.max(0, code.value);
    const centred = code.z.map((v, j) => v - space.origin[j]);
    this.rest.set(centred);
    space.axes.forEach((axis, k) => {
      const along = axis.reduce((sum, a, j) => sum + a * centred[j], 0);
      this.components[k] = along;
      axis.forEach((a, j) => (this.rest[j] -= along * a));
      if (k >= 2) this.sliders?.[k - 2].set(along);
    });
    const centre = this.plane.name === "islands" ? this.plane.centres[this.value] : [0, 0];
    this.itemCode = Float32Array.of(this.value, ...code.z);
    this.probe = this.snaps ? (code.places.tsne ?? this.probe) : [0, 1].map((c) => centre[c] + this.plane.scale * this.components[c]);
    const list = this.valueField?.querySelector("select");
    if (list) list.value = String(this.value);
    this.placeProbe();
    this.decodeProbe();
    this.rememberEnd(item);
    const near = await neighboursOf(Float32Array.of(code.value, ...code.z), 13);
    this.showNear(near.filter((f) => f.item !== item).slice(0, 12), (await this.itemOf(item))[0]);
  }

  async searchNear() {
    await this.snapping;
    const near = await neighboursOf(this.codeAt(), 12);
    if (!this.closed) this.showNear(near);
  }

  /** @param {import("../lib/items.js").Facts[]} near @param {import("../lib/items.js").Facts} [item] */
  async showNear(near, item) {
    const card = /** @type {HTMLElement} */ (this.near), shape = this.space.shape;
    const number = h("input", { type: "number", min: "0", max: String(this.space.n - 1), placeholder: "number", "aria-label": "Number of an item", style: { width: "96px" } });
    const form = h("form", { className: "row", onsubmit: (/** @type {Event} */ e) => {
      e.preventDefault();
      if (number.value) this.goTo(Number(number.value));
    } }, number, h("button", { className: "button", type: "submit" }, icon("search", 16), "Find"));
    const parts = [h("div", { className: "spread", style: { "margin-bottom": "8px" } }, h("h2", {}, item ? "Item" : "Nearest items"), form)];
    if (item) {
      const canvas = h("canvas", { className: "picture", style: { width: "76px" } });
      const bytes = (await this.itemOf(item.item))[1];
      if (bytes && shape) drawPicture(canvas, bytes, shape);
      parts.push(h("div", { className: "row small", style: { "align-items": "start", "flex-wrap": "nowrap", "margin-bottom": "10px" } }, bytes && canvas, h("div", { style: { flex: "1", "min-width": "0" } }, factLines(item, 8))), h("h3", { style: { "margin-bottom": "6px" } }, "Its nearest items"));
    }
    if (near.length) parts.push(await tiles(near, shape, (k) => this.goTo(k)));
    else parts.push(h("p", { className: "muted small" }, "Click an item, or drag in the plane: the items with the nearest codes appear here."));
    if (!this.space.decoded && near[0]) {
      const [facts, bytes] = await this.itemOf(near[0].item);
      if (bytes && shape) {
        drawPicture(/** @type {HTMLCanvasElement} */ (this.decodedCanvas), bytes, shape);
        this.decodedBox?.replaceChildren(/** @type {Node} */ (this.decodedCanvas));
      } else this.decodedBox?.replaceChildren(h("div", {}, factLines(facts, 10)));
    }
    card.replaceChildren(...parts);
  }

  /** Between the two items that were clicked last one can interpolate. @param {number} item */
  rememberEnd(item) {
    if (!this.space.decoded || !this.interpolation) return;
    this.ends = [...this.ends.filter((e) => e.item !== item), { item, code: this.codeAt() }].slice(-2);
    if (this.ends.length < 2) return;
    const [a, b] = this.ends;
    const one = slider(`#${a.item} – #${b.item}`, { min: 0, max: 1, step: 0.01, value: 1, digits: 2 }, (t) => {
      const code = a.code.map((v, j) => v + t * (b.code[j] - v));
      code[0] = t < 0.5 ? a.code[0] : b.code[0];
      if (this.decodedTitle) this.decodedTitle.textContent = this.space.values[code[0]] ?? "";
      this.decoder.request(code);
    });
    one.element.style.gridTemplateColumns = "96px 1fr 38px";
    this.interpolation.hidden = false;
    this.interpolation.replaceChildren(h("h3", {}, "Interpolate"), one.element);
  }

  // --- lasso and path
  drawStroke() {
    const overlay = /** @type {SVGElement} */ (this.overlay), scatter = /** @type {Scatter} */ (this.scatter);
    overlay.querySelectorAll(".lasso, .path").forEach((e) => e.remove());
    const stroke = this.stroke ?? (this.path?.length ? this.path : null);
    if (!stroke) return;
    const lasso = this.stroke && this.mode === "lasso";
    overlay.append(s(lasso ? "polygon" : "polyline", { class: lasso ? "lasso" : "path", points: stroke.map((p) => scatter.pixelOf(p).map((v) => v.toFixed(1)).join(",")).join(" ") }));
  }

  endStroke() {
    const stroke = this.stroke ?? /** @type {number[][]} */ ([]);
    this.stroke = undefined;
    if (this.mode === "lasso") this.select(stroke.length < 3 ? [] : /** @type {Scatter} */ (this.scatter).inside(stroke).map((i) => this.rows[i]));
    else if (stroke.length > 2) this.play(stroke);
    this.drawStroke();
  }

  /** @param {number[]} items */
  async select(items) {
    this.selection = items;
    this.setStates();
    const card = /** @type {HTMLElement} */ (this.selected);
    card.hidden = !items.length;
    if (!items.length) return;
    const counts = new Map();
    if (this.column.names) {
      const chosen = new Set(items);
      for (let i = 0; i < (this.nColoured ?? 0); i++) if (chosen.has(this.rows[i])) counts.set(this.numbers[i], (counts.get(this.numbers[i]) ?? 0) + 1);
    }
    const facts = await factsOf(items.slice(0, N_TILES));
    const bars = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8);
    card.replaceChildren(
      h("div", { className: "spread", style: { "margin-bottom": "8px" } }, h("h2", {}, `${items.length.toLocaleString("en")} selected`), h("button", { className: "button", type: "button", onclick: () => this.select([]) }, "Clear")),
      ...bars.map(([k, n]) => h("div", { className: "row small", style: { "flex-wrap": "nowrap" } }, h("span", { className: "dot", style: { "--dot": classColour(k) } }), h("span", { style: { flex: "0 0 84px", overflow: "hidden", "text-overflow": "ellipsis" } }, k < 0 ? "unknown" : this.column.names?.[k] ?? ""), h("div", { className: "bar", style: { flex: "1" } }, h("span", { style: { width: `${(100 * n) / items.length}%`, background: classColour(k) } })), h("span", { className: "number muted" }, n.toLocaleString("en")))),
      h("div", { style: { "margin-top": "10px" } }, await tiles(facts, this.space.shape, (k) => this.goTo(k), 40)),
      ...(items.length > N_TILES ? [h("p", { className: "muted small" }, `The first ${N_TILES} are shown.`)] : []));
  }

  /** Decode a path at once, and play it. @param {number[][]} stroke */
  async play(stroke) {
    const lengths = [0];
    for (let i = 1; i < stroke.length; i++) lengths.push(lengths[i - 1] + Math.hypot(stroke[i][0] - stroke[i - 1][0], stroke[i][1] - stroke[i - 1][1]));
    const total = lengths[lengths.length - 1];
    const places = Array.from({ length: N_FRAMES }, (_, k) => {
      const at = (total * k) / (N_FRAMES - 1);
      const i = Math.max(1, lengths.findIndex((l) => l >= at));
      const t = (at - lengths[i - 1]) / (lengths[i] - lengths[i - 1] || 1);
      return [0, 1].map((c) => stroke[i - 1][c] + t * (stroke[i][c] - stroke[i - 1][c]));
    });
    const codes = places.map((p) => this.codeAt(p));
    const width = codes[0].length, all = new Float32Array(N_FRAMES * width);
    codes.forEach((c, k) => all.set(c, k * width));
    this.path = places;
    const bytes = await decode(all);
    const lines = this.space.decoded === "table" ? linesOf(bytes) : null;
    const size = bytes.length / N_FRAMES;
    let frame = 0;
    const step = () => {
      if (this.closed) return;
      const k = Math.floor(frame / 2) % (2 * N_FRAMES);
      const at = k < N_FRAMES ? k : 2 * N_FRAMES - 1 - k;
      this.probe = places[at];
      this.placeProbe();
      if (this.decodedTitle) this.decodedTitle.textContent = this.space.values[codes[at][0]] ?? "";
      if (lines) this.decodedBox?.replaceChildren(cellTable(lines[0].map((n, j) => [n, lines[at + 1][j]])));
      else if (this.space.shape) drawPicture(/** @type {HTMLCanvasElement} */ (this.decodedCanvas), bytes, this.space.shape, at * size);
      frame++;
      this.playing = requestAnimationFrame(step);
    };
    const player = /** @type {HTMLElement} */ (this.player);
    const button = h("button", { className: "button", type: "button" });
    const show = () => button.replaceChildren(icon(this.playing ? "pause" : "play", 16), this.playing ? "Pause" : "Play");
    button.onclick = () => {
      if (this.playing) this.stopPlaying();
      else step();
      show();
    };
    player.hidden = false;
    player.replaceChildren(button, h("button", { className: "button", type: "button", onclick: () => {
      this.stopPlaying();
      this.path = undefined;
      player.hidden = true;
      this.drawStroke();
    } }, "Remove the path"));
    this.onStopped = show;
    step();
    show();
    this.drawStroke();
  }

  stopPlaying() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.onStopped?.();
  }
}
