// Up to a million points in WebGL 2, with a grid by which the nearest one is found.

const VERTEX = `#version 300 es
in vec2 place; in float colour; in float state;
uniform vec4 view; uniform float size; uniform sampler2D palette;
out vec4 fill; out float radius;
void main() {
  bool hidden = state > 2.5;
  gl_Position = hidden ? vec4(2.0, 2.0, 0.0, 1.0) : vec4(place * view.xy + view.zw, 0.0, 1.0);
  radius = size * (state > 1.5 ? 1.5 : 1.0);
  gl_PointSize = radius + 1.0;
  fill = texelFetch(palette, ivec2(int(colour + 0.5), 0), 0);
  fill.a = state > 0.5 && state < 1.5 ? 0.12 : 0.85;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 fill; in float radius; out vec4 colour;
void main() {
  float r = length(gl_PointCoord - 0.5) * (radius + 1.0);
  float a = fill.a * clamp(radius * 0.5 + 0.5 - r, 0.0, 1.0);
  if (a <= 0.0) discard;
  colour = vec4(fill.rgb * a, a);
}`;

export const NORMAL = 0, DIMMED = 1, SELECTED = 2, HIDDEN = 3;
const N_CELLS = 512; // of the grid, a side
const SLOW = 50, REST = 200; // milliseconds: of a frame that takes long, and without a change before all points are drawn
const LONGEST_REST = 3000; // where a frame of all points takes long, so that they do not come between two moves
const FEWEST = 20000; // points that are drawn while something changes, however slow

