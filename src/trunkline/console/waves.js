/** `<call-waves>`: the levels of both tracks on one time axis, with marks, clears and keys. */

import { h } from "./dom.js";

const WINDOW = 20000;

class CallWaves extends HTMLElement {
  #canvas = h("canvas", { role: "img", "aria-label": "Levels of both tracks" });
  #words = h("p", { class: "dim small" }, "Levels come while the call is live.");
  #kept = null;
  #signs = [];
  #drawn = 0;
  #spoken = 0;

  connectedCallback() {
    if (this.childElementCount) return;
    const sign = (kind, text) => h("span", {}, h("i", { class: kind }), text);
    this.append(this.#canvas, h("div", { class: "legend" },
      sign("in", "inbound: the caller"), sign("out", "outbound: what the caller hears"),
      sign("mark", "▾ asked, ▴ played mark"), sign("clear", "clear, or a cleared mark"), sign("", "key")), this.#words);
    new ResizeObserver(() => this.draw(true)).observe(this.#canvas);
  }

  /** `kept`: `{levels}` of the call; `signs`: `{at, kind, text}` with times in ms since 1970. */
  show(kept, signs) {
    this.#kept = kept;
    this.#signs = signs;
    this.draw();
  }

  draw(now = false) {
    if (!now && performance.now() - this.#drawn < 90) return;
    this.#drawn = performance.now();
    const levels = this.#kept?.levels ?? [];
    const style = getComputedStyle(this), color = (name) => style.getPropertyValue(name).trim();
    const scale = window.devicePixelRatio || 1, width = this.#canvas.clientWidth, height = this.#canvas.clientHeight;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    const axis = 18, lane = (height - axis) / 2, end = levels.at(-1)?.at_ms ?? WINDOW, from = Math.max(0, end - WINDOW);
    const x = (at) => ((at - from) / WINDOW) * width;
    pen.strokeStyle = color("--line");
    pen.fillStyle = color("--dim");
    const step = width < 500 ? 5000 : 2000;
    for (let at = Math.ceil(from / step) * step; at <= from + WINDOW; at += step) {
      pen.beginPath();
      pen.moveTo(x(at), 0);
      pen.lineTo(x(at), height - axis);
      pen.stroke();
      pen.fillText(`${at / 1000} s`, x(at) + 3, height - 5);
    }
    const track = (name, middle, ink) => {
      pen.fillStyle = ink;
      for (const sample of levels) {
        const { peaks } = sample[name];
        peaks.forEach((peak, number) => {
          const at = sample.at_ms - (peaks.length - 1 - number) * 20;
          if (at < from) return;
          const tall = Math.max(1, Math.sqrt(peak / 255) * (lane - 8));
          pen.fillRect(x(at), middle - tall / 2, Math.max(1, width / (WINDOW / 20) - 0.4), tall);
        });
      }
    };
    track("inbound", lane / 2, color("--in"));
    track("outbound", lane * 1.5, color("--out"));
    const last = levels.at(-1);
    if (last) this.#sign(pen, x, lane, height - axis, color, Date.parse(last.occurred_at) - last.at_ms, from);
    this.#say(last);
  }

  #sign(pen, x, lane, bottom, color, zero, from) {
    const inks = { clear: "--bad", cleared: "--bad", asked: "--warn", played: "--warn", key: "--dim", speech: "--in" };
    for (const { at, kind, text } of this.#signs) {
      const place = at - zero;
      if (place < from) continue;
      pen.strokeStyle = pen.fillStyle = color(inks[kind]);
      if (kind === "clear" || kind === "key") {
        pen.beginPath();
        pen.moveTo(x(place), kind === "key" ? 0 : lane);
        pen.lineTo(x(place), kind === "key" ? lane : bottom);
        pen.stroke();
        pen.fillText(text, x(place) + 3, kind === "key" ? 12 : lane + 12);
      } else {
        pen.fillText(kind === "asked" ? "▾" : "▴", x(place) - 4, kind === "asked" ? lane + 24 : bottom - 4);
      }
    }
  }

  #say(last) {
    if (!last || performance.now() - this.#spoken < 1000) return;
    this.#spoken = performance.now();
    const words = (db) => (db <= -60 ? "silent" : `${db} dB`);
    this.#words.textContent = `Caller ${words(last.inbound.level_db)}, heard by the caller ${words(last.outbound.level_db)}.`;
    this.#canvas.setAttribute("aria-label", `Levels of both tracks over ${WINDOW / 1000} s. ${this.#words.textContent}`);
  }
}

customElements.define("call-waves", CallWaves);
