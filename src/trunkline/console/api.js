/** The server's REST API and event WebSocket, with the key of this tab. */

const KEY = "trunkline.key", ACCOUNT = "trunkline.account", KEY_ID = "trunkline.key-id";

export const session = {
  get key() { return sessionStorage.getItem(KEY); },
  get account() { return sessionStorage.getItem(ACCOUNT); },
  set(key, account, id = "") { sessionStorage.setItem(KEY, key); sessionStorage.setItem(ACCOUNT, account); sessionStorage.setItem(KEY_ID, id); },
  clear() { [KEY, ACCOUNT, KEY_ID].forEach((name) => sessionStorage.removeItem(name)); },
  /** Log out: a key that was made for this login is revoked. */
  async end() {
    const id = sessionStorage.getItem(KEY_ID), key = this.key;
    this.clear();
    if (id) await ask("DELETE", `/v2/trunkline/keys/${encodeURIComponent(id)}`, undefined, key).catch(() => {});
  },
};

export class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

/** The JSON of an answer. Throws Refused with the server's words. */
export async function ask(method, path, body, key = session.key) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found.errors?.[0]?.detail ?? `The server answered ${answer.status}.`);
  return found;
}

export const account = (rest) => `/v2/texml/Accounts/${encodeURIComponent(session.account)}/${rest}`;
export const callPath = (sid, rest = "") => account(`Calls/${encodeURIComponent(sid)}${rest}`);

/** Log in with a key: the account is the one whose events it opens. */
export async function logIn(key) {
  const { data } = await ask("POST", "/v2/events/tickets", {}, key);
  const hello = await new Promise((resolve, reject) => {
    const socket = new WebSocket(socketUrl(`/v2/events?ticket=${encodeURIComponent(data.ticket)}`));
    socket.onmessage = (message) => { resolve(JSON.parse(message.data)); socket.close(); };
    socket.onerror = () => reject(new Refused(0, "The event WebSocket cannot be opened: is there a proxy that does not pass WebSockets?"));
  });
  session.set(key, hello.account_sid);
}

/** Log in with the one-time token of `trunkline dev` or `trunkline console`. */
export async function logInByToken(token) {
  const { data } = await ask("POST", "/v2/trunkline/console/sessions", { token }, null);
  session.set(data.api_key, data.account_sid, data.key_id);
}

export const socketUrl = (path) => `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;

export async function ticket() {
  return (await ask("POST", "/v2/events/tickets", {})).data.ticket;
}

const EVENTS_KEPT = 800, CALLS_KEPT = 100, SAMPLES_KEPT = 900;

/** All events, kept by call; dispatches `event` (detail: the event), `levels` and `state`. Opens again by itself. */
export class Events extends EventTarget {
  calls = new Map();
  callbacks = [];
  open = false;
  #socket = null;
  #watched = new Set();
  #last = 0;
  #session = "";
  #closed = false;
  #wait = 500;

  of(sid) {
    if (!this.calls.has(sid)) {
      this.calls.set(sid, { events: [], levels: [] });
      if (this.calls.size > CALLS_KEPT) this.calls.delete(this.calls.keys().next().value);
    }
    return this.calls.get(sid);
  }

  async start() {
    if (this.#closed) return;
    try {
      const place = `&after=${this.#last}&session=${encodeURIComponent(this.#session)}`;
      const url = `/v2/events?watch=all&ticket=${encodeURIComponent(await ticket())}${place}`;
      this.#socket = new WebSocket(socketUrl(url));
    } catch (error) {
      if (error.status === 401) this.dispatchEvent(new CustomEvent("refused"));
      else setTimeout(() => this.start(), this.#wait);
      return;
    }
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.#socket.onclose = ({ code }) => {
      this.#state(false);
      if (code === 1008) this.dispatchEvent(new CustomEvent("refused"));
      else if (!this.#closed) setTimeout(() => this.start(), this.#wait = Math.min(this.#wait * 2, 10000));
    };
  }

  stop() {
    this.#closed = true;
    this.#socket?.close();
  }

  watch(sid) {
    this.#watched.add(sid);
    this.#say("watch", sid);
  }

  unwatch(sid) {
    this.#watched.delete(sid);
    this.#say("unwatch", sid);
  }

  #say(what, sid) {
    if (this.open) this.#socket.send(JSON.stringify({ action: what, call_sid: sid }));
  }

  #state(open) {
    this.open = open;
    this.dispatchEvent(new CustomEvent("state"));
  }

  #take(event) {
    if (event.event === "hello") {
      if (event.session !== this.#session) { this.#last = 0; this.calls.clear(); this.callbacks.length = 0; }
      this.#session = event.session;
      this.#wait = 500;
      this.#state(true);
      for (const sid of this.#watched) this.#say("watch", sid);
      return;
    }
    if (event.sequence) {
      if (event.sequence <= this.#last) return;
      this.#last = event.sequence;
    }
    if (event.call_sid && event.event === "levels") {
      const { levels } = this.of(event.call_sid);
      levels.push(event);
      if (levels.length > SAMPLES_KEPT) levels.shift();
    } else if (event.call_sid) {
      const { events } = this.of(event.call_sid);
      events.push(event);
      if (events.length > EVENTS_KEPT) events.shift();
    }
    this.dispatchEvent(new CustomEvent(event.event === "levels" ? "levels" : "event", { detail: event }));
  }
}
