/** The captures of a call: to fetch, and to keep as a test of the bot. */

import { ask, session } from "./api.js";
import { action, day, h } from "./dom.js";

const CAPTURES = "/v2/trunkline/captures";
const SLACK = 2, LEAST_MS = 800;

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** The captures of a call as elements; `firstAudioMs`: what the call's first audio took, where it is known. */
export async function captures(sid, call, firstAudioMs) {
  const found = (await ask("GET", `${CAPTURES}?CallSid=${encodeURIComponent(sid)}&PageSize=50`)).captures;
  if (!found.length) {
    return [h("p", { class: "dim" }, "No capture. Start a stream with \u201cCapture it\u201d; the server's operator has to set ", h("code", {}, "streams.capture"), ".")];
  }
  return found.map((one) => h("div", { class: "row" },
    h("span", { class: "grow break" }, day(one.started_at), " ", h("span", { class: "dim small" }, `stream ${one.stream_sid.slice(0, 8)}, ${size(one.size)}${one.has_audio ? "" : ", without audio"}`)),
    h("span", { class: "row" },
      action("Download", async () => save(one.file_name, await lines(one))),
      one.has_audio && action("Save as test", async () => {
        const text = await lines(one);
        save(one.file_name, text);
        save(`test_call_${one.file_name.split("-")[0]}.py`, asTest(one.file_name, text, call, firstAudioMs()));
      }))));
}

async function lines(capture) {
  const answer = await fetch(capture.uri, { headers: { authorization: `Bearer ${session.key}` } });
  if (!answer.ok) throw new Error(answer.status === 404 ? "The capture was deleted." : `The server answered ${answer.status}.`);
  return answer.text();
}

function save(name, text) {
  const url = URL.createObjectURL(new Blob([text]));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

const quoted = (text) => JSON.stringify(text).replace(/[^\x20-\x7e]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A test for pytest with `trunkline.testing`: the caller says the same again, and the bot answers as soon as it did. */
export function asTest(fileName, text, call, firstAudioMs) {
  const all = text.split("\n").filter(Boolean).map((line) => JSON.parse(line)), [head] = all;
  const keys = all.filter((one) => one.to === "app" && one.message?.event === "dtmf").map((one) => one.message.dtmf?.digit ?? "").join("").replace(/[^0-9*#A-D]/g, "");
  const codec = ["PCMU", "PCMA", "G722", "OPUS"].includes(head.codec) ? head.codec : "PCMU";
  const stream = { BidirectionalMode: head.mode, ...(head.bot_codec && { BidirectionalCodec: head.bot_codec.split("/")[0] }) };
  const fields = Object.entries(stream).map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(", ");
  return [
    '"""A call that the console kept: what its caller said is in the capture beside this file.',
    "",
    `The call began at ${head.started_at}. Run it with pytest, where trunkline is installed. BOT_URL names another bot.`,
    '"""',
    "",
    "import os",
    "",
    `CAPTURE = ${quoted(fileName)}`,
    `BOT = os.environ.get("BOT_URL", ${quoted(head.url)})`,
    "",
    "",
    "async def test_the_bot_answers_as_it_did(phone):",
    `    async with phone.dial(BOT, codec=${quoted(codec)}, stream={${fields}}) as live:`,
    "        await live.say(CAPTURE)  # with the pauses between its words",
    ...(keys ? [`        live.press(${quoted(keys)})`] : []),
    "        await live.wait_for_quiet()",
    "        call = await live.finish()",
    "    assert call.heard()",
    ...(firstAudioMs ? [
      `    # It took ${firstAudioMs} ms then.`,
      `    assert call.first_audio_ms < ${Math.max(LEAST_MS, Math.ceil((firstAudioMs * SLACK) / 100) * 100)}`,
    ] : []),
    "",
  ].join("\n");
}
