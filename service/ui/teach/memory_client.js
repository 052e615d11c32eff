// Requests about memories.

import { problemOf, request } from "../common/api.js";
import { currentKey } from "../common/key.js";

const at = (memory, rest = "") => `v1/memories/${encodeURIComponent(memory)}${rest}`;
const NEW = { "If-None-Match": "*" }; // nothing may be there to be replaced
const thumbnails = new Map(); // path -> promise of a blob
let reading = new AbortController(); // what is read of examples to be shown

export async function listMemories() {
  return (await request("v1/memories")).document.memories;
}

/** The names of the models that memories can belong to, and which of them is the default one. */
export async function listModels() {
  const { document } = await request("v1/models");
  const models = document.models.filter(({ memory }) => !memory); // which answer as models, too
  const heads = models.filter(({ associative_head: has }) => has);
  return { names: models.map(({ name }) => name), heads: heads.map(({ name }) => name), standard: document.default };
}

/** Whether a Problem is that there is no such memory. */
export function isGone(problem) {
  return problem.type === "urn:ait:unknown-memory";
}

/** Whether a Problem is that what is deleted, or forgotten, is not erased from the store yet. */
export function isUnerased(problem) {
  return problem.type === "urn:ait:not-erased";
}

/** Whether a Problem is that there is no such example. */
export function isForgotten(problem) {
  return problem.type === "urn:ait:unknown-example";
}

/** Makes an empty memory whose name is free; `options` are its model and what it keeps of images. */
export async function makeMemory(name, options) {
  return (await request(at(name), { method: "PUT", body: JSON.stringify(options), headers: NEW })).document;
}

/** Makes a memory whose name is free of a file that `exportFile` gave. */
export async function importFile(name, file, options) {
  const path = at(name, `/file?${new URLSearchParams(options)}`);
  return (await request(path, { method: "PUT", body: file, headers: NEW })).document;
}

export function deleteMemory(memory) {
  return request(at(memory), { method: "DELETE" });
}

export async function describeMemory(memory) {
  return (await request(at(memory))).document;
}

export async function examine(memory) {
  return (await request(at(memory, "/health"))).document;
}

/** Teaches files as examples of a label; what became of each is in the answer. */
export async function teach(memory, label, files) {
  const body = new FormData();
  for (const file of files) body.append("file", file, file.name);
  const path = at(memory, `/examples?label=${encodeURIComponent(label)}`);
  return (await request(path, { method: "POST", body })).document;
}

/** Puts an example with its image under its id: one that was forgotten, or a new one. */
export async function put(memory, { id, label, negative, source }, image) {
  const said = new URLSearchParams({ [negative ? "not" : "label"]: label, source });
  const path = at(memory, `/examples/${encodeURIComponent(id)}?${said}`);
  return (await request(path, { method: "PUT", body: image })).document;
}

/** Corrects an example: `said` is its label, or `negative` and what it does not show. */
export function correct(memory, id, { label, negative }) {
  const body = JSON.stringify(negative ? { not: label } : { label });
  return request(at(memory, `/examples/${encodeURIComponent(id)}`), { method: "PATCH", body });
}

/** The id that the image's SHA-256 gives an example. */
export function idOf(sha256) {
  return sha256.slice(0, 32);
}

/** An example by the id that the image's SHA-256 gives it; null if the memory has not got it. */
export async function exampleOf(memory, sha256) {
  const id = idOf(sha256);
  // It stands first behind all that is shorter. One that is asked for by its id and is not there would be an error.
  const { document } = await request(at(memory, `/examples?limit=1&after=${id.slice(0, -1)}`));
  const [first] = document.examples;
  return first?.id === id ? first : null;
}

/** Examples by their ids, without those that are gone. */
export async function describeExamples(memory, ids) {
  const { signal } = reading;
  const ask = (id) => request(at(memory, `/examples/${encodeURIComponent(id)}`), { signal }).catch((problem) => {
    if (!isForgotten(problem)) throw problem;
  });
  const answers = await Promise.all(ids.map(ask));
  return answers.filter(Boolean).map(({ document }) => document);
}

/** Up to 200 examples of a label, then as many of those that say what it is not. */
export async function examplesOf(memory, label) {
  const ask = (name) => request(at(memory, `/examples?limit=200&label=${encodeURIComponent(name)}`));
  const answers = await Promise.all([label, `¬${label}`].map(ask));
  return answers.flatMap(({ document }) => document.examples);
}

export function forget(memory, id) {
  return request(at(memory, `/examples/${encodeURIComponent(id)}`), { method: "DELETE" });
}

/** Forgets all examples of a label, and those that say what it is not. */
export async function forgetLabel(memory, label) {
  for (const name of [label, `¬${label}`]) {
    const which = `label=${encodeURIComponent(name)}`;
    const { document } = await request(at(memory, `/examples?limit=1&${which}`));
    // Forgetting what is not there would be an error.
    if (document.examples.length) await request(at(memory, `/examples?${which}`), { method: "DELETE" });
  }
}

/** Asks about one image; `signal` gives it up. */
export async function recall(memory, file, signal) {
  const { document } = await request(at(memory, "/recall?evidence=5"), { method: "POST", body: file, signal });
  return document;
}

/** The image of an example, as a blob: the key, if there is one, cannot go with the address of an <img>. */
export function thumbnail(memory, id) {
  const path = at(memory, `/examples/${encodeURIComponent(id)}?image=thumbnail`);
  if (!thumbnails.has(path)) thumbnails.set(path, fetchBlob(path, reading.signal));
  return thumbnails.get(path);
}

/** The whole image of an example, where the memory keeps it. */
export function wholeImage(memory, id) {
  return fetchBlob(at(memory, `/examples/${encodeURIComponent(id)}?image=file`));
}

/** Gives up reading examples to be shown, and reads none until `readAgain`: they may be forgotten at any moment. */
export function stopReading() {
  reading.abort();
}

/** Reads examples anew, and forgets the images of those that are forgotten. */
export function readAgain() {
  reading.abort();
  reading = new AbortController();
  thumbnails.clear();
}

/** Whether reading was given up, rather than refused. */
export function isGivenUp(problem) {
  return problem.name === "AbortError";
}

export function exportFile(memory) {
  return fetchBlob(at(memory, "/file"));
}

async function fetchBlob(path, signal) {
  const key = currentKey();
  const answer = await fetch(path, { signal, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  if (!answer.ok) throw await problemOf(answer);
  return answer.blob();
}
