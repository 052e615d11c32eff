// What the colours of a map mean.

import { element } from "../common/dom.js";
import { css } from "./palette.js";

const SWATCHES = 25;

/** A strip of colours between two words. */
export function scale(palette, least, most, leastWords, mostWords) {
  const strip = element("span", "strip");
  for (let index = 0; index < SWATCHES; index++) {
    const swatch = element("span");
    swatch.style.backgroundColor = css(palette(least + ((most - least) * index) / (SWATCHES - 1)));
    strip.append(swatch);
  }
  return [element("span", "", leastWords), strip, element("span", "", mostWords)];
}
