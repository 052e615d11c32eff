// A class of a memory: how many examples it has, how well it is told, and its images.

import { element } from "../common/dom.js";
import { count, percent } from "../common/format.js";
import { examplesOf, thumbnail } from "./memory_client.js";

/** Calls `onFiles(files)` with what is dropped onto a node. */
export function takeDrops(node, onFiles) {
  let depth = 0; // dragenter and dragleave also fire for every child
  const over = (on) => node.classList.toggle("over", on);
  node.addEventListener("dragenter", () => over(++depth > 0));
  node.addEventListener("dragleave", () => over(--depth > 0));
  node.addEventListener("dragover", (event) => event.preventDefault());
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const files = [...event.dataTransfer.files];
    if (files.length) onFiles(files);
  });
}

/** `host` has the name of the `memory`, `teach(label, files)`, `forgetLabel(label)`, `forget(example)` and `report(problem)`. */
export function labelCard(label, examples, negatives, health, host) {
  const card = element("li", "label-card");
  const input = element("input", "hidden");
  Object.assign(input, { type: "file", accept: "image/jpeg,image/png,image/webp", multiple: true });
  input.addEventListener("change", () => host.teach(label, [...input.files]));
  const add = element("label", "button file-button", "Add images", element("span", "hidden", ` of ${label}`), input);
  const gone = button("Forget", `Forget the class ${label}`, () => host.forgetLabel(label));
  card.append(
    element("h3", "", label),
    element("p", "quiet", held(examples, negatives, " · "), standing(health)),
    bar(health?.accuracy),
    element("div", "actions", add, gone),
    gallery(label, host),
  );
  takeDrops(card, (files) => host.teach(label, files));
  return card;
}

/** What a class has of examples, and of those that say what it is not. */
export function held(examples, negatives, and) {
  return `${count(examples, "example")}${negatives ? `${and}${negatives} of what it is not` : ""}`;
}

function standing(health) {
  if (health?.accuracy == null) return "";
  return ` · ${percent(health.accuracy)} told right`;
}

/** How much of something there is, from 0 to 1. */
export function bar(share) {
  const fill = element("div", "fill");
  fill.style.width = `${(share ?? 0) * 100}%`;
  return element("div", "track", fill);
}

function gallery(label, host) {
  const list = element("ul", "thumbs");
  const details = element("details", "", element("summary", "quiet", "Its images"), list);
  details.addEventListener("toggle", async () => {
    if (!details.open || list.childElementCount) return;
    const { memory } = host;
    try {
      for (const example of await examplesOf(memory, label)) list.append(exampleItem(example, host));
    } catch (problem) {
      host.report(problem, memory);
    }
  });
  return details;
}

/** An example with a way to forget it. */
export function exampleItem(example, host) {
  const gone = button("×", `Forget example ${example.id}`, () => host.forget(example));
  const said = `${example.negative ? "not " : ""}${example.label}`;
  const note = example.negative ? [element("span", "quiet", said)] : [];
  return element("li", "", exampleImage(host.memory, example.id, example.keeps !== "nothing", said), ...note, gone);
}

/** The thumbnail of an example, or a box with its label where none is kept. */
export function exampleImage(memory, id, kept, label) {
  if (!kept) return element("span", "no-image", label);
  const image = element("img", "");
  image.alt = ""; // until there is one: a browser draws a broken image beside the words
  const show = (blob) => {
    image.alt = label;
    image.onload = image.onerror = () => URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  };
  thumbnail(memory, id).then(show, () => image.replaceWith(element("span", "no-image", label)));
  return image;
}

export function button(text, title, onClick, className = "plain") {
  const node = element("button", className, text);
  node.type = "button";
  node.title = title;
  node.setAttribute("aria-label", title);
  node.addEventListener("click", onClick);
  return node;
}
