/** One call, live or past. */

import { ask, callPath } from "./api.js";
import { captures } from "./captures.js";
import { action, chip, day, exact, h, replace, seconds } from "./dom.js";
import { number } from "./help.js";
import { streamForm } from "./stream-form.js";
import "./listen.js";
import "./waves.js";

const SIGNS = { error: "✗", warning: "!", info: "·", ok: "✓" };

export class CallPage {
  #content; #events; #sid; #call = null; #streams = []; #timers = []; #closed = false;
  #waves = h("call-waves");
  #audio = h("call-audio");
  #state = h("p", { role: "status", class: "unseen" });
  #head = h("div"); #why = h("div"); #numbers = h("dl", { class: "numbers" }); #streamList = h("div"); #captures = h("div");
  #messages = h("ol", { class: "plain log small", tabindex: 0, "aria-label": "Messages" });
  #ladder = h("ol", { class: "ladder log small", tabindex: 0, "aria-label": "SIP messages" });
  #callbacks = h("ol", { class: "plain log small", tabindex: 0, "aria-label": "Callbacks" });
  #hangUp = action("Hang up", () => ask("POST", callPath(this.#sid), { Status: "completed" }), "danger");
  #about = h("p", { class: "row dim" });
  #values = new Map();
  #shown = new Set();
  #late = null;

