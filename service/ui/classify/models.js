// Which models there are, and which of them are asked: one, or two side by side.

import { recalled, remember } from "../common/address.js";
import { request } from "../common/api.js";
import { $, element } from "../common/dom.js";
import { count } from "../common/format.js";

const RETRY_MS = 2000;

/** Paths of a choice; a version is named only if it is not the one that answers by default. */
export function path({ model, version }, action) {
  const at = `v1/models/${encodeURIComponent(model.name)}`;
  return version === model.version ? `${at}/${action}` : `${at}/versions/${encodeURIComponent(version)}/${action}`;
}

export class Chooser {
  #choices = [];
  #current = null;
  #second = null;
  #loading = null;

  /** `onChange(choice)` is called whenever another model or version is to be asked, or another one beside it. */
  constructor(onChange) {
    this.onChange = onChange;
    $("model").addEventListener("change", (event) => {
      const choice = this.#choices[event.target.selectedIndex];
      remember({ model: choice.model.name, version: choice.version }); // whoever picks one keeps it while it is there
      this.#choose(choice);
    });
    $("second").addEventListener("change", (event) => {
      this.#second = this.#choices[event.target.selectedIndex - 1] ?? null;
      remember({ beside: this.#second?.model.name ?? null, "beside-version": this.#second?.version ?? null });
      this.onChange(this.#current);
    });
    // A server that stays up for weeks gets new models while the page is open.
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
  }

  /** The chosen {model, version}; null until the server has said what there is. */
  get current() {
    return this.#current;
  }

  /** All that are to be asked, the chosen one first. */
  get asked() {
    return [this.#current, this.#second].filter(Boolean);
  }

  /** Asks what there is, until there is an answer. */
  refresh() {
    this.#loading ??= this.#load().finally(() => { this.#loading = null; });
    return this.#loading;
  }

  async #load() {
    for (;;) {
      try {
        const { document: answer } = await request("v1/models", { onWait: (problem) => notice(problem.message) });
        mention(answer.index);
        if (!answer.models.length) throw new Error("No model answers now.");
        notice("");
        return this.#show(answer);
      } catch (problem) {
        notice(`${problem.message} Trying again…`);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #show({ default: name, models, index }) {
    const others = index.filter(({ state }) => state !== "ready");
    this.#choices = models.flatMap((model) => {
      const others = model.versions.filter((version) => version !== model.version).reverse();
      return [model.version, ...others].map((version) => ({ model, version }));
    });
    const standard = ({ model, version }) => model.name === name && version === model.version;
    const chosen = this.#named("model", "version") ?? this.#choices.find(standard) ?? this.#choices[0];
    $("model").replaceChildren(...this.#choices.map(option), ...others.map(closed));
    $("model").selectedIndex = this.#choices.indexOf(chosen);
    $("model").disabled = this.#choices.length + others.length < 2;
    if (others.some(({ state }) => state !== "unavailable")) setTimeout(() => this.refresh(), RETRY_MS);
    this.#second = this.#named("beside", "beside-version");
    $("second").replaceChildren(element("option", "", "no other model"), ...this.#choices.map(option));
    $("second").selectedIndex = this.#choices.indexOf(this.#second) + 1;
    $("second-box").hidden = this.#choices.length < 2;
    this.#choose(chosen);
  }

  /** The choice that the address names; another version of the model where that one is gone, null without the model. */
  #named(name, version) {
    const found = this.#choices.filter(({ model }) => model.name === recalled(name));
    return found.find((choice) => choice.version === recalled(version)) ?? found[0] ?? null;
  }

  /** Nothing stands beside itself. */
  #setApart() {
    [...$("second").options].slice(1).forEach((each, index) => { each.disabled = this.#choices[index] === this.#current; });
    if (this.#second !== this.#current) return;
    this.#second = null;
    $("second").selectedIndex = 0;
  }

  #choose(choice) {
    const before = this.#current;
    this.#current = choice;
    this.#setApart();
    describe(choice);
    if (!before || !equal(before, choice)) this.onChange(choice);
  }
}

function equal(one, other) {
  return one.model.name === other.model.name && one.version === other.version;
}

function option({ model, version }) {
  const several = model.versions.length > 1;
  return element("option", "", several ? `${model.name} · version ${version}` : nameOf(model));
}

function nameOf({ name, memory }) {
  return memory ? `${name} · memory` : name;
}

function closed({ model, version, state }) {
  const node = element("option", "", `${model} · version ${version} (${state})`);
  node.disabled = true;
  return node;
}

/** Says which versions do not answer, or not as their files now are, and why. */
function mention(index) {
  const lines = index
    .filter(({ state, reason }) => state === "unavailable" || reason)
    .map(({ model, version, state, reason }) =>
      element("li", "", element("strong", "", `${model}, version ${version}`), ` is ${state}. ${reason}`),
    );
  $("others").hidden = !lines.length;
  $("others-list").replaceChildren(...lines);
}

function describe({ model, version }) {
  const [, height, width] = model.input_size;
  const classes = count(model.labels.length, "class", "classes");
  const facts = [model.memory ? "a memory" : `version ${version}`, classes, `sees ${width} × ${height} pixels`];
  if (model.calibrated) facts.push("calibrated");
  $("facts").replaceChildren(facts.join(" · "), ...(model.memory ? [" · ", teaching(model.name)] : []));
}

function teaching(name) {
  const link = element("a", "", "teach it");
  link.href = `teach?${new URLSearchParams({ memory: name })}`;
  return link;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}
