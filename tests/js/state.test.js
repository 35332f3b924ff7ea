import assert from "node:assert/strict";
import { test } from "node:test";

import { Gap, allotted, canBeLonger, fold, foreignReason, hasNewWork, named as nameOf, openOffer, remaining, sawMessage, say, serverNow, start, unsay, work } from "../../static/driver/state.js";

/** @import {State} from "../../static/driver/state.js" */

const NOW = { mono: 1_000, wall: 1_800_000_000_000 };

/** @type {Wire.DriverView} */
const DRIVER = {
  id: "v1", name: "Dan", externalRef: null, phone: null, zone: "default", availability: "available",
  availabilityUntil: null, availabilityReason: null, busy: false, activeCount: 0, capacity: 1, connected: true,
  location: null, lastSeenAt: null, vehicle: null, tags: [], active: true, shiftEndsAt: null,
};
/** @type {Wire.OfferView} */
const OFFER = {
  id: "o1", deliveryId: "d1", attempt: 1, createdAt: "2026-02-01T10:00:00.000Z", expiresAt: "2026-02-01T10:00:30.000Z",
  remainingMs: 30_000,
  payload: {
    pickupLocation: { lat: 1, lon: 2 }, pickupStoreName: "Mario's", dropoffLocation: { lat: 3, lon: 4 },
    estimatedPickupTimeMin: 5, estimatedDeliveryTime: "2026-02-01T10:30:00.000Z", estimatedDistanceKm: 1,
    estimatedEarningCents: 500, currency: "USD",
  },
};
/** @type {Wire.DrivenAssignmentView} */
const ASSIGNMENT = {
  id: "a1", deliveryId: "d1", driverId: "v1", status: "ACTIVE", source: "accepted", createdAt: "2026-02-01T10:00:10.000Z",
  pickedUpAt: null, completedAt: null, endedAt: null, endReason: null, version: 1, endNote: null, failedAt: null,
  arrivedAt: {}, pickup: { lat: 1, lon: 2 }, dropoff: { lat: 3, lon: 4 }, storeName: "Mario's", sellerOrderId: "1",
  deliveryStatus: "ASSIGNED", readyAt: "2026-02-01T10:10:00.000Z", promisedAt: null, requirements: [],
};
/** @type {Wire.Hello} */
const HELLO = {
  type: "hello", session: "s", serverTime: "2026-02-01T10:00:00.000Z", heartbeatSeconds: 20, seq: 7, driver: DRIVER,
  offers: [], assignments: [], run: null, messages: [], missed: [], resync: false,
};

/**
 * The state after these messages.
 * @param {State} state
 * @param {Wire.ToDriver[]} messages
 */
const heard = (state, ...messages) => messages.reduce((before, message) => fold(before, message, NOW), state);
/** @param {Partial<Wire.Hello>} [differs] */
const greeted = (differs = {}) => heard(start(), { ...HELLO, ...differs });
/** @param {State} state */
const said = (state) =>
  state.notices.map(({ text, values }) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "?"));

test("of monotonic and calendar time the longer counts: a phone that slept stopped the one, people set the other", () => {
  const entry = { offer: OFFER, at: NOW };
  for (const [mono, wall, left] of /** @type {[number, number, number][]} */ ([
    [0, 0, 30_000],
    [10_000, 10_000, 20_000],
    [10, 29_000, 1_000],
    [12_000, -99_999, 18_000],
    [40_000, 0, 0],
  ])) {
    assert.equal(remaining(entry, { mono: NOW.mono + mono, wall: NOW.wall + wall }), left);
  }
});

test("the whole time of an offer is at least what is left of it", () => {
  assert.equal(allotted({ offer: { ...OFFER, remainingMs: 12_000 }, at: NOW }), 30_000);
  assert.equal(allotted({ offer: { ...OFFER, remainingMs: 45_000 }, at: NOW }), 45_000);
});

