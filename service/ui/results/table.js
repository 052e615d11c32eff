// A table of any length of which only the rows in view are on the page.

import { element } from "../common/dom.js";
import { percent } from "../common/format.js";
import { differs } from "./filters.js";

const ROW = 44; // pixels, as in the style
const BEYOND = 4; // rows above and below those in view
const STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

export class ResultsTable {
  #cards = []; // in the order of the table
  #rows = new Map(); // card -> row on the page
  #current = 0; // place of the row that Tab leads to
  #order = { column: null, down: false };
  #models = [];

  /** `onChoose(card)` is called with the card whose row is pressed. */
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.head = element("div", "table-row table-head");
    this.head.setAttribute("role", "row");
    this.sizer = element("div", "table-sizer");
    this.sizer.setAttribute("role", "presentation");
    this.body = element("div", "table-body", this.sizer);
    const top = element("div", "", this.head);
    for (const group of [top, this.body]) group.setAttribute("role", "rowgroup");
    this.node = element("div", "table", top, this.body);
    this.node.setAttribute("role", "table");
    this.node.setAttribute("aria-label", "Results");
    this.body.addEventListener("scroll", () => this.#render(), { passive: true });
    this.body.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(() => this.#render()).observe(this.body);
  }

  /** Shows cards; `models` are the names of those that were asked. */
  show(cards, models, chosen) {
    const before = this.#cards[this.#current];
    this.chosen = chosen;
    if (models.join("\n") !== this.#models.join("\n") || !this.head.childElementCount) this.#dress(models);
    this.#cards = sorted(cards, this.#order);
    this.cards = cards;
    this.#current = Math.max(0, this.#cards.indexOf(before));
    this.node.setAttribute("aria-rowcount", String(cards.length + 1));
    this.sizer.style.height = `${cards.length * ROW}px`;
    this.#render();
  }

  #render() {
    const first = Math.floor(this.body.scrollTop / ROW) - BEYOND;
    const last = first + Math.ceil(this.body.clientHeight / ROW) + 2 * BEYOND;
    const shown = this.#cards
      .map((card, place) => [card, place])
      .filter(([, place]) => (place >= first && place <= last) || place === this.#current);
    const wanted = new Set(shown.map(([card]) => card));
    for (const [card, row] of this.#rows) {
      if (wanted.has(card)) continue;
      row.remove();
      this.#rows.delete(card);
    }
    let next = this.sizer.firstElementChild;
    for (const [card, place] of shown) {
      const row = this.#row(card, place);
      if (row === next) next = row.nextElementSibling;
      else this.sizer.insertBefore(row, next);
    }
  }

  #row(card, place) {
    const row = this.#rows.get(card) ?? this.#make(card);
    row.style.top = `${place * ROW}px`;
    row.setAttribute("aria-rowindex", String(place + 2));
    row.classList.toggle("chosen", card === this.chosen);
    row.classList.toggle("differs", differs(card));
    const [name, ...others] = row.children;
    const button = name.firstElementChild;
    button.tabIndex = place === this.#current ? 0 : -1;
    button.setAttribute("aria-expanded", String(card === this.chosen));
    others.forEach((cell, index) => {
      const answer = card.answers[index >> 1];
      const best = answer?.labels?.[0];
      if (index % 2) cell.textContent = best ? percent(best.score) : "";
      else cell.textContent = best?.label ?? answer?.error ?? "…";
      cell.title = index % 2 ? "" : cell.textContent;
    });
    return row;
  }

  #make(card) {
    const image = element("img", "");
    Object.assign(image, { src: card.url, alt: "" });
    image.onerror = () => { image.style.visibility = "hidden"; };
    const button = element("button", "row-name", image, element("span", "", card.name));
    button.type = "button";
    button.title = card.name;
    button.addEventListener("click", () => {
      this.#move(this.#cards.indexOf(card));
      this.onChoose(card);
    });
    const cells = [element("div", "", button)];
    for (const _ of this.#models) cells.push(element("div", "row-label"), element("div", "row-score figure"));
    for (const cell of cells) cell.setAttribute("role", "cell");
    const row = element("div", "table-row", ...cells);
    row.setAttribute("role", "row");
    this.#rows.set(card, row);
    return row;
  }

  #dress(models) {
    this.#models = models;
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.node.classList.toggle("two", models.length > 1);
    const titles = models.flatMap((name) => (models.length > 1 ? [name, "Confidence"] : ["Class", "Confidence"]));
    this.head.replaceChildren(...["Image", ...titles].map((title, column) => this.#header(title, column)));
  }

  #header(title, column) {
    const button = element("button", "sort", title);
    button.type = "button";
    button.title = `${title}: sort`;
    const cell = element("div", "", button);
    cell.setAttribute("role", "columnheader");
    cell.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const again = this.#order.column === column;
      this.#order = { column, down: again ? !this.#order.down : column > 0 && column % 2 === 0 };
      for (const each of this.head.children) each.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", this.#order.down ? "descending" : "ascending");
      this.show(this.cards, this.#models, this.chosen);
    });
    return cell;
  }

  #onKey(event) {
    if (!(event.key in STEPS) || !this.#cards.length) return;
    event.preventDefault();
    this.#move(Math.min(Math.max(this.#current + STEPS[event.key], 0), this.#cards.length - 1));
    this.#rows.get(this.#cards[this.#current]).querySelector("button").focus({ preventScroll: true });
  }

  #move(place) {
    this.#current = place;
    const [top, height] = [place * ROW, this.body.clientHeight];
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    if (top + ROW > this.body.scrollTop + height) this.body.scrollTop = top + ROW - height;
    this.#render();
  }
}

function sorted(cards, { column, down }) {
  if (column === null) return cards;
  const value = (card) => {
    if (column === 0) return card.name;
    const best = card.answers[(column - 1) >> 1]?.labels?.[0];
    return column % 2 ? (best?.label ?? "") : (best?.score ?? -1);
  };
  const order = (one, other) => (typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  return [...cards].sort((one, other) => (down ? -1 : 1) * order(value(one), value(other)));
}
