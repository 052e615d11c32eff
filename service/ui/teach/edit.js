// Changes to a memory, each with its way back.

import { count } from "../common/format.js";
import { sha256 } from "../common/sha256.js";
import * as client from "./memory_client.js";

// Of one request: large enough to be quick, small enough to see how it gets on.
const MOST = 50;
const MOST_BYTES = 50e6;
const MOST_RESTORED = 200; // examples of a label

const digests = new WeakMap(); // file -> promise of its SHA-256
const images = new Map(); // SHA-256 -> file, of those that the page has had to do with

/** What somebody does to a memory at once, and can take back at once. */
export class Edit {
  #memory;
  #back = []; // what takes back each step, the last one last

  constructor(memory) {
    this.#memory = memory;
  }

  get canUndo() {
    return this.#back.length > 0;
  }

  /**
   * Teaches files as examples of a label, in parts; `onProgress(done, all)` is told how many have been seen to.
   * Returns how many are examples of it now, and what was refused.
   */
  async teach(label, files, onProgress) {
    const refusals = new Refusals();
    let stored = 0;
    let done = 0;
    for (const part of parts(files)) {
      onProgress(done, files.length);
      try {
        stored += await this.#teachPart(label, part, refusals);
      } catch (problem) {
        if (client.isGone(problem)) throw problem;
        const rest = problem.lasting ? part : files.slice(done); // no answer now means none for the next part
        refusals.add(rest.map((file) => file.name), problem.message);
        if (!problem.lasting) break;
      }
      done += part.length;
    }
    return { stored, refused: refusals.toString() };
  }

  /** Teaches a file as something that a label does not stand for. */
  async teachNot(label, file) {
    const digest = await digestOf(file);
    const known = await client.exampleOf(this.#memory, digest);
    if (known) return this.correct(known, { label, negative: true });
    const id = client.idOf(digest);
    await client.put(this.#memory, { id, label, negative: true, source: "" }, file);
    this.#willForget(id);
  }

  /** Corrects an example: `said` is its label, or `negative` and what it does not show. */
  async correct(example, said) {
    if (example.label === said.label && example.negative === Boolean(said.negative)) return;
    await client.correct(this.#memory, example.id, said);
    this.#back.push(() => client.correct(this.#memory, example.id, example));
  }

  /** Forgets an example; it can be taken back with an `image` of it. */
  async forget(example, image) {
    await client.forget(this.#memory, example.id);
    if (image) this.#back.push(() => client.put(this.#memory, example, image));
  }

  /** Forgets a label with all its examples; of those with an image in `images`, example -> image, it can be taken back. */
  async forgetLabel(label, images) {
    await client.forgetLabel(this.#memory, label);
    for (const [example, image] of images) this.#back.push(() => client.put(this.#memory, example, image));
  }

  /** Takes everything back, the last step first; where one cannot be, it and those before it can be tried again. */
  async undo(onProgress) {
    const all = this.#back.length;
    while (this.#back.length) {
      onProgress(all - this.#back.length, all);
      await this.#back.at(-1)().catch((problem) => {
        if (!client.isForgotten(problem)) throw problem; // of what is gone already, nothing is left to take back
      });
      this.#back.pop();
    }
  }

  async #teachPart(label, files, refusals) {
    let stored = 0;
    const fresh = [];
    const before = await Promise.all(files.map((file) => this.#lookUp(file)));
    for (const [index, file] of files.entries()) {
      const { known, problem } = before[index];
      if (problem) refusals.add([file.name], problem);
      else if (!known) fresh.push(file);
      else {
        // It stays what it is but for its label, so that the label is all there is to take back.
        await this.correct(known, { label });
        stored += 1;
      }
    }
    if (!fresh.length) return stored;
    const answer = await client.teach(this.#memory, label, fresh);
    for (const { id, name, outcome, problem } of answer.results) {
      if (outcome === "created") this.#willForget(id);
      if (outcome === "refused") refusals.add([name], problem.detail);
    }
    return stored + answer.stored;
  }

  async #lookUp(file) {
    let digest;
    try {
      digest = await digestOf(file);
    } catch {
      return { problem: "The file cannot be read." };
    }
    return { known: await client.exampleOf(this.#memory, digest) };
  }

  #willForget(id) {
    this.#back.push(() => client.forget(this.#memory, id));
  }
}

/** The image of an example: as the memory keeps it, or as one of the `files` on the page; null if it is nowhere. */
export async function imageOf(memory, example, files) {
  if (example.keeps === "image") return client.wholeImage(memory, example.id);
  await Promise.allSettled(files.map(digestOf));
  const file = images.get(example.sha256);
  // What it holds now: the file may be changed or deleted before it is needed.
  return file ? file.arrayBuffer().catch(() => null) : null;
}

/**
 * Those of some examples that can be put back once they are forgotten, for the memory keeps their images or they are
 * among the `files` on the page; none where they are too many to be held here meanwhile.
 */
export async function restorable(examples, files) {
  if (examples.length > MOST_RESTORED) return [];
  await Promise.allSettled(files.map(digestOf));
  return examples.filter(({ keeps, sha256: digest }) => keeps === "image" || images.has(digest));
}

/** The images of examples, as `imageOf` finds them: a map without those that are nowhere by now. */
export async function imagesOf(memory, examples, files) {
  const found = await Promise.all(examples.map((example) => imageOf(memory, example, files).catch(() => null)));
  return new Map(examples.map((example, index) => [example, found[index]]).filter(([, image]) => image));
}

function digestOf(file) {
  if (!digests.has(file)) {
    digests.set(file, sha256(file).then((digest) => {
      images.set(digest, file);
      return digest;
    }));
  }
  return digests.get(file);
}

function parts(files) {
  const all = [];
  let bytes = Infinity;
  for (const file of files) {
    bytes += file.size;
    if (bytes > MOST_BYTES || all.at(-1).length === MOST) {
      all.push([]);
      bytes = file.size;
    }
    all.at(-1).push(file);
  }
  return all;
}

/** Names of files by why they were refused. */
class Refusals {
  #names = new Map();

  add(names, reason) {
    this.#names.set(reason, [...(this.#names.get(reason) ?? []), ...names]);
  }

  toString() {
    return [...this.#names].map(([reason, names]) => `${few(names)}: ${reason}`).join(" ");
  }
}

function few(names) {
  if (names.length <= 3) return names.join(", ");
  return `${names.slice(0, 2).join(", ")} and ${count(names.length - 2, "other")}`;
}
