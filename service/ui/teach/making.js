// New memories: empty ones, and those that a file brings.

import { $, element } from "../shared/dom.js";
import * as client from "./memory_client.js";

/** Has memories made by the form: `onMade(name)` is told of each, `onProblem(problem)` of what cannot be done. */
export function offerMaking(onMade, onProblem) {
  const name = $("make-name");
  const made = (wanted, work) => work.then(() => {
    name.value = "";
    return onMade(wanted);
  }).catch(onProblem);

  $("make").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    made(wanted, client.makeMemory(wanted, options()));
  });
  $("import").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = "";
    const wanted = name.value.trim() || nameOf(file);
    made(wanted, bring(wanted, file));
  });
  showModels().catch(onProblem);
}

/** Imports a file as a new memory: into one that is there, its examples would go without a way back. */
async function bring(name, file) {
  const memories = await client.listMemories();
  if (memories.some((each) => each.name === name)) {
    throw new Error(`There is a memory ${name} already. Type another name for the one in ${file.name}.`);
  }
  await client.importFile(name, file, options());
}

async function showModels() {
  const { default: standard, models } = await client.listModels();
  $("make-model").replaceChildren(...models.map((model) => {
    const option = element("option", "", model.name);
    option.selected = model.name === standard;
    return option;
  }));
  $("make-model-box").hidden = models.length < 2;
}

function options() {
  const chosen = { keep: $("make-keep").value };
  return $("make-model").value ? { ...chosen, model: $("make-model").value } : chosen;
}

/** A name that a memory may have, from that of a file. */
export function nameOf(file) {
  const stem = file.name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return stem.slice(0, 64) || "memory";
}