test("of the offers that still run the one that ends first is shown", () => {
  const state = greeted({ offers: [OFFER, { ...OFFER, id: "o2", remainingMs: 9_000 }, { ...OFFER, id: "o3", remainingMs: 0 }] });
  assert.equal(openOffer(state, NOW)?.offer.id, "o2");
  assert.equal(openOffer(state, { mono: NOW.mono + 9_000, wall: NOW.wall })?.offer.id, "o1");
  assert.equal(openOffer(state, { mono: NOW.mono, wall: NOW.wall + 40_000 }), null);
});

test("the server's clock goes on between its messages", () => {
  assert.equal(serverNow(start(), NOW), NOW.wall);
  const state = heard(greeted(), { type: "pong", serverTime: "2026-02-01T10:00:12.000Z" });
  const then = { mono: NOW.mono + 3_000, wall: NOW.wall + 1 };
  assert.equal(serverNow(state, then), Date.parse("2026-02-01T10:00:15.000Z"));
});

test("messages count in order and once, and a gap is noticed", () => {
  /** @type {Wire.AvailabilityChanged} */
  const message = { type: "availability", seq: 8, availability: "paused", reason: "driver_paused" };
  const state = heard(greeted(), message);
  assert.equal(state.seq, 8);
  assert.equal(state.driver?.availability, "paused");
  assert.equal(heard(state, message), state);
  assert.throws(() => heard(state, { ...message, seq: 10 }), Gap);
  assert.throws(() => heard(start(), message), Gap);
  /** @param {number} [seq] */
  const unknown = (seq) => /** @type {Wire.ToDriver} */ (/** @type {unknown} */ ({ type: "news", seq }));
  assert.equal(heard(state, unknown()), state);
  const counted = heard(state, unknown((state.seq ?? 0) + 1));
  assert.deepEqual(counted, { ...state, seq: (state.seq ?? 0) + 1 });
  assert.throws(() => heard(state, unknown(99)), Gap);
});

test("what was missed is said, and the snapshot counts", () => {
  /** @type {Wire.OfferClosed} */
  const closed = { type: "offer_closed", seq: 8, offerId: "o1", deliveryId: "d1", outcome: "WITHDRAWN" };
  const before = greeted({ offers: [OFFER] });
  const state = heard(before, { ...HELLO, seq: 8, missed: [closed] });
  assert.deepEqual(state.offers, {});
  assert.deepEqual(said(state), ["The offer was withdrawn."]);
  assert.match(String(said(heard(before, { ...HELLO, resync: true }))), /away for a long time/);
});

test("only what others did is news", () => {
  /** @type {Wire.OfferClosed} */
  const closed = { type: "offer_closed", seq: 8, offerId: "o1", deliveryId: "d1", outcome: "WITHDRAWN" };
  /** @type {Wire.AvailabilityChanged} */
  const changed = { type: "availability", seq: 8, availability: "paused" };
  for (const [message, notices] of /** @type {[Wire.Numbered, string[]][]} */ ([
    [{ ...closed, reason: "paused" }, []],
    [{ ...closed, outcome: "REJECTED" }, []],
    [{ ...closed, outcome: "EXPIRED" }, ["The offer has expired."]],
    [{ ...closed, outcome: "EXPIRED", assignmentId: "a1" }, []],
    [{ ...closed, reason: "cancelled" }, ["The order was cancelled."]],
    [{ ...changed, reason: "driver_paused" }, []],
    [{ ...changed, reason: "reassigned" }, ["Your dispatcher reassigned your order and paused you."]],
    [{ ...changed, reason: "vehicle check" }, ["Your dispatcher changed your availability: vehicle check."]],
    [{ ...changed, availability: "available", reason: "break_expired" }, ["Your break has ended."]],
    [{ type: "assignment", seq: 8, assignment: ASSIGNMENT }, []],
    [
      { type: "assignment", seq: 8, assignment: { ...ASSIGNMENT, source: "manual" } },
      ["Your dispatcher assigned you a delivery from Mario's (1)."],
    ],
  ])) {
    assert.deepEqual(said(heard(greeted(), message)), notices, JSON.stringify(message));
  }
});

