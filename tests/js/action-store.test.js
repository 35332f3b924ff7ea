// The queue of a phone on a database that fails, as browsers' do: closed in the background, or full.

import assert from "node:assert/strict";
import { test } from "node:test";

import { KeptActions } from "../../static/driver/action-store.js";
import { Actions } from "../../static/driver/actions.js";
import { Time } from "./time.js";

/** @import {Action} from "../../static/driver/actions.js" */

/** As much of IndexedDB as the queue uses: each transaction has one request, and is complete or aborted after it. */
class Database {
  /** @type {Map<string, Action>} */
  rows = new Map();
  opened = 0;
  full = false;
  /** what closed without a word: the next transactions of each connection throw */
  lost = false;
  /** no transaction that begins now ends before it answers again */
  silent = false;
  /** @type {(() => void)[]} what goes on once it answers */
  held = [];

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
    let aborted = false;
    /** @type {{objectStore: () => object, abort: () => void, error: Error, oncomplete?: () => void, onabort?: () => void}} */
    const transaction = {
      error: new Error("no room"),
      abort: () => {
        aborted = true;
      },
      objectStore: () => ({
        getAll: () => answer([...this.rows.values()]),
        get: (/** @type {string} */ id) => {
          const end = () => {
            if (this.full || aborted) return transaction.onabort?.();
            this.rows = written;
            return transaction.oncomplete?.();
          };
          if (this.silent) this.held.push(end);
          else setTimeout(end);
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

/** What a page keeps beside its database. */
class Beside {
  /** @type {Map<string, string>} */
  texts = new Map();
  /** @param {string} key */
  getItem = (key) => this.texts.get(key) ?? null;
  /** @param {string} key */
  removeItem = (key) => void this.texts.delete(key);
  /**
   * @param {string} key
   * @param {string} text
   */
  setItem = (key, text) => void this.texts.set(key, text);
}

/** @param {import("node:test").TestContext} t */
const phone = (t) => {
  const database = new Database();
  Object.defineProperty(globalThis, "indexedDB", { value: database, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "indexedDB"));
  const beside = new Beside();
  return { database, beside, store: new KeptActions({ beside }) };
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

test("a database that does not answer holds up nothing, and what was done is kept and written later", async (t) => {
  const time = new Time(t);
  const { database, beside, store } = phone(t);
  const first = store.change("1", () => action("1"));
  await time.pass(1);
  await first;
  database.silent = true;
  const second = store.change("2", () => action("2"));
  await time.pass(2_999);
  assert.deepEqual(ids([...store._memory.values()]), ["1"], "the driver waits for a moment");
  await time.pass(1);
  assert.equal((await second)?.actionId, "2");
  assert.equal((await store.change("3", () => action("3")))?.actionId, "3", "nobody waits again");
  assert.equal(await store.change("1", () => null), null);
  assert.deepEqual([...database.rows.keys()], ["1"]);
  const reopened = new KeptActions({ beside });
  reopened._isSilent = true;
  assert.deepEqual(ids(await reopened.all()), ["2", "3"], "the phone ended the page");

  database.silent = false;
  for (const go of database.held) go();
  assert.deepEqual([...database.rows.keys()], ["1"], "what was given up is not written");
  await time.pass(10_000);
  await time.pass(10);
  assert.deepEqual([...database.rows.keys()], ["2", "3"]);
  assert.equal(beside.texts.size, 0);
  const again = new KeptActions({ beside }).all();
  await time.pass(10);
  assert.deepEqual(ids(await again), ["2", "3"], "what was taken back does not return");
});

test("what another tab keeps beside the database stays, pictures too", async (t) => {
  const { database, beside, store } = phone(t);
  const other = new KeptActions({ beside });
  database.full = true;
  await store.change("1", () => action("1"));
  await other.change("2", () => action("2"));
  const picture = new Blob([Uint8Array.from({ length: 256 }, (_, byte) => byte)], { type: "image/jpeg" });
  await other.change("3", () => ({ ...action("3"), type: "proof", picture }));
  assert.deepEqual(ids(await other.all()), ["2", "3"]);
  const reopened = new KeptActions({ beside });
  const rows = await reopened.all();
  assert.deepEqual(ids(rows), ["1", "2", "3"], "the phone ended the page");
  assert.equal(rows[2]?.picture?.type, "image/jpeg");
  assert.deepEqual(await rows[2]?.picture?.arrayBuffer(), await picture.arrayBuffer());
  await reopened.change("3", (row) => row && { ...row, tried: true });
  database.full = false;
  await reopened.all();
  assert.deepEqual([...database.rows.keys()].sort(), ["1", "2", "3"]);
  assert.equal(database.rows.get("3")?.tried, true);
  assert.equal(beside.texts.size, 0);
});

test("what another tab took back does not return to a tab whose database does not answer", async (t) => {
  const { database, beside, store } = phone(t);
  await store.change("1", () => action("1"));
  database.full = true;
  await store.change("2", () => action("2"));
  database.full = false;
  store.leave();
  const other = new KeptActions({ beside });
  assert.deepEqual(ids(await other.all()), ["1", "2"]);
  for (const actionId of ["1", "2"]) await other.change(actionId, () => null);
  store._isSilent = true;
  assert.deepEqual(await store.all(), []);
  store._isSilent = false;
  assert.deepEqual(await store.all(), []);
});

test("a tab that came back before the database answered learns what another one has left", async (t) => {
  const time = new Time(t);
  const { database, beside } = phone(t);
  const actions = new Actions({
    store: new KeptActions({ beside, again: () => void actions.load({ mono: 0, wall: 0 }) }),
    changed: () => {},
    refused: () => {},
    upload: async () => {},
  });
  database.rows.set("1", action("1"));
  await actions.leave();
  database.open = () => ({ result: null });
  const loading = actions.load({ mono: 0, wall: 0 });
  await time.pass(3_000);
  await loading;
  assert.deepEqual(actions.all, []);
  Reflect.deleteProperty(database, "open");
  await time.pass(10_000);
  await time.pass(10);
  assert.deepEqual(ids(actions.all), ["1"]);
});

test("what found no room anywhere stays with its tab while another one is in use", async (t) => {
  const { database, beside, store } = phone(t);
  database.full = true;
  beside.setItem = () => {
    throw new Error("no room");
  };
  await store.change("1", () => action("1"));
  store.leave();
  assert.deepEqual(ids(await store.all()), ["1"]);
  database.full = false;
  assert.deepEqual(ids(await store.all()), ["1"]);
  assert.deepEqual([...database.rows.keys()], ["1"]);
  store.leave();
  store._isSilent = true;
  assert.deepEqual(await store.all(), [], "the database has it now");
});

test("a picture that finds no room anywhere is said, and harms no report", async (t) => {
  const { database, beside } = phone(t);
  /** @type {string[]} */
  const unsaved = [];
  const store = new KeptActions({ beside, unsaved: ({ actionId }) => unsaved.push(actionId) });
  database.full = true;
  const { setItem } = beside;
  beside.setItem = (key, text) => {
    if (text.length > 1_000) throw new Error("full");
    setItem(key, text);
  };
  await store.change("1", () => action("1"));
  await store.change("2", () => ({ ...action("2"), type: "proof", picture: new Blob(["x".repeat(1_000)]) }));
  assert.deepEqual(unsaved, ["2"]);
  assert.deepEqual(ids(await store.all()), ["1", "2"], "it lasts as long as the page");
  assert.deepEqual(ids(await new KeptActions({ beside }).all()), ["1"]);
});
