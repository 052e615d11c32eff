// One image and what the model says about it.

import { Problem, request } from "./api.js";
import { announce, element, fromTemplate } from "./dom.js";
import { empty, Explanation } from "./explanation.js";
import { failure, waiting } from "./failure.js";
import { bytes, milliseconds, percent } from "./format.js";
import { path } from "./models.js";
import { placeholder, scores, TOP } from "./scores.js";

export class Card {
  #file;
  #host;
  #url;
  #find;
  #abort = new AbortController();
  #explanation = null;

  /**
   * `host` is {pool, choice(), onDone(card), onRemove(card), onMissing(), onSilent()}: the last two tell of a model
   * that is no longer there, and of one that has nothing to explain. `open` explains without being asked.
   */
  constructor(file, host, { open }) {
    this.#file = file;
    this.#host = host;
    this.#url = URL.createObjectURL(file);
    this.name = file.name || "Pasted image";
    this.node = fromTemplate("card");
    this.#find = (selector) => this.node.querySelector(selector);
    this.open = open;
    this.done = false;
    this.#dress();
  }

  /** Asks the chosen model, again if it has been asked before. */
  async ask() {
    this.#renew();
    const { signal } = this.#abort;
    const choice = this.#host.choice();
    const answer = this.#find(".answer");
    answer.replaceChildren(placeholder(Math.min(TOP, choice.model.labels.length)));
    this.#note("Waiting…");
    try {
      const found = await this.#host.pool.run(() => this.#classify(choice, signal), signal);
      answer.replaceChildren(scores(found.labels));
      this.#note(...found.timing);
      announce(`${this.name}: ${found.labels[0].label}, ${percent(found.labels[0].score)}`);
      this.#find(".explain").hidden = false;
      if (this.open) this.#explain();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status === 404) this.#host.onMissing();
      answer.replaceChildren(failure(problem, () => this.ask()));
      this.#note("");
      announce(`${this.name}: ${problem.title}. ${problem.message}`);
    }
    this.done = true;
    this.#host.onDone(this);
  }

  /** Takes the image off the page. */
  remove() {
    this.#abort.abort();
    this.#explanation?.close();
    URL.revokeObjectURL(this.#url);
    this.node.remove();
  }

  async #classify(choice, signal) {
    const most = choice.model.limits.body_bytes;
    if (this.#file.size > most) throw tooLarge(this.#file.size, most);
    this.#note("Classifying…");
    let waited = 0;
    const onWait = (problem, seconds) => {
      if (!waited++) announce(`${this.name}: the server is busy, trying again.`);
      this.#find(".answer").replaceChildren(waiting(problem, seconds));
      this.#note("Waiting…");
    };
    const url = `${path(choice, "classify")}?top_k=${TOP}`;
    const { document: found, elapsed } = await request(url, { method: "POST", body: this.#file, signal, onWait });
    return { labels: found.predictions[0].labels, timing: latency(elapsed, found.timing_ms) };
  }

  async #explain() {
    const { signal } = this.#abort;
    const choice = this.#host.choice();
    const fetchOne = (index, onWait) => {
      const query = index === undefined ? "" : `?class=${nameOf(index, choice.model.labels)}`;
      const url = path(choice, "explain") + query;
      const options = { method: "POST", body: this.#file, signal, onWait };
      return this.#host.pool.run(async () => (await request(url, options)).document, signal);
    };
    this.#explanation = new Explanation({ url: this.#url, name: this.name, labels: choice.model.labels }, fetchOne);
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
    this.#find(".more").replaceChildren(...(this.open ? [empty()] : []));
    this.#find(".explain").hidden = true;
  }

  #note(...parts) {
    this.#find(".timing").replaceChildren(...parts);
  }

  #dress() {
    const image = this.#find(".thumb img");
    image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 100);
    image.onerror = () => this.#find(".thumb").classList.add("none");
    image.src = this.#url;
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
