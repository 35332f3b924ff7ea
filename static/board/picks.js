// What is selected, and the bar of what can be done with all of it.
import { state, writeAddress } from "./address.js";

export const boxOf = (row) => row.querySelector(".pick input");

export const togglePick = (row) => {
  const box = row && boxOf(row);
  if (!box) return;
  box.checked = !box.checked;
  pick(row, box.checked);
};

export const pick = (row, picked) => {
  if (picked) {
    const list = row.parentNode.dataset.list;
    // One kind at a time: what is done with orders is not done with drivers.
    for (const id of state.picks) if (document.getElementById(id)?.parentNode.dataset.list !== list) unpick(id);
    state.picks.add(row.id);
  } else state.picks.delete(row.id);
  row.toggleAttribute("data-picked", picked);
  showBulk();
};

const unpick = (id) => {
  state.picks.delete(id);
  const row = document.getElementById(id);
  row?.removeAttribute("data-picked");
  const box = row && boxOf(row);
  if (box) box.checked = false;
};

// Orders or drivers by their own ids, for which something was done.
export const dropPicks = (ids) => {
  if (!document.getElementById("bulk")) return;
  const done = new Set(ids);
  for (const id of [...state.picks]) if (done.has(document.getElementById(id)?.dataset.id)) unpick(id);
  showBulk();
};

export const showBulk = () => {
  const bulk = document.getElementById("bulk");
  for (const id of state.picks) if (!document.getElementById(id)) state.picks.delete(id);
  const [first] = state.picks;
  const list = first ? document.getElementById(first).parentNode.dataset.list : null;
  bulk.hidden = !list;
  document.getElementById("bulk-count").textContent = `${state.picks.size} selected`;
  for (const group of bulk.querySelectorAll("[data-for]")) group.hidden = group.dataset.for !== list;
  for (const all of document.querySelectorAll("[data-all]")) all.checked = all.checked && all.dataset.all === list;
  writeAddress();
};

export const clearSelection = () => {
  if (!document.getElementById("bulk")) return;
  for (const id of [...state.picks]) unpick(id);
  for (const row of document.querySelectorAll('tr[aria-current="true"]')) {
    row.removeAttribute("aria-current");
    if (row.contains(document.activeElement)) document.activeElement.blur();
  }
  state.row = "";
  showBulk();
};
