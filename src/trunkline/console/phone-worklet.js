/** Between the browser's audio and PCM of 16 bits at 16 kHz, 20 ms a piece. */

const RATE = 16000, PIECE = 320;

/** Samples at another rate, by lines between them; what goes down is averaged first. */
class Resampler {
  #step; #at = 0; #last = 0;

  constructor(from, to) { this.#step = from / to; }

  run(samples) {
    const made = [];
    let at = this.#at;
    while (at < samples.length) {
      const index = Math.floor(at), before = index ? samples[index - 1] : this.#last;
      made.push(before + (samples[index] - before) * (at - index));
      at += this.#step;
    }
    this.#last = samples.at(-1) ?? this.#last;
    this.#at = at - samples.length;
    return made;
  }
}

class Capture extends AudioWorkletProcessor {
  #down = new Resampler(sampleRate, RATE);
  #kept = [];
  #smooth = [0, 0];

  process([[channel]]) {
    if (!channel) return true;
    const samples = new Float32Array(channel.length);
    for (let index = 0; index < channel.length; index++) {
      samples[index] = (this.#smooth[0] + this.#smooth[1] + channel[index]) / 3;
      this.#smooth = [this.#smooth[1], channel[index]];
    }
    this.#kept.push(...this.#down.run(sampleRate > RATE * 1.5 ? samples : channel));
    while (this.#kept.length >= PIECE) {
      const piece = this.#kept.splice(0, PIECE), pcm = new DataView(new ArrayBuffer(PIECE * 2));
      let peak = 0;
      piece.forEach((value, index) => {
        peak = Math.max(peak, Math.abs(value));
        pcm.setInt16(index * 2, Math.max(-1, Math.min(1, value)) * 32767, true);
      });
      this.port.postMessage({ pcm: pcm.buffer, peak: Math.min(1, peak) }, [pcm.buffer]);
    }
    return true;
  }
}

/** Plays what comes; begins with `begin` seconds, and drops the oldest beyond `most` seconds. */
class Playback extends AudioWorkletProcessor {
  #up = new Resampler(RATE, sampleRate);
  #kept = [];
  #running = false;
  #told = 0;
  #peak = 0;

  constructor({ processorOptions: { begin = 0.06, most: longest = 0.4 } = {} }) {
    super();
    this.begin = begin;
    this.port.onmessage = ({ data }) => {
      const pcm = new DataView(data), samples = [];
      for (let at = 0; at + 1 < pcm.byteLength; at += 2) samples.push(pcm.getInt16(at, true) / 32768);
      this.#kept.push(...this.#up.run(samples));
      const most = sampleRate * longest;
      if (this.#kept.length > most) this.#kept.splice(0, this.#kept.length - most);
    };
  }

  process(_, [[out]]) {
    if (this.#kept.length > sampleRate * this.begin) this.#running = true;
    if (this.#running) {
      const piece = this.#kept.splice(0, out.length);
      out.set(piece);
      for (const value of piece) this.#peak = Math.max(this.#peak, Math.abs(value));
      if (piece.length < out.length) this.#running = false;
    }
    if (currentTime - this.#told > 0.1) {
      this.port.postMessage({ peak: Math.min(1, this.#peak) });
      this.#peak = 0;
      this.#told = currentTime;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("playback", Playback);
