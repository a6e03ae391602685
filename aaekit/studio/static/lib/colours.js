// Colours that also colour-blind people tell apart: those of the package's figures, and a ramp like cividis.

export const PALETTE = ["#0072B2", "#E69F00", "#661100", "#009E73", "#CC3311", "#DDCC77", "#33BBEE", "#332288", "#882255", "#CC79A7", "#EE7733", "#EE6677"];
// The dark ones of them are lighter on a dark ground.
const ON_DARK = { "#661100": "#B5674F", "#332288": "#8C7BE0", "#882255": "#C2608F", "#0072B2": "#3D9BDB" };
export const UNKNOWN = ["#9aa1ad", "#6b7280"];
const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

export function isDark() {
  return getComputedStyle(document.documentElement).colorScheme.includes("dark") && (document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches));
}

/**
 * The colour of a class by its number; -1 is an unknown one.
 * @param {number} k
 */
export function classColour(k) {
  const dark = isDark();
  if (k < 0) return UNKNOWN[dark ? 1 : 0];
  const colour = PALETTE[k % PALETTE.length];
  return dark ? (/** @type {Record<string, string>} */ (ON_DARK)[colour] ?? colour) : colour;
}

/** @param {string} hex */
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** The 256 colours of classes, of which the last is that of unknown ones, as RGBA bytes. */
export function classTexture() {
  const bytes = new Uint8Array(1024);
  for (let k = 0; k < 256; k++) bytes.set([...rgb(classColour(k === 255 ? -1 : k)), 255], 4 * k);
  return bytes;
}

/** The 256 colours of the ramp, low to high, as RGBA bytes. */
export function rampTexture() {
  const bytes = new Uint8Array(1024);
  for (let k = 0; k < 256; k++) {
    const place = (k / 255) * (RAMP.length - 1);
    const i = Math.min(Math.floor(place), RAMP.length - 2);
    const [a, b] = [rgb(RAMP[i]), rgb(RAMP[i + 1])];
    bytes.set([...a.map((v, c) => Math.round(v + (b[c] - v) * (place - i))), 255], 4 * k);
  }
  return bytes;
}

export const rampGradient = `linear-gradient(to right, ${RAMP.join(",")})`;
