// Decoding under the pointer: in the page if it has the decoder, else in the server. While an answer of the server is on
// its way, only the newest place is remembered.

import { post } from "./api.js";

export class Decoder {
  /** @param {(bytes: Uint8Array, code: Float32Array) => void} show @param {(error: Error) => void} [fail] */
  constructor(show, fail = () => {}) {
    this.show = show;
    this.fail = fail;
    this.next = /** @type {Float32Array | null} */ (null);
    this.busy = false;
    this.local = /** @type {import("./network.js").PageDecoder | null} */ (null);
  }

  /**
   * Decode codes, (n, 1 + d): the value of y and z. Those that are not asked for yet are forgotten.
   * @param {Float32Array} codes
   */
  async request(codes) {
    if (this.local) {
      this.show(this.local.decode(codes), codes);
      return;
    }
    this.next = codes;
    if (this.busy) return;
    this.busy = true;
    while (this.next) {
      const asked = this.next;
      this.next = null;
      try {
        this.show(await decode(asked), asked);
      } catch (error) {
        this.fail(/** @type {Error} */ (error));
      }
    }
    this.busy = false;
  }
}

/**
 * The lines of a table in the bytes of an answer, the header first.
 * @param {ArrayBuffer | Uint8Array} bytes
 * @returns {string[][]}
 */
export const linesOf = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/**
 * The bytes that the server decodes from codes.
 * @param {Float32Array} codes
 */
export async function decode(codes) {
  return new Uint8Array(await (await post("/api/decode", /** @type {BufferSource} */ (codes))).arrayBuffer());
}
