// The queue of a phone on a database that fails, as browsers' do: closed in the background, or full.

import assert from "node:assert/strict";
import { test } from "node:test";

import { KeptActions } from "../../static/driver/action-store.js";

/** @import {Action} from "../../static/driver/actions.js" */

/** As much of IndexedDB as the queue uses: each transaction has one request, and is complete or aborted after it. */
class Database {
  /** @type {Map<string, Action>} */
  rows = new Map();
  opened = 0;
  full = false;
  /** what closed without a word: the next transactions of each connection throw */
  lost = false;

  open() {
    this.opened += 1;
    this.lost = false;
    let closed = false;
    return answer({
      close: () => {
        closed = true;
      },
      transaction: () => {
        if (closed || this.lost) throw new Error("connection lost");
        return this.transaction();
      },
    });
  }

  transaction() {
    const written = new Map(this.rows);
    /** @type {{objectStore: () => object, error: Error, oncomplete?: () => void, onabort?: () => void}} */
    const transaction = {
      error: new Error("no room"),
      objectStore: () => ({
        getAll: () => answer([...this.rows.values()]),
        get: (/** @type {string} */ id) => {
          setTimeout(() => {
            if (this.full) return transaction.onabort?.();
            this.rows = written;
            return transaction.oncomplete?.();
          });
          return answer(this.rows.get(id));
        },
        put: (/** @type {Action} */ row) => written.set(row.actionId, row),
        delete: (/** @type {string} */ id) => written.delete(id),
      }),
    };
    return transaction;
  }
}

/** @param {unknown} result */
const answer = (result) => {
  /** @type {{result: unknown, onsuccess?: () => void}} */
  const request = { result };
  queueMicrotask(() => request.onsuccess?.());
  return request;
};

/** @param {import("node:test").TestContext} t */
const phone = (t) => {
  const database = new Database();
  Object.defineProperty(globalThis, "indexedDB", { value: database, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "indexedDB"));
  return { database, store: new KeptActions() };
};

/**
 * @param {string} actionId
 * @returns {Action}
 */
const action = (actionId) => ({
  actionId, driverId: "v1", type: "picked_up", assignmentId: "a1", storeName: "Mario's", at: 1, due: 1, tried: false,
});
/** @param {Action[]} rows */
const ids = (rows) => rows.map(({ actionId }) => actionId);

test("a database that was closed in the background is opened again, and no report is lost", async (t) => {
  const { database, store } = phone(t);
  await store.change("1", () => action("1"));
  database.lost = true;
  await store.change("2", () => action("2"));
  assert.deepEqual([[...database.rows.keys()], database.opened], [["1", "2"], 2]);
  database.lost = true;
  assert.deepEqual(ids(await store.all()), ["1", "2"]);
  assert.deepEqual(ids(await new KeptActions().all()), ["1", "2"], "another page");
});

test("a report that found no room is kept by the page, can be sent, and is written once there is room", async (t) => {
  const { database, store } = phone(t);
  await store.change("1", () => action("1"));
  database.full = true;
  await store.change("2", () => action("2"));
  assert.deepEqual([...database.rows.keys()], ["1"]);
  assert.deepEqual(ids(await store.all()), ["1", "2"], "read from a database without it");
  database.full = false;
  const claimed = await store.change("2", (kept) => kept && { ...kept, tried: true });
  assert.equal(claimed?.tried, true);
  assert.equal(database.rows.get("2")?.tried, true);

  database.full = true;
  await store.change("3", () => action("3"));
  database.full = false;
  assert.deepEqual(ids(await store.all()), ["1", "2", "3"]);
  assert.deepEqual([...database.rows.keys()], ["1", "2", "3"]);
});

test("what was answered does not come back because its row could not be deleted", async (t) => {
  const { database, store } = phone(t);
  await store.change("1", () => action("1"));
  database.full = true;
  await store.change("1", () => null);
  assert.deepEqual([[...database.rows.keys()], await store.all()], [["1"], []]);
  database.full = false;
  assert.deepEqual(await store.all(), []);
  assert.equal(database.rows.size, 0);
});
