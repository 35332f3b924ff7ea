import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";

import { KeptActions } from "../../static/driver/action-store.js";
import { Actions, UNDO_MS } from "../../static/driver/actions.js";
import { Refused } from "../../static/driver/connection.js";

/** @import {Action, ActionStore, Deed} from "../../static/driver/actions.js" */

if (!globalThis.crypto) Object.defineProperty(globalThis, "crypto", { value: webcrypto }); // Node.js 18

/** @type {Deed} */
const DELIVERED = { driverId: "v1", type: "completed", assignmentId: "a1", storeName: "Mario's" };

/**
 * A moment: this many milliseconds after the driver tapped.
 * @param {number} ms
 * @param {number} [wall] on the calendar, if it differs
 */
const after = (ms, wall = ms) => ({ mono: 5_000 + ms, wall: 1_800_000_000_000 + wall });
const TAP = after(0);

/** A page: what it has to send, and what it was refused. There is no IndexedDB here, so rows last as long as the store. */
class Page {
  /** @type {[store: string, code: string][]} */
  refused = [];
  drawn = 0;
  /** @type {Wire.FromDriver[]} */
  sent = [];
  /** @type {Action[]} */
  uploaded = [];
  /** @type {(Refused | null)[]} what the server answers, in order; null accepts */
  answers = [];
  actions;

  /** @param {ActionStore} [store] */
  constructor(store = new KeptActions()) {
    this.actions = new Actions({
      store,
      changed: () => {
        this.drawn += 1;
      },
      refused: ({ storeName }, { code }) => this.refused.push([storeName, code]),
      upload: (action) => this.uploads(action),
    });
  }

  /** @param {Action} action */
  uploads = async (action) => {
    this.uploaded.push(action);
    const error = this.answers.shift();
    if (error) throw error;
  };

  /** @param {{mono: number, wall: number}} now */
  settle(now, driverId = "v1") {
    return this.actions.settle(driverId, async (message) => {
      this.sent.push(message);
      const error = this.answers.shift();
      if (error) throw error;
    }, () => now);
  }
}

/** @param {string} code */
const refusal = (code) => new Refused(code, code);

