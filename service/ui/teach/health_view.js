// What of a memory is worth a look: how full it is, which classes it mixes up, and examples that may be wrong or too
// many, to be corrected or forgotten on the spot. Where there is nothing to say, nothing is shown.

import { $, element } from "../common/dom.js";
import { bytes, count, percent } from "../common/format.js";
import { bar, button, exampleItem } from "./label_card.js";
import { describeExamples, isGivenUp } from "./memory_client.js";

const NEARLY_FULL = 0.8;
const MOST = 20; // entries that the server tells of each list
const NOT = "¬"; // before a label that an example says it is not

/** How much of what a memory may hold it does: of examples, bytes and labels, the share and words for it. */
export function quotas({ examples, bytes: used, labels, negatives, limits }) {
  const kinds = Object.keys(labels).length + Object.keys(negatives).length;
  const of = (held, most, one) => `${held.toLocaleString("en")} of ${count(most, one)}`;
  return [
    { share: examples / limits.examples, said: of(examples, limits.examples, "example") },
    { share: used / limits.bytes, said: `${bytes(used)} of ${bytes(limits.bytes)}` },
    { share: kinds / limits.labels, said: of(kinds, limits.labels, "label") },
  ];
}

/** `host` has the name of the `memory`, `correct(example, label)`, `forget(example)` and `report(problem)`. */
export class HealthView {
  #host;
  #doubts;
  #twins;

  constructor(host) {
    this.#host = host;
    this.#doubts = new Findings($("doubts"), host);
    this.#twins = new Findings($("twins"), host);
  }

  show(described, health) {
    const sizes = described.labels;
    const full = fullness(described);
    const { confusions, doubts, near_duplicates: twins } = health;
    $("full").replaceChildren(...(full ? [element("p", "", full.said), bar(full.share)] : []));
    $("confusions").replaceChildren(...confusions.map((each) => confusion(each, sizes)));
    this.#doubts.show(`${size(doubts, "example")} more like another class`, doubts.map((each) => this.#doubt(each)));
    const pairs = twins.map((each) => twin(each, health.same_file));
    this.#twins.show(`${size(twins, "pair")} of nearly the same image`, pairs);
    for (const id of ["full", "confusions"]) $(id).parentElement.hidden = !$(id).childElementCount;
    $("look").hidden = !(full || confusions.length || doubts.length || twins.length);
  }

  #doubt({ id, label, taken_for: other }) {
    const correct = (example) => this.#host.correct(example, other);
    const action = (example) => button(`It is ${other}`, `Example ${id} is ${other}`, () => correct(example), "chip");
    return { ids: [id], said: `${label}, but more like ${other}`, action };
  }
}

/** A folded list of examples, which are looked up when it is opened. */
class Findings {
  #node;
  #host;
  #items = [];

  constructor(node, host) {
    this.#node = node;
    this.#host = host;
    node.addEventListener("toggle", () => this.#draw());
  }

  /** Each of the items has the `ids` of examples, what is `said` of them, and maybe an `action(example)`. */
  show(summary, items) {
    this.#items = items;
    this.#node.hidden = !items.length;
    this.#node.querySelector("summary").textContent = summary;
    this.#draw();
  }

  async #draw() {
    const [list, items, { memory }] = [this.#node.querySelector("ul"), this.#items, this.#host];
    if (!this.#node.open || !items.length) return list.replaceChildren();
    try {
      const found = await describeExamples(memory, [...new Set(items.flatMap(({ ids }) => ids))]);
      if (items !== this.#items) return; // there is news
      const examples = new Map(found.map((each) => [each.id, each]));
      const there = items.filter(({ ids }) => ids.every((id) => examples.has(id)));
      list.replaceChildren(...there.map((item) => this.#finding(item, item.ids.map((id) => examples.get(id)))));
    } catch (problem) {
      if (!isGivenUp(problem)) this.#host.report(problem, memory);
    }
  }

  #finding({ said, action }, examples) {
    const images = element("ul", "thumbs", ...examples.map((each) => exampleItem(each, this.#host)));
    const actions = action ? [action(examples[0])] : [];
    return element("li", "finding", images, element("div", "", element("p", "", said), ...actions));
  }
}

/** The quota that is nearly used up, if one is: its share, and what to say of it. */
function fullness(described) {
  const [fullest] = quotas(described).sort((one, other) => other.share - one.share);
  if (fullest.share < NEARLY_FULL) return null;
  const how = fullest.share < 1 ? "Nearly full" : "Full";
  return { share: Math.min(fullest.share, 1), said: `${how}: ${fullest.said}.` };
}

function confusion({ label, taken_for: other, examples }, sizes) {
  const often = element("strong", "figure", `${examples} of ${sizes[label]}`);
  return element("li", "", `${label} taken for ${other}: `, often);
}

function twin({ ids, labels, similarity }, sameFile) {
  const [one, other] = labels.map((label) => (label.startsWith(NOT) ? `not ${label.slice(NOT.length)}` : label));
  const what = one === other ? `Both ${one}` : `${one} and ${other}`;
  const same = sameFile.some((group) => ids.every((id) => group.includes(id)));
  return { ids, said: `${what}: ${same ? "the same file" : `${percent(similarity)} alike`}` };
}

function size(list, one) {
  return list.length < MOST ? count(list.length, one) : `${MOST} or more ${one}s`;
}
