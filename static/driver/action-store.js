// Where this phone keeps what the driver has done: in IndexedDB, which keeps what a closing page has written and lets
// tabs change a row one after the other. What could not be written (storage is forbidden or full, or the browser closed the
// database, or does not answer) is kept beside it, pictures as long as the page lasts, until it can be written.

/** @import {Action} from "./actions.js" */
/** @typedef {(kept: Action | undefined) => Action | null | undefined} Change */
/** @typedef {Pick<Storage, "getItem" | "removeItem" | "setItem">} Beside */

const DATABASE = "callboard.driver";
const TABLE = "actions";
const BESIDE = "callboard.driver.unsaved"; // rows that differ from those in the database, by their ids; null: deleted
const ANSWER_WITHIN_MS = 3_000; // then the driver does not wait for the database any more
const AGAIN_MS = 10_000;

/** @returns {Beside | null} */
const ofPage = () => {
  try {
    return globalThis.document ? localStorage : null;
  } catch {
    return null; // it is forbidden
  }
};

export class KeptActions {
  /** @param {Beside | null} [beside] where rows are kept that the database does not take */
  constructor(beside = ofPage()) {
    this._beside = beside;
    const kept = this._readBeside();
    /** @type {Map<string, Action>} the rows as this page last saw them */
    this._memory = new Map();
    for (const [actionId, row] of kept) if (row) this._memory.set(actionId, row);
    /** @type {Set<string>} the rows that differ from those in the database, by their ids */
    this._unsaved = new Set(kept.keys());
    /** @type {Promise<IDBDatabase> | null} */
    this._opening = null;
    this._isSilent = false; // the database does not answer
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
    const kept = await this._with((database, late) => replaced(database, actionId, made, late));
    const row = kept ? kept.row : made(this._memory.get(actionId));
    if (row) this._memory.set(actionId, row);
    else this._memory.delete(actionId);
    const before = this._unsaved.has(actionId);
    if (kept) this._unsaved.delete(actionId);
    else this._unsaved.add(actionId);
    if (!kept || before) this._writeBeside(actionId, kept ? undefined : row);
    return row;
  }

  /**
   * The answer of `work(database)`, or null where there is no database. Browsers close one behind the page's back, such as
   * iOS in the background: a work that fails is done once more, on a database that is opened again. One that does not
   * answer is given up (`late`), and left alone for a while.
   * @template T
   * @param {(database: IDBDatabase, late: AbortSignal) => Promise<T>} work
   * @returns {Promise<T | null>}
   */
  async _with(work) {
    for (let tries = 0; tries < 2 && !this._isSilent; tries++) {
      const opening = (this._opening ??= this._open());
      const late = new AbortController();
      const silent = setTimeout(() => {
        this._restLater();
        late.abort();
      }, ANSWER_WITHIN_MS);
      try {
        return await unless(late.signal, opening.then((database) => work(database, late.signal)));
      } catch {
        if (this._opening === opening) this._opening = null;
        void opening.then((database) => database.close(), () => {});
      } finally {
        clearTimeout(silent);
      }
    }
    return null;
  }

  _restLater() {
    this._isSilent = true;
    const again = setTimeout(() => {
      this._isSilent = false;
      void this.all();
    }, AGAIN_MS);
    /** @type {{unref?: () => void}} */ (/** @type {unknown} */ (again)).unref?.(); // Node.js ends before it
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

  /** @returns {Map<string, Action | null>} */
  _readBeside() {
    try {
      return new Map(JSON.parse(this._beside?.getItem(BESIDE) ?? "[]"));
    } catch {
      return new Map();
    }
  }

  /**
   * Other tabs keep theirs there too. A picture is too large.
   * @param {string} actionId
   * @param {Action | null | undefined} row null: deleted; undefined: the database has it
   */
  _writeBeside(actionId, row) {
    const kept = this._readBeside();
    if (row === undefined || row?.picture) kept.delete(actionId);
    else kept.set(actionId, row);
    try {
      if (kept.size === 0) this._beside?.removeItem(BESIDE);
      else this._beside?.setItem(BESIDE, JSON.stringify([...kept]));
    } catch {
      // full: it lasts as long as the page
    }
  }
}

/**
 * What `work` gives, or an error once the signal says that it is too late.
 * @template T
 * @param {AbortSignal} late
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
const unless = (late, work) =>
  new Promise((resolve, reject) => {
    late.addEventListener("abort", () => reject(new Error("no answer")));
    work.then(resolve, reject);
  });

/**
 * @param {IDBDatabase} database
 * @param {string} actionId
 * @param {Change} next
 * @param {AbortSignal} late nothing is written any more
 * @returns {Promise<{row: Action | null}>}
 */
const replaced = (database, actionId, next, late) =>
  new Promise((resolve, reject) => {
    /** @type {Action | null} */
    let row = null;
    if (late.aborted) throw new Error("no answer");
    const transaction = database.transaction(TABLE, "readwrite", { durability: "strict" });
    late.addEventListener("abort", () => {
      try {
        transaction.abort();
      } catch {
        // it has just ended
      }
    });
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
