// The page on which a memory is taught, asked and corrected.

import { recalled, remember } from "../common/address.js";
import { AnswerCard } from "./answer_card.js";
import { $, announce, element } from "../common/dom.js";
import { Edit, imageOf, imagesOf, restorable } from "./edit.js";
import { count, percent } from "../common/format.js";
import { HealthView, quotas } from "./health_view.js";
import { Kept } from "../common/kept.js";
import { confirmed } from "./confirmation.js";
import { held, labelCard, takeDrops } from "./label_card.js";
import { offerMaking } from "./making.js";
import * as client from "./memory_client.js";
import { Pool } from "../common/pool.js";

let cards = []; // the newest first
let kept = null; // the images that the memory was asked about
let last = null; // what was done last, if it can be undone
let changes = 0; // under way

const host = {
  memory: null,
  described: null,
  labels: [],
  pool: new Pool(4),
  teach: (label, files) => change(async (edit) => {
    const { stored, refused } = await edit.teach(label, files, progress(`Teaching ${label}`));
    announce(`${count(stored, "image")} taught as ${label}`);
    return refused;
  }),
  teachNot: (label, file) => change(async (edit) => {
    await edit.teachNot(label, file);
    announce(`1 image taught as not ${label}`);
  }),
  correct: (example, label) => change(async (edit) => {
    await edit.correct(example, { label });
    announce(`Example corrected to ${label}`);
  }),
  forget: async (example) => {
    const { memory } = host;
    const image = await imageOf(memory, example, cards.map(({ file }) => file)).catch(() => null);
    const note = "It cannot be taken back: its whole image is neither kept nor on this page.";
    if (!image && !(await confirmed({ question: "Forget this example?", note, action: "Forget it" }))) return;
    if (memory !== host.memory) return; // another one was chosen meanwhile
    await change(async (edit) => {
      await edit.forget(example, image);
      announce("Example forgotten");
    });
  },
  forgetLabel: async (label) => {
    const { memory, described: { labels, negatives } } = host;
    const positive = labels[label] ?? 0;
    const negative = negatives[label] ?? 0;
    const files = cards.map(({ file }) => file);
    const finding = client.examplesOf(memory, label)
      .then((examples) => (examples.length === positive + negative ? restorable(examples, files) : []))
      .catch(() => []);
    const note = `It has ${held(positive, negative, ", and ")}.`;
    const more = finding.then((back) => wayBack(back.length, positive + negative));
    if (!(await confirmed({ question: `Forget ${label}?`, note, more, action: "Forget it" }))) return;
    const images = await imagesOf(memory, await finding, files);
    if (memory !== host.memory) return; // another one was chosen meanwhile
    await change(async (edit) => {
      await edit.forgetLabel(label, images);
      announce(`${label} forgotten`);
    });
  },
  report,
  remove: (card) => {
    drop([card]);
    announce(`${card.file.name} removed`);
  },
};

const view = new HealthView(host);

/**
 * Changes the memory by `work(edit)`, then shows it anew and asks it about every image again. Returns whether nothing
 * was refused.
 */
async function change(work, edit = new Edit(host.memory)) {
  const { memory } = host;
  offerUndo(null);
  changes += 1;
  stopReading();
  let note = "";
  try {
    note = (await work(edit)) ?? "";
  } catch (problem) {
    if (client.isGone(problem)) return report(problem, memory);
    note = `${problem.title ? `${problem.title}: ` : ""}${problem.message}`;
  } finally {
    changes -= 1;
    $("progress").hidden = true;
  }
  if (memory === host.memory) offerUndo(edit); // even after a problem: part of it may be done
  if (!changes) client.readAgain(); // or the last of them does
  try {
    await show();
  } catch (problem) {
    if (!client.isGone(problem)) askAgain();
    return report(problem);
  }
  notice(note && memory !== host.memory ? `${memory}: ${note}` : note);
  return !note;
}

/** Gives up what is being read of the memory: about to change, it may answer of what is forgotten by then. */
function stopReading() {
  client.stopReading();
  for (const card of cards) card.stop();
}

function askAgain() {
  for (const card of cards) card.ask();
}

/** Says how many of some examples can be put back when they are forgotten. */
function wayBack(restored, all) {
  if (!restored) return "Nothing of them is left then.";
  if (restored === all) return "Until the next change, Undo puts them back.";
  return `Until the next change, Undo puts ${restored} of them back: of the others no image is kept.`;
}

function offerUndo(edit) {
  last = edit?.canUndo ? edit : null;
  $("undo").hidden = !last;
}

/** Shows how many images have been seen to, where there is more than one. */
function progress(what) {
  return (done, all) => {
    $("progress").textContent = `${what}: ${done.toLocaleString("en")} of ${count(all, "image")}`;
    $("progress").hidden = all < 2;
  };
}

