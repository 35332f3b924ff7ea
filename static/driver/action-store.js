// Where this phone keeps what the driver has done: in IndexedDB, which keeps what a closing page has written and lets
// tabs change a row one after the other. Where storage is forbidden or full, it lasts as long as the page.

/** @import {Action} from "./actions.js" */
/** @typedef {(kept: Action | undefined) => Action | null | undefined} Change */

const DATABASE = "callboard.driver";
const TABLE = "actions";

export class KeptActions {
  constructor() {
    /** @type {Map<string, Action>} the rows as this page last saw them */
    this._memory = new Map();
    /** @type {Promise<IDBDatabase> | null} */
    this._opening = null;
  }

  /** @returns {Promise<Action[]>} */
  async all() {
    /** @type {Action[] | null} */
    const rows = await this._with((database) => answered(database.transaction(TABLE).objectStore(TABLE).getAll()));
    if (rows) this._memory = new Map(rows.map((row) => [row.actionId, row]));
    return [...this._memory.values()];
  }

  /**
   * Replace a row by what `next` makes of it (null: none), in one transaction. Resolves to the new row, once it is kept.
   * @param {string} actionId
   * @param {Change} next
   * @returns {Promise<Action | null>}
   */
  async change(actionId, next) {
    const kept = await this._with((database) => replaced(database, actionId, next));
    const row = kept ? kept.row : (next(this._memory.get(actionId)) ?? null);
    if (row) this._memory.set(actionId, row);
    else this._memory.delete(actionId);
    return row;
  }

  /**
   * The answer of `work(database)`, or null where there is no database.
   * @template T
   * @param {(database: IDBDatabase) => Promise<T>} work
   * @returns {Promise<T | null>}
   */
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
