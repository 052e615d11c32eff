// How much each patch speaks for a class, or against it.

import { element } from "../common/dom.js";
import { number, percent, signed } from "../common/format.js";
import { css, diverging } from "./palette.js";
import { scale } from "./legend.js";

export class ClassView {
  title = "Class map";

  /** `labels` are the model's class names by index; `onClass(index)` is called when another is to be explained. */
  constructor(labels, onClass) {
    this.labels = labels;
    this.select = element("select");
    this.select.addEventListener("change", () => onClass(Number(this.select.value)));
    this.sum = element("p", "quiet");
    this.sum.setAttribute("aria-live", "polite");
    const field = element("label", "field", element("span", "", "Explain"), this.select);
    this.controls = element("div", "controls", field, this.sum);
  }

  /** Takes the `map` of an answer, the best classes, and the answer without the blocks' memories, null where there are none. */
  update(map, best, without) {
    this.values = map.values;
    this.label = map.label;
    this.index = map.index;
    this.most = Math.max(...map.values.map(Math.abs));
    this.palette = diverging(this.most);
    if (!this.select.childElementCount) this.select.append(...this.#groups(best));
    this.select.value = map.index;
    const sum = map.values.reduce((total, value) => total + value, 0);
    this.sum.textContent =
      `Orange patches speak for ${map.label}, blue ones against it. Together they give ${signed(sum)}, ` +
      `the rest of the model ${signed(map.rest)}: a logit of ${number(map.logit)}` +
      (without ? `, and of ${number(without.logit)} if the blocks’ memories gave nothing.` : ".");
  }

  colour = (index) => this.palette(this.values[index]);

  words = (index) => {
    const value = this.values[index];
    return `${signed(value)}, ${value < 0 ? "against" : "for"} ${this.label}`;
  };

  /** The patch to show first: the one that says most. */
  strongest() {
    return this.values.findIndex((value) => Math.abs(value) === this.most);
  }

  mates() {
    return () => false;
  }

  legend() {
    const most = number(this.most);
    return scale(this.palette, -this.most, this.most, `−${most} against`, `for +${most}`);
  }

  details(index) {
    const value = this.values[index];
    const side = value < 0 ? "against" : "for";
    const bar = element("span");
    const share = this.most ? Math.abs(value / this.most) * 50 : 0;
    bar.style.width = `${share}%`;
    bar.style.left = `${value < 0 ? 50 - share : 50}%`;
    bar.style.backgroundColor = css([...this.palette(value).slice(0, 3), 1]);
    const text = element("p", "", element("strong", "figure", signed(value)), ` ${side} ${this.label}`);
    return [text, element("div", "balance", bar)];
  }

  #groups(best) {
    const top = best.map(({ label, score }) => [this.labels.indexOf(label), `${label} · ${percent(score)}`]);
    const above = new Set(top.map(([index]) => index));
    const others = this.labels.map((label, index) => [index, label]).filter(([index]) => !above.has(index));
    return [group("Most probable", top), group("Other classes", others)].filter((each) => each.childElementCount);
  }
}

function group(title, rows) {
  const node = element("optgroup", "", ...rows.map(([index, text]) => option(index, text)));
  node.label = title;
  return node;
}

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}
