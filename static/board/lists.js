// The tables: which rows are shown and in what order, and which one the keyboard is at. The rows themselves are the
// model: what they are is in their data attributes.
import { LISTS, OFF, SHOWS, SORTS, readAddress, state, writeAddress } from "./address.js";
import { lookBeyondSoon } from "./beyond.js";
import { now, onTick, tickWithin } from "./clock.js";
import { bulkPath, openDialog } from "./dialogs.js";
import { incomingOf, isHeld, pointsAt, startHold, takeChanges, tellChanges } from "./hold.js";
import { readAgain } from "./live.js";
import { announce, escalated } from "./notices.js";
import { boxOf, clearSelection, pick, showBulk } from "./picks.js";

const GONE_MS = 4000;
const bodies = {};
const compare = {};

// Which rows are shown.

const words = (row) => {
  if (row.wordsAs !== row.dataset.rev) {
    row.wordsAs = row.dataset.rev;
    row.words = [...row.querySelectorAll("th, .store, .who, .why, .state, .zone")]
      .map((cell) => cell.textContent)
      .join(" ")
      .toLowerCase();
  }
  return row.words;
};

const matches = (row) => !state.q || state.q.toLowerCase().split(/\s+/).every((word) => words(row).includes(word));

// Who has gone with work is shown whatever state is asked for, and who carries something even off shift.
const isShown = (row, list) => {
  const { dataset } = row;
  if (state.zone && dataset.zone !== state.zone) return false;
  const [showList, test] = SHOWS[state.show] ?? [];
  if (list === "drivers" && dataset.driverGone !== undefined) return matches(row);
  if (showList === list && dataset.gone === undefined && !test(dataset)) return false;
  if (list === "drivers" && showList !== "drivers" && OFF.has(dataset.state) && dataset.load === "0" && !state.q) return false;
  return matches(row);
};

const filter = (row, list) => {
  const hidden = !isShown(row, list);
  if (isHeld(list)) return;
  if (row.hidden !== hidden) row.hidden = hidden;
};

const filterAll = () => {
  for (const list of LISTS) for (const row of bodies[list].rows) filter(row, list);
  filterAlerts();
  countSoon();
};

const filterAlerts = () => {
  let open = 0;
  for (const alert of document.querySelectorAll("#alerts > [data-zone]")) {
    alert.hidden = Boolean(state.zone) && alert.dataset.zone !== state.zone;
    if (!alert.hidden && alert.dataset.resolved === undefined) open += 1;
  }
  document.querySelector("#alerts > .empty").hidden = open > 0;
};

let counting = false;
const countSoon = () => {
  if (counting) return;
  counting = true;
  requestAnimationFrame(() => {
    counting = false;
    for (const list of LISTS) {
      let shown = 0;
      let total = 0;
      for (const row of bodies[list].rows) {
        if (row.dataset.gone !== undefined) continue;
        total += 1;
        if (!row.hidden) shown += 1;
      }
      for (const row of incomingOf(list).values()) {
        total += 1;
        if (isShown(row, list)) shown += 1;
      }
      total = Math.max(total, Number(document.getElementById(`cut-${list}`)?.dataset.total ?? 0));
      const text = shown === total ? String(total) : `${shown} of ${total}`;
      const count = document.querySelector(`[data-count="${list}"]`);
      if (count.textContent !== text) count.textContent = text;
      const empty = document.querySelector(`[data-empty="${list}"]`);
      empty.hidden = bodies[list].rows.length > 0 && shown > 0;
    }
  });
};

// In what order.

const goneFirst = (by) => (a, b) =>
  (b.dataset.driverGone !== undefined) - (a.dataset.driverGone !== undefined) || by(a, b);

