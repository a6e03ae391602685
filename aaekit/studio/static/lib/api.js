// Questions to the server. A refused one is an Error with the server's own sentence.

/** @param {Response} response */
async function checked(response) {
  if (response.ok) return response;
  const text = await response.text();
  let message = text;
  try {
    message = JSON.parse(text).error ?? text;
  } catch {
    // plain text
  }
  throw new Error(message || `expected an answer, got status ${response.status}`);
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Error("The studio does not answer. Is it still running in its terminal?");
  }
  return checked(response);
}

/**
 * @param {string} path
 * @param {Record<string, string | number>} query
 */
function get(path, query) {
  const text = new URLSearchParams(Object.entries(query).map(([k, v]) => [k, String(v)])).toString();
  return ask(text ? `${path}?${text}` : path);
}

/**
 * The JSON of an address.
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 * @returns {Promise<any>}
 */
export async function getJson(path, query = {}) {
  return (await get(path, query)).json();
}

/**
 * The bytes of an address, and the headers of the answer.
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 */
export async function getBytes(path, query = {}) {
  const response = await get(path, query);
  return { bytes: await response.arrayBuffer(), headers: response.headers };
}

/**
 * Send bytes.
 * @param {string} path
 * @param {BodyInit} body
 */
export async function post(path, body) {
  return ask(path, { method: "POST", body });
}

/**
 * Send a value as JSON; the answer as JSON.
 * @param {string} path
 * @param {unknown} value
 * @returns {Promise<any>}
 */
export async function postJson(path, value) {
  return (await ask(path, { method: "POST", body: JSON.stringify(value), headers: { "content-type": "application/json" } })).json();
}