export class Scatter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} capacity points, at most
   */
  constructor(canvas, capacity) {
    this.canvas = canvas;
    this.n = 0;
    this.places = new Float32Array(2 * capacity);
    this.colours = new Uint8Array(capacity);
    this.states = new Uint8Array(capacity);
    this.centre = [0, 0]; // of what is visible, in the units of places
    this.scale = 1; // pixels of CSS for a unit
    this.home = { centre: [0, 0], scale: 1 };
    this.onview = () => {};
    this.pending = 0;
    this.limit = capacity; // points that are drawn while something changes: the first ones, whose order is random
    this.cost = 0; // milliseconds of the last frame with all points
    this.rest = /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined);
    this.palette = new Uint8Array(1024);
    this.box = /** @type {number[][] | null} */ (null);
    this.grid = /** @type {{starts: Uint32Array, members: Uint32Array, low: number[], step: number[], n: number} | null} */ (null);
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    if (!gl) throw new Error("This browser shows no WebGL 2. The map needs it: try another browser.");
    this.gl = gl;
    this.start();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.start();
      this.upload();
      this.setPalette(this.palette);
    });
  }

  start() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    ["place", "colour", "state"].forEach((name, k) => gl.bindAttribLocation(program, k, name));
    gl.linkProgram(program);
    gl.useProgram(program);
    this.uniforms = { view: gl.getUniformLocation(program, "view"), size: gl.getUniformLocation(program, "size") };
    this.buffers = [this.places, this.colours, this.states].map((array, k) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, array.byteLength, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(k);
      if (k === 0) gl.vertexAttribPointer(k, 2, gl.FLOAT, false, 0, 0);
      else gl.vertexAttribPointer(k, 1, gl.UNSIGNED_BYTE, false, 0, 0);
      return buffer;
    });
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /**
   * Send some of the points to the graphics card.
   * @param {("places" | "colours" | "states")[]} [what]
   * @param {number} [from]
   */
  upload(what = ["places", "colours", "states"], from = 0) {
    const gl = this.gl;
    ["places", "colours", "states"].forEach((name, k) => {
      if (!what.includes(/** @type {any} */ (name))) return;
      const array = [this.places, this.colours, this.states][k];
      const width = k === 0 ? 2 : 1;
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers?.[k] ?? null);
      gl.bufferSubData(gl.ARRAY_BUFFER, from * width * array.BYTES_PER_ELEMENT, array.subarray(from * width, this.n * width));
    });
    if (what.includes("places") && !from) this.grid = null;
    this.draw();
  }

  /** @param {Uint8Array<ArrayBuffer>} texture 256 colours as RGBA bytes */
  setPalette(texture) {
    this.palette = texture;
    this.gl.texImage2D(this.gl.TEXTURE_2D, 0, this.gl.RGBA, 256, 1, 0, this.gl.RGBA, this.gl.UNSIGNED_BYTE, texture);
    this.draw();
  }

  /** Draw in the next frame: as many points as are drawn quickly, and all of them when nothing changes any more. */
  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(async () => {
      this.pending = 0;
      const n = Math.min(this.limit, this.n);
      clearTimeout(this.rest);
      if (n < this.n) this.rest = setTimeout(() => this.drawAll(), Math.max(REST, Math.min(2 * this.cost, LONGEST_REST)));
      const took = await this.timed(n);
      this.limit = Math.max(FEWEST, Math.min(this.states.length, took > SLOW ? n * Math.max(0.05, SLOW / took) : 1.1 * this.limit));
    });
  }

  async drawAll() {
    if (this.pending) this.rest = setTimeout(() => this.drawAll(), REST);
    else this.cost = await this.timed(Infinity);
  }

  /** Draw some points; the milliseconds until the next frame, which waits for the graphics card. @param {number} most */
  timed(most) {
    const began = performance.now();
    this.drawNow(most);
    return /** @type {Promise<number>} */ (new Promise((done) => requestAnimationFrame(() => done(performance.now() - began))));
  }

  /** @param {number} [most] points */
  drawNow(most = Infinity) {
    const { gl, canvas } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [sx, sy] = [(2 * this.scale) / canvas.clientWidth, (2 * this.scale) / canvas.clientHeight];
    gl.uniform4f(this.uniforms?.view ?? null, sx, sy, -this.centre[0] * sx, -this.centre[1] * sy);
    gl.uniform1f(this.uniforms?.size ?? null, this.pointSize() * ratio);
    gl.drawArrays(gl.POINTS, 0, Math.min(this.n, most));
    this.onview();
  }

  pointSize() {
    const crowd = Math.max(2.2, Math.min(7, 160 / Math.sqrt(this.n + 1)));
    return Math.min(12, crowd * Math.sqrt(Math.max(1, this.scale / this.home.scale)));
  }

  // --- view
  /**
   * Show a box of places; it becomes what `fit` shows.
   * @param {number[]} low
   * @param {number[]} high
   * @param {boolean} [keep] what the user has moved to
   */
  frame(low, high, keep = false) {
    this.box = [low, high];
    const [w, h] = [this.canvas.clientWidth || 1, this.canvas.clientHeight || 1];
    const scale = 0.92 * Math.min(w / Math.max(high[0] - low[0], 1e-6), h / Math.max(high[1] - low[1], 1e-6));
    const before = this.home;
    const moved = this.scale !== before.scale || this.centre[0] !== before.centre[0] || this.centre[1] !== before.centre[1];
    this.home = { centre: [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], scale };
    if (keep && moved) this.scale *= this.home.scale / before.scale;
    else this.fit();
    this.draw();
  }

  /** Keep what is visible in a canvas of another size. */
  resize() {
    if (this.box) this.frame(this.box[0], this.box[1], true);
    this.drawNow();
  }

  fit() {
    this.centre = [...this.home.centre];
    this.scale = this.home.scale;
    this.draw();
  }

  /**
   * From pixels in the canvas to a place.
   * @param {number} x
   * @param {number} y
   */
  placeAt(x, y) {
    return [this.centre[0] + (x - this.canvas.clientWidth / 2) / this.scale, this.centre[1] - (y - this.canvas.clientHeight / 2) / this.scale];
  }

  /**
   * From a place to pixels in the canvas.
   * @param {ArrayLike<number>} place
   */
  pixelOf(place) {
    return [this.canvas.clientWidth / 2 + (place[0] - this.centre[0]) * this.scale, this.canvas.clientHeight / 2 - (place[1] - this.centre[1]) * this.scale];
  }

  /**
   * Zoom about a pixel.
   * @param {number} factor
   * @param {number} [x]
   * @param {number} [y]
   */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.placeAt(x, y);
    this.scale = Math.min(Math.max(this.scale * factor, this.home.scale / 4), this.home.scale * 400);
    const after = this.placeAt(x, y);
    this.centre = [this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]];
    this.draw();
  }

  /**
   * @param {number} dx pixels
   * @param {number} dy
   */
  pan(dx, dy) {
    this.centre = [this.centre[0] - dx / this.scale, this.centre[1] + dy / this.scale];
    this.draw();
  }

  // --- which point
  /** The grid of the points; while some are still to come, it may lack the last ones. */
  indexed() {
    if (this.grid && (this.grid.n === this.n || (this.n < this.states.length && this.grid.n > 0.8 * this.n))) return this.grid;
    const { n, places } = this;
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < 2 * n; i++) {
      const c = i & 1;
      if (places[i] < low[c]) low[c] = places[i];
      if (places[i] > high[c]) high[c] = places[i];
    }
    const step = [0, 1].map((c) => (high[c] - low[c]) / N_CELLS || 1);
    const starts = new Uint32Array(N_CELLS * N_CELLS + 1), cells = new Uint32Array(n), members = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      const cx = Math.min(N_CELLS - 1, Math.floor((places[2 * i] - low[0]) / step[0]));
      const cy = Math.min(N_CELLS - 1, Math.floor((places[2 * i + 1] - low[1]) / step[1]));
      cells[i] = cy * N_CELLS + cx;
      starts[cells[i] + 1]++;
    }
    for (let c = 0; c < N_CELLS * N_CELLS; c++) starts[c + 1] += starts[c];
    const next = starts.slice();
    for (let i = 0; i < n; i++) members[next[cells[i]]++] = i;
    this.grid = { starts, members, low, step, n };
    return this.grid;
  }

  /**
   * The visible point that is nearest to a place, within some pixels; -1 if there is none.
   * @param {number[]} place
   * @param {number} pixels
   */
  nearest([x, y], pixels) {
    if (!this.n) return -1;
    const { starts, members, low, step } = this.indexed();
    const r = pixels / this.scale;
    /** @param {number} value @param {number} c */
    const cell = (value, c) => Math.min(N_CELLS - 1, Math.max(0, Math.floor((value - low[c]) / step[c])));
    let best = -1, least = r * r;
    for (let cy = cell(y - r, 1); cy <= cell(y + r, 1); cy++)
      for (let cx = cell(x - r, 0); cx <= cell(x + r, 0); cx++)
        for (let m = starts[cy * N_CELLS + cx]; m < starts[cy * N_CELLS + cx + 1]; m++) {
          const i = members[m];
          const d = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
          if (d < least && this.states[i] !== HIDDEN) [best, least] = [i, d];
        }
    return best;
  }

  /**
   * The visible point that is nearest to a place, however far; -1 if there is none.
   * @param {number[]} place
   */
  closest(place) {
    for (let pixels = 8, extent = 16 * this.canvas.clientWidth * (1 + this.scale / this.home.scale); pixels < extent; pixels *= 4) {
      const point = this.nearest(place, pixels);
      if (point >= 0) return point;
    }
    return -1;
  }

  /**
   * The visible points inside a polygon of places.
   * @param {number[][]} polygon
   */
  inside(polygon) {
    const xs = polygon.map((p) => p[0]), ys = polygon.map((p) => p[1]);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const members = [];
    for (let i = 0; i < this.n; i++) {
      const x = this.places[2 * i], y = this.places[2 * i + 1];
      if (x < x0 || x > x1 || y < y0 || y > y1 || this.states[i] === HIDDEN) continue;
      let within = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++)
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) within = !within;
      if (within) members.push(i);
    }
    return members;
  }
}
