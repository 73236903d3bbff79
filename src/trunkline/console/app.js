/** The frame: login, navigation, and the view that the address asks for. */

import { Events, logIn, logInByToken, session } from "./api.js";
import { h } from "./dom.js";
import { CallPage } from "./call.js";
import * as lists from "./lists.js";
import { help } from "./help.js";
import "./phone.js";

const content = document.getElementById("content"), nav = document.getElementById("nav");
const side = document.getElementById("side"), link = document.getElementById("link"), leave = document.getElementById("leave");
const PAGES = {
  calls: ["Calls", lists.calls], streams: ["Streams", lists.streams], callbacks: ["Callbacks", lists.callbacks],
  applications: ["Applications", lists.applications], numbers: ["Numbers", lists.numbers],
  phones: ["Phones", lists.phones], trunks: ["Trunks", lists.trunks], keys: ["Keys", lists.keys],
};
let events = null, page = null;

leave.addEventListener("click", () => { session.end(); logOut(); });

function logOut(reason) {
  events?.stop();
  events = null;
  session.clear();
  landing(reason);
}

function landing(reason) {
  page?.close?.();
  page = null;
  nav.hidden = side.hidden = leave.hidden = link.hidden = true;
  side.replaceChildren();
  document.title = "Trunkline";
  const key = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, spellcheck: "false" });
  const wrong = h("p", { role: "alert", class: reason ? "hint" : "" }, reason);
  const button = h("button", { type: "submit" }, "Log in");
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await logIn(key.value.trim());
      begin();
    } catch (error) {
      wrong.className = "hint";
      wrong.textContent = error.status === 401 ? "This is no valid API key of this server." : error.message;
    } finally {
      button.disabled = false;
    }
  } }, h("input", { type: "text", name: "username", autocomplete: "username", value: "Trunkline", hidden: true }), h("label", {}, "API key", key), wrong, h("p", {}, button));
  content.replaceChildren(h("div", { class: "landing" },
    h("h1", {}, "Trunkline streams phone calls to your bot"),
    h("p", { class: "lead" }, "This server answers and places calls over SIP, streams their audio to a WebSocket, and plays back what your bot says. Here you see each call while it happens, and talk to your bot."),
    h("section", { class: "card" }, h("h2", {}, "Log in"), form,
      h("p", { class: "small dim" }, "The key stays in this tab. On the server's machine ",
        h("code", {}, "trunkline console"), " prints a link that needs no key, and ", h("code", {}, "trunkline env"), " a key.")),
    h("section", { class: "card" }, h("h2", {}, "No bot yet?"),
      h("pre", {}, "trunkline dev ws://127.0.0.1:7860/ws"),
      h("p", { class: "small dim" }, "starts a server whose every call goes to that WebSocket. ",
        h("a", { href: "/docs" }, "API documentation"), " · ", h("a", { href: "#/help" }, "what the numbers mean")))));
}

function begin() {
  events = new Events();
  events.addEventListener("refused", () => logOut("You were logged out: the API key is not valid any more."));
  events.addEventListener("state", ({ target }) => {
    link.className = target.open ? "link" : "link off";
    link.textContent = target.open ? "live" : "connecting…";
  });
  events.start();
  nav.replaceChildren(...Object.entries(PAGES).map(([name, [label]]) => h("a", { href: `#/${name}` }, label)));
  nav.hidden = side.hidden = leave.hidden = link.hidden = false;
  side.replaceChildren(h("browser-phone", { class: "card" }));
  show();
}

function show() {
  const [name, argument] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (!session.key && name !== "help") return landing();
  if (name === "help" && !session.key) return content.replaceChildren(...help(argument));
  page?.close?.();
  const shown = PAGES[name] ? name : name === "call" || name === "help" ? name : "calls";
  for (const one of nav.children) {
    if (one.getAttribute("href") === `#/${shown === "call" ? "calls" : shown}`) {
      one.setAttribute("aria-current", "page");
      nav.scrollLeft = one.offsetLeft - nav.offsetLeft - 16;  // on a phone not all are in sight
    } else one.removeAttribute("aria-current");
  }
  if (shown === "call") page = new CallPage(content, events, argument);
  else if (shown === "help") { page = null; content.replaceChildren(...help(argument)); document.getElementById(argument)?.scrollIntoView(); }
  else page = PAGES[shown][1](content, events);
  document.title = `${shown === "call" ? "Call" : shown === "help" ? "Numbers" : PAGES[shown][0]} · Trunkline`;
}

window.addEventListener("hashchange", () => { show(); content.focus(); });

async function load() {
  const token = new URLSearchParams(location.hash.replace(/^#/, "")).get("token");
  if (token) {
    history.replaceState(null, "", "/#/calls");
    try {
      await logInByToken(token);
    } catch (error) {
      if (!session.key) {
        return landing(error.status === 401 ? "This link was used, or is older than five minutes. Print another with: trunkline console" : error.message);
      }
    }
  }
  if (session.key) begin();
  else show();
}

load();
