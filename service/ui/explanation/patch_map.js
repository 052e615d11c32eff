// A grid of patches over the part of an image that the model saw: painted in colours, and walked through with the
// pointer or with the arrow keys.

import { element } from "../common/dom.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class PatchMap {
  #rows;
  #columns;
  #canvas = element("canvas");
  #cells;
  #focused = 0;

  /** `onSelect(index)` is called when a patch is pointed at or focused; patches are counted row by row. */
  constructor([rows, columns], [left, top, right, bottom], onSelect) {
    this.#rows = rows;
    this.#columns = columns;
    this.onSelect = onSelect;
    this.#canvas.width = columns;
    this.#canvas.height = rows;
    this.#cells = Array.from({ length: rows * columns }, () => element("div"));
    const table = element("div", "patches", ...this.#lines());
    table.setAttribute("role", "grid");
    this.table = table;
    this.node = element("div", "seen", this.#canvas, table);
    this.node.style.inset = `${top * 100}% ${(1 - right) * 100}% ${(1 - bottom) * 100}% ${left * 100}%`;
    table.addEventListener("keydown", (event) => this.#walk(event));
    table.addEventListener("focusin", (event) => this.#select(this.#cells.indexOf(event.target)));
    table.addEventListener("pointerover", (event) => this.#select(this.#cells.indexOf(event.target)));
    table.addEventListener("pointerleave", () => this.#select(this.#focused));
    table.addEventListener("pointerdown", (event) => this.#cells.includes(event.target) && event.target.focus());
  }

  /** Colours and words for every patch: `colour(index)` and `words(index)`. */
  paint(colour, words) {
    const context = this.#canvas.getContext("2d");
    const image = context.createImageData(this.#columns, this.#rows);
    this.#cells.forEach((cell, index) => {
      const [red, green, blue, alpha] = colour(index);
      image.data.set([red, green, blue, alpha * 255], index * 4);
      cell.setAttribute("aria-label", `${this.place(index)}: ${words(index)}`);
    });
    context.putImageData(image, 0, 0);
  }

  /** Frames the patches for which `matches(index)` holds. */
  mark(matches) {
    this.#cells.forEach((cell, index) => cell.classList.toggle("mate", matches(index)));
  }

  /** Makes a patch the one that is shown while none is pointed at. */
  start(index) {
    this.#move(index);
    this.#select(index);
  }

  place(index) {
    return `row ${Math.floor(index / this.#columns) + 1}, column ${(index % this.#columns) + 1}`;
  }

  #lines() {
    return Array.from({ length: this.#rows }, (_, row) => {
      const cells = this.#cells.slice(row * this.#columns, (row + 1) * this.#columns);
      for (const cell of cells) {
        cell.setAttribute("role", "gridcell");
        cell.tabIndex = -1;
      }
      const line = element("div", "", ...cells);
      line.setAttribute("role", "row");
      return line;
    });
  }

  #walk(event) {
    const row = Math.floor(this.#focused / this.#columns);
    const column = this.#focused % this.#columns;
    let next;
    if (event.key in STEPS) {
      const [down, right] = STEPS[event.key];
      next = [row + down, column + right];
    } else if (event.key === "Home") next = [event.ctrlKey ? 0 : row, 0];
    else if (event.key === "End") next = [event.ctrlKey ? this.#rows - 1 : row, this.#columns - 1];
    else return;
    event.preventDefault();
    const [down, right] = [clamp(next[0], this.#rows), clamp(next[1], this.#columns)];
    this.#cells[down * this.#columns + right].focus();
  }

  #move(index) {
    this.#cells[this.#focused].tabIndex = -1;
    this.#focused = index;
    this.#cells[index].tabIndex = 0;
  }

  #select(index) {
    if (index < 0) return;
    if (this.#cells[index] === document.activeElement) this.#move(index);
    this.table.querySelector(".chosen")?.classList.remove("chosen");
    this.#cells[index].classList.add("chosen");
    this.onSelect(index);
  }
}

function clamp(value, length) {
  return Math.max(0, Math.min(value, length - 1));
}
