// The tables: which rows are shown and in what order, and which one the keyboard is at. The rows themselves are the
// model: what they are is in their data attributes.
import { numbers, text } from "../driver/text.js";
import { byId, targetOf, within } from "../elements.js";
import { LISTS, OFF, SHOWS, SORTS, isList, readAddress, state, writeAddress } from "./address.js";
import { lookBeyondSoon } from "./beyond.js";
import { now, onTick, tickWithin } from "./clock.js";
import { bulkPath, openDialog } from "./dialogs.js";
import { incomingOf, isHeld, pointsAt, startHold, takeChanges, tellChanges } from "./hold.js";
import { readAgain } from "./live.js";
import { announce, escalated } from "./notices.js";
import { inOrder, rankOf } from "./order.js";
import { boxOf, clearSelection, pick, rowOf, showBulk } from "./picks.js";
import { hasWords, spellings } from "./spellings.js";

/** @import {Compare, ListName, Row, Wanted} from "./address.js" */
/** @typedef {[row: Row, list: ListName, levelBefore: number | null]} Change the level is null for a new row */

const GONE_MS = 4000;
/** @type {Map<string, HTMLTableSectionElement>} */
const bodies = new Map();
/** @type {Map<ListName, Compare>} */
const compare = new Map();

/** @param {ListName} list */
const bodyOf = (list) => {
  const body = bodies.get(list);
  if (!body) throw new Error(`no table of ${list}`);
  return body;
};
/** @param {ListName} list */
const rowsOf = (list) => /** @type {HTMLCollectionOf<Row>} */ (bodyOf(list).rows);
/** @param {ListName} list */
const orderOf = (list) => compare.get(list) ?? (() => 0);

/**
 * The list that a row is in.
 * @param {Element} row
 * @returns {ListName | null}
 */
const listOf = (row) => {
  const list = row.closest("tbody")?.dataset.list;
  return isList(list) ? list : null;
};

/**
 * @param {Element | null | undefined} element
 * @returns {Row | null}
 */
const asRow = (element) => (element instanceof HTMLTableRowElement ? element : null);

// Which rows are shown.

/** @param {Row} row */
const words = (row) => {
  if (row.wordsAs !== row.dataset.rev) {
    row.wordsAs = row.dataset.rev;
    const cells = [...row.querySelectorAll("th, .store, .who, .why, .state, .zone")];
    row.words = spellings(cells.map((cell) => cell.textContent).join(" ")).join("\n");
  }
  return row.words ?? "";
};

/** @param {Row} row */
const matches = (row) => !state.q || hasWords(words(row), state.q);

/**
 * Who has gone with work is shown whatever state is asked for, and who carries something even off shift.
 * @param {Row} row
 * @param {ListName} list
 * @returns {boolean}
 */
const isShown = (row, list) => {
  const { dataset } = row;
  if (state.zone && dataset.zone !== state.zone) return false;
  const [showList, test = () => true] = SHOWS[state.show] ?? [];
  if (list === "drivers" && dataset.driverGone !== undefined) return matches(row);
  if (showList === list && dataset.gone === undefined && !test(dataset)) return false;
  if (list === "drivers" && showList !== "drivers" && OFF.has(dataset.state) && dataset.load === "0" && !state.q) return false;
  return matches(row);
};

/**
 * @param {Row} row
 * @param {ListName} list
 */
const filter = (row, list) => {
  const hidden = !isShown(row, list);
  if (isHeld(list)) return;
  if (row.hidden !== hidden) row.hidden = hidden;
};

const filterAll = () => {
  for (const list of LISTS) for (const row of rowsOf(list)) filter(row, list);
  filterAlerts();
  countSoon();
};

const filterAlerts = () => {
  let open = 0;
  /** @type {NodeListOf<HTMLElement>} */
  const alerts = document.querySelectorAll("#alerts > [data-zone]");
  for (const alert of alerts) {
    alert.hidden = Boolean(state.zone) && alert.dataset.zone !== state.zone;
    if (!alert.hidden && alert.dataset.resolved === undefined) open += 1;
  }
  within(document, "#alerts > .empty").hidden = open > 0;
};

