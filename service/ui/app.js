// The playground: sends images to the chosen model and shows what it says.

import { Card } from "./card.js";
import { $, announce, element } from "./dom.js";
import { bytes, count } from "./format.js";
import { listen } from "./intake.js";
import { currentKey } from "./key.js";
import { Chooser, path } from "./models.js";
import { Pool } from "./pool.js";

const AT_ONCE = 4; // requests; the server makes batches of them

let cards = []; // as on the page, the newest first
const silent = new Set(); // models that have nothing to explain
const chooser = new Chooser(describe);

const host = {
  pool: new Pool(AT_ONCE),
  choice: () => chooser.current,
  onDone: progress,
  onMissing: () => chooser.refresh(),
  onSilent: () => silent.add(chooser.current.model.name),
  onRemove: (card) => {
    const place = cards.indexOf(card);
    drop([card]);
    (cards[place] ?? cards[place - 1])?.node.querySelector(".remove").focus();
    if (!cards.length) $("files").focus();
    announce(`${card.name} removed`);
  },
};

/** Shows images in their order, above those that are there, and has them classified. */
function add(files) {
  const open = files.length === 1 && !silent.has(chooser.current?.model.name);
  const fresh = files.map((file) => new Card(file, host, { open }));
  $("results").prepend(...fresh.map((card) => card.node));
  cards = [...fresh, ...cards];
  if (chooser.current) for (const card of fresh) card.ask();
  progress();
}

function drop(gone) {
  for (const card of gone) card.remove();
  cards = cards.filter((card) => !gone.includes(card));
  progress();
}

function progress() {
  const done = cards.filter((card) => card.done).length;
  $("results-head").hidden = !cards.length;
  $("progress").textContent = done < cards.length ? `${done} of ${cards.length}` : count(cards.length, "image");
  document.body.classList.toggle("has-results", cards.length > 0);
}

function describe(choice) {
  const { labels, limits } = choice.model;
  $("limits").textContent =
    `JPEG, PNG or WebP, up to ${bytes(limits.body_bytes)} and ${Math.round(limits.pixels / 1e6)} megapixels`;
  $("classes-head").textContent = `The ${count(labels.length, "class", "classes")}`;
  $("classes").replaceChildren(...labels.map((label) => element("li", "", label)));
  $("classes-box").open = labels.length <= 40;
  const key = currentKey() ? "-H 'Authorization: Bearer KEY' " : "";
  $("curl").textContent = ["classify", "explain"]
    .map((action) => `curl ${key}--data-binary @image.jpg ${location.origin}${path(choice, action)}`)
    .join("\n");
  $("about").hidden = false;
  for (const card of cards) card.ask();
}

$("clear").addEventListener("click", () => {
  drop([...cards]);
  $("files").focus();
  announce("All images removed");
});

listen(add);
chooser.refresh();
