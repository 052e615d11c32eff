// Why a model answers as it does: maps of patches over the image, and training images like it.

import { classRecall } from "./class_recall.js";
import { ClassView } from "./class_view.js";
import { element } from "../common/dom.js";
import { examples } from "./examples.js";
import { failure, waiting } from "../common/failure.js";
import { milliseconds, percent } from "../common/format.js";
import { MemoryView } from "./memory_view.js";
import { Stage } from "./stage.js";

const CLASSES = 3; // as many as examples are shown of

export class Explanation {
  #image;
  #ask;
  #answers = new Map();
  #urls = [];
  #stage = null;
  #turn = 0;
  #classView;
  #status = element("div", "status", empty());
  #body = element("div", "why-body");

  /**
   * `image` is {url, name, labels}, the labels being the model's by index. `ask(index, onWait)` fetches the
   * explanation of a class, of the best one where the index is undefined.
   */
  constructor(image, ask) {
    this.#image = image;
    this.#ask = ask;
    this.node = element("section", "why", this.#status, this.#body);
    this.node.setAttribute("aria-label", `Explanation of ${image.name}`);
  }

  /** Fetches and draws the explanation of a class. Returns whether there is anything to see. */
  async show(index) {
    const turn = ++this.#turn;
    this.node.setAttribute("aria-busy", "true");
    try {
      const onWait = (problem, seconds) => this.#status.replaceChildren(waiting(problem, seconds));
      const answer = this.#answers.get(index) ?? (await this.#ask(index, onWait));
      this.#answers.set(index, answer);
      if (turn !== this.#turn) return true; // another class has been chosen meanwhile
      this.#status.replaceChildren();
      this.#draw(answer);
      return Boolean(answer.map || answer.examples.length);
    } catch (problem) {
      if (problem.name === "AbortError" || turn !== this.#turn) return true;
      if (problem.type === "urn:ait:no-explanation") return this.#decline(problem);
      this.#status.replaceChildren(failure(problem, () => this.show(index)));
      if (this.#classView) this.#classView.select.value = this.#classView.index;
      return true;
    } finally {
      if (turn === this.#turn) this.node.removeAttribute("aria-busy");
    }
  }

  /** Frees the thumbnails. */
  close() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
  }

  #draw(answer) {
    if (this.#stage) {
      this.#classView.update(answer.map, answer.labels, answer.without_memory);
      this.#stage.repaint();
      return;
    }
    const parts = [];
    if (answer.map) parts.push(this.#build(answer));
    if (answer.class_recall) parts.push(classRecall(answer.class_recall.slice(0, CLASSES), answer.calibrated));
    if (answer.examples.length) parts.push(examples(answer.examples, this.#urls));
    parts.push(element("p", "quiet", this.#remarks(answer).join(" ")));
    this.#body.replaceChildren(...parts);
  }

  #decline(problem) {
    this.#status.replaceChildren(element("p", "quiet", problem.message));
    return false;
  }

  #build({ grid, region, map, blocks, labels, without_memory: without }) {
    this.#classView = new ClassView(this.#image.labels, (index) => this.show(index));
    this.#classView.update(map, labels, without);
    const views = [this.#classView];
    if (blocks.length) views.push(new MemoryView(blocks, () => this.#stage.repaint()));
    this.#stage = new Stage({ ...this.#image, grid, region, views });
    return this.#stage.node;
  }

  #remarks({ map, blocks, labels, without_memory: without, examples: classes, timing_ms: timing }) {
    const remarks = [];
    if (without) {
      const [[now], [then]] = [labels, without.labels];
      const answer = then.label === now.label ? "still" : "instead";
      remarks.push(
        `Without what its blocks retrieve, the answer would ${answer} be ${then.label}, with ${percent(then.score)}; ` +
          `it is ${now.label} with ${percent(now.score)}.`,
      );
    }
    if (!map) remarks.push("This model cannot say what each part of the image contributes; AiT models can.");
    else if (!blocks.length && !without) remarks.push("This model has no associative memory to look into; AiT models have.");
    if (!classes.length) remarks.push("No training images are kept with this model.");
    return [...remarks, `Explained in ${milliseconds(timing.queue + timing.decode + timing.infer)} ms.`];
  }
}

/** As much room as an explanation will take. */
export function empty() {
  const lines = Array.from({ length: 3 }, () => element("div"));
  const stage = element("div", "canvas", element("div", "stage"));
  const side = element("div", "side", element("p", "hidden", "Explaining…"), ...lines);
  return element("div", "look empty", stage, side);
}
