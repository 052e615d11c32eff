// The API key, where the server asks for one. It stays in this tab, and goes with every request.

import { $ } from "./dom.js";

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
  $("key-note").textContent = note;
  $("key").hidden = false;
  $("key-input").value = "";
  $("key-input").focus();
  await new Promise((resolve) => {
    $("key").onsubmit = (event) => {
      event.preventDefault();
      resolve();
    };
  });
  sessionStorage.setItem(PLACE, $("key-input").value.trim());
  $("key").hidden = true;
  asked = null;
}