test("another place of an order in hand is news, a step or another note is not", () => {
  const active = heard(greeted(), { type: "assignment", seq: 8, assignment: ASSIGNMENT });
  for (const [change, notices] of /** @type {[Partial<Wire.DrivenAssignmentView>, string[]][]} */ ([
    [{ pickedUpAt: "2026-02-01T10:12:00.000Z", deliveryStatus: "PICKED_UP" }, []],
    [{ notes: "Ring", dropoff: { lat: 3, lon: 4, notes: "Door code 1" } }, []],
    [
      { dropoff: { lat: 3, lon: 4, address: "Schloßstr. 3" } },
      ["The customer of the delivery from Mario's (1) is at another place now: Schloßstr. 3."],
    ],
    [{ dropoff: { lat: 3, lon: 5 } }, ["The customer of the delivery from Mario's (1) is at another place now."]],
    [
      { pickup: { lat: 1.5, lon: 2, address: "Torstr. 2" } },
      ["The pickup at Mario's (1) is at another place now: Torstr. 2."],
    ],
  ])) {
    const message = /** @type {const} */ ({ type: "assignment", seq: 9, assignment: { ...ASSIGNMENT, ...change } });
    assert.deepEqual(said(heard(active, message)), notices, JSON.stringify(change));
  }
});

test("an assignment makes the driver busy until it ends, and its end has a reason", () => {
  const active = heard(greeted(), { type: "assignment", seq: 8, assignment: ASSIGNMENT });
  assert.deepEqual(work(active).map(({ id }) => id), ["a1"]);
  assert.deepEqual([active.driver?.busy, active.driver?.activeCount], [true, 1]);
  const ended = heard(active, {
    type: "assignment", seq: 9, assignment: { ...ASSIGNMENT, status: "CANCELLED", endReason: "closed early" },
  });
  assert.deepEqual(work(ended), []);
  assert.deepEqual([ended.driver?.busy, ended.driver?.activeCount], [false, 0]);
  assert.deepEqual(said(ended), ["The delivery from Mario's (1) was cancelled: closed early."]);
});

test("assignments are in the order in which they were made", () => {
  const later = { ...ASSIGNMENT, id: "a0", createdAt: "2026-02-01T10:00:20.000Z" };
  assert.deepEqual(work(greeted({ assignments: [later, ASSIGNMENT] })).map(({ id }) => id), ["a1", "a0"]);
});

test("with several deliveries, the one whose stop is next comes first", () => {
  const later = { ...ASSIGNMENT, id: "a2", createdAt: "2026-02-01T10:00:20.000Z" };
  /** @type {(kind: "pickup" | "dropoff", assignmentId: string, doneAt?: string) => Wire.RunStopView} */
  const stop = (kind, assignmentId, doneAt) => ({
    kind, assignmentId, deliveryId: "d1", place: { lat: 1, lon: 2 }, storeName: "Mario's", sellerOrderId: "1",
    plannedAt: "2026-02-01T10:10:00.000Z", ...(doneAt ? { doneAt } : {}),
  });
  const stops = [stop("pickup", "a1", "2026-02-01T10:05:00.000Z"), stop("pickup", "a2"), stop("dropoff", "a1")];
  const both = greeted({ assignments: [ASSIGNMENT, later], run: stops });
  assert.deepEqual(work(both).map(({ id }) => id), ["a2", "a1"]);
  const picked = fold(both, { type: "run", seq: 8, stops: stops.slice(2) }, NOW);
  assert.deepEqual(work(picked).map(({ id }) => id), ["a1", "a2"]);
  const one = fold(picked, { type: "run", seq: 9, stops: [] }, NOW);
  assert.deepEqual([one.seq, work(one).map(({ id }) => id)], [9, ["a1", "a2"]]);
});

test("the newest five notices are kept, each with its own number", () => {
  let state = start();
  for (let n = 1; n <= 7; n++) state = say(state, "info", `${n}`);
  assert.deepEqual(state.notices.map(({ id, text }) => `${id} ${text}`), ["3 3", "4 4", "5 5", "6 6", "7 7"]);
  assert.deepEqual(unsay(state, 5).notices.map(({ id }) => id), [3, 4, 6, 7]);
});

