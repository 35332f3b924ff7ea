import assert from "node:assert/strict";
import { test } from "node:test";

import { forgetSeen, keepSeen, lastSeen } from "../../static/driver/last-seen.js";

const HOUR_MS = 3_600_000;
const AT = 1_800_000_000_000;

/**
 * @param {Wire.DriverView["availability"]} availability
 * @param {string} [id]
 */
const driver = (availability, id = "dan") => {
  const location = { lat: 52.5, lon: 13.4, at: "2026-11-29T15:00:00Z" };
  return /** @type {Wire.DriverView} */ ({ id, name: "Dan", availability, availabilityUntil: null, location });
};
const numbers = /** @type {import("../../static/driver/numbers.js").DriverNumbers} */ (/** @type {unknown} */ ({ today: {} }));

test("a shift is known since its start, over a lost connection, until it has ended or was long ago", (t) => {
  t.after(forgetSeen);
  assert.equal(lastSeen("dan"), null);
  keepSeen(driver("available"), AT, null);
  keepSeen(driver("on_break"), AT + HOUR_MS, null);
  keepSeen(driver("offline"), AT + 2 * HOUR_MS, null);
  keepSeen(driver("paused"), AT + 3 * HOUR_MS, null);
  assert.deepEqual([lastSeen("dan")?.since, lastSeen("dan")?.at], [AT, AT + 3 * HOUR_MS]);
  keepSeen(driver("shift_ended"), AT + 4 * HOUR_MS, null);
  assert.equal(lastSeen("dan")?.since, null);
  keepSeen(driver("offline"), AT + 5 * HOUR_MS, null);
  assert.equal(lastSeen("dan")?.since, null);
  keepSeen(driver("available"), AT + 6 * HOUR_MS, null);
  assert.equal(lastSeen("dan")?.since, AT + 6 * HOUR_MS);
  keepSeen(driver("available"), AT + 19 * HOUR_MS, null);
  assert.equal(lastSeen("dan")?.since, AT + 19 * HOUR_MS);
});

test("numbers stay with their time, the place of the driver is not kept, and another driver sees nothing", (t) => {
  t.after(forgetSeen);
  keepSeen(driver("available"), AT, { numbers, at: AT - 5 });
  keepSeen(driver("paused"), AT + 10, null);
  const seen = lastSeen("dan");
  assert.deepEqual([seen?.numbers, seen?.numbersAt, seen?.driver.availability, seen?.driver.location], [numbers, AT - 5, "paused", null]);
  assert.equal(lastSeen("dora"), null);
  keepSeen(driver("available", "dora"), AT + 20, null);
  assert.deepEqual([lastSeen("dora")?.numbers, lastSeen("dan")], [null, null]);
  forgetSeen();
  assert.equal(lastSeen("dora"), null);
});

test("what has not changed is written once a minute, what has changed at once", (t) => {
  t.after(forgetSeen);
  keepSeen(driver("available"), AT, null);
  keepSeen(driver("available"), AT + 59_000, null);
  assert.equal(lastSeen("dan")?.at, AT);
  keepSeen(driver("paused"), AT + 59_500, null);
  assert.equal(lastSeen("dan")?.at, AT + 59_500);
  keepSeen(driver("paused"), AT + 120_000, null);
  assert.equal(lastSeen("dan")?.at, AT + 120_000);
});
