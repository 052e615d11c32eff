// Asking before what cannot be undone.

import { $ } from "../common/dom.js";

/** Asks in a dialog; resolves to whether it is to be done, which Escape is not. */
export function confirmed({ question, note, action }) {
  const dialog = $("confirmation");
  $("confirmation-head").textContent = question;
  $("confirmation-note").textContent = note;
  $("confirmation-action").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
