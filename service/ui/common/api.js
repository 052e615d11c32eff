// Requests to the server. What it refuses comes as a Problem; when it is busy, the request is made again after the
// time that it names, and when it asks for a key, with the key.

import { askForKey, currentKey, isAboutKey } from "./key.js";

const PATIENCE = 60; // seconds that a request waits for a busy server, all in all

/** An answer other than success, in words for people. */
export class Problem extends Error {
  constructor(title, detail, { type = "", status = 0, lasting = false } = {}) {
    super(detail);
    this.title = title;
    this.type = type; // a stable name of the kind
    this.status = status;
    this.lasting = lasting; // asking again changes nothing
  }
}

/**
 * Makes a request. Returns the JSON of the answer, and the milliseconds that it took without any waiting before.
 *
 * While the server is busy, `onWait(problem, seconds)` is called every second with the seconds that are left; with
 * none, it is being asked again.
 */
export async function request(path, { method = "GET", body, headers = {}, signal, onWait = () => {} } = {}) {
  let patience = PATIENCE;
  for (;;) {
    const start = performance.now();
    const key = currentKey();
    const secret = key ? { Authorization: `Bearer ${key}` } : {};
    const answer = await send(path, { method, body, signal, headers: { ...headers, ...secret } });
    if (answer.ok) {
      const document = answer.status === 204 ? null : await answer.json();
      return { document, elapsed: performance.now() - start };
    }
    const problem = await problemOf(answer);
    if (isAboutKey(problem)) {
      if (currentKey() === key) await askForKey(problem);
      continue;
    }
    const full = problem.type === "urn:ait:memory-full"; // until somebody forgets something
    if (full || (answer.status !== 429 && answer.status !== 503)) throw problem;
    const seconds = pause(answer);
    if (seconds > patience) throw problem;
    patience -= Math.max(seconds, 1);
    await wait(seconds, signal, (left) => onWait(problem, left));
  }
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("No answer", "The server cannot be reached, or the file can no longer be read.");
  }
}

/** What an answer other than success says. */
export async function problemOf(answer) {
  const lasting = answer.status < 500 && answer.status !== 429;
  const document = await answer.json().catch(() => ({}));
  const title = document.title ?? "The server has a problem";
  const detail = document.detail ?? `It answered with status ${answer.status}.`;
  return new Problem(title, detail, { type: document.type, status: answer.status, lasting });
}

function pause(answer) {
  const seconds = Number.parseInt(answer.headers.get("Retry-After"), 10);
  return Number.isNaN(seconds) ? 2 : Math.max(seconds, 0);
}

async function wait(seconds, signal, onSecond) {
  // Requests that were refused together do not come back together.
  for (let left = seconds; left > 0; left--) {
    onSecond(left);
    await sleep(1000, signal);
  }
  onSecond(0);
  await sleep(Math.random() * 300, signal);
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal?.aborted) return abort();
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); abort(); }, { once: true });
  });
}
