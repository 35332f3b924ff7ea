// Texts that this phone keeps, by their key. Where storage is forbidden or full, they last as long as the page.

/** @type {Map<string, string | null>} */
const memory = new Map();

/**
 * @param {string} key
 * @returns {string | null}
 */
export const read = (key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return memory.get(key) ?? null;
  }
};

/**
 * @param {string} key
 * @param {string | null} value null removes it
 */
export const write = (key, value) => {
  memory.set(key, value);
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // it lasts as long as the page
  }
};