const chooseOrder = () => {
  for (const list of LISTS) {
    const by = SORTS[state.sorts[list]];
    compare[list] = goneFirst(state.backwards[list] ? (a, b) => -by(a, b) : by);
  }
  for (const button of document.querySelectorAll("[data-sort][data-of]")) {
    const { sort, of } = button.dataset;
    const head = button.closest("th");
    if (state.sorts[of] === sort) head.setAttribute("aria-sort", state.backwards[of] ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
};

// A row that has the focus keeps it when it moves, where the browser can; else it gets it back.
const move = (body, row, before) => {
  if (body.moveBefore && row.parentNode === body) return body.moveBefore(row, before);
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  body.insertBefore(row, before);
  focused?.focus({ preventScroll: true });
};

const sortAll = (list) => {
  const body = bodies[list];
  const rows = [...body.rows].filter((row) => row.dataset.gone === undefined).sort(compare[list]);
  let at = body.firstElementChild;
  for (const row of rows) {
    if (row === at) at = at.nextElementSibling;
    else move(body, row, at);
  }
};

const place = (row, list) => {
  const body = bodies[list];
  if (row.dataset.gone !== undefined) return;
  const by = compare[list];
  if (row.parentNode === body) {
    const before = sibling(row, "previousElementSibling");
    const after = sibling(row, "nextElementSibling");
    if ((!before || by(before, row) <= 0) && (!after || by(row, after) <= 0)) return;
  }
  const others = [...body.rows].filter((other) => other !== row && other.dataset.gone === undefined);
  let low = 0;
  let high = others.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (by(others[middle], row) <= 0) low = middle + 1;
    else high = middle;
  }
  move(body, row, others[low] ?? null);
};

const sibling = (row, which) => {
  let other = row[which];
  while (other && other.dataset.gone !== undefined) other = other[which];
  return other;
};

// Where the keyboard is.

const shownRows = () => LISTS.flatMap((list) => [...bodies[list].rows].filter((row) => !row.hidden));

export const rowAt = () => {
  const focused = document.activeElement?.closest?.("tbody[data-list] > tr");
  if (focused) return focused;
  const row = state.row ? document.getElementById(state.row) : null;
  return row && !row.hidden ? row : null;
};

const goTo = (row, options, focus = true) => {
  for (const old of document.querySelectorAll('tr[aria-current="true"]')) old.removeAttribute("aria-current");
  if (!row) return;
  row.setAttribute("aria-current", "true");
  state.row = row.id;
  if (focus && !row.contains(document.activeElement)) row.focus(options);
  row.scrollIntoView({ block: "nearest" });
  writeAddress();
  document.dispatchEvent(new CustomEvent("board:row", { detail: { row } }));
};

export const step = (by) => {
  if (!bodies.waiting) return;
  const rows = shownRows();
  const index = rows.indexOf(rowAt());
  const next = rows[index < 0 ? (by > 0 ? 0 : rows.length - 1) : index + by];
  if (next) goTo(next, { preventScroll: true });
};

export const focusRow = (id) => {
  const row = document.getElementById(id);
  if (row && !row.hidden) goTo(row);
};

// What comes by the stream.

const leave = (row) => {
  if (!row.isConnected || row.dataset.gone === undefined || isHeld(row.parentNode.dataset.list)) return;
  const hadFocus = row.contains(document.activeElement);
  const wasAt = hadFocus || state.row === row.id;
  const next = sibling(row, "nextElementSibling") ?? sibling(row, "previousElementSibling");
  row.remove();
  state.picks.delete(row.id);
  if (wasAt) {
    const reachable = next && !next.hidden ? next : null;
    if (reachable && (document.activeElement === document.body || !document.activeElement)) {
      goTo(reachable, { preventScroll: true }, hadFocus);
    } else if (state.row === row.id) state.row = "";
  }
  showBulk();
  countSoon();
};

const flash = (row) => {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) return;
  row.animate([{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }], { duration: 1600 });
};

const settle = (row, list, levelBefore) => {
  row.driverName = undefined;
  tickWithin(row);
  if (row.dataset.gone !== undefined) {
    if (state.picks.has(row.id)) pick(row, false);
    if (!isHeld(list)) row.goneTimer ??= setTimeout(leave, document.hidden ? 0 : GONE_MS, row);
  } else {
    clearTimeout(row.goneTimer);
    row.goneTimer = undefined;
    if (!isHeld(list)) place(row, list);
    if (list === "waiting") {
      const level = Number(row.dataset.level);
      if (levelBefore === null) flash(row);
      else if (level > levelBefore) {
        flash(row);
        escalated(row);
      }
    }
  }
  filter(row, list);
};

