// One of a few, shown side by side.

import { element } from "./dom.js";

let groups = 0;

/** Radio buttons as a segmented control; `options` are [value, text] pairs. */
export function choice(title, options, chosen, onChange) {
  const name = `choice-${++groups}`;
  const buttons = options.map(([value, text]) => {
    const input = element("input");
    Object.assign(input, { type: "radio", name, value, checked: value === chosen });
    return element("label", "", input, element("span", "", text));
  });
  const group = element("fieldset", "choice", element("legend", "hidden", title), ...buttons);
  group.addEventListener("change", (event) => onChange(event.target.value));
  return group;
}