test("Delivered is sent after 8 s and not before", async () => {
  const page = new Page();
  await page.actions.add(DELIVERED, TAP);
  assert.deepEqual(page.actions.standing("v1", "a1", after(3_000)), { left: 5_000, tried: false, type: "completed" });
  await page.settle(after(UNDO_MS - 1));
  assert.deepEqual(page.sent, []);
  await page.settle(after(UNDO_MS));
  const [only] = /** @type {Wire.Completed[]} */ (page.sent);
  assert.deepEqual([page.sent.length, only?.type, only?.assignmentId], [1, "completed", "a1"]);
  assert.match(only?.actionId ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(Date.parse(only?.sentAt ?? "") - Date.parse(only?.at ?? ""), UNDO_MS);
  assert.deepEqual(page.actions.all, []);
});

test("a node of the previous release gets Delivered as it knows it", async () => {
  const page = new Page();
  page.answers = [refusal("invalid")];
  await page.actions.add(DELIVERED, TAP);
  await page.settle(after(UNDO_MS));
  assert.deepEqual(page.sent[1], { type: "completed", assignmentId: "a1" });
  assert.deepEqual([page.actions.all, page.refused], [[], []]);
});

test("a pickup and a delivery without a network are sent in order, each as one action", async () => {
  const page = new Page();
  const assignment = /** @type {Wire.DrivenAssignmentView} */ (
    /** @type {unknown} */ ({ id: "a1", driverId: "v1", pickedUpAt: null, deliveryStatus: "ASSIGNED" })
  );
  await page.actions.add({ ...DELIVERED, type: "picked_up" }, TAP);
  await page.actions.add({ ...DELIVERED, type: "picked_up" }, after(5));
  const seen = page.actions.seen(assignment);
  assert.equal(Date.parse(seen.pickedUpAt ?? ""), TAP.wall);
  assert.equal(seen.deliveryStatus, "PICKED_UP");
  assert.equal(page.actions.standing("v1", "a1", TAP), null, "Delivered follows");
  await page.actions.add({ ...DELIVERED, pin: "1234" }, after(10));
  page.answers = [refusal("offline")];
  for (const ms of [20_000, 30_000, 30_001]) await page.settle(after(ms));
  const sent = /** @type {Wire.Completed[]} */ (page.sent);
  assert.deepEqual(sent.map(({ type }) => type), ["picked_up", "picked_up", "completed"]);
  assert.equal(sent[0]?.actionId, sent[1]?.actionId, "the same action");
  assert.deepEqual(sent[2]?.proof, { pin: "1234" });
  assert.deepEqual(page.actions.all, []);
});

test("a return is not sent if its failure is refused: it would be a delivery", async () => {
  for (const [code, left] of /** @type {const} */ ([["not_picked_up", 0], ["assignment_not_active", 1]])) {
    const page = new Page();
    page.answers = [refusal(code)];
    await page.actions.add({ ...DELIVERED, type: "failed", reason: "refused", then: "return" }, TAP);
    await page.actions.add(DELIVERED, after(1));
    await page.settle(after(20_000));
    assert.equal(page.actions.all.length, left, code);
  }
});

test("Delivered can be undone until it may have reached the server", async () => {
  const page = new Page();
  await page.actions.add(DELIVERED, TAP);
  assert.ok(await page.actions.undo("v1", "a1"));
  assert.equal(page.actions.standing("v1", "a1", after(1)), null);
  await page.settle(after(UNDO_MS));
  assert.deepEqual(page.sent, []);
  assert.ok(!(await page.actions.undo("v1", "a1")), "there is nothing to undo");
});

test("what was sent without an answer cannot be undone, and is sent again", async () => {
  const page = new Page();
  page.answers = [refusal("no_answer"), refusal("offline")];
  await page.actions.add(DELIVERED, TAP);
  await page.settle(after(UNDO_MS));
  assert.deepEqual(page.actions.standing("v1", "a1", after(UNDO_MS)), { left: 0, tried: true, type: "completed" });
  assert.ok(!(await page.actions.undo("v1", "a1")));
  await page.settle(after(UNDO_MS + 1));
  await page.settle(after(UNDO_MS + 2));
  assert.equal(page.sent.length, 3);
  assert.deepEqual(page.actions.all, []);
  assert.deepEqual(page.refused, []);
});

test("what is done does not come back from a database that is slow to delete it", async () => {
  const store = new KeptActions();
  const { change } = store;
  let deleted = () => {};
  store.change = (actionId, next) => {
    if (next(undefined) !== null) return change.call(store, actionId, next);
    return new Promise((resolve) => {
      deleted = () => resolve(change.call(store, actionId, next));
    });
  };
  const page = new Page(store);
  await page.actions.add({ ...DELIVERED, type: "picked_up" }, TAP);
  let isKept = true;
  const done = page.actions.completed("a1").then(() => {
    isKept = false;
  });
  await page.actions.load(after(1));
  assert.deepEqual(page.actions.all, [], "read before it was deleted");
  assert.equal(isKept, true, "who waits learns when it is deleted");
  deleted();
  await done;
  assert.deepEqual(await store.all(), []);
});

test("two taps are one action", async () => {
  const page = new Page();
  await Promise.all([page.actions.add(DELIVERED, TAP), page.actions.add(DELIVERED, after(10))]);
  assert.equal(page.actions.all.length, 1);
});

test("what the server refuses is said once and not sent again", async () => {
  const page = new Page();
  page.answers = [refusal("assignment_not_active")];
  await page.actions.add(DELIVERED, TAP);
  await page.settle(after(UNDO_MS));
  await page.settle(after(UNDO_MS + 60_000));
  assert.deepEqual(page.refused, [["Mario's", "assignment_not_active"]]);
  assert.equal(page.sent.length, 1);
});

test("a server that is busy is asked after 1 s, 2 s, up to 30 s", async () => {
  const page = new Page();
  page.answers = Array.from({ length: 7 }, () => refusal("try_again"));
  await page.actions.add(DELIVERED, TAP);
  let at = UNDO_MS;
  await page.settle(after(at));
  for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000]) {
    const before = page.sent.length;
    await page.settle(after(at + pause - 1));
    assert.equal(page.sent.length, before, `${pause} ms`);
    at += pause;
    await page.settle(after(at));
    assert.equal(page.sent.length, before + 1, `${pause} ms`);
  }
  await page.settle(after(at + 30_000));
  assert.deepEqual(page.actions.all, []);
});

test("one action is sent at a time, the oldest first", async () => {
  const page = new Page();
  await page.actions.add({ ...DELIVERED, assignmentId: "a2" }, TAP);
  await page.actions.add(DELIVERED, after(1));
  await Promise.all([page.settle(after(20_000)), page.settle(after(20_000))]);
  assert.deepEqual(page.sent.map((message) => "assignmentId" in message && message.assignmentId), ["a2"]);
});

test("another driver's action waits for that driver", async () => {
  const page = new Page();
  await page.actions.add(DELIVERED, TAP);
  await page.settle(after(20_000), "v2");
  assert.deepEqual(page.sent, []);
  assert.deepEqual(page.actions.of("v2"), []);
  assert.equal(page.actions.standing("v2", "a1", TAP), null);
  assert.equal(page.actions.of("v1").length, 1);
});

