// Deleting a memory, which cannot be undone: it is asked about first.

import { $ } from "../shared/dom.js";
import { count } from "../shared/format.js";

/** Has a memory deleted by a button, once that is confirmed: `described()` gives it, `onDelete()` deletes it. */
export function offerDeletion(described, onDelete) {
  const dialog = $("deletion");
  $("delete").addEventListener("click", () => {
    const { name, examples } = described();
    $("deletion-head").textContent = `Delete ${name}?`;
    $("deletion-note").textContent = examples
      ? `It holds ${count(examples, "example")}, of which nothing is left then. Export keeps them in a file.`
      : "It holds no examples.";
    dialog.returnValue = "";
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "delete") onDelete();
  });
}
