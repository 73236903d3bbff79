// A TeXML app with a menu, in Node without packages: `node texml_node.mjs`. Its bot is a WebSocket server elsewhere.
import { createServer } from "node:http";

const BOT = process.env.BOT_URL ?? "ws://127.0.0.1:9000/";

const pages = {
  "/voice": () => `<Gather numDigits="1" action="/choice"><Say>Press 1 for the bot.</Say></Gather><Say>Goodbye.</Say>`,
  "/choice": (form) =>
    form.get("Digits") === "1"
      ? `<Connect><Stream url="${BOT}" bidirectionalMode="rtp" statusCallback="/events"/></Connect>`
      : "<Redirect>/voice</Redirect>",
  "/events": (form) => console.log(form.get("StreamEvent")),
};

createServer(async (request, response) => {
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  const page = pages[request.url];
  if (!page) return response.writeHead(404).end();
  const verbs = page(new URLSearchParams(body)) ?? "";
  response.writeHead(200, { "Content-Type": "application/xml" }).end(`<Response>${verbs}</Response>`);
}).listen(8000, "127.0.0.1");
