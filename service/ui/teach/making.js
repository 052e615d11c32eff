// New memories: empty ones, and those that a file brings.

import { $, element } from "../common/dom.js";
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
  // The file knows what its memory kept, and the weights that it belongs to, but not what they are called here.
  const { model } = options();
  const others = [...$("make-model").options].map(({ value }) => value).filter((each) => each !== model);
  let first = null;
  for (const each of [model, ...others]) {
    try {
      return await client.importFile(name, file, { model: each });
    } catch (problem) {
      if (problem.status !== 409) throw problem;
      first ??= problem;
    }
  }
  throw first;
}

async function showModels() {
  const { names, heads, standard } = await client.listModels();
  $("make-model").replaceChildren(...names.map((name) => {
    const option = element("option", "", name);
    option.selected = name === standard;
    return option;
  }));
  $("make-model-box").hidden = names.length < 2;
  const offerStart = () => {
    const box = $("make-start-box");
    box.hidden = !heads.includes($("make-model").value);
    if (box.hidden) $("make-start").value = "nothing";
  };
  $("make-model").addEventListener("change", offerStart);
  offerStart();
}

function options() {
  return { keep: $("make-keep").value, model: $("make-model").value, start: $("make-start").value };
}

/** A name that a memory may have, from that of a file. */
export function nameOf(file) {
  const letters = file.name.replace(/\.[^.]*$/, "").normalize("NFKD").replace(/\p{M}/gu, "");
  const stem = letters.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 64).replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "");
  return stem || "memory";
}
