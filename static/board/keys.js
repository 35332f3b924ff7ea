// The keyboard. Off while somebody types, in dialogs, and with Ctrl, Alt or Meta.
import { act } from "./dialogs.js";
import { takeChanges } from "./hold.js";
import { rowAt, step } from "./lists.js";
import { clearSelection, togglePick } from "./picks.js";
import { isTyping } from "./typing.js";

const target = (action) => {
  const page = document.querySelector(`#now [data-do="${action}"]`);
  if (page) return [page.closest("[data-id]").dataset.id, page];
  const row = rowAt();
  const button = row?.querySelector(`[data-do="${action}"]`);
  return button && !button.disabled ? [row.dataset.id, button] : null;
};

const ACTIONS = { a: "assign", r: "reassign", s: "search", c: "acknowledge" };

export const startKeys = () => {
  const keys = document.getElementById("keys");
  document.getElementById("help")?.addEventListener("click", () => keys.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]") || event.target.closest?.(".leaflet-container")) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const { key } = event;
    if (key === "?") keys.showModal();
    else if (key === "/") document.getElementById("q")?.focus();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "x") togglePick(rowAt());
    else if (key === "." && document.getElementById("board")) takeChanges();
    else if (key === "Escape") clearSelection();
    else if (key === "Enter" && event.target.matches?.("tr")) event.target.querySelector("a[href]")?.click();
    else if (ACTIONS[key]) {
      const found = target(ACTIONS[key]);
      if (!found) return;
      act(ACTIONS[key], ...found);
    } else return;
    event.preventDefault();
  });
};
