// Which results are shown: those of a class, within a range of confidence, or those in which two models differ.

import { $, element } from "../common/dom.js";

const [ANY, NONE] = ["", "\u0000"]; // no label is empty, or a NUL

/** Whether the models that answered say different things of an image. */
export function differs({ answers }) {
  const best = answers.map((each) => each.labels?.[0].label);
  return best.length > 1 && best.some((label) => label !== best[0]);
}

export class Filters {
  #known = "";

  /** `onChange()` is called when other results are to be shown. */
  constructor(onChange) {
    for (const id of ["filter-class", "filter-least", "filter-most", "filter-differ"]) {
      $(id).addEventListener("input", onChange);
    }
  }

  /** Offers the classes that are there, and the choice of differing results if two models are asked. */
  update(cards, comparing) {
    const counts = new Map();
    for (const { answers } of cards) {
      for (const label of new Set(answers.map(({ labels }) => labels?.[0].label ?? NONE))) {
        counts.set(label, (counts.get(label) ?? 0) + 1);
      }
    }
    const found = [...counts].sort(([one], [other]) => one.localeCompare(other));
    $("filter-differ-box").hidden = !comparing;
    if (!comparing) $("filter-differ").checked = false;
    if (JSON.stringify(found) === this.#known) return; // an open list is left alone
    this.#known = JSON.stringify(found);
    const chosen = $("filter-class").value;
    $("filter-class").replaceChildren(
      option(ANY, "all classes"),
      ...found.map(([label, count]) => option(label, `${label === NONE ? "no answer" : label} (${count})`)),
    );
    $("filter-class").value = counts.has(chosen) ? chosen : ANY;
  }

  /** Whether a card is to be shown; one that has no answer yet is, while nothing in particular is asked for. */
  matches(card) {
    const label = $("filter-class").value;
    const [least, most] = [$("filter-least").value || 0, $("filter-most").value || 100].map((text) => text / 100);
    const all = !label && least <= 0 && most >= 1 && !$("filter-differ").checked;
    if (all) return true;
    if ($("filter-differ").checked && !differs(card)) return false;
    if (label === NONE) return card.answers.some((answer) => !answer.labels);
    return card.answers.some(({ labels }) => {
      if (!labels || (label && labels[0].label !== label)) return false;
      return labels[0].score >= least && labels[0].score <= most;
    });
  }
}

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}
