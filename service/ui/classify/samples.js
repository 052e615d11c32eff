// Images to try for whoever has none at hand.

import { $, announce } from "../common/dom.js";

/** Calls `onFiles(files)` with the image of a button that is pressed. */
export function offerSamples(onFiles) {
  for (const button of $("samples").querySelectorAll("button")) {
    const image = button.querySelector("img");
    button.addEventListener("click", async () => {
      try {
        const blob = await (await fetch(image.src)).blob();
        onFiles([new File([blob], `${image.alt.toLowerCase()}.webp`, { type: blob.type })]);
      } catch {
        announce("The image could not be fetched.");
      }
    });
  }
}
