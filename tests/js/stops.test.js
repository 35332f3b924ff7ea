import assert from "node:assert/strict";
import { test } from "node:test";

import { callTo, directionsTo } from "../../static/driver/links.js";
import { nextStop, payOf, stopsOf } from "../../static/driver/stops.js";

/** @type {Wire.DrivenAssignmentView} */
const ASSIGNMENT = {
  id: "a1", deliveryId: "d1", driverId: "v1", status: "ACTIVE", source: "accepted", createdAt: "2026-02-01T10:00:10.000Z",
  pickedUpAt: null, completedAt: null, endedAt: null, endReason: null, version: 1, endNote: null, failedAt: null,
  arrivedAt: {}, pickup: { lat: 1, lon: 2, notes: "Side door" }, dropoff: { lat: 3, lon: 4, name: "Anna" },
  storeName: "Mario's", sellerOrderId: "1", deliveryStatus: "ASSIGNED", readyAt: "2026-02-01T10:10:00.000Z",
  promisedAt: "2026-02-01T10:40:00.000Z", requirements: [], notes: "No cutlery",
};
const PICKED = { ...ASSIGNMENT, deliveryStatus: /** @type {const} */ ("PICKED_UP"), pickedUpAt: "2026-02-01T10:12:00.000Z" };

test("the way leads to the store, then to the customer, and back with what could not be delivered", () => {
  for (const [assignment, kinds, next] of /** @type {[Wire.DrivenAssignmentView, string[], string][]} */ ([
    [ASSIGNMENT, ["pickup", "dropoff"], "pickup"],
    [PICKED, ["pickup", "dropoff"], "dropoff"],
    [{ ...PICKED, deliveryStatus: "RETURNING" }, ["pickup", "dropoff", "return"], "return"],
  ])) {
    const stops = stopsOf(assignment);
    assert.deepEqual(stops.map((stop) => stop.kind), kinds);
    assert.equal(nextStop(stops)?.kind, next);
  }
  assert.equal(nextStop([])?.kind, undefined);
  assert.equal(nextStop(stopsOf(PICKED).map((stop) => ({ ...stop, done: true })))?.kind, "dropoff", "its driver is still there");
});

test("a stop has its own name, note and time, and the note of the order", () => {
  const [pickup, dropoff] = stopsOf(ASSIGNMENT);
  assert.deepEqual([pickup?.name, pickup?.notes, pickup?.dueAt], ["Mario's", "No cutlery\nSide door", ASSIGNMENT.readyAt]);
  assert.deepEqual([dropoff?.name, dropoff?.notes, dropoff?.dueAt], ["Anna", "No cutlery", ASSIGNMENT.promisedAt]);
  const bare = stopsOf({ ...ASSIGNMENT, notes: null, dropoff: { lat: 3, lon: 4 }, promisedAt: null })[1];
  assert.deepEqual([bare?.name, bare?.notes, bare?.dueAt], [null, null, null]);
});

test("the pay is the order's with the tip, else what the offer named, else unknown", () => {
  const offered = { d1: { cents: 500, currency: "USD" } };
  assert.deepEqual(payOf({ ...ASSIGNMENT, driverPayCents: 720, tipCents: 80, currency: "EUR" }, offered), { cents: 800, currency: "EUR" });
  assert.deepEqual(payOf({ ...ASSIGNMENT, driverPayCents: 0, tipCents: null, currency: "EUR" }, offered), { cents: 0, currency: "EUR" });
  assert.deepEqual(payOf({ ...ASSIGNMENT, driverPayCents: null, currency: "USD" }, offered), offered.d1);
  assert.equal(payOf(ASSIGNMENT, {}), null);
});

test("directions open in the phone's own maps", () => {
  const place = { lat: 52.52, lon: -13.405 };
  const iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";
  const android = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36";
  assert.equal(directionsTo(place, iphone), "https://maps.apple.com/?daddr=52.52,-13.405");
  assert.equal(directionsTo(place, android), "geo:52.52,-13.405?q=52.52,-13.405");
  assert.match(directionsTo(place, "Mozilla/5.0 (X11; Linux x86_64)"), /^https:.*destination=52.52,-13.405$/);
});

test("a number is called as it is dialled", () => {
  assert.equal(callTo("+49 (0)30 / 901-820"), "tel:+4930901820");
  assert.equal(callTo("030 1234 #7"), "tel:0301234%237");
  for (const nobody of [null, undefined, "", "by chat only"]) assert.equal(callTo(nobody), null);
});
