// Puts what is known into the elements of the page, and changes only those that differ.

import { byId } from "../elements.js";
import { callTo, directionsTo } from "./links.js";

/**
 * @param {Node} node
 * @param {string} value
 */
export const write = (node, value) => {
  if (node.textContent !== value) node.textContent = value;
};
/**
 * @param {HTMLElement} element
 * @param {boolean} yes
 */
export const show = (element, yes) => {
  if (element.hidden === yes) element.hidden = !yes;
};
/**
 * Sets an attribute, or removes it if there is no value.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export const set = (element, name, value) => {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};

/**
 * @param {Element} into
 * @param {string} label
 * @param {() => void} press
 */
export const chip = (into, label, press) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", press);
  into.append(button);
  return button;
};

/**
 * The HTML elements in it; there are no others.
 * @param {Element} list
 */
export const childrenOf = (list) => /** @type {HTMLElement[]} */ ([...list.children]);

/**
 * @param {Element} anchor
 * @param {Wire.Place} point
 * @param {string} label
 */
export const link = (anchor, point, label) => {
  const href = directionsTo(point, navigator.userAgent);
  set(anchor, "href", href);
  set(anchor, "target", href.startsWith("http") ? "_blank" : null); // a new page of a phone's app would stay empty
  set(anchor, "aria-label", label);
};

/**
 * @param {HTMLElement} anchor
 * @param {string | null | undefined} phone
 * @param {string} label
 */
export const callLink = (anchor, phone, label) => {
  const href = callTo(phone);
  show(anchor, href !== null);
  set(anchor, "href", href);
  set(anchor, "aria-label", label);
};

/**
 * A copy of a template's only element.
 * @param {string} id
 */
export const newLine = (id) => /** @type {HTMLElement} */ (document.importNode(byId(id, HTMLTemplateElement).content, true).firstElementChild);
