// A few requests at a time, in the order in which they were asked for.

export class Pool {
  #free;
  #waiting = [];

  constructor(size) {
    this.#free = size;
  }

  /** Runs an asynchronous task as soon as there is room; its result is the promise's. */
  async run(task, signal) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      signal?.throwIfAborted();
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
