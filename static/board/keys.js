// The keyboard. Off while somebody types, in dialogs, and with Ctrl, Alt or Meta.
import { byId, targetOf } from "../elements.js";
import { act } from "./dialogs.js";
import { takeChanges } from "./hold.js";
import { rowAt, step } from "./lists.js";
import { clearSelection, togglePick } from "./picks.js";
import { isTyping } from "./typing.js";

/**
 * What a key means: the id of an order or a driver, and its button.
 * @param {string} action
 * @returns {[id: string, button: HTMLButtonElement] | null}
 */
const target = (action) => {
  const selector = `[data-do="${action}"]`;
  /** @type {HTMLButtonElement | null} */
  const button = document.querySelector(`#now ${selector}`) ?? rowAt()?.querySelector(selector) ?? null;
  /** @type {HTMLElement | null} */
  const thing = button?.closest("[data-id]") ?? null;
  return button && !button.disabled && thing?.dataset.id ? [thing.dataset.id, button] : null;
};

/** @type {Record<string, string>} */
const ACTIONS = { a: "assign", r: "reassign", s: "search", c: "acknowledge" };

export const startKeys = () => {
  const keys = byId("keys", HTMLDialogElement);
  document.getElementById("help")?.addEventListener("click", () => keys.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = targetOf(event);
    if (document.querySelector("dialog[open]") || at?.closest(".leaflet-container")) return;
    if (isTyping(at)) {
      if (event.key === "Escape" && at instanceof HTMLElement) at.blur();
      return;
    }
    const { key } = event;
    const action = ACTIONS[key];
    if (key === "?") keys.showModal();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "x") togglePick(rowAt());
    else if (key === "." && document.getElementById("board")) takeChanges();
    else if (key === "Escape") clearSelection();
    else if (key === "Enter" && at?.matches("tr")) {
      const link = at.querySelector("a[href]");
      if (link instanceof HTMLElement) link.click();
    } else if (action) {
      const found = target(action);
      if (!found) return;
      act(action, ...found);
    } else return;
    event.preventDefault();
  });
};