// Rows found beyond those shown join the table while they are looked for: at once for a filter that was just chosen, also
// in a list that holds still.
let justChosen = false;
const adopt = (found) => {
  const atOnce = justChosen;
  justChosen = false;
  for (const list of LISTS) {
    const rows = found.get(list) ?? [];
    const ids = new Set(rows.map((row) => row.id));
    for (const old of bodies[list].querySelectorAll("tr[data-beyond]")) {
      if (ids.has(old.id)) continue;
      if (isHeld(list) && !atOnce) {
        grey(old, "no longer found");
        continue;
      }
      old.remove();
      state.picks.delete(old.id);
    }
    for (const row of rows) {
      const old = document.getElementById(row.id);
      if (old && (old.dataset.beyond === undefined || old.html === row.outerHTML)) continue;
      row.html = row.outerHTML;
      row.dataset.beyond = "";
      if (!old && isHeld(list) && !atOnce) {
        wait(row, list);
        continue;
      }
      const focused = old?.contains(document.activeElement);
      if (old) old.replaceWith(row);
      else bodies[list].append(row);
      if (focused) row.focus({ preventScroll: true });
      settle(row, list, Infinity);
    }
  }
  reviewHeld();
  if (atOnce && found.size) takeChanges();
  markPicks();
  countSoon();
};

// What waits in a list that holds still: rows that would come or go, by themselves or for the filters, and of the others
// the fewest that would have to move for the list to be in order, and those that lack room for what they say.
const review = (list) => {
  const changes = new Set();
  for (const row of incomingOf(list).values()) if (isShown(row, list)) changes.add(row.id);
  const rows = [];
  for (const row of bodies[list].rows) {
    if (row.dataset.gone !== undefined ? !row.hidden : row.hidden === isShown(row, list)) changes.add(row.id);
    else if (!row.hidden) {
      rows.push(row);
      if (row.style.height) changes.add(row.id);
    }
  }
  const stay = inOrder(rows, compare[list]);
  for (const row of rows) if (!stay.has(row)) changes.add(row.id);
  tellChanges(list, changes);
};

const reviewHeld = () => {
  for (const list of LISTS) if (isHeld(list)) review(list);
};

// The longest run of rows that are in order among themselves (patience sorting).
const inOrder = (rows, by) => {
  const ends = [];
  const before = new Map();
  for (const row of rows) {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (by(ends[middle], row) <= 0) low = middle + 1;
      else high = middle;
    }
    before.set(row, ends[low - 1]);
    ends[low] = row;
  }
  const run = new Set();
  for (let row = ends.at(-1); row; row = before.get(row)) run.add(row);
  return run;
};

// A finished row keeps its place and height while its list is held; its buttons are disabled.
const grey = (row, what) => {
  row.dataset.gone = "";
  for (const button of row.querySelectorAll("button, input")) button.disabled = true;
  const cell = row.querySelector(".chained, .stage, .why, .line");
  if (cell && what) cell.textContent = what;
  if (state.picks.has(row.id)) pick(row, false);
};

// A row keeps its height while its list is held, whatever it comes to say: a line more would move all that is below.
const keepHeight = (row, next) => {
  const grows = (one) => one.dataset.driverGone !== undefined;
  if (next.dataset.gone === undefined && grows(row) === grows(next)) return;
  if (row.style.height && next.dataset.gone === undefined && row.grewBefore === grows(next)) return loosen(row);
  if (!row.style.height) row.grewBefore = grows(row);
  row.style.height = `${row.offsetHeight}px`;
  row.toggleAttribute("data-still", grows(next));
};

const loosen = (row) => {
  row.style.height = "";
  row.removeAttribute("data-still");
};

const wait = (row, list) => {
  const before = incomingOf(list).get(row.id);
  incomingOf(list).set(row.id, row);
  if (list === "waiting" && before && Number(row.dataset.level) > Number(before.dataset.level)) escalated(row);
};

