// A problem in words, with a way on where there is one.

import { element } from "./dom.js";

/** A box about a Problem; `again` is called by its button, which problems that last do not have. */
export function failure(problem, again) {
  const box = element("div", "error", element("strong", "", problem.title), element("span", "", problem.message));
  if (!problem.lasting) {
    const button = element("button", "plain", "Try again");
    button.type = "button";
    button.addEventListener("click", again);
    box.append(button);
  }
  return box;
}

/** While the server is busy: what it said, and when it is asked again. */
export function waiting(problem, seconds) {
  const when = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
  const text = element("span", "", `${problem.message} ${when}`);
  return element("div", "error busy", element("strong", "", "Waiting for the server"), text);
}
