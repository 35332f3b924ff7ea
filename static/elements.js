// Elements of a page that have to be there: a template without them is a fault, which is reported at once.

/**
 * The element with this id.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {abstract new (...args: never[]) => T} [kind] its class, if it is not just any HTMLElement
 * @returns {T}
 */
export const byId = (id, kind) => checked(document.getElementById(id), kind, `#${id}`);

/**
 * The first element inside `parent` that matches the selector.
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {abstract new (...args: never[]) => T} [kind]
 * @returns {T}
 */
export const within = (parent, selector, kind) => checked(parent.querySelector(selector), kind, selector);

/**
 * @template {Element} T
 * @param {Element | null} found
 * @param {(abstract new (...args: never[]) => T) | undefined} kind
 * @param {string} what
 * @returns {T}
 */
const checked = (found, kind, what) => {
  if (found instanceof (kind ?? HTMLElement)) return /** @type {T} */ (found);
  throw new Error(`${what} is ${found ? `a ${found.tagName}` : "missing"}`);
};

/**
 * The element that an event is about, if it is about one.
 * @param {Event} event
 * @returns {Element | null}
 */
export const targetOf = (event) => (event.target instanceof Element ? event.target : null);
