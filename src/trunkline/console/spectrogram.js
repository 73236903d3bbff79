/** Both tracks by frequency, on the time axis of the levels: a column for each 20 ms, from 0 to 8 kHz. */

import { h } from "./dom.js";

const RATE = 16000, SIZE = 512, HOP = 320, WINDOW = 20000, COLUMNS = (WINDOW / 1000) * (RATE / HOP), BINS = SIZE / 4;
const FLOOR = -75, CEILING = -15, DRAWN_EVERY = 250;
const BELL = Float32Array.from({ length: SIZE }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / SIZE));

/** Power of the frequencies of `SIZE` samples, in dBFS; two neighbours are one. */
function spectrum(samples) {
  const real = Float32Array.from(samples, (value, at) => value * BELL[at]), imaginary = new Float32Array(SIZE);
  for (let at = 1, back = 0; at < SIZE; at++) {
    let bit = SIZE >> 1;
    for (; back & bit; bit >>= 1) back ^= bit;
    back ^= bit;
    if (at < back) [real[at], real[back]] = [real[back], real[at]];
  }
  for (let length = 2; length <= SIZE; length *= 2) {
    const turn = (-2 * Math.PI) / length;
    for (let begin = 0; begin < SIZE; begin += length) {
      for (let at = 0; at < length / 2; at++) {
        const a = begin + at, b = a + length / 2, cos = Math.cos(turn * at), sin = Math.sin(turn * at);
        const x = real[b] * cos - imaginary[b] * sin, y = real[b] * sin + imaginary[b] * cos;
        [real[b], imaginary[b], real[a], imaginary[a]] = [real[a] - x, imaginary[a] - y, real[a] + x, imaginary[a] + y];
      }
    }
  }
  return Float32Array.from({ length: BINS }, (_, bin) => {
    const power = Math.max(...[bin * 2, bin * 2 + 1].map((at) => real[at] ** 2 + imaginary[at] ** 2));
    return 10 * Math.log10(power / (SIZE / 4) ** 2 + 1e-10);
  });
}

export class Spectrogram {
  on = false;
  #canvas = h("canvas", { role: "img", "aria-label": "Spectrogram of both tracks: none yet" });
  #words = h("p", { class: "dim small" });
  #columns = [];
  #at = 0;
  #rest = [[], []];
  #due = false;
  element = h("figure", { class: "spectrogram", hidden: true }, this.#canvas, h("figcaption", {}, this.#words));

  show(on) {
    this.on = on;
    this.element.hidden = !on;
    if (on) this.#columns = [];
    this.#words.textContent = "The audio comes.";
  }

  /** What follows begins at this time of the call, in ms. */
  at(ms) {
    this.#at = ms;
    this.#rest = [[], []];
  }

  /** Samples of inbound and outbound in turn. */
  add(samples) {
    for (let at = 0; at + 1 < samples.length; at += 2) {
      this.#rest[0].push(samples[at] / 32768);
      this.#rest[1].push(samples[at + 1] / 32768);
    }
    while (this.#rest[0].length >= SIZE) {
      this.#columns.push([this.#at, ...this.#rest.map((track) => spectrum(track.slice(0, SIZE)))]);
      this.#at += (HOP / RATE) * 1000;
      this.#rest.forEach((track) => track.splice(0, HOP));
    }
    if (this.#columns.length > COLUMNS) this.#columns.splice(0, this.#columns.length - COLUMNS);
    if (!this.#due) {
      this.#due = true;
      setTimeout(() => { this.#due = false; this.#draw(); }, DRAWN_EVERY);
    }
  }

  #draw() {
    const style = getComputedStyle(this.#canvas), canvas = this.#canvas, axis = 18;
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !this.#columns.length) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const end = Math.max(WINDOW, this.#columns.at(-1)[0]), from = end - WINDOW, lane = (height - axis) / 2;
    const x = (at) => ((at - from) / WINDOW) * width;
    [1, 2].forEach((track) => {
      const image = this.#image(track, from, style.getPropertyValue(track === 1 ? "--in" : "--out").trim());
      pen.drawImage(image, 0, (track - 1) * lane, width, lane - 2);
    });
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = style.getPropertyValue("--text").trim();
    ["caller", "to the caller"].forEach((name, lanes) => pen.fillText(`${name}, 0 to 8 kHz`, 6, lanes * lane + 14));
    pen.fillStyle = pen.strokeStyle = style.getPropertyValue("--dim").trim();
    const step = width < 500 ? 5000 : 2000;
    for (let at = Math.ceil(from / step) * step; at <= end; at += step) pen.fillText(`${at / 1000} s`, x(at) + 3, height - 5);
    this.#say();
  }

  /** One track, a pixel for each column and frequency; louder is less transparent. */
  #image(track, from, ink) {
    const image = document.createElement("canvas");
    image.width = COLUMNS;
    image.height = BINS;
    const pen = image.getContext("2d");
    pen.fillStyle = ink;
    pen.fillRect(0, 0, 1, 1);
    const color = new Uint32Array(pen.getImageData(0, 0, 1, 1).data.buffer)[0] & 0xffffff;
    const pixels = pen.createImageData(COLUMNS, BINS), out = new Uint32Array(pixels.data.buffer);
    for (const column of this.#columns) {
      const x = Math.round(((column[0] - from) / WINDOW) * COLUMNS);
      if (x < 0 || x >= COLUMNS) continue;
      const levels = column[track];
      for (let bin = 0; bin < BINS; bin++) {
        const strength = Math.max(0, Math.min(1, (levels[bin] - FLOOR) / (CEILING - FLOOR)));
        out[(BINS - 1 - bin) * COLUMNS + x] = (Math.round(strength * 255) << 24) | color;
      }
    }
    pen.putImageData(pixels, 0, 0);
    return image;
  }

  #say() {
    const last = this.#columns.at(-1);
    const words = [1, 2].map((track) => {
      const bin = last[track].indexOf(Math.max(...last[track]));
      return last[track][bin] < -60 ? "silent" : `loudest near ${Math.round(((bin + 0.5) * RATE) / 2 / BINS / 10) * 10} Hz`;
    });
    this.#words.textContent = `Caller ${words[0]}, heard by the caller ${words[1]}.`;
    this.#canvas.setAttribute("aria-label", `Spectrogram of both tracks over ${WINDOW / 1000} s. ${this.#words.textContent}`);
  }
}