// A list that is held no longer, and the rows that waited for it.
const apply = (list, rows) => {
  const body = bodies[list];
  body.append(...rows);
  for (const row of [...body.rows]) leave(row);
  sortAll(list);
  for (const row of body.rows) {
    loosen(row); // not before it moves: a browser may forget to style it anew
    filter(row, list);
  }
  for (const row of rows) tickWithin(row);
  countSoon();
  if (rows.length) document.dispatchEvent(new CustomEvent("board:changed"));
};

const PREFIXES = { d: "waiting", a: "active", o: "offers", v: "drivers" };

const receive = (tasks) => {
  const touched = [];
  for (const task of tasks) {
    const row = task.fragment?.firstElementChild;
    if (task.target?.id === "alerts" && holdAlerts(task, row)) continue;
    const held = task.target?.matches("tr") && isHeld(task.target.parentNode.dataset.list);
    if (held && task.swapSpec.style === "delete") {
      grey(task.target, task.target.id[0] === "o" ? "offer closed" : "no longer shown");
      task.target = null;
      continue;
    }
    if (held && row) keepHeight(task.target, row);
    if (task.target) {
      if (task.target.matches("tr") && task.swapSpec.style !== "delete") {
        touched.push([task.target, task.target.parentNode.dataset.list, Number(task.target.dataset.level ?? 0)]);
      }
    } else if (row?.matches("tr")) {
      const list = PREFIXES[row.id[0]];
      if (row.dataset.gone !== undefined) incomingOf(list).delete(row.id);
      else if (isHeld(list)) wait(row, list);
      else {
        bodies[list].append(row);
        touched.push([row, list, null]);
      }
    }
  }
  return touched;
};

// While a pointer is among the alerts their numbers change; alerts that come or go wait until it is not.
let laterAlerts = null;
const idsOf = (list) => [...list.querySelectorAll("[data-zone]")].map((alert) => alert.id).join();
const holdAlerts = (task, alerts) => {
  laterAlerts = pointsAt("alerts") && idsOf(task.target) !== idsOf(alerts) ? alerts : null;
  if (laterAlerts) task.target = null;
  return laterAlerts !== null;
};
const applyAlerts = () => {
  if (!laterAlerts || pointsAt("alerts")) return;
  document.getElementById("alerts").replaceWith(laterAlerts);
  laterAlerts = null;
  filterAlerts();
  tickWithin(document.getElementById("alerts"));
};

const zoneNumbers = () => {
  const headline = document.getElementById("headline");
  if (!state.zone) return;
  const numbers = JSON.parse(headline.dataset.zones)[state.zone];
  if (!numbers) return;
  for (const element of headline.querySelectorAll("[data-n]")) {
    const key = element.dataset.n;
    const item = element.closest("li");
    if (key === "gone") item.toggleAttribute("data-none", !numbers.gone);
    if (key === "alerts") item.toggleAttribute("data-zero", !numbers.alerts);
    if (key === "paused") item.toggleAttribute("data-zero", !numbers.paused);
    if (key !== "oldest") element.textContent = numbers[key];
    else if (numbers.oldest === null) element.textContent = "–";
    else {
      const time = document.createElement("time");
      time.dataset.since = numbers.oldest;
      element.replaceChildren(time);
    }
  }
  tickWithin(headline);
};

