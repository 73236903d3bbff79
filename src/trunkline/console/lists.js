/** The lists: calls, streams, callbacks, applications, numbers, phones, trunks, keys. */

import { account, ask, callPath } from "./api.js";
import { action, chip, day, h, note, replace, seconds, table } from "./dom.js";

export const callLink = (sid, text) => h("a", { href: `#/call/${encodeURIComponent(sid)}`, class: "break" }, text ?? sid.slice(0, 14) + "…");

/** A page that loads, shows, and loads again when one of these events comes. */
function live(content, title, load, events, names = []) {
  const body = h("div", { class: "card" }, h("p", { class: "dim" }, "Loading…"));
  const head = h("div", { class: "row" }, h("h1", { class: "grow" }, title));
  content.replaceChildren(head, body);
  let due = null, closed = false;
  const refresh = async () => {
    due = null;
    try {
      const shown = await load();
      if (!closed && shown) replace(body, ...[shown].flat().filter(Boolean));
    } catch (error) {
      if (!closed) body.replaceChildren(h("p", { class: "hint" }, error.status === 403 ? "This key's scope does not show this list." : error.message));
    }
  };
  const heard = ({ detail }) => {
    if (!due && names.some((name) => detail.event.startsWith(name))) due = setTimeout(refresh, 250);
  };
  events.addEventListener("event", heard);
  refresh();
  return { refresh, head, close() { closed = true; clearTimeout(due); events.removeEventListener("event", heard); } };
}

const callIt = (to) => h("button", { type: "button", class: "quiet", onclick: () => document.querySelector("browser-phone")?.call(to) }, "Call it");

/** The pages of a list: `query` of the present one, `turns` to the others, `first` after a change of the filter. */
function paging(refresh) {
  let number = 0;
  const go = (to) => { number = to; refresh(); };
  const turn = (step, label, there) => h("button", { type: "button", class: "quiet", disabled: !there, onclick: () => go(number + step) }, label);
  return {
    first: () => go(0),
    query: () => new URLSearchParams({ PageSize: 50, Page: number }),
    turns: (found) => (found.next_page_uri || number
      ? h("nav", { class: "row pages", "aria-label": "Pages" }, turn(-1, "Newer", number > 0), h("span", { class: "dim" }, `Page ${number + 1}`), turn(1, "Older", found.next_page_uri))
      : null),
  };
}

export function calls(content, events) {
  const status = h("select", { name: "status", onchange: () => pages.first() },
    [["", "Live and past"], ["in-progress", "In progress"], ["ringing", "Ringing"], ["completed", "Completed"], ["failed", "Failed"], ["busy", "Busy"], ["no-answer", "No answer"], ["canceled", "Canceled"]]
      .map(([value, label]) => h("option", { value }, label)));
  const from = h("input", { name: "from", inputmode: "tel", onchange: () => pages.first() });
  const to = h("input", { name: "to", inputmode: "tel", onchange: () => pages.first() });
  const pages = paging(() => page.refresh());
  const page = live(content, "Calls", async () => {
    const query = pages.query();
    if (status.value) query.set("Status", status.value);
    if (from.value) query.set("From", from.value.trim());
    if (to.value) query.set("To", to.value.trim());
    const found = await ask("GET", account(`Calls.json?${query}`));
    return [
      table("Calls", [
        ["Started", (call) => callLink(call.sid, day(call.start_time))],
        ["From", (call) => call.from, "break"],
        ["To", (call) => call.to, "break"],
        ["Direction", (call) => call.direction],
        ["Status", (call) => chip(call.status)],
        ["Duration", (call) => (call.duration === null ? "" : seconds(Number(call.duration))), "num"],
      ], found.calls, "No call yet. Call a number with the phone beside this list, or point a SIP phone at this server."),
      pages.turns(found),
    ];
  }, events, ["call-"]);
  page.head.after(h("div", { class: "card fields", role: "search" }, h("label", {}, "Status", status), h("label", {}, "From", from), h("label", {}, "To", to)));
  return page;
}

export function streams(content, events) {
  const status = h("select", { name: "status", onchange: () => pages.first() },
    [["", "Live and past"], ["in-progress", "In progress"], ["paused", "Paused"], ["stopped", "Stopped"], ["failed", "Failed"]]
      .map(([value, label]) => h("option", { value }, label)));
  const name = h("input", { name: "name", spellcheck: "false", onchange: () => pages.first() });
  const call = h("input", { name: "call", spellcheck: "false", onchange: () => pages.first() });
  const pages = paging(() => page.refresh());
  const page = live(content, "Streams", async () => {
    const query = pages.query();
    if (status.value) query.set("Status", status.value);
    if (name.value.trim()) query.set("Name", name.value.trim());
    if (call.value.trim()) query.set("CallSid", call.value.trim());
    const found = await ask("GET", `/v2/trunkline/streams?${query}`);
    const filtered = status.value || name.value || call.value;
    return [
      table("Streams", [
        ["Started", (stream) => day(stream.date_created)],
        ["Call", (stream) => callLink(stream.call_sid)],
        ["Name", (stream) => stream.name, "break"],
        ["Track", (stream) => stream.track],
        ["Status", (stream) => chip(stream.status)],
        ["Ended", (stream) => stream.ended_reason, "break"],
      ], found.streams, filtered ? "No such stream." : "No stream yet. A call page has a form that starts one."),
      pages.turns(found),
    ];
  }, events, ["stream-"]);
  page.head.after(h("div", { class: "card fields", role: "search" }, h("label", {}, "Status", status), h("label", {}, "Name", name), h("label", {}, "Call sid", call)));
  return page;
}

