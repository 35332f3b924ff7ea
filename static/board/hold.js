// Lists that hold still: while a pointer rests in a list, or one of its rows has the focus, no row comes, goes or moves
// there. What would have happened waits and is counted beside the list's title; a key or a click takes it.
import { counted } from "../driver/text.js";
import { targetOf, within } from "../elements.js";
import { LISTS, isList } from "./address.js";

/** @import {ListName, Row} from "./address.js" */
/** @typedef {{held: boolean, incoming: Map<string, Row>, changes: Set<string>}} Held */

const MOUSE_MS = 25_000; // a pointer that was left in a list, as on a wall, holds it no longer
const TOUCH_MS = 1_500; // from touching a button to its click

/** @returns {Held} */
const free = () => ({ held: false, incoming: new Map(), changes: new Set() });
/** @type {Record<ListName, Held>} */
const lists = { waiting: free(), active: free(), offers: free(), drivers: free() };
/** @type {{list: string | null, until: number, x: number, y: number}} `list` may also be "alerts" */
const pointer = { list: null, until: 0, x: 0, y: 0 };
/** @typedef {(name: ListName, rows: Row[]) => void} Apply shows a list's changes, given the rows that would have come */
/** @type {Apply} */
let take = () => {};
let decided = () => {};

/** @param {ListName} name */
export const isHeld = (name) => lists[name].held;

/**
 * Rows by id that would have come.
 * @param {ListName} name
 */
export const incomingOf = (name) => lists[name].incoming;

/**
 * @param {ListName} name
 * @param {Set<string>} ids of all that would have come, gone or moved
 */
export const tellChanges = (name, ids) => {
  lists[name].changes = ids;
  tell(name);
};

/** @param {ListName} name */
const tell = (name) => {
  const { changes } = lists[name];
  const button = within(document, `[data-take="${name}"]`);
  const label = within(button, ":scope > :first-child");
  const text = counted("{count} new change", "{count} new changes", changes.size);
  if (label.textContent !== text) label.textContent = text;
  if (button.hidden !== !changes.size) button.hidden = !changes.size;
};

/** @param {Element | null} element */
const listOf = (element) => {
  const holding = element?.closest("[data-holds]");
  return holding instanceof HTMLElement ? (holding.dataset.holds ?? null) : null;
};
const focused = () => document.activeElement?.closest("tbody[data-list] > tr")?.closest("tbody")?.dataset.list ?? null;

/**
 * What waits is taken; the list goes on holding if there is still a reason to.
 * @param {readonly ListName[]} [names]
 */
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

/**
 * Whether a pointer rests in this list.
 * @param {ListName | "alerts"} name
 */
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

/** @param {PointerEvent} event */
const pointed = (event) => {
  const mouse = event.pointerType !== "touch";
  // Browsers report a move of a still pointer when what is under it moves.
  if (mouse && event.type === "pointermove" && event.clientX === pointer.x && event.clientY === pointer.y) return;
  pointer.x = event.clientX;
  pointer.y = event.clientY;
  pointer.list = listOf(targetOf(event));
  pointer.until = performance.now() + (mouse ? MOUSE_MS : TOUCH_MS);
  decide();
};

const away = () => {
  pointer.list = null;
  decide();
};

/**
 * @param {Apply} apply
 * @param {() => void} after is called whenever a pointer may have left
 */
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
    const button = targetOf(event)?.closest("[data-take]");
    const name = button instanceof HTMLElement ? button.dataset.take : undefined;
    if (isList(name)) takeChanges([name]);
  });
  setInterval(decide, 1000);
};