const markShow = () => {
  const [list] = SHOWS[state.show] ?? [""];
  document.getElementById("board").dataset.focus = list ?? "";
  for (const link of document.querySelectorAll("#headline [data-show]")) {
    if (link.dataset.show === state.show) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};

const settleHeadline = () => {
  const zones = Object.keys(JSON.parse(document.getElementById("headline").dataset.zones));
  document.getElementById("board").toggleAttribute("data-one-zone", zones.length < 2);
  const select = document.getElementById("zone");
  const known = new Set([...select.options].map((option) => option.value));
  for (const zone of zones) if (!known.has(zone)) select.add(new Option(zone));
  if (state.zone && select.value !== state.zone) select.value = state.zone;
  zoneNumbers();
  markShow();
  tickWithin(document.getElementById("headline"));
};

const moved = (event) => {
  for (const [id, lat, lon, at] of JSON.parse(event.detail.data)) {
    const row = document.getElementById(`v-${id}`);
    if (!row) continue;
    row.dataset.at = `${lat},${lon}`;
    const seen = row.querySelector(".seen");
    let time = seen.querySelector("time");
    if (!time) {
      time = document.createElement("time");
      seen.replaceChildren(time);
    }
    time.dataset.since = at;
  }
  document.dispatchEvent(new CustomEvent("board:moved"));
};

const listen = () => {
  const htmx = globalThis.htmx;
  const stream = document.getElementById("stream");
  const board = document.getElementById("board");
  let touched = [];
  stream.addEventListener("htmx:before:swap", (event) => {
    touched = receive(event.detail.tasks);
  });
  stream.addEventListener("htmx:after:swap", () => {
    for (const change of touched) settle(...change);
    touched = [];
    reviewHeld();
    settleHeadline();
    filterAlerts();
    countSoon();
    document.dispatchEvent(new CustomEvent("board:changed"));
  });
  stream.addEventListener("moved", moved);
  board.addEventListener("htmx:before:swap", (event) => {
    if (event.target !== board) return;
    for (const { target, fragment } of event.detail.tasks) {
      if (!target?.dataset.list) continue;
      if (isHeld(target.dataset.list)) keepStill(target, fragment);
      inOrderOf(target, fragment);
    }
  });
  board.addEventListener("htmx:after:swap", (event) => {
    if (event.target !== board) return;
    for (const list of LISTS) {
      if (!isHeld(list)) sortAll(list);
      else for (const row of bodies[list].rows) settle(row, list, Number(row.dataset.level ?? 0));
    }
    settleAll();
    reviewHeld();
  });
  readAgain.push(async (position) => {
    for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
      let status = 0;
      const noted = (event) => (status = event.detail.ctx.response.status);
      board.addEventListener("htmx:after:request", noted);
      await htmx.ajax("GET", `/board/rows?at=${position}`, { source: board, swap: "none" });
      board.removeEventListener("htmx:after:request", noted);
      if (status === 200) return;
      await new Promise((done) => setTimeout(done, pause));
    }
  });
};

// Rows that come in the order in which they are shown are morphed in one pass; in any other order it takes seconds.
const inOrderOf = (body, fragment) => {
  const places = new Map([...body.rows].map((row, index) => [row.id, index]));
  const rows = [...fragment.children];
  rows.sort((a, b) => (places.get(a.id) ?? places.size) - (places.get(b.id) ?? places.size));
  fragment.replaceChildren(...rows);
};

// Everything was read again while the list is held: what is new waits, and what is no longer there stays, greyed.
const keepStill = (body, fragment) => {
  const list = body.dataset.list;
  const incoming = incomingOf(list);
  const fresh = new Set([...fragment.children].map((row) => row.id));
  for (const id of [...incoming.keys()]) if (!fresh.has(id)) incoming.delete(id);
  for (const row of [...fragment.children]) {
    if (body.querySelector(`#${CSS.escape(row.id)}`)) continue;
    row.remove();
    wait(row, list);
  }
  for (const row of body.rows) {
    if (fresh.has(row.id)) continue;
    if (row.dataset.gone === undefined && row.dataset.beyond === undefined) grey(row, "finished");
    fragment.append(row.cloneNode(true));
  }
  for (const row of fragment.children) {
    const shown = body.querySelector(`#${CSS.escape(row.id)}`);
    if (shown) keepHeight(shown, row);
  }
};

const markPicks = () => {
  for (const id of state.picks) {
    const row = document.getElementById(id);
    const box = row && boxOf(row);
    if (box) {
      box.checked = true;
      row.setAttribute("data-picked", "");
    }
  }
  showBulk();
};

const settleAll = () => {
  filterAll();
  settleHeadline();
  markPicks();
  lookBeyondSoon(adopt);
  tickWithin(document.getElementById("board"));
  document.dispatchEvent(new CustomEvent("board:changed"));
};

// What people do with the lists.

