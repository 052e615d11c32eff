// Asking before what cannot be undone.

import { $ } from "../common/dom.js";

/**
 * Asks in a dialog; resolves to whether it is to be done, which Escape is not. It opens at once: `more` resolves to what
 * has to be looked up to be said, and is added to the note then.
 */
export function confirmed({ question, note, more = null, action }) {
  const dialog = $("confirmation");
  $("confirmation-head").textContent = question;
  $("confirmation-note").textContent = note;
  $("confirmation-action").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  const closed = new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
  let asking = true;
  closed.then(() => { asking = false; });
  more?.then((text) => {
    if (asking) $("confirmation-note").append(` ${text}`);
  });
  return closed;
}
