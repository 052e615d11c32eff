// Classes of an image with their probabilities as bars.

import { element } from "./dom.js";
import { percent } from "./format.js";

export const TOP = 5;

/** A list of classes; the bars grow once it is on the page. */
export function scores(labels) {
  const list = element("ol", "scores");
  for (const { label, score } of labels) {
    const fill = element("div", "fill");
    requestAnimationFrame(() => requestAnimationFrame(() => { fill.style.width = `${score * 100}%`; }));
    list.append(row(element("span", "name", label), element("span", "percent", percent(score)), fill));
  }
  return list;
}

/** As much room as the list will take. */
export function placeholder(rows) {
  const list = element("ol", "scores empty");
  list.setAttribute("aria-hidden", "true");
  for (let index = 0; index < rows; index++) list.append(row(element("span", "name", "\u00a0"), element("span"), ""));
  return list;
}

function row(name, share, fill) {
  return element("li", "", name, share, element("div", "track", fill));
}
