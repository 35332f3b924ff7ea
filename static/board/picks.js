// What is selected, and the bar of what can be done with all of it.
import { counted } from "../driver/text.js";
import { byId } from "../elements.js";
import { state, writeAddress } from "./address.js";

/** @import {Row} from "./address.js" */

/**
 * The checkbox of a row, if it has one.
 * @param {Element} row
 * @returns {HTMLInputElement | null}
 */
export const boxOf = (row) => row.querySelector(".pick input");

/**
 * The row with this id, if it is on the page.
 * @param {string} id
 */
export const rowOf = (id) => /** @type {Row | null} */ (document.getElementById(id));

/** @param {Row | null} row */
const listOf = (row) => row?.closest("tbody")?.dataset.list;

/** @param {Row | null} row */
export const togglePick = (row) => {
  const box = row && boxOf(row);
  if (!box) return;
  box.checked = !box.checked;
  pick(row, box.checked);
};

/**
 * @param {Row} row
 * @param {boolean} picked
 */
export const pick = (row, picked) => {
  if (picked) {
    const list = listOf(row);
    // One kind at a time: what is done with orders is not done with drivers.
    for (const id of state.picks) if (listOf(rowOf(id)) !== list) unpick(id);
    state.picks.add(row.id);
  } else state.picks.delete(row.id);
  row.toggleAttribute("data-picked", picked);
  showBulk();
};

/** @param {string} id */
const unpick = (id) => {
  state.picks.delete(id);
  const row = rowOf(id);
  row?.removeAttribute("data-picked");
  const box = row && boxOf(row);
  if (box) box.checked = false;
};

/**
 * Orders or drivers by their own ids, for which something was done.
 * @param {string[]} ids
 */
export const dropPicks = (ids) => {
  if (!document.getElementById("bulk")) return;
  const done = new Set(ids);
  for (const id of [...state.picks]) if (done.has(rowOf(id)?.dataset.id ?? "")) unpick(id);
  showBulk();
};

export const showBulk = () => {
  const bulk = byId("bulk");
  for (const id of state.picks) if (!rowOf(id)) state.picks.delete(id);
  const [first] = state.picks;
  const list = first ? listOf(rowOf(first)) : null;
  bulk.hidden = !list;
  byId("bulk-count").textContent = counted("{count} selected", "{count} selected", state.picks.size);
  /** @type {NodeListOf<HTMLElement>} */
  const groups = bulk.querySelectorAll("[data-for]");
  for (const group of groups) group.hidden = group.dataset.for !== list;
  /** @type {NodeListOf<HTMLInputElement>} */
  const boxes = document.querySelectorAll("[data-all]");
  for (const all of boxes) all.checked = all.checked && all.dataset.all === list;
  writeAddress();
};

export const clearSelection = () => {
  if (!document.getElementById("bulk")) return;
  for (const id of [...state.picks]) unpick(id);
  for (const row of document.querySelectorAll('tr[aria-current="true"]')) {
    row.removeAttribute("aria-current");
    const focused = document.activeElement;
    if (focused instanceof HTMLElement && row.contains(focused)) focused.blur();
  }
  state.row = "";
  showBulk();
};
