// One image and what one or two models say about it.

import { Problem, request } from "../common/api.js";
import { announce, element, fromTemplate } from "../common/dom.js";
import { empty, Explanation } from "../explanation/explanation.js";
import { failure, waiting } from "../common/failure.js";
import { bytes, milliseconds, percent } from "../common/format.js";
import { path } from "./models.js";
import { placeholder, scores, TOP } from "../common/scores.js";

export class Card {
  #file;
  #host;
  #find;
  #abort = new AbortController();
  #explanation = null;

  /**
   * `host` is {pool, choices(), onDone(card), onRemove(card), onMissing(), onSilent()}: the last two tell of a model
   * that is no longer there, and of one that has nothing to explain. `open` explains without being asked;
   * `key` is that of the file where it is kept.
   */
  constructor(file, host, { open, key }) {
    this.#file = file;
    this.#host = host;
    this.url = URL.createObjectURL(file);
    this.answers = []; // of each model {model, version, labels}, or {model, version, error}
    this.name = file.name || "Pasted image";
    this.node = fromTemplate("card");
    this.#find = (selector) => this.node.querySelector(selector);
    this.open = open;
    this.key = key;
    this.done = false;
    this.#dress();
  }

  /** Asks the chosen models, again if they have been asked before. */
  async ask() {
    this.#renew();
    const { signal } = this.#abort;
    const choices = this.#host.choices();
    const slots = choices.map(({ model }) => {
      const rows = placeholder(Math.min(TOP, model.labels.length));
      return choices.length > 1 ? slot(element("h4", "", model.name), rows) : slot(rows);
    });
    this.#find(".answer").replaceChildren(...slots.map((each) => each.parentNode));
    this.#find(".answer").classList.toggle("two", choices.length > 1);
    this.#note("Waiting…");
    const asked = choices.map((choice, place) => this.#askOne(choice, place, slots[place], signal));
    const answers = await Promise.all(asked);
    if (signal.aborted) return;
    this.answers = answers;
    this.done = true;
    this.#host.onDone(this);
  }

  /** Takes the image off the page. */
  remove() {
    this.#abort.abort();
    this.#explanation?.close();
    URL.revokeObjectURL(this.url);
    this.node.remove();
  }

  async #askOne(choice, place, slot, signal) {
    const { model: { name: model }, version } = choice;
    const note = place ? () => {} : (...parts) => this.#note(...parts);
    try {
      const found = await this.#host.pool.run(() => this.#classify(choice, slot, note, signal), signal);
      slot.replaceChildren(scores(found.labels));
      note(...found.timing);
      announce(`${this.name}: ${found.labels[0].label}, ${percent(found.labels[0].score)}`);
      if (place === 0 && !choice.model.memory) { // a memory names its evidence on its own page
        this.#find(".explain").hidden = false;
        if (this.open) this.#explain();
      }
      return { model, version, labels: found.labels };
    } catch (problem) {
      if (signal.aborted) return null;
      if (problem.status === 404) this.#host.onMissing();
      slot.replaceChildren(failure(problem, () => this.ask()));
      note("");
      announce(`${this.name}: ${problem.title}. ${problem.message}`);
      return { model, version, error: `${problem.title}. ${problem.message}` };
    }
  }

  async #classify(choice, slot, note, signal) {
    const most = choice.model.limits.body_bytes;
    if (this.#file.size > most) throw tooLarge(this.#file.size, most);
    note("Classifying…");
    let waited = 0;
    const onWait = (problem, seconds) => {
      if (!waited++) announce(`${this.name}: the server is busy, trying again.`);
      slot.replaceChildren(waiting(problem, seconds));
      note("Waiting…");
    };
    const url = `${path(choice, "classify")}?top_k=${TOP}`;
    const { document: found, elapsed } = await request(url, { method: "POST", body: this.#file, signal, onWait });
    return { labels: found.predictions[0].labels, timing: latency(elapsed, found.timing_ms) };
  }

  async #explain() {
    const { signal } = this.#abort;
    const [choice] = this.#host.choices();
    const fetchOne = (index, onWait) => {
      const query = index === undefined ? "" : `?class=${nameOf(index, choice.model.labels)}`;
      const url = path(choice, "explain") + query;
      const options = { method: "POST", body: this.#file, signal, onWait };
      return this.#host.pool.run(async () => (await request(url, options)).document, signal);
    };
    this.#explanation = new Explanation({ url: this.url, name: this.name, labels: choice.model.labels }, fetchOne);
    this.#find(".more").replaceChildren(this.#explanation.node);
    this.#toggle(true);
    if (!(await this.#explanation.show())) this.#host.onSilent();
    if (!signal.aborted) announce(`${this.name}: the explanation is there.`);
  }

  #toggle(open) {
    this.open = open;
    this.#find(".more").hidden = !open;
    this.#find(".explain").setAttribute("aria-expanded", String(open));
  }

  #renew() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#explanation?.close();
    this.#explanation = null;
    this.done = false;
    this.answers = [];
    const explained = this.open && !this.#host.choices()[0].model.memory;
    this.#find(".more").replaceChildren(...(explained ? [empty()] : []));
    this.#find(".more").hidden = !explained;
    this.#find(".explain").hidden = true;
  }

  #note(...parts) {
    this.#find(".timing").replaceChildren(...parts);
  }

  #dress() {
    const image = this.#find(".thumb img");
    image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 100);
    image.onerror = () => this.#find(".thumb").classList.add("none");
    image.loading = "lazy"; // of hundreds, most are never looked at
    image.src = this.url;
    this.#find("h3").textContent = this.name;
    this.#find("h3").title = `${this.name}, ${bytes(this.#file.size)}`;
    const remove = this.#find(".remove");
    remove.setAttribute("aria-label", `Remove ${this.name}`);
    remove.addEventListener("click", () => this.#host.onRemove(this));
    this.#find(".explain").addEventListener("click", () => {
      if (this.#explanation) this.#toggle(!this.open);
      else this.#explain();
    });
  }
}

/** Where an answer stands, in a box that may have a title. */
function slot(...parts) {
  const inner = element("div", "", parts.pop());
  element("div", "", ...parts, inner);
  return inner;
}

// A label where it is one class's alone, for the server takes a number for a label if there is such a label.
function nameOf(index, labels) {
  const label = labels[index];
  return encodeURIComponent(labels.indexOf(label) === labels.lastIndexOf(label) ? label : index);
}

function latency(total, { queue, decode, infer }) {
  const parts = [["queue", queue], ["decode", decode], ["model", infer]];
  const text = parts.map(([name, value]) => ` · ${name} ${milliseconds(value)}`).join("");
  return [element("strong", "", `${milliseconds(total)} ms`), " round trip", text];
}

function tooLarge(size, most) {
  const detail = `The file has ${bytes(size)}; at most ${bytes(most)} are accepted.`;
  return new Problem("The image is too large", detail, { lasting: true });
}
