/** `<browser-phone>`: the microphone and the speaker as a phone in a real call of the server. */

import { socketUrl, ticket } from "./api.js";
import { h } from "./dom.js";

const RESUME = "trunkline.phone";
const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const MICROPHONE = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

class BrowserPhone extends HTMLElement {
  #to = h("input", { name: "to", inputmode: "tel", autocomplete: "off", maxlength: 64, placeholder: "+13125550123" });
  #button = h("button", { type: "submit" }, "Call");
  #mute = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => this.#toggle() }, "Mute");
  #volume = h("input", { type: "range", min: 0, max: 100, value: 100, oninput: () => this.#setVolume() });
  #state = h("p", { role: "status", class: "small dim" }, "Not in a call.");
  #words = h("div", { class: "small" });
  #said = h("i"); #heard = h("i");
  #talk = h("div", { hidden: true });
  #keys = h("div", { class: "keys", role: "group", "aria-label": "Dial pad" });
  #socket = null; #context = null; #microphone = null; #capture = null; #playback = null; #gain = null;
  #muted = false; #leaving = false; #sid = null;

  connectedCallback() {
    if (this.childElementCount) return;
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Browser phone");
    this.#keys.append(...KEYS.map((key) => h("button", { type: "button", "aria-label": { "*": "star", "#": "hash" }[key] ?? key, onclick: () => this.#press(key) }, key)));
    this.#talk.append(
      h("div", { class: "small dim" }, "Microphone"), h("div", { class: "meter" }, this.#said),
      h("div", { class: "small dim" }, "Speaker"), h("div", { class: "meter out" }, this.#heard),
      h("div", { class: "row" }, this.#mute, h("label", { class: "grow" }, "Volume", this.#volume)));
    this.append(h("h2", {}, "Phone"),
      h("form", { onsubmit: (event) => { event.preventDefault(); this.#socket ? this.hangUp() : this.call(this.#to.value.trim()); } },
        h("label", {}, "Number or SIP user to call", this.#to), h("details", { open: window.innerWidth > 900 }, h("summary", { class: "small" }, "Dial pad"), this.#keys), this.#button),
      this.#state, this.#words, this.#talk);
    window.addEventListener("pagehide", this.#away);
    const kept = sessionStorage.getItem(RESUME);
    if (kept) this.#open(`resume=${encodeURIComponent(kept)}`, "Back to the call…");
  }

  disconnectedCallback() {
    window.removeEventListener("pagehide", this.#away);
    this.hangUp();
  }

  #away = () => { this.#leaving = true; };

  /** Call a number, or `app-` and the sid of an application. */
  async call(to) {
    if (this.#socket) return;
    if (!to) return this.#say("Type a number first: any number will do, if every call goes to your bot.");
    this.#to.value = to;
    await this.#open(`to=${encodeURIComponent(to)}`, `Calling ${to}…`);
  }

  hangUp() {
    sessionStorage.removeItem(RESUME);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ action: "hang-up" }));
    else this.#ended("Not in a call.");
  }

  async #open(query, words) {
    this.#words.replaceChildren();
    this.#button.disabled = true;
    this.#state.textContent = "The browser asks for the microphone…";
    try {
      await this.#audio();
      this.#state.textContent = words;
      this.#socket = new WebSocket(socketUrl(`/v2/phone?${query}&ticket=${encodeURIComponent(await ticket())}`));
    } catch (error) {
      this.#ended("Not in a call.");
      this.#say(trouble(error));
      return;
    } finally {
      this.#button.disabled = false;
    }
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => (typeof data === "string" ? this.#event(JSON.parse(data)) : this.#playback.port.postMessage(data, [data]));
    this.#socket.onclose = ({ code }) => {
      if (this.#leaving) return;
      if (this.#socket && code !== 1000) {
        const lost = sessionStorage.getItem(RESUME);
        this.#ended(lost && query.startsWith("resume") ? "The call is over." : "The connection to the server was lost.");
        if (lost && !query.startsWith("resume")) this.#open(`resume=${encodeURIComponent(lost)}`, "Back to the call…");
        else sessionStorage.removeItem(RESUME);
      } else if (this.#socket) this.#ended("Not in a call.");
    };
    this.#button.textContent = "Hang up";
    this.#button.className = "danger";
  }

  async #audio() {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) throw new DOMException("", "InsecureContext");
    this.#microphone = await navigator.mediaDevices.getUserMedia(MICROPHONE);
    this.#context = new AudioContext({ latencyHint: "interactive" });
    await this.#context.audioWorklet.addModule("/console/phone-worklet.js");
    await this.#context.resume();
    this.#capture = new AudioWorkletNode(this.#context, "capture", { numberOfOutputs: 0 });
    this.#playback = new AudioWorkletNode(this.#context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#gain = this.#context.createGain();
    this.#playback.connect(this.#gain).connect(this.#context.destination);
    this.#context.createMediaStreamSource(this.#microphone).connect(this.#capture);
    this.#capture.port.onmessage = ({ data }) => {
      this.#said.style.transform = `scaleX(${this.#muted ? 0 : data.peak})`;
      if (this.#socket?.readyState === WebSocket.OPEN && this.#socket.bufferedAmount < 32000) {
        this.#socket.send(this.#muted ? new ArrayBuffer(data.pcm.byteLength) : data.pcm);
      }
    };
    this.#playback.port.onmessage = ({ data }) => { this.#heard.style.transform = `scaleX(${data.peak})`; };
    this.#setVolume();
  }

  #event(event) {
    if (event.event === "error") return this.#say(event.reason);
    if (event.event === "ended") {
      sessionStorage.removeItem(RESUME);
      return this.#ended(`The call is over: ${event.reason}.`);
    }
    sessionStorage.setItem(RESUME, event.resume);
    if (event.event === "answered") {
      this.#sid = event.call_sid;
      this.#talk.hidden = false;
      this.#state.replaceChildren("In a call: speak now. ", h("a", { href: `#/call/${encodeURIComponent(this.#sid)}` }, "Look at it"));
    }
  }

  #ended(words) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#microphone?.getTracks().forEach((track) => track.stop());
    this.#context?.close().catch(() => {});
    this.#microphone = this.#context = this.#capture = this.#playback = null;
    this.#talk.hidden = true;
    this.#button.textContent = "Call";
    this.#button.className = "";
    this.#button.disabled = false;
    const link = this.#sid && h("a", { href: `#/call/${encodeURIComponent(this.#sid)}` }, "Look at it");
    this.#state.replaceChildren(words, ...(link ? [" ", link] : []));
    this.#sid = null;
  }

  #press(key) {
    if (this.#socket?.readyState === WebSocket.OPEN && !this.#talk.hidden) this.#socket.send(JSON.stringify({ action: "digits", digits: key }));
    else if (!this.#socket) this.#to.value += key;
  }

  #toggle() {
    this.#muted = !this.#muted;
    this.#mute.setAttribute("aria-pressed", String(this.#muted));
    this.#mute.textContent = this.#muted ? "Unmute" : "Mute";
  }

  #setVolume() {
    if (this.#gain) this.#gain.gain.value = this.#volume.value / 100;
  }

  #say(words) {
    this.#words.replaceChildren(h("p", { class: "hint", role: "alert" }, words));
  }
}

/** What is wrong, and what to do. */
function trouble(error) {
  switch (error.name) {
    case "InsecureContext":
      return `The browser gives the microphone to secure pages only, and ${location.origin} is none. Open the console on the server's own machine as http://127.0.0.1:${location.port || 80}/, or serve HTTPS (settings http.tls_certificate_file and http.tls_key_file).`;
    case "NotAllowedError":
      return "The microphone was denied. Allow it for this page (the sign beside the address), then call again.";
    case "NotFoundError":
      return "The browser finds no microphone. Connect one, then call again.";
    case "NotReadableError":
      return "Another program holds the microphone. Close it, then call again.";
    default:
      return error.message || String(error);
  }
}

customElements.define("browser-phone", BrowserPhone);
