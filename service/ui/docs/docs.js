// Draws /openapi.json as a page, with an example request and an example answer for every operation.

import { $, element } from "../common/dom.js";

function resolve(schema, api) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((node, key) => node[key], api);
}

function typeName(schema, api) {
  const plain = resolve(schema, api);
  if (plain.anyOf) {
    const names = plain.anyOf.map((each) => typeName(each, api));
    return names.filter((name) => name !== "null").join(" or ");
  }
  if (plain.type === "array") return `list of ${typeName(plain.items, api)}`;
  if (plain.format === "binary") return "file";
  return plain.type ?? "any";
}

function example(schema, api) {
  const plain = resolve(schema, api);
  if (plain.examples) return plain.examples[0];
  if (plain.default !== undefined) return plain.default;
  if (plain.anyOf) return example(plain.anyOf[0], api);
  if (plain.type === "array") return [example(plain.items, api)];
  if (plain.type === "object") {
    return Object.fromEntries(
      Object.entries(plain.properties ?? {}).map(([name, value]) => [name, example(value, api)]),
    );
  }
  return { integer: 0, number: 0.5, boolean: true, string: "…" }[plain.type] ?? null;
}

function table(rows) {
  const list = element("dl", "table");
  for (const [name, text] of rows) list.append(element("dt", "", name), element("dd", "", text));
  return list;
}

function code(text) {
  return element("pre", "", element("code", "", text));
}

function request(verb, path, operation, api) {
  const url = location.origin + path;
  const content = operation.requestBody?.content;
  const json = content?.["application/json"];
  if (verb === "get") return `curl ${url}`;
  if (!content || (json && !operation.requestBody.required)) return `curl -X ${verb.toUpperCase()} ${url}`;
  if (json) return `curl -d '${JSON.stringify(json.example ?? example(json.schema, api))}' ${url}`;
  const several = content["multipart/form-data"] ? `\ncurl -F file=@one.jpg -F file=@two.png ${url}` : "";
  return `curl --data-binary @image.jpg ${url}${several}`;
}

function draw(verb, path, operation, api) {
  const box = element("details", "operation");
  box.append(
    element(
      "summary",
      "",
      element("span", "verb", verb.toUpperCase()),
      element("code", "path", path),
      element("span", "quiet", operation.description ?? operation.summary ?? ""),
    ),
  );
  const add = (title, ...nodes) => box.append(element("h3", "", title), ...nodes);
  if (operation.parameters?.length) {
    add(
      "Parameters",
      table(
        operation.parameters.map((each) => [
          `${each.name} (${each.in})`,
          `${typeName(each.schema, api)}${each.required ? ", required" : ""}. ${each.description ?? ""}`,
        ]),
      ),
    );
  }
  if (operation.requestBody) {
    const types = Object.keys(operation.requestBody.content).join(", ");
    add("Body", element("p", "", operation.requestBody.description ?? ""), element("p", "quiet", types));
  }
  add("Request", code(request(verb, path, operation, api)));
  const answer = operation.responses["200"]?.content?.["application/json"]?.schema;
  if (answer) add("Answer", code(JSON.stringify(example(answer, api), null, 2)));
  const others = Object.entries(operation.responses).filter(([status]) => status !== "200");
  if (others.length) add("Problems", table(others.map(([status, each]) => [status, each.description])));
  return box;
}

async function main() {
  const api = await (await fetch("openapi.json")).json();
  $("version").textContent = `version ${api.info.version}`;
  $("description").textContent = api.info.description ?? "";
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(operations)) {
      const name = operation.tags?.[0] ?? "other";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(draw(verb, path, operation, api));
    }
  }
  $("operations").replaceChildren(
    ...[...groups].flatMap(([name, boxes]) => [element("h2", "group", name), ...boxes]),
  );
  $("operations").querySelector("details").open = true;
}

main().catch(() => $("operations").replaceChildren("The description cannot be read. Reload the page."));
