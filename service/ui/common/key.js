// The API key, where the server asks for one. It stays in this tab, and goes with every request.

import { $, element } from "./dom.js";

const PLACE = "ait-key";
const KINDS = new Set(["urn:ait:key-missing", "urn:ait:key-wrong"]);
let asked = null;

/** The key that was given last; null if none was. */
export function currentKey() {
  return sessionStorage.getItem(PLACE);
}

/** Whether a Problem is that there is no key, or a wrong one. */
export function isAboutKey(problem) {
  return KINDS.has(problem.type);
}

/** Waits until somebody has given a key; all requests that need one wait for the same. */
export function askForKey(problem) {
  asked ??= ask(problem.type === "urn:ait:key-wrong" ? "The server does not know this key." : "");
  return asked;
}

async function ask(note) {
  const said = element("p", "");
  said.id = "key-note";
  said.setAttribute("role", "status");
  const input = element("input", "");
  Object.assign(input, {
    id: "key-input", type: "password", required: true, autocomplete: "off",
    pattern: "\\s*[!-~]+\\s*", title: "Letters, digits and signs, without spaces",
  });
  const label = element("label", "", "This server asks for a key");
  label.htmlFor = input.id;
  const form = element("form", "notice", label, element("div", "actions", input, element("button", "button strong", "Use it")), said);
  form.id = "key";
  $("notice").after(form);
  said.textContent = note; // once it is there, so that it is read out
  input.focus();
  await new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      resolve();
    });
  });
  sessionStorage.setItem(PLACE, input.value.trim());
  form.remove();
  asked = null;
}
