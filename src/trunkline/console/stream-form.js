/** The form that starts a stream, with the curl and SDK lines that do the same. */

import { ask, callPath, session } from "./api.js";
import { action, h } from "./dom.js";

const FIELDS = [
  ["Url", "WebSocket URL", null, "ws://127.0.0.1:7860/ws"],
  ["Track", "Track", ["inbound_track", "outbound_track", "both_tracks"]],
  ["BidirectionalMode", "The bot sends", ["rtp", "mp3"]],
  ["BidirectionalCodec", "in the codec", ["PCMU", "PCMA", "G722", "L16", "OPUS"]],
  ["Name", "Name", null, ""],
  ["StatusCallback", "Status callback", null, ""],
  ["Capture", "Capture it", ["", "true", "false"]],
];
const OURS = ["Capture"];  // which the SDK does not know
const snake = (name) => name.replace(/[A-Z]/g, (letter, at) => (at ? "_" : "") + letter.toLowerCase());
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function streamForm(sid, done) {
  const inputs = Object.fromEntries(FIELDS.map(([name, , values, hint]) => [name, values
    ? h("select", { name }, values.map((value) => h("option", { value }, value || "as the server does")))
    : h("input", { name, placeholder: hint, spellcheck: "false", type: name === "Url" || name === "StatusCallback" ? "url" : "text", required: name === "Url" })]));
  const curl = h("pre", { tabindex: 0, "aria-label": "The same with curl" }), python = h("pre", { tabindex: 0, "aria-label": "The same with the Python SDK" });
  const given = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value));
  const lines = () => {
    const body = given();
    curl.textContent = [`curl ${location.origin}${callPath(sid, "/Streams.json")}`, '-H "Authorization: Bearer $TRUNKLINE_API_KEY"',
      ...Object.entries(body).map(([name, value]) => `--data-urlencode ${shell(`${name}=${value}`)}`)].join(" \\\n  ");
    python.textContent = `import os\n\nfrom telnyx import Telnyx\n\nclient = Telnyx(api_key=os.environ["TRUNKLINE_API_KEY"], base_url="${location.origin}/v2")\n`
      + `client.texml.accounts.calls.streams_json(\n    "${sid}",\n    account_sid="${session.account}",\n`
      + Object.entries(body).map(([name, value]) => (OURS.includes(name)
        ? `    extra_body={${JSON.stringify(name)}: ${JSON.stringify(value)}},\n` : `    ${snake(name)}=${JSON.stringify(value)},\n`)).join("") + ")";
  };
  const start = action("Start a stream", async () => {
    if (!inputs.Url.reportValidity()) return;
    await ask("POST", callPath(sid, "/Streams.json"), given());
    done();
  }, "");
  const form = h("form", { oninput: lines, onsubmit: (event) => { event.preventDefault(); start.click(); } },
    h("div", { class: "fields" }, FIELDS.map(([name, label]) => h("label", { class: name === "Url" ? "wide" : "" }, label, inputs[name]))), start,
    h("details", {}, h("summary", { class: "small" }, "The same with curl and the SDK"), h("p", { class: "dim small" }, "curl"), curl, h("p", { class: "dim small" }, "Python"), python));
  lines();
  return h("details", {}, h("summary", {}, "Start a stream…"), form);
}