  constructor(content, events, sid) {
    this.#content = content;
    this.#events = events;
    this.#sid = sid;
    const card = (title, ...children) => h("section", { class: "card", "aria-label": title }, h("h2", {}, title), children);
    content.replaceChildren(
      this.#state,
      this.#head,
      card("Levels", this.#waves, this.#audio),
      card("Numbers", this.#numbers),
      card("Why", this.#why),
      card("Streams", this.#streamList, streamForm(sid, () => this.#load())),
      card("Captures", this.#captures),
      card("Messages of the streams", this.#messages),
      card("SIP", this.#ladder),
      card("Callbacks", this.#callbacks),
      h("p", { class: "small dim break" }, "Call sid: ", h("code", {}, sid)),
    );
    events.addEventListener("event", this.#heard);
    events.addEventListener("levels", this.#levels);
    events.watch(sid);
    this.#load();
    this.#draw();
    this.#timers.push(setInterval(() => this.#live && this.#loadWhy(), 5000), setInterval(() => this.#live && this.#drawHead(), 1000));
  }

  close() {
    this.#closed = true;
    this.#timers.forEach(clearInterval);
    this.#events.removeEventListener("event", this.#heard);
    this.#events.removeEventListener("levels", this.#levels);
  }

  get #live() { return this.#call && !this.#call.end_time; }

  #heard = ({ detail }) => {
    if (detail.call_sid !== this.#sid) return;
    if (/^(call|stream)-(?!message)/.test(detail.event)) this.#load();
    this.#late ??= setTimeout(() => { this.#late = null; if (!this.#closed) this.#draw(); }, 100);
  };

  #levels = ({ detail }) => {
    if (detail.call_sid !== this.#sid) return;
    this.#waves.show(this.#events.of(this.#sid), this.#signs());
    this.#drawNumbers();
  };

  async #load() {
    try {
      const [call, streams] = await Promise.all([ask("GET", callPath(this.#sid)), ask("GET", callPath(this.#sid, "/Streams.json"))]);
      if (this.#closed) return;
      this.#call = call;
      this.#streams = streams.streams;
      this.#drawHead();
      this.#drawStreams();
      this.#loadWhy();
      this.#loadCaptures();
    } catch (error) {
      if (!this.#closed) this.#head.replaceChildren(h("h1", {}, "Call"), h("p", { class: "hint" }, error.message));
    }
  }

  async #loadCaptures() {
    try {
      const found = await captures(this.#sid, this.#call, () => this.#of("first-audio").at(-1)?.milliseconds);
      if (!this.#closed) replace(this.#captures, ...found);
    } catch (error) {
      if (!this.#closed) this.#captures.replaceChildren(h("p", { class: "hint" }, error.message));
    }
  }

  async #loadWhy() {
    try {
      const found = await ask("GET", callPath(this.#sid, "/media.json"));
      if (this.#closed) return;
      this.#why.replaceChildren(...found.findings.map((one) => h("div", { class: `finding ${one.severity}` },
        h("b", { "aria-label": one.severity, role: "img" }, SIGNS[one.severity]), h("span", { class: "break" }, one.text, " ", h("span", { class: "dim small" }, one.code)))));
    } catch { /* it is asked again */ }
  }

  #drawHead() {
    const call = this.#call, live = this.#live;
    const since = call.start_time ? Math.max(0, Math.round((Date.now() - Date.parse(call.start_time)) / 1000)) : null;
    const known = this.#of("call-").at(-1);
    this.#audio.show(this.#sid, live);
    // Said by screen readers, once for each change.
    const words = `The call is ${call.status.replace("-", " ")}.`;
    if (this.#state.textContent !== words) this.#state.textContent = words;
    if (!this.#head.contains(this.#about)) {
      this.#head.replaceChildren(h("div", { class: "row" }, h("h1", { class: "grow" }, `${call.from} → ${call.to}`), this.#hangUp), this.#about);
    }
    this.#hangUp.hidden = !live;
    this.#about.replaceChildren(chip(call.status), h("span", {}, call.direction), known?.codec ? h("span", {}, known.codec) : "", h("span", { class: "num" }, live ? seconds(since) : seconds(Number(call.duration ?? 0))), h("span", {}, day(call.start_time)), known?.reason ? h("span", {}, known.reason) : "");
  }

  #drawStreams() {
    const change = (stream, status) => async () => { await ask("POST", callPath(this.#sid, `/Streams/${stream.sid}.json`), { Status: status }); this.#load(); };
    replace(this.#streamList, ...(this.#streams.length ? this.#streams : [null]).map((stream) => stream === null
      ? h("p", { class: "dim" }, "No stream yet.")
      : h("div", { class: "row" }, chip(stream.status), h("strong", { class: "break" }, stream.name ?? stream.sid.slice(0, 8)), h("span", { class: "dim grow break" }, `${stream.track} ${stream.ended_reason ?? ""}`),
        h("span", { class: "row" },
          stream.status === "in-progress" && action("Pause", change(stream, "paused")),
          stream.status === "paused" && action("Resume", change(stream, "in-progress")),
          ["in-progress", "paused"].includes(stream.status) && action("Stop", change(stream, "stopped"), "danger")))));
  }

  #of(...names) { return this.#events.of(this.#sid).events.filter((one) => names.some((name) => one.event.startsWith(name))); }

  /** Marks as asked, played or cleared, clears and keys, from the messages in order. */
  #signs() {
    const signs = [];
    let pending = [], clearing = new Set();
    for (const one of this.#of("stream-message", "dtmf")) {
      const at = Date.parse(one.occurred_at), message = one.message ?? {};
      if (one.event === "dtmf") signs.push({ at, kind: "key", text: one.digit });
      else if (one.direction === "received" && message.event === "mark") { pending.push(JSON.stringify(message.mark?.name)); signs.push({ at, kind: "asked" }); }
      else if (one.direction === "received" && message.event === "clear") { clearing = new Set(pending); signs.push({ at, kind: "clear", text: "clear" }); }
      else if (one.direction === "sent" && message.event === "mark") {
        const name = JSON.stringify(message.mark?.name);
        signs.push({ at, kind: clearing.delete(name) ? "cleared" : "played" });
        pending = pending.filter((other) => other !== name);
      }
    }
    return signs;
  }

  #drawNumbers() {
    const signs = this.#signs(), count = (kind) => signs.filter((one) => one.kind === kind).length;
    const last = this.#events.of(this.#sid).levels.at(-1), streams = last?.streams ?? [];
    const sum = (name) => streams.reduce((total, one) => total + one[name], 0);
    const first = this.#of("first-audio").at(-1), barge = this.#of("barge-in"), ms = (one) => (one ? `${one.milliseconds} ms` : "–");
    const values = {
      "first-audio": ms(first), "barge-in": ms(barge.at(-1)), queue: last ? `${sum("queued_ms")} ms` : "–",
      marks: `${count("asked")} / ${count("played")} / ${count("cleared")}`, clears: count("clear"),
      keys: this.#of("dtmf").map((one) => one.digit).join("") || "–",
      "from-bot": last ? sum("media_received") : "–", "to-bot": last ? sum("media_sent") : "–",
    };
    // In place: the focus may be on a link.
    for (const [name, value] of Object.entries(values)) {
      if (!this.#values.has(name)) {
        this.#values.set(name, h("dd"));
        this.#numbers.append(number(name, this.#values.get(name)));
      }
      this.#values.get(name).textContent = value;
    }
  }

  #draw() {
    this.#drawNumbers();
    this.#waves.show(this.#events.of(this.#sid), this.#signs());
    this.#add(this.#messages, this.#of("stream-message", "messages-dropped", "first-audio", "barge-in"), (one) => h("li", { class: "row" },
      h("span", { class: "dim mono" }, exact(one.occurred_at)),
      one.event === "stream-message" ? h("span", { class: "chip" }, one.direction === "sent" ? "to the bot" : "from the bot") : h("span", { class: "chip warn" }, one.event),
      h("code", { class: `break grow ${one.message?.event === "error" ? "error" : ""}` }, one.message ? JSON.stringify(one.message) : one.text ?? `${one.milliseconds ?? one.count}${one.milliseconds === undefined ? "" : " ms"}`)), "No message yet. Messages are seen while the call is live and watched.");
    this.#add(this.#ladder, this.#of("sip-message"), (one) => h("li", {}, h("details", { class: "grow" },
      h("summary", {}, h("span", { class: "dim mono" }, exact(one.occurred_at)), h("span", { class: `arrow ${one.direction}`, title: one.direction }, h("span", {}, one.summary)), h("span", { class: "dim peer" }, `${one.peer} ${one.transport}`)),
      h("pre", {}, one.text))), "The SIP messages of a call are kept while the server runs, as long as its events are.");
    this.#add(this.#callbacks, this.#of("callback-"), (one) => h("li", {}, h("details", {},
      h("summary", {}, h("span", { class: "dim mono" }, exact(one.occurred_at)), " ", one.event === "callback-stored" ? chip("stored") : chip(one.state), " ", one.form?.StreamEvent ?? one.form?.CallStatus ?? "", " ", h("span", { class: "dim break" }, one.event === "callback-tried" ? `${one.status ?? one.reason} at try ${one.tries}` : `${one.method} ${one.url}`)),
      h("pre", {}, one.form ? Object.entries(one.form).map(([name, value]) => `${name}=${value}`).join("\n") : `${one.reason ?? ""}\n${one.answer ?? ""}`.trim() || "(an empty answer)"))), "No callback. Give the stream or the application a StatusCallback.");
  }

  #add(list, found, make, empty) {
    const fresh = found.filter((one) => !this.#shown.has(one.sequence));
    fresh.forEach((one) => this.#shown.add(one.sequence));
    if (!found.length) return list.replaceChildren(h("li", { class: "dim" }, empty));
    if (fresh.length && list.firstElementChild?.classList.contains("dim") && !list.dataset.filled) list.replaceChildren();
    list.dataset.filled = "1";
    const below = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...fresh.map(make));
    while (list.childElementCount > 400) list.firstElementChild.remove();
    if (below) list.scrollTop = list.scrollHeight;
  }
}
