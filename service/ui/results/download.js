// Results as a file: CSV for a spreadsheet, JSON with all classes for a program.

import { element } from "../common/dom.js";

/** Offers text as a file of a name. */
export function save(name, type, text) {
  const link = element("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** `cards` have a name and `answers`, each {model, version, labels} or {model, version, error}. */
export function asJson(cards) {
  return `${JSON.stringify(cards.map(({ name, answers }) => ({ file: name, answers })), null, 1)}\n`;
}

/** One line an image; a second model has columns of its own. */
export function asCsv(cards) {
  const models = Math.max(1, ...cards.map(({ answers }) => answers.length));
  const columns = Array.from({ length: models }, (_, place) => place + 1).flatMap((number) =>
    ["model", "version", "label", "score", "error"].map((title) => (number > 1 ? `${title}_${number}` : title)),
  );
  const lines = cards.map(({ name, answers }) =>
    [name, ...answers.flatMap(({ model, version, labels, error }) =>
      [model, version, labels?.[0].label ?? "", labels?.[0].score ?? "", error ?? ""])],
  );
  return [["file", ...columns], ...lines].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
