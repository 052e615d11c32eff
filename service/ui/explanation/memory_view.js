// What the associative memories do with each patch: its energy through the blocks, which block's memory it is owed to,
// and the priors that it recalls.

import { element } from "../common/dom.js";
import { choice } from "../common/choice.js";
import { count, number, percent } from "../common/format.js";
import { scale } from "./legend.js";
import { categorical, css, sequential } from "./palette.js";

const MOST_TICKS = 12;
const KINDS = [["energy", "Energy"], ["share", "Share"], ["prior", "Prior"]];
const MEANINGS = {
  energy: "Energy of each patch under all blocks’ memories: low where the patch is like something stored.",
  share: "How much of a patch’s energy is owed to this block’s memory rather than the other blocks’.",
  prior: "The prior that each patch recalls most. Patches of one colour share it; frames mark the chosen one.",
};

export class MemoryView {
  title = "Memory";

  /** `blocks` are those of an answer; `onChange()` is called when another block or quantity is to be shown. */
  constructor(blocks, onChange) {
    this.blocks = blocks;
    this.kind = KINDS[0][0];
    this.slider = element("input");
    Object.assign(this.slider, { type: "range", min: 1, max: blocks.length, step: 1, value: blocks.length });
    this.block = element("span", "figure"); // an <output> would take the label from the slider
    this.meaning = element("p", "quiet");
    const kinds = choice("Quantity", KINDS, this.kind, (kind) => { this.kind = kind; this.#changed(onChange); });
    const name = element("span", "", "Block ", this.block);
    const field = element("label", "field", name, this.slider, ticks(blocks.length));
    this.controls = element("div", "controls", field, kinds, this.meaning);
    this.slider.addEventListener("input", () => this.#changed(onChange));
    this.#changed(() => {});
  }

  #changed(onChange) {
    const at = `${this.slider.value} of ${this.blocks.length}`;
    this.place = this.slider.value - 1;
    this.current = this.blocks[this.place];
    this.block.textContent = at;
    this.slider.setAttribute("aria-valuetext", `block ${at}`);
    this.meaning.textContent = MEANINGS[this.kind];
    this.strongestPrior = this.current.recalled.map(([[prior]]) => prior);
    this.values = {
      energy: this.current.energy,
      share: this.current.responsibilities.map((shares) => shares[this.place]),
      prior: this.strongestPrior,
    }[this.kind];
    this.least = Math.min(...this.values);
    this.most = Math.max(...this.values);
    this.palette = this.kind === "prior" ? categorical : sequential(this.least, this.most);
    onChange();
  }

  colour = (index) => this.palette(this.values[index]);

  words = (index) => {
    const { energy, responsibilities, recalled } = this.current;
    const priors = recalled[index].map(([prior, weight]) => `${prior} with ${percent(weight)}`).join(", ");
    const share = percent(responsibilities[index][this.place]);
    return `energy ${number(energy[index])}, ${share} of it by this block; recalls prior ${priors}`;
  };

  strongest() {
    return this.values.indexOf(this.kind === "share" ? this.most : this.least);
  }

  /** Whether a patch recalls the same prior as another one does. */
  mates(index) {
    return (each) => this.kind === "prior" && this.strongestPrior[each] === this.strongestPrior[index];
  }

  legend() {
    if (this.kind === "prior") {
      const used = new Set(this.strongestPrior).size;
      return [element("span", "", `${used} of ${count(this.current.priors, "prior")} lead in some patch`)];
    }
    const say = this.kind === "share" ? percent : number;
    return scale(this.palette, this.least, this.most, `${say(this.least)} low`, `high ${say(this.most)}`);
  }

  details(index) {
    const path = this.blocks.map((each) => number(each.energy[index])).join(" → ");
    const shares = this.current.responsibilities[index].map(percent).join(", ");
    const rows = this.current.recalled[index].map(([prior, weight]) => this.#share(prior, weight));
    return [
      element("p", "", "Energy ", element("strong", "figure", path)),
      element("p", "quiet", `Shares of the blocks: ${shares}`),
      element("ul", "priors", ...rows),
    ];
  }

  #share(prior, weight) {
    const fill = element("div", "fill");
    fill.style.width = `${weight * 100}%`;
    if (this.kind === "prior") fill.style.backgroundColor = css([...categorical(prior).slice(0, 3), 1]);
    const [name, share] = [element("span", "name", `Prior ${prior}`), element("span", "percent", percent(weight))];
    return element("li", "", name, element("div", "track", fill), share);
  }
}

function ticks(blocks) {
  const numbers = blocks > MOST_TICKS ? [1, blocks] : Array.from({ length: blocks }, (_, index) => index + 1);
  const line = element("span", "ticks figure", ...numbers.map((each) => element("span", "", String(each))));
  line.setAttribute("aria-hidden", "true");
  return line;
}
