// What the memory in a model's head recalled of the best classes: that is the model's answer.

import { element } from "../common/dom.js";
import { count, percent } from "../common/format.js";

/** A section with a bar a class, in as many parts as the class has priors; `calibrated`: scores have a temperature. */
export function classRecall(classes, calibrated) {
  const priors = count(classes[0].recalled.length, "prior");
  const scores = calibrated ? " The scores are these shares, but for the temperature that calibrates them." : "";
  const note = `The answer is the class that the memory in the model’s head recalls most. It holds ${priors} of each.`;
  const head = element("h4", "", "Recalled classes");
  const rows = element("ul", "", ...classes.map(row));
  return element("section", "recalled", head, element("p", "quiet", note + scores), rows);
}

function row({ label, recalled }) {
  const sum = recalled.reduce((total, share) => total + share, 0);
  const most = Math.max(...recalled);
  const track = element("div", "track", ...recalled.map(part));
  track.setAttribute("aria-hidden", "true");
  const strongest = `${percent(most)} by prior ${recalled.indexOf(most) + 1} of ${recalled.length}`;
  const name = element("span", "name", label);
  return element("li", "", name, track, element("span", "figure", percent(sum)), element("span", "quiet", strongest));
}

function part(share) {
  const fill = element("div", "fill");
  fill.style.width = `${share * 100}%`;
  return fill;
}
