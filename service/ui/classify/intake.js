// Ways in for images: choose, drop, paste, take one.

import { Camera } from "./camera.js";
import { $, announce } from "../common/dom.js";

/** Calls `onFiles(files)` with images from any of them, in their order. */
export function listen(onFiles) {
  for (const id of ["files", "capture"]) {
    $(id).addEventListener("change", ({ target }) => {
      onFiles([...target.files]);
      target.value = ""; // the same file may be chosen again
    });
  }
  listenToDrops(onFiles);
  addEventListener("paste", ({ clipboardData }) => clipboardData.files.length && onFiles([...clipboardData.files]));
  offerCamera(onFiles);
}

function listenToDrops(onFiles) {
  let depth = 0; // dragenter and dragleave also fire for every child
  const over = (on) => $("drop").classList.toggle("over", on);
  addEventListener("dragenter", () => over(++depth > 0));
  addEventListener("dragleave", () => over(--depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const files = [...event.dataTransfer.files];
    if (files.length) onFiles(files);
    else announce("That is no file. Save the image first, or paste it.");
  });
}

// A phone's own camera takes better images than a page does, and works without HTTPS.
function offerCamera(onFiles) {
  const phone = matchMedia("(hover: none) and (pointer: coarse)").matches;
  if (!phone && !navigator.mediaDevices?.getUserMedia) return; // no camera, or a page from another machine over HTTP
  const camera = new Camera((file) => onFiles([file]));
  $("take").hidden = false;
  $("take").addEventListener("click", () => (phone ? $("capture").click() : camera.open()));
}
