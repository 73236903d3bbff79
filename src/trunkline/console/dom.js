/** Elements, times and numbers. */

/** An element: `h("p", {class: "dim", onclick}, "text", child)`; null and false children are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const clock = (time) =>
  time ? new Date(time).toLocaleTimeString([], { hour12: false }) : "";
export const exact = (time) => {
  const at = new Date(time);
  return `${at.toLocaleTimeString([], { hour12: false })}.${String(at.getMilliseconds()).padStart(3, "0")}`;
};
export const day = (time) => (time ? new Date(time).toLocaleString([], { hour12: false }) : "");
export const seconds = (count) =>
  count === null || count === undefined ? "" : `${Math.floor(count / 60)}:${String(count % 60).padStart(2, "0")}`;

const GOOD = ["in-progress", "delivered", "completed", "registered", "up", "open"];
const BAD = ["failed", "busy", "no-answer", "down", "stream-error", "not registered"];

/** A state as a chip, in words. */
export function chip(state) {
  const kind = GOOD.includes(state) ? "good" : BAD.includes(state) ? "bad" : ["pending", "paused", "queued", "ringing"].includes(state) ? "warn" : "";
  return h("span", { class: `chip ${kind}` }, state ?? "");
}

/** A table whose rows become cards on a phone. `columns`: [label, cell of a row, class]. */
export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "dim" }, empty);
  return h("div", { class: "scroll" }, h("table", { class: "cards", "aria-label": caption },
    h("thead", {}, h("tr", {}, columns.map(([label]) => h("th", { scope: "col" }, label)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([label, cell, kind]) =>
      h("td", { "data-label": label, class: kind }, cell(row) ?? ""))))),
  ));
}

/** A message at the corner, for some seconds: of something that failed, or `good`. */
export function note(text, good = false) {
  const shown = h("div", { class: good ? "note good" : "note" }, text);
  document.getElementById("notes").append(shown);
  setTimeout(() => shown.remove(), 8000);
}

/** A button that does something that may fail; it is disabled meanwhile. */
export function action(label, act, kind = "quiet") {
  const button = h("button", { type: "button", class: kind, onclick: async () => {
    button.disabled = true;
    try {
      await act();
    } catch (error) {
      note(error.message);
    } finally {
      button.disabled = false;
    }
  } }, label);
  return button;
}

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Put children in place of others; the focus stays on the link that leads to the same, or at the same place. */
export function replace(container, ...children) {
  const former = document.activeElement, inside = container.contains(former) && former !== container;
  const place = inside ? [...container.querySelectorAll(FOCUSABLE)].indexOf(former) : -1, link = inside && former.getAttribute("href");
  container.replaceChildren(...children);
  if (!inside || container.contains(document.activeElement)) return;
  const all = [...container.querySelectorAll(FOCUSABLE)];
  const next = (link && all.find((one) => one.getAttribute("href") === link)) || all[Math.min(place, all.length - 1)];
  if (next) next.focus({ preventScroll: true });
  else document.getElementById("content").focus({ preventScroll: true });
}
