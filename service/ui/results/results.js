// The images on the page: as cards, or as a table with the card of the chosen one below it.

import { choice } from "../common/choice.js";
import { $, announce } from "../common/dom.js";
import { asCsv, asJson, save } from "./download.js";
import { Filters } from "./filters.js";
import { count } from "../common/format.js";
import { ResultsTable } from "./table.js";

const MANY = 12; // more images than these are shown as a table, until somebody chooses
const MOST_CARDS = 20; // of the page at a time

export class Results {
  #cards = []; // the newest first
  #chosen = null; // the card below the table
  #view = null; // that somebody chose
  #most = MOST_CARDS;
  #drawing = 0;

  /** `models()` are the names of those that are asked. */
  constructor(models) {
    this.models = models;
    this.filters = new Filters(() => { this.#most = MOST_CARDS; this.draw(); });
    this.table = new ResultsTable((card) => this.#choose(card));
    $("table-box").append(this.table.node);
    $("views").append(choice("Show as", [["cards", "Cards"], ["table", "Table"]], "cards", (view) => this.#setView(view)));
    $("more-cards").addEventListener("click", () => { this.#most += MOST_CARDS; this.draw(); });
    $("csv").addEventListener("click", () => save("results.csv", "text/csv", asCsv(this.#shown())));
    $("json").addEventListener("click", () => save("results.json", "application/json", asJson(this.#shown())));
  }

  get cards() {
    return this.#cards;
  }

  add(fresh) {
    this.#cards = [...fresh, ...this.#cards];
    this.#draw();
  }

  /** Shows what was there before the page was loaded, below what has come since. */
  restore(cards) {
    this.#cards = [...this.#cards, ...cards];
    this.#draw();
  }

  /** Takes cards off the page; where one was, the next gets the focus. */
  drop(gone) {
    const place = this.#cards.indexOf(gone[0]);
    for (const card of gone) card.remove();
    const leaving = new Set(gone);
    this.#cards = this.#cards.filter((card) => !leaving.has(card));
    if (leaving.has(this.#chosen)) this.#chosen = null;
    this.#draw();
    const next = this.#cards[place] ?? this.#cards[place - 1];
    const button = this.#isTable() ? this.table.node.querySelector(".row-name[tabindex='0']") : next?.node.querySelector(".remove");
    (button ?? $("files")).focus();
  }

  /** Draws what has changed, once a frame at most. */
  draw() {
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const models = this.models();
    const done = this.#cards.filter((card) => card.done).length;
    const all = this.#cards.length;
    this.filters.update(this.#cards, models.length > 1);
    const shown = this.#shown();
    const table = this.#isTable();
    $("results-head").hidden = !all;
    $("results-tools").hidden = all < 2;
    $("progress").textContent = done < all ? `${done} of ${all}` : count(all, "image");
    if (shown.length < all) $("progress").textContent += ` · ${shown.length} shown`;
    document.body.classList.toggle("has-results", all > 0);
    $("views").querySelector(`[value=${table ? "table" : "cards"}]`).checked = true;
    $("table-box").hidden = !table;
    if (table) this.table.show(shown, models, this.#chosen);
    const cards = table ? shown.filter((card) => card === this.#chosen) : shown.slice(0, this.#most);
    place($("results"), cards.map((card) => card.node));
    $("more-cards").hidden = table || shown.length <= this.#most;
  }

  #shown() {
    return this.#cards.filter((card) => this.filters.matches(card));
  }

  #isTable() {
    return this.#cards.length > 1 && (this.#view ?? (this.#cards.length > MANY ? "table" : "cards")) === "table";
  }

  #setView(view) {
    this.#view = view;
    this.#draw();
    announce(view === "table" ? "Shown as a table" : "Shown as cards");
  }

  #choose(card) {
    this.#chosen = card === this.#chosen ? null : card;
    this.#draw();
    if (this.#chosen) $("results").scrollIntoView({ block: "nearest" });
  }
}

/** Makes nodes the children of a list; those that stay are not moved, so that they keep the focus. */
function place(list, nodes) {
  const wanted = new Set(nodes);
  for (const node of [...list.children]) if (!wanted.has(node)) node.remove();
  let next = list.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = node.nextElementSibling;
    else list.insertBefore(node, next);
  }
}
