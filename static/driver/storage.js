// Texts that this phone keeps, by their key. Where storage is forbidden or full, they last as long as the page.

/** @type {Map<string, string | null>} what could not be stored */
const memory = new Map();

/**
 * @param {string} key
 * @returns {string | null}
 */
export const read = (key) => {
  try {
    return localStorage.getItem(key) ?? memory.get(key) ?? null;
  } catch {
    return memory.get(key) ?? null;
  }
};

/**
 * @param {string} key
 * @param {string | null} value null removes it
 */
export const write = (key, value) => {
  memory.delete(key);
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    memory.set(key, value); // it lasts as long as the page
    forget(key);
  }
};

/**
 * Where there was no room for a new text, the old one is not true any more.
 * @param {string} key
 */
const forget = (key) => {
  try {
    localStorage.removeItem(key);
  } catch {
    // nothing can be stored
  }
};
