// Pictures from bytes: (n, channels, height, width), each value one byte.

/**
 * Draw a picture into a canvas of its size.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} bytes
 * @param {number[]} shape channels, height and width
 * @param {number} [start] first byte
 */
export function drawPicture(canvas, bytes, [channels, height, width], start = 0) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.putImageData(imageOf(bytes, [channels, height, width], start), 0, 0);
}

/**
 * @param {Uint8Array} bytes
 * @param {number[]} shape
 * @param {number} start
 */
export function imageOf(bytes, [channels, height, width], start) {
  const image = new ImageData(width, height);
  const n = width * height;
  const [green, blue] = channels === 3 ? [n, 2 * n] : [0, 0];
  for (let k = 0, j = 0; k < n; k++, j += 4) {
    image.data[j] = bytes[start + k];
    image.data[j + 1] = bytes[start + green + k];
    image.data[j + 2] = bytes[start + blue + k];
    image.data[j + 3] = 255;
  }
  return image;
}

/**
 * A canvas with a picture.
 * @param {Uint8Array} bytes
 * @param {number[]} shape
 * @param {number} index which one of them
 * @param {string} label for screen readers
 */
export function picture(bytes, shape, index, label) {
  const canvas = document.createElement("canvas");
  canvas.className = "picture";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  drawPicture(canvas, bytes, shape, index * shape[0] * shape[1] * shape[2]);
  return canvas;
}