const choose = (changes) => {
  justChosen = true;
  takeChanges();
  Object.assign(state, changes);
  const form = document.getElementById("filters");
  form.elements.zone.value = state.zone;
  form.elements.show.value = state.show;
  document.getElementById("clear").hidden = !(state.q || state.zone || state.show);
  for (const list of LISTS) for (const row of bodies[list].rows) row.hidden = !isShown(row, list);
  filterAlerts();
  countSoon();
  markShow();
  writeAddress();
  lookBeyondSoon(adopt);
};

const chooseZone = async (zone) => {
  choose({ zone });
  if (zone) return settleHeadline();
  // The numbers of all zones come from the server.
  for (const work of readAgain) await work("");
};

const onClick = (event) => {
  const target = event.target;
  const sorter = target.closest("[data-sort][data-of]");
  if (sorter) {
    const { sort, of } = sorter.dataset;
    state.backwards[of] = state.sorts[of] === sort && !state.backwards[of];
    state.sorts[of] = sort;
    takeChanges([of]);
    chooseOrder();
    sortAll(of);
    return writeAddress();
  }
  const number = target.closest("#headline [data-show]");
  if (number && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    const { show, sort } = number.dataset;
    choose({ show: state.show === show && !sort ? "" : show });
    if (sort) {
      state.sorts.waiting = "since";
      state.backwards.waiting = false;
      chooseOrder();
      sortAll("waiting");
    }
    const [list] = SHOWS[state.show] ?? [];
    return list && document.getElementById(`panel-${list}`)?.scrollIntoView({ block: "nearest" });
  }
  const bulk = target.closest("[data-bulk]");
  if (bulk) {
    const limit = Number(bulk.closest("#bulk").dataset.limit);
    if (state.picks.size > limit) {
      return announce(`${state.picks.size} are selected. ${limit} at most can be changed at once.`);
    }
    return openDialog(bulkPath(bulk.dataset.bulk, [...state.picks].map((id) => document.getElementById(id).dataset.id)));
  }
  if (target.id === "bulk-none") return clearSelection();
  if (target.id === "clear") {
    document.getElementById("q").value = "";
    choose({ q: "", show: "" });
    if (state.zone) chooseZone("");
  }
};

const onChange = (event) => {
  const box = event.target;
  if (box.dataset.all) {
    const checked = box.checked;
    clearSelection();
    box.checked = checked;
    for (const row of checked ? bodies[box.dataset.all].rows : []) {
      if (row.hidden || row.dataset.gone !== undefined) continue;
      boxOf(row).checked = true;
      row.setAttribute("data-picked", "");
      state.picks.add(row.id);
    }
    return showBulk();
  }
  if (box.matches(".pick input")) pick(box.closest("tr"), box.checked);
};

export const startLists = () => {
  globalThis.htmx.config.morphIgnore.push("data-picked", "data-still", "style");
  for (const list of LISTS) bodies[list] = document.getElementById(`rows-${list}`);
  readAddress();
  const form = document.getElementById("filters");
  form.elements.q.value = state.q;
  let typing;
  form.elements.q.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ q: form.elements.q.value.trim() }), 60);
  });
  form.elements.zone.addEventListener("change", () => chooseZone(form.elements.zone.value));
  form.elements.show.addEventListener("change", () => choose({ show: form.elements.show.value }));
  form.addEventListener("submit", (event) => event.preventDefault());
  const board = document.getElementById("board");
  board.addEventListener("click", onClick);
  board.addEventListener("change", onChange);
  board.addEventListener("focusin", (event) => {
    const row = event.target.closest("tbody[data-list] > tr");
    if (row && row.id !== state.row) goTo(row);
  });
  startHold(apply, applyAlerts);
  chooseOrder();
  for (const list of LISTS) sortAll(list);
  choose({});
  settleAll();
  const chosen = state.row && document.getElementById(state.row);
  if (chosen) goTo(chosen, { preventScroll: true }, false);
  listen();
  // A row that left while the tab slept must not stay for ever.
  onTick(() => {
    if (document.hidden) return;
    for (const row of document.querySelectorAll("tr[data-gone]")) {
      row.goneAt ??= now();
      if (now() - row.goneAt > GONE_MS + 2000) leave(row);
    }
  });
};
