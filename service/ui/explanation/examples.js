// The training images nearest to an image, for its best classes: people judge better by examples than by maps.

import { element } from "../common/dom.js";
import { number, percent } from "../common/format.js";

/** A section with one row a class; `urls` collects the object URLs that are to be revoked some day. */
export function examples(classes, urls) {
  const rows = classes.map(({ label, score, nearest }) => {
    const head = element("h5", "", element("span", "name", label), " ", element("span", "quiet", percent(score)));
    return element("div", "kin", head, element("ul", "", ...nearest.map((each) => example(each, label, urls))));
  });
  const note = "What the model finds most alike among the images it learned from; 1.00 is the same.";
  const head = element("h4", "", "Nearest training images");
  return element("section", "examples", head, element("p", "quiet", note), ...rows);
}

function example({ name, similarity, thumbnail, width, height }, label, urls) {
  const image = element("img");
  const url = URL.createObjectURL(blob(thumbnail));
  urls.push(url);
  const alt = `${label}: ${name}, similarity ${number(similarity)}`;
  Object.assign(image, { src: url, width, height, alt, title: name });
  const text = element("span", "quiet figure", number(similarity));
  text.setAttribute("aria-hidden", "true");
  return element("li", "", image, text);
}

// The policy of the page allows no data: URLs.
function blob(dataUrl) {
  const [head, body] = dataUrl.split(",", 2);
  const bytes = Uint8Array.from(atob(body), (each) => each.charCodeAt(0));
  return new Blob([bytes], { type: head.slice("data:".length).split(";")[0] });
}
