// What is chosen on a page stands in its address, so that a reload or a link chooses it again.

/** What the address says of a name; null if nothing. */
export function recalled(name) {
  return new URLSearchParams(location.search).get(name);
}

/** Writes values into the address by their names; null takes one out. The history gets no steps. */
export function remember(values) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  history.replaceState(null, "", address);
}