test("a reason is foreign if the driver did not give it", () => {
  assert.equal(foreignReason({ ...DRIVER, availabilityReason: "vehicle check" }), "vehicle check");
  assert.equal(foreignReason({ ...DRIVER, availabilityReason: "driver_paused" }), null);
  assert.equal(foreignReason(DRIVER), null);
});

test("a message of dispatch is there until it is seen, and is announced once", () => {
  const message = { id: "t1", text: "Call me", from: "alice", at: "2026-02-01T10:00:00.000Z" };
  const written = heard(greeted(), { type: "message", seq: 8, message });
  assert.deepEqual(written.messages, { t1: message });
  assert.equal(written.seq, 8);
  assert.deepEqual(said(written), ["New message from your dispatcher."]);
  assert.deepEqual(sawMessage(written, "t1").messages, {});
  const again = heard(written, { ...HELLO, seq: 8, messages: [message] });
  assert.deepEqual(again.messages, { t1: message });
  assert.deepEqual(said(again), said(written));
});

test("what an offer named is remembered while it is offered or in hand", () => {
  const named = { cents: 500, currency: "USD" };
  let state = heard(greeted(), { type: "offer", seq: 8, offer: OFFER });
  assert.deepEqual(state.earnings, { d1: named });
  state = heard(state, { type: "offer_closed", seq: 9, offerId: "o1", deliveryId: "d1", outcome: "ACCEPTED" }, { type: "assignment", seq: 10, assignment: ASSIGNMENT });
  state = heard(state, { type: "offer", seq: 11, offer: { ...OFFER, id: "o2", deliveryId: "d2" } });
  assert.deepEqual(state.earnings, { d1: named, d2: named });
  state = heard(state, { type: "assignment", seq: 12, assignment: { ...ASSIGNMENT, status: "COMPLETED" } });
  state = heard(state, { type: "offer", seq: 13, offer: { ...OFFER, id: "o3", deliveryId: "d3" } });
  assert.deepEqual(Object.keys(state.earnings), ["d3"]);
  assert.deepEqual(greeted({ offers: [OFFER] }).earnings, { d1: named }, "also one that was made before the page opened");
});

test("what is urgent is said once", () => {
  const twice = say(say(say(start(), "urgent", "Keep the goods."), "info", "Keep the goods."), "urgent", "Keep the goods.");
  assert.deepEqual(twice.notices.map(({ id, kind }) => [id, kind]), [[2, "info"], [3, "urgent"]]);
  assert.equal(say(say(start(), "info", "Hello."), "info", "Hello.").notices.length, 2);
});

test("a break ends ten minutes later, up to the longest that a driver may choose", () => {
  const nowAt = Date.parse("2026-02-01T10:00:00.000Z");
  assert.equal(canBeLonger("2026-02-01T10:20:00.000Z", nowAt), true);
  assert.equal(canBeLonger("2026-02-01T09:59:00.000Z", nowAt), true);
  assert.equal(canBeLonger("2026-02-01T11:50:00.000Z", nowAt), true);
  assert.equal(canBeLonger("2026-02-01T11:50:01.000Z", nowAt), false);
  assert.equal(canBeLonger(null, nowAt), false);
});

test("a notice names the order's number, and new work is what was not there before", () => {
  assert.equal(nameOf(ASSIGNMENT), "Mario's (1)");
  assert.equal(nameOf({ storeName: "Mario's" }), "Mario's", "kept by an older page");
  const offered = { ...start(), offers: { o1: { offer: OFFER, at: NOW } } };
  const working = { ...start(), assignments: { a1: ASSIGNMENT } };
  assert.equal(hasNewWork(start(), offered), true);
  assert.equal(hasNewWork(offered, working), true);
  assert.equal(hasNewWork(working, working), false);
  assert.equal(hasNewWork(offered, start()), false);
});
