/** `<call-audio>`: listens in to a live call, and shows its spectrogram. The audio comes while one of both is on. */

import { socketUrl, ticket } from "./api.js";
import { h } from "./dom.js";
import { Spectrogram } from "./spectrogram.js";

const TRACKS = [["both", "Both"], ["inbound", "The caller"], ["outbound", "What the caller hears"]];

class CallAudio extends HTMLElement {
  #sid = ""; #live = false;
  #socket = null; #wanted = false; #context = null; #playback = null; #gain = null; #playing = false;
  #listen = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => this.#toggleListening() }, "Listen in");
  #look = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => this.#toggleLook() }, "Spectrogram");
  #track = h("select", { name: "listen-track" }, TRACKS.map(([value, label]) => h("option", { value }, label)));
  #volume = h("input", { type: "range", name: "listen-volume", min: 0, max: 100, value: 100, oninput: () => this.#setVolume() });
  #state = h("p", { role: "status", class: "small dim" });
  #more = h("div", { class: "fields listening", hidden: true });
  #spectrogram = new Spectrogram();

  connectedCallback() {
    if (this.childElementCount) return;
    this.#more.append(h("label", {}, "Listen to", this.#track), h("label", {}, "Volume", this.#volume));
    this.append(h("div", { class: "row" }, this.#listen, this.#look), this.#more, this.#state, this.#spectrogram.element);
    this.hidden = true;
  }

  disconnectedCallback() { this.#stopAll(); }

  /** Which call, and whether it is live: only then there is audio. */
  show(sid, live) {
    this.#sid = sid;
    if (live === this.#live) return;
    this.#live = live;
    this.#listen.disabled = this.#look.disabled = !live;
    if (live) this.hidden = false;
    else this.#stopAll(this.hidden ? "" : "The call is over.");
  }

  async #toggleListening() {
    if (this.#playing) {
      this.#stopPlaying();
      return this.#settle("");
    }
    try {
      await this.#play();
    } catch (error) {
      this.#stopPlaying();
      return this.#settle(error.name === "SecurityError" || !window.AudioWorkletNode ? "The browser plays audio of secure pages only: open the console as http://127.0.0.1, or serve HTTPS." : error.message);
    }
    await this.#settle("");
  }

  async #toggleLook() {
    const on = !this.#spectrogram.on;
    this.#spectrogram.show(on);
    this.#look.setAttribute("aria-pressed", String(on));
    await this.#settle("");
  }

  async #play() {
    this.#playing = true;
    this.#context = new AudioContext({ latencyHint: "interactive" });
    await this.#context.audioWorklet.addModule("/console/phone-worklet.js");
    await this.#context.resume();
    this.#playback = new AudioWorkletNode(this.#context, "playback", { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { begin: 0.15, most: 0.8 } });
    this.#gain = this.#context.createGain();
    this.#playback.connect(this.#gain).connect(this.#context.destination);
    this.#playback.port.onmessage = ({ data }) => { this.dataset.peak = data.peak.toFixed(3); };
    this.#setVolume();
    this.#more.hidden = false;
    this.#listen.setAttribute("aria-pressed", "true");
  }

  #stopPlaying() {
    this.#playing = false;
    this.#context?.close().catch(() => {});
    this.#context = this.#playback = this.#gain = null;
    this.#more.hidden = true;
    this.#listen.setAttribute("aria-pressed", "false");
  }

  #stopAll(words = "") {
    if (this.#playing) this.#stopPlaying();
    this.#spectrogram.on = false;
    this.#look.setAttribute("aria-pressed", "false");
    this.#settle(words);
  }

  /** Open or close the socket, as something needs it or nothing does. */
  async #settle(words) {
    const needed = this.#playing || this.#spectrogram.on;
    if (needed && !this.#wanted) {
      this.#wanted = true;
      try {
        const url = socketUrl(`/v2/listen?call_sid=${encodeURIComponent(this.#sid)}&ticket=${encodeURIComponent(await ticket())}`);
        if (!this.#wanted) return;
        this.#open(new WebSocket(url));
      } catch (error) {
        this.#wanted = false;
        this.#stopAll(error.message);
        return;
      }
    } else if (!needed) {
      this.#wanted = false;
      const socket = this.#socket;
      this.#socket = null;
      socket?.close();
    }
    this.#state.textContent = words || (this.#playing ? "You listen in." : "");
  }

  #open(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      if (typeof data !== "string") return this.#heard(new Int16Array(data));
      const event = JSON.parse(data);
      if (event.event === "at") this.#spectrogram.at(event.at_ms);
      if (event.event === "ended") this.#stopAll("The call is over.");
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#wanted = false;
      this.#stopAll(code === 1008 ? "The API key is not valid any more." : "Listening was refused or lost: the key's scope must be full or calls, and not too many may listen.");
    };
  }

  #heard(samples) {
    if (this.#spectrogram.on) this.#spectrogram.add(samples);
    if (!this.#playback) return;
    const pcm = new Int16Array(samples.length / 2), only = { inbound: 0, outbound: 1 }[this.#track.value];
    for (let at = 0; at < pcm.length; at++) {
      const value = only === undefined ? samples[at * 2] + samples[at * 2 + 1] : samples[at * 2 + only];
      pcm[at] = Math.max(-32768, Math.min(32767, value));
    }
    this.#playback.port.postMessage(pcm.buffer, [pcm.buffer]);
  }

  #setVolume() {
    if (this.#gain) this.#gain.gain.value = this.#volume.value / 100;
  }
}

customElements.define("call-audio", CallAudio);