/**
 * @param {Element} element
 * @param {string} label
 */
const write = (element, label) => {
  if (element.textContent !== label) element.textContent = label;
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
      let shownHeld = 0;
      let held = 0;
      /** @type {(row: Row, isVisible: boolean) => void} */
      const count = (row, isVisible) => {
        const isHeldOrder = row.dataset.held !== undefined;
        if (isHeldOrder) held += 1;
        else total += 1;
        if (isHeldOrder && isVisible) shownHeld += 1;
        else if (isVisible) shown += 1;
      };
      for (const row of rowsOf(list)) if (row.dataset.gone === undefined) count(row, !row.hidden);
      for (const row of incomingOf(list).values()) count(row, isShown(row, list));
      total = Math.max(total, Number(document.getElementById(`cut-${list}`)?.dataset.total ?? 0) - held);
      const all = numbers.format(total);
      const label = shown === total ? all : text("{shown} of {total}", { shown: numbers.format(shown), total: all });
      write(within(document, `[data-count="${list}"]`), label);
      if (list === "waiting") {
        write(byId("count-held"), shownHeld ? text("and {count} held", { count: numbers.format(shownHeld) }) : "");
      }
      within(document, `[data-empty="${list}"]`).hidden = rowsOf(list).length > 0 && shown + shownHeld > 0;
    }
  });
};

// In what order.

/**
 * @param {Compare} by
 * @returns {Compare}
 */
const goneFirst = (by) => (a, b) =>
  Number(b.dataset.driverGone !== undefined) - Number(a.dataset.driverGone !== undefined) || by(a, b);

