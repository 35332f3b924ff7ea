/**
 * Whether keys are letters: somebody types into this element.
 * @param {Element | null} element
 * @returns {boolean}
 */
export const isTyping = (element) =>
  (element instanceof HTMLElement && element.isContentEditable) ||
  element instanceof HTMLTextAreaElement ||
  element instanceof HTMLSelectElement ||
  (element instanceof HTMLInputElement && !["checkbox", "radio", "button"].includes(element.type));
