/** The search of `/docs`: shows the sections, and the lines of the contents, that have all the words typed. */

const form = document.getElementById("find");
const field = document.getElementById("words");
const count = form.querySelector("output");
const contents = document.getElementById("contents");
const wide = matchMedia("(min-width: 901px)");

const entries = [...document.querySelectorAll(".entry")].map((section) => ({
  section,
  link: contents.querySelector(`a[href="#${CSS.escape(section.id)}"]`).parentElement,
  text: `${section.id} ${section.textContent}`.toLowerCase(),
}));
const groups = [...document.querySelectorAll("main .group")].map((section) => ({
  section,
  link: contents.querySelector(`a[href="#${CSS.escape(section.id)}"]`).parentElement,
}));

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const { section, link, text } of entries) {
    const fits = words.every((word) => text.includes(word));
    section.hidden = link.hidden = !fits;
    found += fits;
  }
  for (const { section, link } of groups) {
    section.hidden = link.hidden = !section.querySelector(".entry:not([hidden])");
  }
  count.textContent = words.length ? (found ? `${found} of ${entries.length}` : "nothing found") : "";
}

/** A link to a section that the search has hidden shows it again. */
function arrive() {
  const section = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (section && (section.hidden || section.closest("[hidden]"))) {
    field.value = "";
    search();
    section.scrollIntoView();
  }
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("input", search);
addEventListener("hashchange", arrive);
addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape" && document.activeElement === field) {
    field.value = "";
    search();
  }
});
contents.open = wide.matches;
wide.addEventListener("change", () => { contents.open = wide.matches; });
contents.addEventListener("click", (event) => {
  if (!wide.matches && event.target.closest("a")) contents.open = false;
});
search();
