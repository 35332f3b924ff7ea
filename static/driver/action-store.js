// Where this phone keeps what the driver has done: in IndexedDB, which keeps what a closing page has written and lets
// tabs change a row one after the other. What could not be written (storage is forbidden or full, or the browser closed the
// database) lasts as long as the page, which tries again to write it.

/** @import {Action} from "./actions.js" */
/** @typedef {(kept: Action | undefined) => Action | null | undefined} Change */

const DATABASE = "callboard.driver";
const TABLE = "actions";

export class KeptActions {
  constructor() {
    /** @type {Map<string, Action>} the rows as this page last saw them */
    this._memory = new Map();
    /** @type {Set<string>} the rows that differ from those in the database, by their ids */
    this._unsaved = new Set();
    /** @type {Promise<IDBDatabase> | null} */
    this._opening = null;
  }

  /** @returns {Promise<Action[]>} */
  async all() {
    for (const actionId of [...this._unsaved]) await this.change(actionId, (row) => row);
    /** @type {Action[] | null} */
    const rows = await this._with((database) => answered(database.transaction(TABLE).objectStore(TABLE).getAll()));
    if (rows) {
      const own = [...this._memory.values()].filter(({ actionId }) => this._unsaved.has(actionId));
      const saved = rows.filter(({ actionId }) => !this._unsaved.has(actionId));
      this._memory = new Map([...saved, ...own].map((row) => [row.actionId, row]));
    }
    return [...this._memory.values()];
  }

  /**
   * Replace a row by what `next` makes of it (null: none), in one transaction. Resolves to the new row, once it is kept.
   * `next` may be called again, after a transaction that failed.
   * @param {string} actionId
   * @param {Change} next
   * @returns {Promise<Action | null>}
   */
  async change(actionId, next) {
    /** @param {Action | undefined} saved */
    const made = (saved) => next(this._unsaved.has(actionId) ? this._memory.get(actionId) : saved) ?? null;
    const kept = await this._with((database) => replaced(database, actionId, made));
    if (kept) this._unsaved.delete(actionId);
    const row = kept ? kept.row : made(this._memory.get(actionId));
    if (!kept) this._unsaved.add(actionId);
    if (row) this._memory.set(actionId, row);
    else this._memory.delete(actionId);
    return row;
  }

  /**
   * The answer of `work(database)`, or null where there is no database. Browsers close one behind the page's back, such as
   * iOS in the background: a work that fails is done once more, on a database that is opened again.
   * @template T
   * @param {(database: IDBDatabase) => Promise<T>} work
   * @returns {Promise<T | null>}
   */
  async _with(work) {
    for (let tries = 0; tries < 2; tries++) {
      const opening = (this._opening ??= this._open());
      try {
        return await work(await opening);
      } catch {
        if (this._opening === opening) this._opening = null;
        void opening.then((database) => database.close(), () => {});
      }
    }
    return null;
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

/**
 * @param {IDBDatabase} database
 * @param {string} actionId
 * @param {Change} next
 * @returns {Promise<{row: Action | null}>}
 */
const replaced = (database, actionId, next) =>
  new Promise((resolve, reject) => {
    /** @type {Action | null} */
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

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
