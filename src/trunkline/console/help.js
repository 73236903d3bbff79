/** What the numbers mean. */

import { h } from "./dom.js";

const NUMBERS = {
  "first-audio": ["First audio", "Milliseconds from `start` on the stream's WebSocket to the first audio to the caller that is louder than -60 dBFS. It is what a caller waits for a bot's first word. Measured by the server's clock, only of a stream that starts while the call is watched. Below 800 ms a talk feels natural."],
  "barge-in": ["Barge-in", "Milliseconds from the moment when the caller begins to speak over the bot's audio to the bot's `clear`. Without a `clear` the bot goes on speaking out of the queue. Speech is 60 ms above -42 dBFS after 300 ms without."],
  queue: ["Queue", "Audio of the bot that was received and is not played yet. It may be long: a bot may send faster than real time. It falls to 0 at a `clear`."],
  marks: ["Marks", "A bot sends `mark` behind its audio. It comes back when the audio before it was played, or at once after a `clear`. Asked / played / cleared."],
  "from-bot": ["From the bot", "`media` messages of the bot since the call is watched. 0 while the bot should speak: it sends nothing."],
  "to-bot": ["To the bot", "`media` messages to the bot since the call is watched: 50 a second for each track."],
  keys: ["Keys", "Keys that the caller pressed (DTMF); the bot gets a `dtmf` message for each."],
  clears: ["Clears", "`clear` messages of the bot: they empty the queue."],
  "level-in": ["Caller's level", "RMS of the caller's audio in dBFS: speech lies between -50 and -10, -96 is digital silence."],
  "level-out": ["Level to the caller", "RMS of what the caller hears."],
};

/** A number, a `dd`, with its label, which leads to its explanation. */
export function number(name, value) {
  return h("div", {}, h("dt", {}, h("a", { href: `#/help/${name}`, title: NUMBERS[name][1] }, NUMBERS[name][0])), value);
}

export function help() {
  return [h("h1", {}, "What the numbers mean"), ...Object.entries(NUMBERS).map(([name, [label, text]]) =>
    h("section", { class: "card", id: name }, h("h2", {}, label), h("p", {}, text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part)))))];
}
