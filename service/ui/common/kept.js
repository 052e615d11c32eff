// The images on a page, kept by this browser for its tab, so that a reload does not lose them. Answers are not kept: the
// model or the memory may have changed, so it is asked again.

const MOST = 500; // images, of all tabs together
const MOST_BYTES = 100e6;
const MOST_AGE = 24 * 3600e3; // ms; what closed tabs have left is deleted when a page is opened
const STORE = "images";
const TAB = "ait-tab";
const DROPPED = "ait-dropped";

let newest = 0;

/**
 * A list of images, the newest first. Its keys are [tab and place, number, bytes]: numbers are microseconds, and grow.
 *
 * A browser that keeps nothing for a page has no images to restore, and nothing else is missing.
 */
export class Kept {
  #place;
  #added = new Set(); // keys of what was added since the page was opened

  /** `place` tells the lists of a tab apart. */
  constructor(place) {
    this.#place = `${tab()}/${place}`;
  }

  /** Keeps files that are shown above all others, in their order; returns the key of each. */
  add(files) {
    newest = Math.max(Date.now() * 1000, newest) + files.length;
    const keys = files.map((file, index) => [this.#place, newest - index, file.size]);
    for (const key of keys) this.#added.add(String(key));
    change((store, known) => {
      const fresh = upTo(keys, MOST, MOST_BYTES);
      const size = fresh.reduce((sum, [, , bytes]) => sum + bytes, 0);
      const stay = new Set(upTo(known.sort(byAge), MOST - fresh.length, MOST_BYTES - size));
      for (const key of known) if (!stay.has(key)) store.delete(key);
      fresh.forEach((key, index) => store.put(files[index], key));
    });
    return keys;
  }

  /** Forgets images by their keys, for good: even where the page is left before they are deleted. */
  drop(keys) {
    const all = [...dropped(), ...keys];
    rememberDropped(all);
    deleteDropped(all);
  }

  /** The files of before and their keys, the newest first; not what is added while they are being looked up. */
  async before() {
    await deleteDropped();
    try {
      const store = (await database()).transaction(STORE).objectStore(STORE);
      const mine = IDBKeyRange.bound([this.#place], [this.#place, []]); // a list is more than any number
      const [keys, files] = await Promise.all([store.getAllKeys(mine), store.getAll(mine)].map(result));
      const not = new Set([...dropped().map(String), ...this.#added]);
      const found = keys.map((key, index) => ({ key, file: files[index] }));
      return found.filter(({ key }) => !not.has(String(key))).reverse();
    } catch {
      return [];
    }
  }
}

// What a page stores for its session is stored at once; a transaction that a reload meets is undone.

/** The keys of images that were forgotten and are not known to be deleted. */
function dropped() {
  return JSON.parse(sessionStorage.getItem(DROPPED) ?? "[]");
}

function rememberDropped(keys) {
  try {
    sessionStorage.setItem(DROPPED, JSON.stringify(keys));
  } catch {
    // There is no room for more; they are deleted all the same, unless the page is left at once.
  }
}

async function deleteDropped(keys = dropped()) {
  if (await change((store) => keys.forEach((key) => store.delete(key)))) {
    const gone = new Set(keys.map(String));
    rememberDropped(dropped().filter((key) => !gone.has(String(key))));
  }
}

function byAge([, one], [, other]) {
  return other - one;
}

/** The keys at the front of a list that a number of images and of bytes has room for. */
function upTo(keys, most, bytes) {
  const end = keys.findIndex(([, , size], index) => index >= most || (bytes -= size) < 0);
  return end < 0 ? keys : keys.slice(0, end);
}

/**
 * Lets `work(store, keys)` change what is kept, in one transaction, after what is too old has been deleted; returns
 * whether all of it is done. A browser that cannot keeps nothing; the page goes on without.
 */
async function change(work) {
  try {
    const transaction = (await database()).transaction(STORE, "readwrite");
    const store = transaction.objectStore(STORE);
    const keys = await result(store.getAllKeys());
    const oldest = (Date.now() - MOST_AGE) * 1000;
    for (const key of keys) if (key[1] < oldest) store.delete(key);
    work(store, keys.filter(([, number]) => number >= oldest));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return true;
  } catch {
    return false;
  }
}

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("ait", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** A name that stays with the tab. */
function tab() {
  const name = sessionStorage.getItem(TAB) ?? Math.random().toString(36).slice(2);
  sessionStorage.setItem(TAB, name);
  return name;
}