/** Says what went wrong with a memory; where it is gone, it leaves the list, and the page if it was shown. */
async function report(problem, gone = host.memory) {
  if (client.isGone(problem)) {
    await list(gone === host.memory ? null : host.memory);
    notice(`The memory “${gone}” is no longer there: it has been deleted, perhaps in another tab.`);
  } else {
    notice(problem.message);
  }
  return false;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function show() {
  const memory = host.memory;
  const asked = [client.describeMemory(memory), client.examine(memory), client.listModels()];
  let found;
  try {
    found = await Promise.all(asked);
  } catch (problem) {
    if (memory === host.memory) throw problem;
  }
  if (memory !== host.memory) return; // another one was chosen meanwhile
  const [described, health, models] = found;
  host.described = described;
  host.labels = [...new Set([described.labels, described.negatives].flatMap(Object.keys))];
  const states = new Map(health.labels.map((each) => [each.label, each]));
  const items = host.labels.map((label) =>
    labelCard(label, described.labels[label] ?? 0, described.negatives[label] ?? 0, states.get(label), host),
  );
  $("labels").replaceChildren(...items);
  const told = health.accuracy == null ? "" : ` · ${percent(health.accuracy)} told right without themselves`;
  const [examples, size] = quotas(described);
  $("health").textContent = `${examples.said} · ${size.said}${told}`;
  view.show(described, health);
  $("facts").textContent = advice(described, health, models.names);
  askAgain();
}

function advice(described, health, models) {
  if (!models.includes(described.model)) {
    return `It was taught with ${described.model}, which is not served here: it cannot be asked, nor taught.`;
  }
  if (!described.examples) return `It sees with ${described.model}. Give it two classes of a few images each.`;
  const [first] = health.advice;
  return first ? `${first.label}: ${first.reason}` : `It sees with ${described.model}.`;
}

async function choose(name) {
  for (const card of cards) card.close(); // what it was asked stays kept
  cards = [];
  offerUndo(null);
  client.readAgain();
  host.memory = name;
  host.described = null;
  remember({ memory: name });
  $("open").hidden = true; // what is there is another one's
  $("clear").hidden = true;
  notice("");
  if (!name) {
    $("facts").textContent = "A memory learns classes from a few images each, at once and without training. Make one:";
    return;
  }
  kept = new Kept(`teach/${name}`);
  await show();
  if (name !== host.memory) return;
  $("open").hidden = false;
  await restore();
}

/** Shows what the memory was asked about before the page was loaded, below what has come since. */
async function restore() {
  const memory = host.memory;
  const found = await kept.before();
  if (memory !== host.memory) return; // another one was chosen meanwhile
  const before = found.map(({ file, key }) => new AnswerCard(file, host, key));
  $("answers").append(...before.map((card) => card.node));
  begin(before, [...cards, ...before]);
}

async function list(chosen) {
  const memories = await client.listMemories();
  const options = memories.map(({ name }) => {
    const option = element("option", "", name);
    option.value = name;
    return option;
  });
  if (!options.length) options.push(element("option", "", "No memory yet"));
  $("memory").replaceChildren(...options);
  $("memory").disabled = !memories.length;
  $("making").open = !memories.length;
  const current = memories.find(({ name }) => name === chosen)?.name ?? memories[0]?.name ?? null;
  if (current) $("memory").value = current;
  await choose(current);
  if (chosen && chosen !== current) notice(`There is no memory “${chosen}”.`);
}

function ask(files) {
  const keys = kept.add(files);
  const fresh = files.map((file, index) => new AnswerCard(file, host, keys[index]));
  $("answers").prepend(...fresh.map((card) => card.node));
  begin(fresh, [...fresh, ...cards]);
}

function begin(fresh, all) {
  cards = all;
  $("clear").hidden = !all.length;
  for (const card of fresh) card.ask();
}

function drop(gone) {
  kept.drop(gone.map(({ key }) => key));
  for (const card of gone) card.close();
  cards = cards.filter((card) => !gone.includes(card));
  $("clear").hidden = !cards.length;
  $("files").focus();
}

async function teachNew(files) {
  const label = $("add-name").value.trim();
  if (label && files.length) {
    const done = await host.teach(label, files);
    if (done && $("add-name").value.trim() === label) $("add-name").value = "";
  } else {
    notice("Type the name of the class first.");
    $("add-name").focus();
  }
}

/** Deletes the memory, once that is confirmed, and shows another one. */
async function deleteOpen() {
  const { name, examples } = host.described;
  const note = examples
    ? `It holds ${count(examples, "example")}, of which nothing is left then. Export keeps them in a file, with what is kept of their images.`
    : "It holds no examples.";
  if (!(await confirmed({ question: `Delete ${name}?`, note, action: "Delete it" }))) return;
  let unerased = "";
  stopReading();
  await client.deleteMemory(name).catch((problem) => {
    if (client.isUnerased(problem)) {
      unerased = `${problem.title}: ${problem.message}`;
    } else if (!client.isGone(problem)) {
      client.readAgain();
      askAgain();
      throw problem;
    }
  });
  const shown = name === host.memory; // or another one was chosen meanwhile
  if (shown) drop(cards);
  await list(shown ? null : host.memory);
  (host.memory ? $("memory") : $("make-name")).focus();
  announce(`${name} deleted`);
  notice(unerased);
}

/** Saves the memory as a file. */
async function exportOpen() {
  const { memory } = host; // another one may be chosen meanwhile
  try {
    const blob = await client.exportFile(memory);
    const link = element("a", "");
    link.href = URL.createObjectURL(blob);
    link.download = `${memory}.safetensors`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (problem) {
    report(problem, memory);
  }
}

/** Has what fails here said on the page. */
function told(work) {
  work.catch(report);
}

$("memory").addEventListener("change", ({ target }) => told(choose(target.value)));
offerMaking(list, (problem) => notice(problem.message));
$("delete").addEventListener("click", () => told(deleteOpen()));
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  $("add-files").click();
});
$("add-files").addEventListener("change", ({ target }) => {
  const files = [...target.files];
  target.value = "";
  teachNew(files);
});
takeDrops($("add"), teachNew);
$("files").addEventListener("change", ({ target }) => {
  ask([...target.files]);
  target.value = "";
});
takeDrops($("drop"), ask);
// What misses a target must not replace the page.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => event.preventDefault());
$("clear").addEventListener("click", () => {
  drop(cards);
  announce("All images removed");
});
$("undo").addEventListener("click", () => {
  const edit = last;
  change(async () => {
    await edit.undo(progress("Undoing"));
    announce("Undone");
  }, edit);
});
$("export").addEventListener("click", exportOpen);

told(list(recalled("memory")));
