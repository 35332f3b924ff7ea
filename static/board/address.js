// What somebody wants to see, and in what order: kept in the address of the page, so that it can be sent and comes back.

/** @typedef {"waiting" | "active" | "offers" | "drivers"} ListName */

/**
 * A row of a table, with what the scripts remember about it.
 * @typedef {HTMLTableRowElement & {
 *   words?: string, wordsAs?: string, driverName?: string, html?: string, linesBefore?: number, saidAt?: string,
 *   goneAt?: number, goneTimer?: ReturnType<typeof setTimeout>,
 * }} Row
 */
/** @typedef {(a: Row, b: Row) => number} Compare */

/**
 * @typedef {object} Wanted
 * @property {string} q words to look for
 * @property {string} zone
 * @property {string} show a key of SHOWS, or empty
 * @property {string} row the id of the row that the keyboard is at
 * @property {Record<ListName, string>} sorts keys of SORTS
 * @property {Record<ListName, boolean>} backwards
 * @property {Set<string>} picks the ids of the rows that are selected
 */

/** @type {readonly ListName[]} */
export const LISTS = ["waiting", "active", "offers", "drivers"];

/**
 * @param {string | undefined} name
 * @returns {name is ListName}
 */
export const isList = (name) => LISTS.some((list) => list === name);

/** @type {ReadonlySet<string | undefined>} */
export const OFF = new Set(["offline", "shift_ended"]);
/** @type {Record<string, number>} */
const STATES = { available: 0, busy: 1, on_break: 2, paused: 3, offline: 4, shift_ended: 5, assigned: 0, picked_up: 1, returning: 2 };
const PICKS_IN_ADDRESS = 20;

/** @type {Record<string, [list: ListName | "alerts", test: (row: DOMStringMap) => boolean]>} */
export const SHOWS = {
  waiting: ["waiting", (row) => row.held === undefined],
  unoffered: ["waiting", (row) => row.offered === undefined && row.held === undefined],
  late: ["waiting", (row) => Number(row.level) > 0],
  unacknowledged: ["waiting", (row) => row.acknowledged === undefined && row.held === undefined],
  held: ["waiting", (row) => row.held !== undefined],
  offers: ["offers", () => true],
  active: ["active", () => true],
  gone: ["active", (row) => row.driverGone !== undefined],
  alerts: ["alerts", () => true],
  available: ["drivers", (row) => row.state === "available"],
  busy: ["drivers", (row) => row.state === "busy"],
  on_break: ["drivers", (row) => row.state === "on_break"],
  paused: ["drivers", (row) => row.state === "paused"],
  off: ["drivers", (row) => OFF.has(row.state)],
};

/**
 * @param {Row} row
 * @param {string} name of a data attribute
 */
const number = (row, name) => Number(row.dataset[name]);
/** @param {Row} row */
const rank = (row) => STATES[row.dataset.state ?? ""] ?? Infinity;
/** @param {Row} row */
const nameOf = (row) => (row.driverName ??= row.querySelector("a")?.textContent ?? "");
/** @type {Compare} */
const older = (a, b) => number(a, "since") - number(b, "since") || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** @type {Record<string, Compare>} */
export const SORTS = {
  level: (a, b) => number(b, "level") - number(a, "level") || older(a, b),
  since: older,
  store: (a, b) => (a.dataset.store ?? "").localeCompare(b.dataset.store ?? "") || older(a, b),
  km: (a, b) => number(b, "km") - number(a, "km") || older(a, b),
  tries: (a, b) => number(b, "tries") - number(a, "tries") || older(a, b),
  state: (a, b) => rank(a) - rank(b) || older(a, b),
  name: (a, b) => nameOf(a).localeCompare(nameOf(b)) || older(a, b),
  load: (a, b) => number(b, "load") - number(a, "load") || older(a, b),
  deadline: (a, b) => number(a, "deadline") - number(b, "deadline") || older(a, b),
};

/** @type {Readonly<Record<ListName, string>>} */
export const FIRST_SORT = { waiting: "level", active: "since", offers: "deadline", drivers: "state" };

/**
 * What an address asks for. What it does not say, or says wrong, is as at first.
 * @param {string} search the query of the address
 * @returns {Wanted}
 */
export const wantedBy = (search) => {
  const asked = new URLSearchParams(search);
  const show = asked.get("show") ?? "";
  const sorts = { ...FIRST_SORT };
  const backwards = { waiting: false, active: false, offers: false, drivers: false };
  for (const list of LISTS) {
    const key = asked.get(`sort-${list}`) ?? (list === "waiting" ? asked.get("sort") : null) ?? FIRST_SORT[list];
    const plain = key.replace(/^-/, "");
    const sort = plain === "age" ? "since" : plain;
    if (Object.hasOwn(SORTS, sort)) sorts[list] = sort;
    backwards[list] = key.startsWith("-");
  }
  return {
    q: asked.get("q") ?? "",
    zone: asked.get("zone") ?? "",
    show: Object.hasOwn(SHOWS, show) ? show : "",
    row: asked.get("row") ?? "",
    sorts,
    backwards,
    picks: new Set((asked.get("pick") ?? "").split(".").filter(Boolean)),
  };
};

/**
 * The address of what is wanted. One view has one address, whatever led to it.
 * @param {Wanted} wanted
 * @param {string} href the address before
 * @returns {string}
 */
export const addressOf = (wanted, href) => {
  const address = new URL(href);
  /**
   * @param {string} name
   * @param {string} value
   */
  const put = (name, value) => {
    address.searchParams.delete(name); // and to the end
    if (value) address.searchParams.set(name, value);
  };
  put("q", wanted.q);
  put("zone", wanted.zone);
  put("show", wanted.show);
  put("row", wanted.row);
  const { picks } = wanted;
  put("pick", picks.size && picks.size <= PICKS_IN_ADDRESS ? [...picks].join(".") : "");
  address.searchParams.delete("sort");
  for (const list of LISTS) {
    const changed = wanted.sorts[list] !== FIRST_SORT[list] || wanted.backwards[list];
    put(`sort-${list}`, changed ? (wanted.backwards[list] ? "-" : "") + wanted.sorts[list] : "");
  }
  return address.href;
};

export const state = wantedBy("");
/** @type {ReturnType<typeof setTimeout> | undefined} */
let writing;

export const readAddress = () => Object.assign(state, wantedBy(location.search));

export const writeAddress = () => {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const href = addressOf(state, location.href);
    if (href !== location.href) history.replaceState(history.state, "", href);
  }, 150);
};