const chooseOrder = () => {
  for (const list of LISTS) {
    const by = SORTS[state.sorts[list]] ?? (() => 0);
    compare.set(list, goneFirst(state.backwards[list] ? (a, b) => -by(a, b) : by));
  }
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll("[data-sort][data-of]");
  for (const button of buttons) {
    const { sort, of } = button.dataset;
    const head = button.closest("th");
    if (!head || !isList(of)) continue;
    if (state.sorts[of] === sort) head.setAttribute("aria-sort", state.backwards[of] ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
};

/**
 * A row that has the focus keeps it when it moves, where the browser can; else it gets it back.
 * @param {HTMLTableSectionElement} body
 * @param {Row} row
 * @param {Element | null} before
 */
const move = (body, row, before) => {
  if ("moveBefore" in body && row.parentNode === body) return body.moveBefore(row, before);
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  body.insertBefore(row, before);
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
};

/** @param {ListName} list */
const sortAll = (list) => {
  const body = bodyOf(list);
  const rows = [...rowsOf(list)].filter((row) => row.dataset.gone === undefined).sort(orderOf(list));
  let at = body.firstElementChild;
  for (const row of rows) {
    if (at && row === at) at = at.nextElementSibling;
    else move(body, row, at);
  }
};

/**
 * @param {Row} row
 * @param {ListName} list
 */
const place = (row, list) => {
  const body = bodyOf(list);
  if (row.dataset.gone !== undefined) return;
  const by = orderOf(list);
  if (row.parentNode === body) {
    const before = sibling(row, "previousElementSibling");
    const after = sibling(row, "nextElementSibling");
    if ((!before || by(before, row) <= 0) && (!after || by(row, after) <= 0)) return;
  }
  const others = [...rowsOf(list)].filter((other) => other !== row && other.dataset.gone === undefined);
  move(body, row, others[rankOf(others, row, by)] ?? null);
};

/**
 * The next row in a direction that is not leaving.
 * @param {Row} row
 * @param {"nextElementSibling" | "previousElementSibling"} which
 * @returns {Row | null}
 */
const sibling = (row, which) => {
  let other = asRow(row[which]);
  while (other && other.dataset.gone !== undefined) other = asRow(other[which]);
  return other;
};

// Where the keyboard is.

const shownRows = () => LISTS.flatMap((list) => [...rowsOf(list)].filter((row) => !row.hidden));

export const rowAt = () => {
  const focused = asRow(document.activeElement?.closest("tbody[data-list] > tr"));
  if (focused) return focused;
  const row = state.row ? rowOf(state.row) : null;
  return row && !row.hidden ? row : null;
};

/**
 * @param {Row} row
 * @param {FocusOptions} [options]
 * @param {boolean} [focus]
 */
const goTo = (row, options, focus = true) => {
  for (const old of document.querySelectorAll('tr[aria-current="true"]')) old.removeAttribute("aria-current");
  row.setAttribute("aria-current", "true");
  state.row = row.id;
  if (focus && !row.contains(document.activeElement)) row.focus(options);
  row.scrollIntoView({ block: "nearest" });
  writeAddress();
  document.dispatchEvent(new CustomEvent("board:row", { detail: { row } }));
};

/** @param {1 | -1} by */
export const step = (by) => {
  if (!bodies.size) return;
  const rows = shownRows();
  const at = rowAt();
  const index = at ? rows.indexOf(at) : -1;
  const next = rows[index < 0 ? (by > 0 ? 0 : rows.length - 1) : index + by];
  if (next) goTo(next, { preventScroll: true });
};

/** @param {string} id */
export const focusRow = (id) => {
  const row = rowOf(id);
  if (row && !row.hidden) goTo(row);
};

// What comes by the stream.

/** @param {Row} row */
const leave = (row) => {
  const list = listOf(row);
  if (!list || !row.isConnected || row.dataset.gone === undefined || isHeld(list)) return;
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

/** @param {Row} row */
const flash = (row) => {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) return;
  row.animate([{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }], { duration: 1600 });
};

/**
 * A row has come or has changed.
 * @param {Row} row
 * @param {ListName} list
 * @param {number | null} levelBefore null for a new row
 */
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
  if (list === "drivers") sayWritten(row);
  filter(row, list);
};

const FRESH_MS = 30_000;
/**
 * A driver has just written: whoever watches hears it, whatever the table shows.
 * @param {Row} row
 */
const sayWritten = (row) => {
  const wrote = row.querySelector(".wrote");
  const at = wrote?.querySelector("time")?.dataset.since;
  if (!wrote || !at || row.saidAt === at) return;
  row.saidAt = at;
  if (now() - Number(at) > FRESH_MS) return;
  const driver = within(row, ".what a").textContent;
  announce(text("{driver} wrote: {words}", { driver, words: within(wrote, "span").textContent }));
};

// Rows found beyond those shown join the table while they are looked for: at once for a filter that was just chosen, also
// in a list that holds still.
let justChosen = false;
/** @param {Map<ListName, Row[]>} found */
const adopt = (found) => {
  const atOnce = justChosen;
  justChosen = false;
  for (const list of LISTS) {
    const rows = found.get(list) ?? [];
    const ids = new Set(rows.map((row) => row.id));
    /** @type {NodeListOf<Row>} */
    const earlier = bodyOf(list).querySelectorAll("tr[data-beyond]");
    for (const old of earlier) {
      if (ids.has(old.id)) continue;
      if (isHeld(list) && !atOnce) {
        grey(old, text("no longer found"));
        continue;
      }
      old.remove();
      state.picks.delete(old.id);
    }
    for (const row of rows) {
      const old = rowOf(row.id);
      if (old && (old.dataset.beyond === undefined || old.html === row.outerHTML)) continue;
      row.html = row.outerHTML;
      row.dataset.beyond = "";
      if (!old && isHeld(list) && !atOnce) {
        wait(row, list);
        continue;
      }
      const focused = old?.contains(document.activeElement);
      if (old) old.replaceWith(row);
      else bodyOf(list).append(row);
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
/** @param {ListName} list */
const review = (list) => {
  /** @type {Set<string>} */
  const changes = new Set();
  for (const row of incomingOf(list).values()) if (isShown(row, list)) changes.add(row.id);
  /** @type {Row[]} */
  const rows = [];
  for (const row of rowsOf(list)) {
    if (row.dataset.gone !== undefined ? !row.hidden : row.hidden === isShown(row, list)) changes.add(row.id);
    else if (!row.hidden) {
      rows.push(row);
      if (row.style.height) changes.add(row.id);
    }
  }
  const stay = inOrder(rows, orderOf(list));
  for (const row of rows) if (!stay.has(row)) changes.add(row.id);
  tellChanges(list, changes);
};

const reviewHeld = () => {
  for (const list of LISTS) if (isHeld(list)) review(list);
};

/**
 * A finished row keeps its place and height while its list is held; its buttons are disabled.
 * @param {Row} row
 * @param {string} what
 */
const grey = (row, what) => {
  row.dataset.gone = "";
  /** @type {NodeListOf<HTMLButtonElement | HTMLInputElement>} */
  const presses = row.querySelectorAll("button, input");
  for (const press of presses) press.disabled = true;
  const cell = row.querySelector(".chained, .stage, .why, .line");
  if (cell && what) cell.textContent = what;
  if (state.picks.has(row.id)) pick(row, false);
};

/**
 * A row keeps its height while its list is held, whatever it comes to say: a line more would move all that is below.
 * @param {Row} row
 * @param {Row} next
 */
const keepHeight = (row, next) => {
  /** @param {Row} one */
  const moreLines = (one) =>
    Number(one.dataset.driverGone !== undefined) + Number(one.querySelector(".marks, .because") !== null);
  if (next.dataset.gone === undefined && moreLines(row) === moreLines(next)) return;
  if (row.style.height && next.dataset.gone === undefined && row.linesBefore === moreLines(next)) return loosen(row);
  if (!row.style.height) row.linesBefore = moreLines(row);
  row.style.height = `${row.offsetHeight}px`;
  row.toggleAttribute("data-still", moreLines(next) > 0);
};

/** @param {Row} row */
const loosen = (row) => {
  row.style.height = "";
  row.removeAttribute("data-still");
};

/**
 * @param {Row} row
 * @param {ListName} list
 */
const wait = (row, list) => {
  const before = incomingOf(list).get(row.id);
  incomingOf(list).set(row.id, row);
  if (list === "drivers") sayWritten(row);
  if (list === "waiting" && before && Number(row.dataset.level) > Number(before.dataset.level)) escalated(row);
};

/**
 * A list that is held no longer, and the rows that waited for it.
 * @param {ListName} list
 * @param {Row[]} rows
 */
const apply = (list, rows) => {
  bodyOf(list).append(...rows);
  for (const row of [...rowsOf(list)]) leave(row);
  sortAll(list);
  for (const row of rowsOf(list)) {
    loosen(row); // not before it moves: a browser may forget to style it anew
    filter(row, list);
  }
  for (const row of rows) tickWithin(row);
  countSoon();
  if (rows.length) document.dispatchEvent(new CustomEvent("board:changed"));
};

/** @type {Record<string, ListName>} by the first letter of a row's id */
const PREFIXES = { d: "waiting", a: "active", o: "offers", v: "drivers" };

/** @param {HtmxTask[]} tasks */
const receive = (tasks) => {
  /** @type {Change[]} */
  const touched = [];
  for (const task of tasks) {
    const content = task.fragment?.firstElementChild;
    if (task.target?.id === "alerts" && content && holdAlerts(task, content)) continue;
    const row = asRow(content);
    const old = asRow(task.target);
    const list = old && listOf(old);
    const isDelete = task.swapSpec.style === "delete";
    if (old && list && isHeld(list)) {
      if (isDelete) {
        grey(old, old.id.startsWith("o") ? text("offer closed") : text("no longer shown"));
        task.target = null;
        continue;
      }
      if (row) keepHeight(old, row);
    }
    if (task.target) {
      if (old && list && !isDelete) touched.push([old, list, Number(old.dataset.level ?? 0)]);
    } else if (row) {
      const into = PREFIXES[row.id.charAt(0)];
      if (!into) continue;
      if (row.dataset.gone !== undefined) incomingOf(into).delete(row.id);
      else if (isHeld(into)) wait(row, into);
      else {
        bodyOf(into).append(row);
        touched.push([row, into, null]);
      }
    }
  }
  return touched;
};

// While a pointer is among the alerts their numbers change; alerts that come or go wait until it is not.
/** @type {Element | null} */
let laterAlerts = null;
/** @param {Element} list */
const idsOf = (list) => [...list.querySelectorAll("[data-zone]")].map((alert) => alert.id).join();
/**
 * @param {HtmxTask} task
 * @param {Element} alerts
 */
const holdAlerts = (task, alerts) => {
  laterAlerts = task.target && pointsAt("alerts") && idsOf(task.target) !== idsOf(alerts) ? alerts : null;
  if (laterAlerts) task.target = null;
  return laterAlerts !== null;
};
const applyAlerts = () => {
  if (!laterAlerts || pointsAt("alerts")) return;
  byId("alerts").replaceWith(laterAlerts);
  laterAlerts = null;
  filterAlerts();
  tickWithin(byId("alerts"));
};

/**
 * The numbers of the headline by zone; `oldest` is the instant since when the oldest order waits.
 * @returns {Record<string, Record<string, number | null>>}
 */
const numbersByZone = () => JSON.parse(byId("headline").dataset.zones ?? "{}");

const zoneNumbers = () => {
  if (!state.zone) return;
  const headline = byId("headline");
  const counts = numbersByZone()[state.zone];
  if (!counts) return;
  /** @type {NodeListOf<HTMLElement>} */
  const places = headline.querySelectorAll("[data-n]");
  for (const element of places) {
    const key = element.dataset.n ?? "";
    const item = element.closest("li");
    if (key === "gone" || key === "held") item?.toggleAttribute("data-none", !counts[key]);
    if (key === "alerts") item?.toggleAttribute("data-zero", !counts.alerts);
    if (key === "paused") item?.toggleAttribute("data-zero", !counts.paused);
    const value = counts[key] ?? null;
    if (key !== "oldest") element.textContent = String(value ?? "");
    else if (value === null) element.textContent = "–";
    else {
      const time = document.createElement("time");
      time.dataset.since = String(value);
      element.replaceChildren(time);
    }
  }
  tickWithin(headline);
};

const markShow = () => {
  const [list] = SHOWS[state.show] ?? [""];
  byId("board").dataset.focus = list ?? "";
  /** @type {NodeListOf<HTMLElement>} */
  const links = document.querySelectorAll("#headline [data-show]");
  for (const link of links) {
    if (link.dataset.show === state.show) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};

const settleHeadline = () => {
  const zones = Object.keys(numbersByZone());
  byId("board").toggleAttribute("data-one-zone", zones.length < 2);
  const select = byId("zone", HTMLSelectElement);
  const known = new Set([...select.options].map((option) => option.value));
  for (const zone of zones) if (!known.has(zone)) select.add(new Option(zone));
  if (state.zone && select.value !== state.zone) select.value = state.zone;
  zoneNumbers();
  markShow();
  tickWithin(byId("headline"));
};

/** @param {CustomEvent<{data: string}>} event */
const moved = (event) => {
  /** @type {[id: string, lat: number, lon: number, at: number][]} */
  const positions = JSON.parse(event.detail.data);
  for (const [id, lat, lon, at] of positions) {
    const row = rowOf(`v-${id}`);
    if (!row) continue;
    row.dataset.at = `${lat},${lon}`;
    const seen = within(row, ".seen");
    let time = seen.querySelector("time");
    if (!time) {
      time = document.createElement("time");
      seen.replaceChildren(time);
    }
    time.dataset.since = String(at);
  }
  document.dispatchEvent(new CustomEvent("board:moved"));
};

const listen = () => {
  const stream = byId("stream");
  const board = byId("board");
  /** @type {Change[]} */
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
      if (!(target instanceof HTMLTableSectionElement) || !fragment || !isList(target.dataset.list)) continue;
      if (isHeld(target.dataset.list)) keepStill(target, target.dataset.list, fragment);
      inOrderOf(target, fragment);
    }
  });
  board.addEventListener("htmx:after:swap", (event) => {
    if (event.target !== board) return;
    for (const list of LISTS) {
      if (!isHeld(list)) sortAll(list);
      else for (const row of rowsOf(list)) settle(row, list, Number(row.dataset.level ?? 0));
    }
    settleAll();
    reviewHeld();
  });
  readAgain.push(async (position = "") => {
    for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
      let status = 0;
      /** @param {CustomEvent<{ctx: HtmxContext}>} event */
      const noted = (event) => {
        status = event.detail.ctx.response?.status ?? 0;
      };
      board.addEventListener("htmx:after:request", noted);
      await htmx.ajax("GET", `/board/rows?at=${position}`, { source: board, swap: "none" });
      board.removeEventListener("htmx:after:request", noted);
      if (status === 200) return;
      await new Promise((done) => setTimeout(done, pause));
    }
  });
};

/**
 * Rows that come in the order in which they are shown are morphed in one pass; in any other order it takes seconds.
 * @param {HTMLTableSectionElement} body
 * @param {DocumentFragment} fragment
 */
const inOrderOf = (body, fragment) => {
  const places = new Map([...body.rows].map((row, index) => [row.id, index]));
  const rows = [...fragment.children];
  rows.sort((a, b) => (places.get(a.id) ?? places.size) - (places.get(b.id) ?? places.size));
  fragment.replaceChildren(...rows);
};

/**
 * Everything was read again while the list is held: what is new waits, and what is no longer there stays, greyed.
 * @param {HTMLTableSectionElement} body
 * @param {ListName} list
 * @param {DocumentFragment} fragment
 */
const keepStill = (body, list, fragment) => {
  const incoming = incomingOf(list);
  const fresh = new Set([...fragment.children].map((row) => row.id));
  for (const id of [...incoming.keys()]) if (!fresh.has(id)) incoming.delete(id);
  for (const row of /** @type {Row[]} */ ([...fragment.children])) {
    if (body.querySelector(`#${CSS.escape(row.id)}`)) continue;
    row.remove();
    wait(row, list);
  }
  for (const row of rowsOf(list)) {
    if (fresh.has(row.id)) continue;
    if (row.dataset.gone === undefined && row.dataset.beyond === undefined) grey(row, "finished");
    fragment.append(row.cloneNode(true));
  }
  for (const row of /** @type {Row[]} */ ([...fragment.children])) {
    /** @type {Row | null} */
    const shown = body.querySelector(`#${CSS.escape(row.id)}`);
    if (shown) keepHeight(shown, row);
  }
};

const markPicks = () => {
  for (const id of state.picks) {
    const row = rowOf(id);
    const box = row && boxOf(row);
    if (row && box) {
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
  tickWithin(byId("board"));
  document.dispatchEvent(new CustomEvent("board:changed"));
};

// What people do with the lists.

const chosenZone = () => byId("zone", HTMLSelectElement);
const chosenShow = () => within(byId("filters"), '[name="show"]', HTMLSelectElement);

/** @param {Partial<Wanted>} changes */
const choose = (changes) => {
  justChosen = true;
  takeChanges();
  Object.assign(state, changes);
  chosenZone().value = state.zone;
  chosenShow().value = state.show;
  byId("clear").hidden = !(state.q || state.zone || state.show);
  for (const list of LISTS) for (const row of rowsOf(list)) row.hidden = !isShown(row, list);
  filterAlerts();
  countSoon();
  markShow();
  writeAddress();
  lookBeyondSoon(adopt);
};

/** @param {string} zone */
const chooseZone = async (zone) => {
  choose({ zone });
  if (zone) return settleHeadline();
  // The numbers of all zones come from the server.
  for (const work of readAgain) await work("");
};

/** @param {MouseEvent} event */
const onClick = (event) => {
  const target = targetOf(event);
  if (!target) return;
  /** @type {HTMLElement | null} */
  const sorter = target.closest("[data-sort][data-of]");
  const { sort: key, of } = sorter?.dataset ?? {};
  if (key && isList(of)) {
    state.backwards[of] = state.sorts[of] === key && !state.backwards[of];
    state.sorts[of] = key;
    takeChanges([of]);
    chooseOrder();
    sortAll(of);
    return writeAddress();
  }
  /** @type {HTMLElement | null} */
  const number = target.closest("#headline [data-show]");
  if (number && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    const { show = "", sort } = number.dataset;
    choose({ show: state.show === show && !sort ? "" : show });
    if (sort) {
      state.sorts.waiting = "since";
      state.backwards.waiting = false;
      chooseOrder();
      sortAll("waiting");
    }
    const [list] = SHOWS[state.show] ?? [];
    if (list) document.getElementById(`panel-${list}`)?.scrollIntoView({ block: "nearest" });
    return;
  }
  /** @type {HTMLElement | null} */
  const bulk = target.closest("[data-bulk]");
  if (bulk) {
    const limit = Number(byId("bulk").dataset.limit);
    if (state.picks.size > limit) {
      return announce(
        text("{count} are selected. {limit} at most can be changed at once.", { count: state.picks.size, limit }),
      );
    }
    const ids = [...state.picks].flatMap((id) => rowOf(id)?.dataset.id ?? []);
    void openDialog(bulkPath(bulk.dataset.bulk ?? "", ids));
    return;
  }
  if (target.id === "bulk-none") return clearSelection();
  if (target.id === "clear") {
    byId("q", HTMLInputElement).value = "";
    choose({ q: "", show: "" });
    if (state.zone) chooseZone("");
  }
};

/** @param {Event} event */
const onChange = (event) => {
  const box = event.target;
  if (!(box instanceof HTMLInputElement)) return;
  const { all } = box.dataset;
  if (isList(all)) {
    const checked = box.checked;
    clearSelection();
    box.checked = checked;
    for (const row of checked ? rowsOf(all) : []) {
      const own = boxOf(row);
      if (!own || row.hidden || row.dataset.gone !== undefined) continue;
      own.checked = true;
      row.setAttribute("data-picked", "");
      state.picks.add(row.id);
    }
    return showBulk();
  }
  const row = box.closest("tr");
  if (row && box.matches(".pick input")) pick(row, box.checked);
};

export const startLists = () => {
  htmx.config.morphIgnore.push("data-picked", "data-still", "style");
  for (const list of LISTS) bodies.set(list, byId(`rows-${list}`, HTMLTableSectionElement));
  readAddress();
  const q = byId("q", HTMLInputElement);
  q.value = state.q;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typing;
  q.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ q: q.value.trim() }), 60);
  });
  const zone = chosenZone();
  zone.addEventListener("change", () => chooseZone(zone.value));
  const show = chosenShow();
  show.addEventListener("change", () => choose({ show: show.value }));
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    if (document.activeElement === q && q.value.trim()) location.assign(callboard.at(`/orders?q=${encodeURIComponent(q.value.trim())}`));
  });
  const board = byId("board");
  board.addEventListener("click", onClick);
  board.addEventListener("change", onChange);
  board.addEventListener("focusin", (event) => {
    const row = asRow(targetOf(event)?.closest("tbody[data-list] > tr"));
    if (row && row.id !== state.row) goTo(row);
  });
  startHold(apply, applyAlerts);
  chooseOrder();
  for (const list of LISTS) sortAll(list);
  choose({});
  settleAll();
  const chosen = state.row ? rowOf(state.row) : null;
  if (chosen) goTo(chosen, { preventScroll: true }, false);
  listen();
  // A row that left while the tab slept must not stay for ever.
  onTick(() => {
    if (document.hidden) return;
    /** @type {NodeListOf<Row>} */
    const rows = document.querySelectorAll("tr[data-gone]");
    for (const row of rows) {
      row.goneAt ??= now();
      if (now() - row.goneAt > GONE_MS + 2000) leave(row);
    }
  });
};
