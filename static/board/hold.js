// Lists that hold still: while a pointer rests in a list, or one of its rows has the focus, no row comes, goes or moves
// there. What would have happened waits and is counted beside the list's title; a key or a click takes it.
import { LISTS } from "./address.js";

const MOUSE_MS = 25_000; // a pointer that was left in a list, as on a wall, holds it no longer
const TOUCH_MS = 1_500; // from touching a button to its click

const lists = Object.fromEntries(
  LISTS.map((name) => [name, { held: false, incoming: new Map(), changes: new Set() }]),
);
const pointer = { list: null, until: 0, x: 0, y: 0 };
let take = () => {};
let decided = () => {};

export const isHeld = (name) => lists[name].held;

// Rows by id that would have come; `tellChanges` gets the ids of all that would have come, gone or moved.
export const incomingOf = (name) => lists[name].incoming;

export const tellChanges = (name, ids) => {
  lists[name].changes = ids;
  tell(name);
};

const tell = (name) => {
  const { changes } = lists[name];
  const button = document.querySelector(`[data-take="${name}"]`);
  const text = `${changes.size} ${changes.size === 1 ? "new change" : "new changes"}`;
  if (button.firstElementChild.textContent !== text) button.firstElementChild.textContent = text;
  if (button.hidden !== !changes.size) button.hidden = !changes.size;
};

const listOf = (element) => element?.closest?.("[data-holds]")?.dataset.holds ?? null;
const focused = () => document.activeElement?.closest("tbody[data-list] > tr")?.parentNode.dataset.list ?? null;

// What waits is taken; the list goes on holding if there is still a reason to.
export const takeChanges = (names = LISTS) => {
  for (const name of names) {
    const one = lists[name];
    if (!one.changes.size && !one.incoming.size) continue;
    one.changes = new Set();
    const rows = [...one.incoming.values()];
    one.incoming.clear();
    one.held = false;
    take(name, rows);
    tell(name);
  }
  decide();
};

// Whether a pointer rests in this list.
export const pointsAt = (name) => performance.now() < pointer.until && pointer.list === name;

const decide = () => {
  const pointed = performance.now() < pointer.until ? pointer.list : null;
  const asked = document.querySelector("dialog[open]") !== null;
  const at = focused();
  for (const name of LISTS) {
    const holds = name === pointed || name === at || (asked && lists[name].held);
    if (lists[name].held === holds) continue;
    lists[name].held = holds;
    if (!holds) takeChanges([name]);
  }
  decided();
};

const pointed = (event) => {
  const mouse = event.pointerType !== "touch";
  // Browsers report a move of a still pointer when what is under it moves.
  if (mouse && event.type === "pointermove" && event.clientX === pointer.x && event.clientY === pointer.y) return;
  pointer.x = event.clientX;
  pointer.y = event.clientY;
  pointer.list = listOf(event.target);
  pointer.until = performance.now() + (mouse ? MOUSE_MS : TOUCH_MS);
  decide();
};

const away = () => {
  pointer.list = null;
  decide();
};

// `apply` shows a list's changes, given the rows that would have come; `after` is called whenever a pointer may have left.
export const startHold = (apply, after) => {
  take = apply;
  decided = after;
  document.addEventListener("pointermove", pointed, { passive: true });
  document.addEventListener("pointerdown", pointed, { passive: true });
  document.documentElement.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && away());
  document.addEventListener("visibilitychange", () => document.hidden && away());
  document.addEventListener("focusin", decide);
  // Between two rows nothing has the focus for a moment.
  document.addEventListener("focusout", () => setTimeout(decide));
  document.addEventListener("close", () => setTimeout(decide), true);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-take]");
    if (button) takeChanges([button.dataset.take]);
  });
  setInterval(decide, 1000);
};