test("a calendar that was set makes nobody wait longer than 8 s", async () => {
  const store = new KeptActions();
  const page = new Page(store);
  await page.actions.add(DELIVERED, TAP);
  assert.equal(page.actions.standing("v1", "a1", after(UNDO_MS, -86_400_000))?.left, 0);
  assert.equal(page.actions.standing("v1", "a1", after(0, UNDO_MS))?.left, 0, "the phone slept");
  const reloaded = new Page(store);
  await reloaded.actions.load(after(0, -86_400_000));
  assert.equal(reloaded.actions.standing("v1", "a1", after(0, -86_400_000))?.left, UNDO_MS);
});

test("a page that is loaded again goes on with what is left of the 8 s", async () => {
  const store = new KeptActions();
  await new Page(store).actions.add(DELIVERED, TAP);
  const page = new Page(store);
  await page.actions.load(after(5_000));
  assert.equal(page.actions.standing("v1", "a1", after(5_000))?.left, 3_000);
  await page.settle(after(UNDO_MS));
  assert.equal(page.sent.length, 1);
  assert.deepEqual(await store.all(), []);
});

test("what another tab took back is not sent", async () => {
  const store = new KeptActions();
  const page = new Page(store);
  await page.actions.add(DELIVERED, TAP);
  const other = new Page(store);
  await other.actions.load(after(1_000));
  assert.ok(await other.actions.undo("v1", "a1"));
  await page.settle(after(UNDO_MS));
  assert.deepEqual(page.sent, []);
  assert.deepEqual(page.actions.all, []);
});

test("a tab that is not used knows nothing until it loads again what another one has left", async () => {
  const store = new KeptActions();
  const page = new Page(store);
  await page.actions.add(DELIVERED, TAP);
  await page.actions.leave();
  assert.deepEqual(page.actions.all, []);
  await page.settle(after(UNDO_MS));
  assert.deepEqual(page.sent, []);
  await page.actions.load(after(UNDO_MS));
  await page.settle(after(UNDO_MS));
  assert.equal(page.sent.length, 1);
});

test("an assignment that the server says is completed needs no message", async () => {
  const page = new Page();
  await page.actions.add(DELIVERED, TAP);
  await page.actions.completed("a1");
  await page.settle(after(20_000));
  assert.deepEqual(page.sent, []);
});

test("an action that could not be kept does not keep the next one from being kept", async () => {
  const kept = new KeptActions();
  let fails = true;
  const page = new Page({
    all: () => kept.all(),
    change: (actionId, next) => {
      if (!fails) return kept.change(actionId, next);
      fails = false;
      return Promise.reject(new Error("no room"));
    },
  });
  await assert.rejects(page.actions.add(DELIVERED, TAP), /no room/);
  await page.actions.add(DELIVERED, TAP);
  assert.equal(page.actions.all.length, 1);
});

test("a fault of the page loses no delivery", async () => {
  const page = new Page();
  await page.actions.add(DELIVERED, TAP);
  const fault = new TypeError("a fault");
  await assert.rejects(page.actions.settle("v1", () => Promise.reject(fault), () => after(UNDO_MS)), fault);
  assert.equal(page.actions.all.length, 1);
  await page.settle(after(UNDO_MS + 1));
  assert.equal(page.sent.length, 1);
});

/** @type {Deed} */
const ARRIVED = { ...DELIVERED, type: "arrived", where: "dropoff" };
/** @type {Deed} */
const FAILED = { ...DELIVERED, type: "failed", reason: "refused", note: "no", then: "end" };

test("an arrival is sent at once with its time, and ends nothing", async () => {
  const page = new Page();
  page.answers = [refusal("offline")];
  await page.actions.add(ARRIVED, TAP);
  await page.actions.add(ARRIVED, after(10));
  assert.ok(page.actions.arriving("v1", "a1", "dropoff"));
  assert.ok(!page.actions.arriving("v1", "a1", "pickup"));
  assert.equal(page.actions.standing("v1", "a1", TAP), null);
  await page.settle(TAP);
  await page.settle(after(60_000));
  const [first, second] = /** @type {Wire.Arrived[]} */ (page.sent);
  assert.equal(page.sent.length, 2);
  assert.equal(first?.actionId, second?.actionId, "the same action");
  assert.equal(second?.where, "dropoff");
  assert.equal(Date.parse(second?.sentAt ?? "") - Date.parse(second?.at ?? ""), 60_000);
  assert.deepEqual(page.actions.all, []);
});

