// Whether keys are letters: somebody types into this element.
export const isTyping = (element) =>
  element?.isContentEditable ||
  element?.tagName === "TEXTAREA" ||
  element?.tagName === "SELECT" ||
  (element?.tagName === "INPUT" && !["checkbox", "radio", "button"].includes(element.type));
