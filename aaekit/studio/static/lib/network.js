// A decoder of fully connected and transposed convolutional layers, in plain JavaScript.

/**
 * @typedef {{kind: string, in?: number, out?: number, kernel?: number, stride?: number, padding?: number, channels?: number,
 *   height?: number, width?: number, shape?: number[], weight?: any, bias?: any, scale?: any, shift?: any}} Layer
 */

/** @param {string} text in base 64 */
export function bytesOf(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
  return bytes;
}

/** @param {string} text */
export const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);

/** Numbers of 16 bits as those of 32. @param {string} text */
function halvesOf(text) {
  const halves = new Uint16Array(bytesOf(text).buffer), floats = new Float32Array(halves.length);
  for (let k = 0; k < halves.length; k++) {
    const sign = halves[k] & 0x8000 ? -1 : 1, exponent = (halves[k] >> 10) & 31, fraction = halves[k] & 1023;
    floats[k] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }
  return floats;
}

export class Network {
  /** @param {Layer[]} layers */
  constructor(layers) {
    this.layers = layers.map((layer) => ({
      ...layer,
      weight: layer.weight && halvesOf(layer.weight),
      bias: layer.bias && floatsOf(layer.bias),
      scale: layer.scale && floatsOf(layer.scale),
      shift: layer.shift && floatsOf(layer.shift),
    }));
  }

  /** @param {Float32Array} input */
  forward(input) {
    let x = input, shape = [input.length];
    for (const layer of this.layers) [x, shape] = step(layer, x, shape);
    return x;
  }
}

/** Makes bytes of pictures of codes: the value of y, then z. */
export class PageDecoder {
  /** @param {{layers: Layer[], combinations: number[][] | null}} facts @param {number} nDims of z */
  constructor(facts, nDims) {
    this.network = new Network(facts.layers);
    this.combinations = facts.combinations;
    this.width = 1 + nDims;
  }

  /** @param {Float32Array} codes (n, 1 + d) */
  decode(codes) {
    const rows = [];
    for (let i = 0; i < codes.length; i += this.width) {
      const hot = this.combinations ? this.combinations[codes[i]] : [];
      rows.push(this.network.forward(Float32Array.of(...hot, ...codes.subarray(i + 1, i + this.width))));
    }
    const size = rows[0].length, bytes = new Uint8Array(rows.length * size);
    rows.forEach((row, i) => row.forEach((v, k) => (bytes[i * size + k] = Math.round(255 * Math.min(1, Math.max(0, v))))));
    return bytes;
  }
}

/**
 * @param {Layer} layer
 * @param {Float32Array} x
 * @param {number[]} shape
 * @returns {[Float32Array, number[]]}
 */
function step(layer, x, shape) {
  if (layer.kind === "dense") return [dense(layer, x), [layer.out ?? 0]];
  if (layer.kind === "transposed") return transposed(layer, x, shape);
  if (layer.kind === "shape") return [x, layer.shape ?? shape];
  if (layer.kind === "relu") return [x.map((v) => (v > 0 ? v : 0)), shape];
  if (layer.kind === "sigmoid") return [x.map((v) => 1 / (1 + Math.exp(-v))), shape];
  if (layer.kind === "affine") {
    const size = x.length / (layer.channels ?? 1);
    return [x.map((v, k) => v * layer.scale[Math.floor(k / size)] + layer.shift[Math.floor(k / size)]), shape];
  }
  return crop(layer, x, shape);
}

/** @param {Layer} layer @param {Float32Array} x */
function dense(layer, x) {
  const n = layer.in ?? 0, m = layer.out ?? 0, w = layer.weight, out = new Float32Array(m);
  for (let j = 0, i = 0; j < m; j++) {
    let sum = layer.bias ? layer.bias[j] : 0;
    for (let k = 0; k < n; k++, i++) sum += w[i] * x[k];
    out[j] = sum;
  }
  return out;
}

/**
 * Each value is added, times the kernel, to the places around where it goes.
 * @param {Layer} layer
 * @param {Float32Array} x
 * @param {number[]} shape
 * @returns {[Float32Array, number[]]}
 */
function transposed(layer, x, [channels, height, width]) {
  const { kernel = 1, stride = 1, padding = 0, out: outputs = 1, weight } = layer;
  const h = (height - 1) * stride - 2 * padding + kernel, w = (width - 1) * stride - 2 * padding + kernel;
  const out = new Float32Array(outputs * h * w);
  if (layer.bias) for (let o = 0; o < outputs; o++) out.fill(layer.bias[o], o * h * w, (o + 1) * h * w);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let z = 0; z < width; z++) {
        const value = x[(c * height + y) * width + z];
        if (!value) continue;
        for (let o = 0; o < outputs; o++)
          for (let a = 0; a < kernel; a++) {
            const row = y * stride - padding + a;
            if (row < 0 || row >= h) continue;
            const from = ((c * outputs + o) * kernel + a) * kernel, to = (o * h + row) * w + z * stride - padding;
            for (let b = 0; b < kernel; b++) {
              const column = z * stride - padding + b;
              if (column >= 0 && column < w) out[to + b] += value * weight[from + b];
            }
          }
      }
  return [out, [outputs, h, w]];
}

/**
 * @param {Layer} layer
 * @param {Float32Array} x
 * @param {number[]} shape
 * @returns {[Float32Array, number[]]}
 */
function crop(layer, x, [channels, height, width]) {
  const h = layer.height ?? height, w = layer.width ?? width, out = new Float32Array(channels * h * w);
  const top = Math.floor((height - h) / 2), left = Math.floor((width - w) / 2);
  for (let c = 0, k = 0; c < channels; c++)
    for (let y = 0; y < h; y++) for (let z = 0; z < w; z++, k++) out[k] = x[(c * height + y + top) * width + z + left];
  return [out, [channels, h, w]];
}
