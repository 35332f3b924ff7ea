// What somebody wants to see, and in what order: kept in the address of the page, so that it can be sent and comes back.

export const LISTS = ["waiting", "active", "offers", "drivers"];
export const OFF = new Set(["offline", "shift_ended"]);
const STATES = { available: 0, busy: 1, on_break: 2, paused: 3, offline: 4, shift_ended: 5, assigned: 0, picked_up: 1 };
const PICKS_IN_ADDRESS = 20;

export const SHOWS = {
  waiting: ["waiting", () => true],
  unoffered: ["waiting", (row) => row.offered === undefined],
  late: ["waiting", (row) => Number(row.level) > 0],
  unacknowledged: ["waiting", (row) => row.acknowledged === undefined],
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

export const SORTS = {
  level: (a, b) => Number(b.dataset.level) - Number(a.dataset.level) || older(a, b),
  since: (a, b) => older(a, b),
  store: (a, b) => a.dataset.store.localeCompare(b.dataset.store) || older(a, b),
  km: (a, b) => Number(b.dataset.km) - Number(a.dataset.km) || older(a, b),
  tries: (a, b) => Number(b.dataset.tries) - Number(a.dataset.tries) || older(a, b),
  state: (a, b) => STATES[a.dataset.state] - STATES[b.dataset.state] || older(a, b),
  name: (a, b) => nameOf(a).localeCompare(nameOf(b)) || older(a, b),
  load: (a, b) => Number(b.dataset.load) - Number(a.dataset.load) || older(a, b),
  deadline: (a, b) => Number(a.dataset.deadline) - Number(b.dataset.deadline) || older(a, b),
};
export const FIRST_SORT = { waiting: "level", active: "since", offers: "deadline", drivers: "state" };

const older = (a, b) => Number(a.dataset.since) - Number(b.dataset.since) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
const nameOf = (row) => (row.driverName ??= row.querySelector("a").textContent);

export const state = { q: "", zone: "", show: "", row: "", sorts: { ...FIRST_SORT }, backwards: {}, picks: new Set() };
let writing = null;

export const readAddress = () => {
  const asked = new URLSearchParams(location.search);
  state.q = asked.get("q") ?? "";
  state.zone = asked.get("zone") ?? "";
  state.show = SHOWS[asked.get("show")] ? asked.get("show") : "";
  state.row = asked.get("row") ?? "";
  state.picks = new Set((asked.get("pick") ?? "").split(".").filter(Boolean));
  for (const list of LISTS) {
    const key = asked.get(`sort-${list}`) ?? (list === "waiting" ? asked.get("sort") : null) ?? FIRST_SORT[list];
    const plain = key.replace(/^-/, "");
    state.sorts[list] = SORTS[plain === "age" ? "since" : plain] ? (plain === "age" ? "since" : plain) : FIRST_SORT[list];
    state.backwards[list] = key.startsWith("-");
  }
};

export const writeAddress = () => {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const address = new URL(location.href);
    const put = (name, value) => {
      address.searchParams.delete(name); // and to the end: one view has one address, however one came to it
      if (value) address.searchParams.set(name, value);
    };
    put("q", state.q);
    put("zone", state.zone);
    put("show", state.show);
    put("row", state.row);
    put("pick", state.picks.size && state.picks.size <= PICKS_IN_ADDRESS ? [...state.picks].join(".") : "");
    address.searchParams.delete("sort");
    for (const list of LISTS) {
      const changed = state.sorts[list] !== FIRST_SORT[list] || state.backwards[list];
      put(`sort-${list}`, changed ? (state.backwards[list] ? "-" : "") + state.sorts[list] : "");
    }
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }, 150);
};
