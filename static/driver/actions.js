// What the driver has done and the server has not answered yet. It is kept on this phone, each with its driver and its
// time, until the server has taken or refused it: over reloads, without a network, whoever signs in meanwhile.
//
// An action: {actionId, driverId, type, assignmentId, storeName, at, due, tried}; `at` (when it was done) and `due`
// (when it may be sent) in Unix milliseconds, `tried` once it may have reached the server.

export const UNDO_MS = 8_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const UNANSWERED = new Set(["offline", "no_answer"]); // sent again with the next connection
const LATER = new Set(["try_again", "too_many_requests"]);

export class Actions {
  // `changed()` is called when there is something else to see, `refused(action, error)` for what the server did not take.
  constructor({ changed, refused }) {
    this._options = { changed, refused };
    this._store = new Store();
    this._entries = []; // {action, at, left}: what was left of the time to undo it at the moment `at`
    this._turn = Promise.resolve();
    this._sending = null;
    this._pauseMs = FIRST_PAUSE_MS;
    this._notBefore = 0;
  }

  // What is kept, another tab's too.
  load(now) {
    return this._inTurn(async () => {
      const known = new Map(this._entries.map((entry) => [entry.action.actionId, entry]));
      this._entries = (await this._store.all())
        .sort((a, b) => a.at - b.at)
        .map((action) => ({ ...(known.get(action.actionId) ?? entered(action, now)), action }));
    });
  }

  // Everybody's, oldest first.
  get all() {
    return this._entries.map(({ action }) => action);
  }

  // Those of this driver, oldest first.
  of(driverId) {
    return this.all.filter((action) => action.driverId === driverId);
  }

  // The state of this driver's action on an assignment: null, or {left, tried}; `left` in ms, 0 when it is to be sent.
  standing(driverId, assignmentId, now) {
    const entry = this._entries.find(({ action }) => action.driverId === driverId && action.assignmentId === assignmentId);
    return entry ? { left: left(entry, now), tried: entry.action.tried } : null;
  }

  add({ driverId, type, assignmentId, storeName }, now) {
    return this._inTurn(async () => {
      if (this.standing(driverId, assignmentId, now)) return;
      const action = { actionId: newId(), driverId, type, assignmentId, storeName, at: now.wall, due: now.wall + UNDO_MS, tried: false };
      await this._store.change(action.actionId, () => action);
      this._entries.push(entered(action, now));
    });
  }

  // Whether it could be taken back: not once it may have reached the server.
  async undo(driverId, assignmentId) {
    const action = this.of(driverId).find((one) => one.assignmentId === assignmentId);
    if (!action) return false;
    const rest = await this._store.change(action.actionId, (kept) => (kept?.tried ? kept : null));
    if (rest === null) this._forget(action);
    else this._mark(rest);
    return rest === null;
  }

  // The server has said that the assignment is completed: nothing is left to send.
  completed(assignmentId) {
    for (const { action } of [...this._entries]) {
      if (action.assignmentId === assignmentId) this._drop(action);
    }
  }

  // Send this driver's oldest action that is due, one at a time. `ask(message)` is the connection of this very driver.
  async settle(driverId, ask, now) {
    if (this._sending || now.mono < this._notBefore) return;
    const entry = this._entries.find((one) => one.action.driverId === driverId && left(one, now) === 0);
    if (!entry) return;
    this._sending = entry;
    try {
      await this._send(entry.action, ask, now);
    } finally {
      this._sending = null;
      this._options.changed();
    }
  }

  // The claim is made in one transaction: what another tab took back or had answered is not sent.
  async _send({ actionId }, ask, now) {
    const action = await this._store.change(actionId, (kept) => kept && { ...kept, tried: true });
    if (!action) {
      this._forget({ actionId });
      return;
    }
    this._mark(action);
    this._options.changed();
    try {
      await ask({ type: action.type, assignmentId: action.assignmentId });
    } catch (error) {
      if (UNANSWERED.has(error.code)) return;
      if (LATER.has(error.code)) {
        this._notBefore = now.mono + this._pauseMs;
        this._pauseMs = Math.min(this._pauseMs * 2, LONGEST_PAUSE_MS);
        return;
      }
      this._options.refused(action, error);
    }
    this._pauseMs = FIRST_PAUSE_MS;
    await this._drop(action);
  }

  _drop(action) {
    this._forget(action);
    return this._store.change(action.actionId, () => null);
  }

  _forget({ actionId }) {
    this._entries = this._entries.filter((entry) => entry.action.actionId !== actionId);
    this._options.changed();
  }

  _mark(action) {
    for (const entry of this._entries) if (entry.action.actionId === action.actionId) entry.action = action;
  }

  _inTurn(work) {
    this._turn = this._turn.then(work).then(this._options.changed);
    return this._turn;
  }
}

// People set the calendar: whatever it says, nobody waits longer than the whole time.
const entered = (action, now) => ({ action, at: now, left: Math.min(Math.max(action.due - now.wall, 0), UNDO_MS) });
const left = (entry, now) => Math.max(0, entry.left - Math.max(now.mono - entry.at.mono, now.wall - entry.at.wall, 0));

// Only https and this machine itself have randomUUID.
const newId = () => {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
};

const DATABASE = "callboard.driver";
const TABLE = "actions";

// In IndexedDB, which keeps what a closing page has written and lets tabs change a row one after the other. Where
// storage is forbidden or full, what this page knows lasts as long as the page.
class Store {
  constructor() {
    this._memory = new Map(); // the rows as this page last saw them
  }

  async all() {
    const rows = await this._with((database) => answered(database.transaction(TABLE).objectStore(TABLE).getAll()));
    if (rows) this._memory = new Map(rows.map((row) => [row.actionId, row]));
    return [...this._memory.values()];
  }

  // Replace a row by what `next` makes of it (null: none), in one transaction. Resolves to the new row, once it is kept.
  async change(actionId, next) {
    const kept = await this._with((database) => replaced(database, actionId, next));
    const row = kept ? kept.row : (next(this._memory.get(actionId)) ?? null);
    if (row) this._memory.set(actionId, row);
    else this._memory.delete(actionId);
    return row;
  }

  // The answer of `work(database)`, or null where there is no database.
  async _with(work) {
    try {
      this._opening ??= this._open();
      return await work(await this._opening);
    } catch {
      this._opening = null;
      return null;
    }
  }

  async _open() {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "actionId" });
    const database = await answered(request);
    database.onclose = database.onversionchange = () => {
      database.close();
      this._opening = null;
    };
    return database;
  }
}

const replaced = (database, actionId, next) =>
  new Promise((resolve, reject) => {
    let row = null;
    const transaction = database.transaction(TABLE, "readwrite", { durability: "strict" });
    const table = transaction.objectStore(TABLE);
    const found = table.get(actionId);
    found.onsuccess = () => {
      row = next(found.result) ?? null;
      if (row) table.put(row);
      else table.delete(actionId);
    };
    transaction.oncomplete = () => resolve({ row });
    transaction.onabort = () => reject(transaction.error);
  });

const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
