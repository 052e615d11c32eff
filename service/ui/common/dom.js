// Building blocks for the pages. Text only ever enters them as text, so that file names and labels cannot become
// markup.

export const $ = (id) => document.getElementById(id);

/** A new element; children are nodes or text. */
export function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** A copy of the one element in a <template>. */
export function fromTemplate(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

/** Says something to people who listen to the page. */
export function announce(text) {
  const log = $("announcements");
  log.append(element("p", "", text));
  while (log.childElementCount > 20) log.firstElementChild.remove();
}
