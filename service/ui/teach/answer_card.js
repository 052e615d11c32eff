// What a memory says of an image: labels, whether it is unknown, the examples behind it, and the way to correct it.

import { element } from "../common/dom.js";
import { failure } from "../common/failure.js";
import { percent } from "../common/format.js";
import { button, exampleImage } from "./label_card.js";
import { recall } from "./memory_client.js";
import { scores } from "../common/scores.js";

const UNCALIBRATED = "The scores are not calibrated: 100 % does not mean that it is sure.";

export class AnswerCard {
  #abort = null;

  /** `host` has the name of the `memory`, its `labels`, a `pool`, `teach(label, files)`, `teachNot(label, file)` and `remove(card)`; `key` is that of the file where it is kept. */
  constructor(file, host, key) {
    this.file = file;
    this.key = key;
    this.host = host;
    this.url = URL.createObjectURL(file);
    const image = element("img", "");
    image.src = this.url;
    image.alt = "";
    this.body = element("div", "body");
    this.node = element("li", "card", element("div", "thumb", image), this.body);
  }

  /** Asks, again if the memory has changed; only the newest answer is shown. */
  async ask() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const ask = () => recall(this.host.memory, this.file, signal);
      const answer = await this.host.pool.run(ask, signal);
      if (!signal.aborted) this.#show(answer.predictions[0], answer);
    } catch (problem) {
      if (!signal.aborted) this.body.replaceChildren(this.#head(), failure(problem, () => this.ask()));
    }
  }

  /** Gives up asking, and shows what it had been told before. */
  stop() {
    this.#abort?.abort();
  }

  close() {
    this.stop();
    URL.revokeObjectURL(this.url);
    this.node.remove();
  }

  #head() {
    const gone = button("×", `Remove ${this.file.name}`, () => this.host.remove(this), "remove");
    return element("div", "card-head", element("h3", "", this.file.name), gone);
  }

  #show(prediction, answer) {
    this.body.replaceChildren(
      this.#head(),
      ...verdict(prediction, answer.unknown_level),
      ...(prediction.unknown === true ? [] : [scores(prediction.labels)]),
      ...(answer.calibrated || !prediction.labels.length ? [] : [element("p", "quiet", UNCALIBRATED)]),
      this.#evidence(prediction),
      this.#correction(prediction),
    );
  }

  #evidence({ evidence, without_strongest: without }) {
    if (!evidence.length) return "";
    const items = evidence.map((each) => {
      const said = `${each.negative ? "not " : ""}${each.label}`;
      const image = exampleImage(this.host.memory, each.id, each.thumbnail, said);
      return element("li", "", image, element("span", "quiet", `${said} · ${percent(Math.max(each.similarity, 0))}`));
    });
    const parts = [element("p", "quiet", "Nearest examples"), element("ul", "thumbs", ...items)];
    if (without?.label) parts.push(element("p", "quiet", `Without the strongest: ${without.label}`));
    return element("div", "evidence", ...parts);
  }

  #correction(prediction) {
    const best = prediction.unknown === true ? null : prediction.labels[0]?.label;
    const say = (label) => this.host.teach(label, [this.file]);
    const others = this.host.labels.map((label) =>
      button(label, label === best ? `Yes, it is ${label}` : `It is ${label}`, () => say(label), "chip"),
    );
    const no = () => this.host.teachNot(best, this.file);
    const not = best ? [button(`not ${best}`, `It is not ${best}`, no, "chip")] : [];
    const input = element("input", "field");
    Object.assign(input, { placeholder: "something else", maxLength: 100 });
    input.setAttribute("aria-label", `What ${this.file.name} shows`);
    const form = element("form", "", input, element("button", "plain", "Teach"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) say(input.value.trim());
    });
    return element("div", "correction", element("span", "quiet", "It is"), ...others, ...not, form);
  }
}

function verdict(prediction, level) {
  if (prediction.unknown === true) {
    const p = `p = ${prediction.p_value.toFixed(3)}, at most ${level}`;
    const [best] = prediction.labels;
    return [
      element("p", "unknown", element("strong", "", "Unknown"), ` It is like nothing that was taught (${p}).`),
      ...(best ? [element("p", "quiet", `If it had to be one of the classes: ${best.label}, ${percent(best.score)}`)] : []),
    ];
  }
  return prediction.unknown === null ? [element("p", "quiet", prediction.reason)] : [];
}
