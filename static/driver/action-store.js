// Where this phone keeps what the driver has done: in IndexedDB, which keeps what a closing page has written and lets
// tabs change a row one after the other. What could not be written (storage is forbidden or full, or the browser closed the
// database, or does not answer) is kept beside it until it can be written, in the little room that texts have.

/** @import {Action} from "./actions.js" */
/** @typedef {(kept: Action | undefined) => Action | null | undefined} Change */
/** @typedef {Pick<Storage, "getItem" | "removeItem" | "setItem">} Beside */

const DATABASE = "callboard.driver";
const TABLE = "actions";
const BESIDE = "callboard.driver.unsaved"; // rows that differ from those in the database, by their ids; null: deleted
const PICTURE = "callboard.driver.unsaved.picture."; // the picture of such a row, by its id: one that finds no room harms no row
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
  /**
   * `beside` is where rows are kept that the database does not take. `unsaved` is called for a row that is kept nowhere: it
   * lasts as long as the page. `again` is called once a database that did not answer may be asked again.
   * @param {{beside?: Beside | null, unsaved?: (row: Action) => void, again?: () => void}} [options]
   */
  constructor({ beside = ofPage(), unsaved = () => {}, again = () => void this.all() } = {}) {
    this._beside = beside;
    this._lasts = unsaved;
    this._askAgain = again;
    /** @type {Map<string, Action>} the rows as this page last saw them */
    this._memory = new Map();
    /** @type {Set<string>} the rows that differ from those in the database, by their ids */
    this._unsaved = new Set();
    /** @type {Set<string>} those of them that are kept nowhere else than here */
    this._onlyHere = new Set();
    this._isLeft = false; // another page may change the rows
    this._comeBack();
    /** @type {Promise<IDBDatabase> | null} */
    this._opening = null;
    this._isSilent = false; // the database does not answer
  }

  /** @returns {Promise<Action[]>} */
  async all() {
    if (this._isLeft) this._comeBack();
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

  // Another page may change the rows from now on: what this one knows of them counts no more, but what only it has.
  leave() {
    this._isLeft = true;
  }

  _comeBack() {
    this._isLeft = false;
    this._unsaved = new Set(this._onlyHere);
    this._memory = new Map([...this._memory].filter(([actionId]) => this._onlyHere.has(actionId)));
    for (const [actionId, row] of this._readBeside()) {
      this._unsaved.add(actionId);
      if (row) this._memory.set(actionId, row);
      else this._memory.delete(actionId);
    }
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
    if (!kept || before) await this._writeBeside(actionId, kept ? undefined : row);
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
      if (!this._isLeft) this._askAgain();
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
    const rows = this._rowsBeside();
    for (const [actionId, row] of rows) {
      if (row?.type !== "proof") continue;
      const picture = pictureIn(this._beside?.getItem(PICTURE + actionId) ?? "");
      if (picture) rows.set(actionId, { ...row, picture });
      else rows.delete(actionId);
    }
    return rows;
  }

  /** @returns {Map<string, Action | null>} without their pictures */
  _rowsBeside() {
    try {
      return new Map(JSON.parse(this._beside?.getItem(BESIDE) ?? "[]"));
    } catch {
      return new Map();
    }
  }

  /**
   * Other tabs keep theirs there too.
   * @param {string} actionId
   * @param {Action | null | undefined} row null: deleted; undefined: the database has it
   */
  async _writeBeside(actionId, row) {
    const picture = row?.picture ? await textOf(row.picture) : null;
    this._onlyHere.delete(actionId);
    const kept = this._rowsBeside();
    if (row === undefined) kept.delete(actionId);
    else kept.set(actionId, row && { ...row, picture: undefined });
    try {
      if (picture === null) this._beside?.removeItem(PICTURE + actionId);
      else this._beside?.setItem(PICTURE + actionId, picture);
      if (kept.size === 0) this._beside?.removeItem(BESIDE);
      else this._beside?.setItem(BESIDE, JSON.stringify([...kept]));
      if (this._beside) return;
    } catch {
      // full
    }
    if (row !== undefined) this._onlyHere.add(actionId);
    if (row && !row.tried) this._lasts(row);
  }
}

/**
 * A picture as a text. "" if the browser has lost it.
 * @param {Blob} picture
 */
const textOf = async (picture) => {
  try {
    let binary = "";
    for (const byte of new Uint8Array(await picture.arrayBuffer())) binary += String.fromCharCode(byte);
    return `${picture.type},${btoa(binary)}`;
  } catch {
    return "";
  }
};

/**
 * The picture in such a text, or null.
 * @param {string} text
 */
const pictureIn = (text) => {
  const [type = "", data] = text.split(",");
  if (!data) return null;
  return new Blob([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))], { type });
};

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
