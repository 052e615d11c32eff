// The playground: sends images to the chosen models and shows what they say.

import { Card } from "./card.js";
import { $, announce, element } from "../common/dom.js";
import { bytes, count } from "../common/format.js";
import { listen } from "./intake.js";
import { Kept } from "../common/kept.js";
import { currentKey } from "../common/key.js";
import { Chooser, path } from "./models.js";
import { Pool } from "../common/pool.js";
import { Results } from "../results/results.js";
import { offerSamples } from "./samples.js";

const AT_ONCE = 4; // requests; the server makes batches of them

const silent = new Set(); // models that have nothing to explain
const kept = new Kept("classify");
const chooser = new Chooser(describe);
const results = new Results(() => chooser.asked.map(({ model }) => model.name));

const host = {
  pool: new Pool(AT_ONCE),
  choices: () => chooser.asked,
  onDone: () => results.draw(),
  onMissing: () => chooser.refresh(),
  onSilent: () => silent.add(chooser.current.model.name),
  onRemove: (card) => {
    drop([card]);
    announce(`${card.name} removed`);
  },
};

/** Shows images in their order, above those that are there, and has them classified. */
function add(files) {
  results.add(ask(files, kept.add(files)));
}

function ask(files, keys) {
  const open = files.length === 1 && !silent.has(chooser.current?.model.name);
  const fresh = files.map((file, index) => new Card(file, host, { open, key: keys[index] }));
  if (chooser.current) for (const card of fresh) card.ask();
  return fresh;
}

function drop(cards) {
  kept.drop(cards.map(({ key }) => key));
  results.drop(cards);
}

async function restore() {
  const found = await kept.before();
  if (found.length) results.restore(ask(found.map(({ file }) => file), found.map(({ key }) => key)));
}

function describe(choice) {
  const { labels, limits } = choice.model;
  $("limits").textContent =
    `JPEG, PNG or WebP, up to ${bytes(limits.body_bytes)} and ${Math.round(limits.pixels / 1e6)} megapixels`;
  $("classes-head").textContent = `The ${count(labels.length, "class", "classes")}`;
  $("classes").replaceChildren(...labels.map((label) => element("li", "", label)));
  $("classes-box").open = labels.length <= 40;
  const key = currentKey() ? "-H 'Authorization: Bearer KEY' " : "";
  const second = choice.model.memory ? `v1/memories/${choice.model.name}/recall` : path(choice, "explain");
  $("curl").textContent = [path(choice, "classify"), second]
    .map((each) => `curl ${key}--data-binary @image.jpg ${new URL(each, document.baseURI)}`)
    .join("\n");
  $("about").hidden = false;
  for (const card of results.cards) card.ask();
  results.draw();
}

$("clear").addEventListener("click", () => {
  drop([...results.cards]);
  announce("All images removed");
});

listen(add);
offerSamples(add);
chooser.refresh();
restore();