test("what could not be delivered is sent at once, once, and is not delivered too", async () => {
  const page = new Page();
  await page.actions.add(FAILED, TAP);
  await page.actions.add(DELIVERED, TAP);
  assert.deepEqual(page.actions.standing("v1", "a1", TAP), { left: 0, tried: false, type: "failed" });
  assert.ok(!(await page.actions.undo("v1", "a1")));
  await page.settle(TAP);
  await page.settle(after(UNDO_MS));
  const [only] = /** @type {Wire.Failed[]} */ (page.sent);
  assert.equal(page.sent.length, 1);
  assert.deepEqual([only?.type, only?.reason, only?.note, only?.then], ["failed", "refused", "no", "end"]);
});

/** @type {Deed} */
const PHOTO = { ...DELIVERED, type: "proof", kind: "photo", picture: new Blob(["a door"]) };

test("a photo is sent before the delivery that needs it, over a reload, and no other way than the delivery", async () => {
  const store = new KeptActions();
  const page = new Page(store);
  await page.actions.add(PHOTO, TAP);
  await page.actions.add({ ...DELIVERED, pin: "1234", name: "Anna" }, after(1));
  assert.ok(page.actions.proving("v1", "a1", "photo"));
  assert.ok(!page.actions.proving("v1", "a1", "signature"));
  const reloaded = new Page(store);
  await reloaded.actions.load(after(20_000));
  reloaded.answers = [refusal("try_again")];
  for (const ms of [20_000, 20_999, 21_000, 21_001]) await reloaded.settle(after(ms));
  assert.deepEqual(reloaded.uploaded.map(({ actionId }) => actionId), Array(2).fill(reloaded.uploaded[0]?.actionId));
  assert.deepEqual(reloaded.uploaded[0]?.picture, PHOTO.picture);
  const [only] = /** @type {Wire.Completed[]} */ (reloaded.sent);
  assert.deepEqual([reloaded.sent.length, only?.type, only?.proof], [1, "completed", { pin: "1234", name: "Anna" }]);
  assert.deepEqual(await store.all(), []);
});

test("a photo changes no step, can be taken twice, and is sent although the server knows the delivery", async () => {
  const page = new Page();
  const assignment = /** @type {Wire.DrivenAssignmentView} */ (
    /** @type {unknown} */ ({ id: "a1", driverId: "v1", pickedUpAt: null, deliveryStatus: "ASSIGNED" })
  );
  await page.actions.add(PHOTO, TAP);
  await page.actions.add(PHOTO, after(1));
  assert.equal(page.actions.seen(assignment).pickedUpAt, null);
  assert.equal(page.actions.standing("v1", "a1", TAP), null);
  await page.actions.add(DELIVERED, after(2));
  await page.actions.completed("a1");
  await page.settle(after(3));
  await page.settle(after(4));
  await page.settle(after(20_000));
  assert.deepEqual([page.uploaded.length, page.sent], [2, []]);
});

test("a picture that takes its time holds up no report of another assignment, and none before it", async () => {
  const page = new Page();
  let now = after(20_000);
  const clock = () => now;
  /** @param {Wire.FromDriver} message */
  const ask = async (message) => void page.sent.push(message);
  /** @type {(error: Refused) => void} */
  let fail = () => {};
  page.uploads = (action) => {
    page.uploaded.push(action);
    return new Promise((_, reject) => {
      fail = reject;
    });
  };
  await page.actions.add(PHOTO, TAP);
  await page.actions.add(DELIVERED, after(1));
  await page.actions.add({ ...PHOTO, assignmentId: "a2" }, after(2));
  await page.actions.add({ ...DELIVERED, assignmentId: "a2" }, after(3));
  await page.actions.add({ ...DELIVERED, assignmentId: "a3" }, after(4));
  const uploading = page.actions.settle("v1", ask, clock);
  await page.actions.settle("v1", ask, clock);
  await page.actions.settle("v1", ask, clock);
  const told = () => page.sent.map((message) => "assignmentId" in message && message.assignmentId);
  const shown = () => page.uploaded.map(({ assignmentId }) => assignmentId);
  assert.deepEqual([shown(), told()], [["a1"], ["a3"]], "one picture at a time, each before its delivery");

  now = after(80_000);
  fail(refusal("try_again"));
  await uploading;
  page.uploads = async (action) => void page.uploaded.push(action);
  for (let n = 0; n < 3; n++) await page.actions.settle("v1", ask, clock);
  assert.deepEqual([shown(), told()], [["a1", "a2"], ["a3", "a2"]], "a1 waits 1 s from the answer on");
  now = after(81_000);
  for (let n = 0; n < 2; n++) await page.actions.settle("v1", ask, clock);
  assert.deepEqual([shown(), told()], [["a1", "a2", "a1"], ["a3", "a2", "a1"]]);
});
