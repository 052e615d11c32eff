// Takes an image with a camera of this machine.

import { $ } from "../common/dom.js";

const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera. Allow it in the address bar, or choose a file.",
  NotFoundError: "No camera was found. Connect one, or choose a file.",
  NotReadableError: "Another program uses the camera. Close it, or choose a file.",
};

export class Camera {
  #stream = null;
  #count = 0;

  /** `onImage(file)` is called with each image that is taken. */
  constructor(onImage) {
    this.onImage = onImage;
    $("shoot").addEventListener("click", () => this.#shoot());
    $("camera-cancel").addEventListener("click", () => $("camera").close());
    $("camera").addEventListener("close", () => this.#stop());
  }

  async open() {
    $("shoot").disabled = true;
    $("camera-note").textContent = "Waiting for the camera…";
    $("camera").showModal();
    try {
      const wanted = { video: { facingMode: "environment", width: { ideal: 1280 } } };
      const stream = await navigator.mediaDevices.getUserMedia(wanted);
      if (!$("camera").open) return stop(stream); // closed while the browser was asking
      this.#stream = stream;
      $("video").srcObject = stream;
      await $("video").play();
      $("camera-note").textContent = "";
      $("shoot").disabled = false;
      $("shoot").focus();
    } catch (error) {
      $("camera-note").textContent = REASONS[error.name] ?? `The camera cannot be used (${error.message}).`;
    }
  }

  async #shoot() {
    const video = $("video");
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    $("camera").close();
    this.onImage(new File([blob], `Camera image ${++this.#count}`, { type: blob.type }));
  }

  #stop() {
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
    $("video").srcObject = null;
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