export function callbacks(content, events) {
  const pages = paging(() => page.refresh());
  const page = live(content, "Callbacks", async () => {
    const found = await ask("GET", `/v2/trunkline/callbacks?${pages.query()}`);
    return [table("Callbacks", [
      ["Time", (one) => day(one.created_at)],
      ["Event", (one) => one.form.StreamEvent ?? one.form.CallStatus ?? ""],
      ["Call", (one) => callLink(one.call_sid)],
      ["To", (one) => `${one.method} ${one.url}`, "break"],
      ["State", (one) => [chip(one.state), " ", h("span", { class: "small dim" }, one.last_error ?? one.last_status ?? "")]],
      ["Tries", (one) => one.tries, "num"],
      ["", (one) => action("Redeliver", async () => {
        await ask("POST", `/v2/trunkline/callbacks/${encodeURIComponent(one.id)}/redeliver`, {});
        note("It is sent again, with a webhook-id of its own.", true);
        page.refresh();
      })],
    ], found.callbacks, "No callback is kept. Give a stream or an application a StatusCallback."), pages.turns(found)];
  }, events, ["callback-"]);
  return page;
}

export function applications(content, events) {
  return live(content, "Applications", async () => {
    const found = await ask("GET", "/v2/texml_applications?page[size]=100");
    return table("Applications", [
      ["Name", (one) => one.friendly_name, "break"],
      ["Sid", (one) => one.id],
      ["TeXML from", (one) => one.voice_url ?? one.stream ?? "", "break"],
      ["State", (one) => chip(one.active ? "active" : "not active")],
      ["", (one) => callIt(`app-${one.id}`)],
    ], found.data, "No TeXML application. Make one by POST /v2/texml_applications, or in the settings.");
  }, events);
}

const routes = async () => (await ask("GET", "/v2/trunkline/routes")).data;

export function numbers(content, events) {
  return live(content, "Numbers", async () => table("Numbers", [
    ["Pattern", (one) => h("code", {}, one.pattern)],
    ["Runs", (one) => one.runs, "break"],
    ["", (one) => (/^[A-Za-z0-9+_-]+$/.test(one.pattern) ? callIt(one.pattern) : "")],
  ], (await routes()).numbers, "No number of its own: every call is answered, and waits for what the API does with it, or runs the setting stream."), events);
}

export function phones(content, events) {
  return live(content, "Phones", async () => table("Phones", [
    ["User", (one) => one.user, "break"],
    ["State", (one) => chip(one.contacts.length ? "registered" : "not registered")],
    ["At", (one) => one.contacts.join(", "), "break"],
  ], (await routes()).phones, "No phone in the settings (sip.phones)."), events);
}

export function trunks(content, events) {
  return live(content, "Trunks", async () => table("Trunks", [
    ["Name", (one) => one.name, "break"],
    ["Registration", (one) => (one.registered === null ? "none" : chip(one.registered ? "registered" : "not registered"))],
    ["Targets", (one) => one.targets.map((target) => h("div", {}, chip(target.up ? "up" : "down"), " ", h("code", { class: "break" }, target.target)))],
  ], (await routes()).trunks, "No trunk in the settings (sip.trunks)."), events);
}

export function keys(content, events) {
  const page = live(content, "API keys", async () => {
    const found = await ask("GET", "/v2/trunkline/keys");
    const name = h("input", { name: "name", required: true, maxlength: 64 });
    const scope = h("select", { name: "scope" }, ["full", "calls", "read"].map((one) => h("option", {}, one)));
    const made = h("p", { role: "status" });
    return [
      table("API keys", [
        ["Name", (one) => one.name, "break"],
        ["Scope", (one) => one.scope],
        ["Made", (one) => day(one.created_at)],
        ["Expires", (one) => day(one.expires_at) || "never"],
        ["Last used", (one) => day(one.last_used_at)],
        ["", (one) => action("Revoke", async () => {
          if (!confirm(`Revoke the key ${one.name}? What uses it stops working at once.`)) return;
          await ask("DELETE", `/v2/trunkline/keys/${encodeURIComponent(one.id)}`);
          page.refresh();
        }, "danger")],
      ], found.data, "No key."),
      h("form", { class: "fields", onsubmit: async (event) => {
        event.preventDefault();
        try {
          const { data } = await ask("POST", "/v2/trunkline/keys", { name: name.value, scope: scope.value });
          made.replaceChildren("The new key, shown this once: ", h("code", { class: "break" }, data.api_key));
        } catch (error) {
          note(error.message);
        }
      } }, h("label", {}, "Name of a new key", name), h("label", {}, "Scope", scope), h("div", { class: "wide" }, h("button", { type: "submit" }, "Make a key"))),
      made,
    ];
  }, events);
  return page;
}
