// The shell: navigation between rooms, light and dark, messages.

import { emptyState, h, icon, loading, toast } from "./lib/dom.js";
import { getJson } from "./lib/api.js";
import { showTheme } from "./lib/theme.js";

/**
 * @typedef {{name: string, title: string, closed: string}} RoomFacts
 * @typedef {{name: string, system: string, data: string, shape: number[] | null, version: number[] | null, rooms: RoomFacts[]}} RunFacts
 * @typedef {{run: RunFacts, refresh: () => Promise<void>}} Studio what a room is given
 * @typedef {{mount: (element: HTMLElement, studio: Studio) => Promise<(() => void) | void>}} RoomModule
 */

const main = /** @type {HTMLElement} */ (document.getElementById("room"));
/** @type {RunFacts} */
let run;
/** @type {(() => void) | void} */
let leave;
let visit = 0;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

function showRun() {
  byId("run-name").textContent = run.name;
  byId("run-system").textContent = run.system;
  byId("run-system").hidden = !run.system;
  byId("run-data").textContent = run.shape ? `${run.data}, rows of ${run.shape.join("×")}` : run.data;
  document.title = `${run.name} – aae studio`;
  const current = roomName();
  byId("rooms").replaceChildren(
    ...run.rooms.map((room) =>
      h("a", { href: `#${room.name}`, className: room.closed ? "closed" : "", "aria-current": room.name === current ? "page" : null }, icon(room.name), h("span", {}, room.title))
    )
  );
  byId("rooms").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone
}

function roomName() {
  const name = location.hash.slice(1).split("?")[0];
  if (run.rooms.some((r) => r.name === name)) return name;
  return (run.rooms.find((r) => !r.closed) ?? run.rooms[0]).name;
}

async function enter() {
  const number = ++visit;
  leave?.();
  leave = undefined;
  showRun();
  const room = /** @type {RoomFacts} */ (run.rooms.find((r) => r.name === roomName()));
  main.setAttribute("aria-busy", "true");
  main.replaceChildren(loading(room.title));
  const element = h("div", { className: `room ${room.name}-page` });
  element.dataset.room = room.name;
  try {
    if (room.closed) element.append(emptyState(`${room.title} is not open`, room.closed, "wait"));
    else {
      /** @type {RoomModule} */
      const module = await import(`./rooms/${room.name}.js`);
      const left = await module.mount(element, { run, refresh });
      if (number === visit) leave = left;
      else left?.();
    }
  } catch (error) {
    element.replaceChildren(emptyState("This room could not be opened", String(error instanceof Error ? error.message : error), "alert", h("button", { className: "button", type: "button", onclick: enter }, "Try again")));
  }
  if (number !== visit) return;
  main.replaceChildren(element);
  element.dispatchEvent(new Event("shown"));
  main.setAttribute("aria-busy", "false");
}

/** Read again what the run is, for instance after its training is complete. */
async function refresh() {
  const before = JSON.stringify([run.rooms, run.version]);
  run = await getJson("/api/run");
  if (JSON.stringify([run.rooms, run.version]) !== before) showRun();
}

async function start() {
  if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);
  showTheme();
  try {
    run = await getJson("/api/run");
  } catch (error) {
    main.replaceChildren(emptyState("The studio is not reachable", error instanceof Error ? error.message : "", "alert", h("button", { className: "button", type: "button", onclick: start }, "Try again")));
    return;
  }
  addEventListener("hashchange", enter);
  addEventListener("unhandledrejection", (event) => toast(event.reason instanceof Error ? event.reason.message : String(event.reason)));
  await enter();
}

start();
