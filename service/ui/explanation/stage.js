// An image under a map of its patches, with the views that can be laid over it.

import { choice } from "../common/choice.js";
import { element } from "../common/dom.js";
import { PatchMap } from "./patch_map.js";

export class Stage {
  #map;
  #view;
  #patch;
  #legend = element("div", "legend");
  #place = element("h4");
  #details = element("div", "details");
  #controls = element("div", "view");

  /** `views` have a title, controls, and colours and words for every patch. */
  constructor({ url, name, grid, region, views }) {
    this.#map = new PatchMap(grid, region, (index) => this.#point(index));
    this.#map.table.setAttribute("aria-label", `Patches of ${name}; arrow keys go from one to the next`);
    const image = element("div", "stage", frame(url, this.#map.node));
    const buttons = views.map((view, index) => [String(index), view.title]);
    const tabs = views.length > 1 ? [choice("Show", buttons, "0", (value) => this.#show(views[value]))] : [];
    const patch = element("div", "patch", this.#place, this.#details);
    this.node = element(
      "div",
      "look",
      element("div", "canvas", image, this.#legend),
      element("div", "side", ...tabs, this.#controls, patch),
    );
    this.#show(views[0]);
    this.#map.start(views[0].strongest());
  }

  /** Paints again, after the view has changed. */
  repaint() {
    this.#map.paint(this.#view.colour, this.#view.words);
    this.#legend.replaceChildren(...this.#view.legend());
    if (this.#patch !== undefined) this.#point(this.#patch);
  }

  #show(view) {
    this.#view = view;
    this.#controls.replaceChildren(view.controls);
    this.repaint();
  }

  #point(index) {
    this.#patch = index;
    const place = this.#map.place(index);
    this.#place.textContent = place[0].toUpperCase() + place.slice(1);
    this.#details.replaceChildren(...this.#view.details(index));
    this.#map.mark(this.#view.mates(index));
  }
}

/** The image in a box of its own shape, so that shares of the box are shares of the image. */
function frame(url, overlay) {
  const image = element("img");
  const box = element("div", "frame", image, overlay);
  image.alt = "";
  image.onload = () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    box.style.aspectRatio = `${width} / ${height}`;
    box.classList.toggle("tall", height > width);
    image.classList.toggle("tiny", Math.max(width, height) < 100);
  };
  image.src = url;
  return box;
}
