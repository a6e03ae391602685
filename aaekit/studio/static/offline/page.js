// The page of one file: the latent map alone.

import { emptyState, h, toast } from "../lib/dom.js";
import { showTheme } from "../lib/theme.js";
import { mount } from "../rooms/map.js";

const room = h("div", { className: "room map-page" });
const main = /** @type {HTMLElement} */ (document.getElementById("room"));
addEventListener("unhandledrejection", (event) => toast(event.reason instanceof Error ? event.reason.message : String(event.reason)));
showTheme();
main.append(room);
mount(room).then(() => room.dispatchEvent(new Event("shown")), (error) => room.replaceChildren(emptyState("The map could not be opened", error.message, "alert")));
