import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, clockIn, countdown, kmOf, moneyOf } from "../../static/driver/amounts.js";

test("a countdown is rounded up, so that 0:00 is the end", () => {
  assert.equal(countdown(75_000), "1:15");
  assert.equal(countdown(74_001), "1:15");
  assert.equal(countdown(1), "0:01");
  assert.equal(countdown(0), "0:00");
  assert.equal(countdown(-5_000), "0:00");
  assert.equal(countdown(59_001), "1:00");
  assert.equal(countdown(3_600_000), "1:00:00");
  assert.equal(countdown(2 * 3_600_000 + 61_000), "2:01:01");
});

test("money has as many digits as its currency", () => {
  const digits = { JPY: 0, KWD: 3 };
  assert.equal(moneyOf(1234, "USD", digits, "en-US"), "$12.34");
  assert.equal(moneyOf(1234, "JPY", digits, "en-US"), "¥1,234");
  assert.equal(moneyOf(1234, "KWD", digits, "en-US").replace(/\s/, " "), "KWD 1.234");
  assert.equal(moneyOf(1234, "EUR", digits, "de-DE").replace(/\s/, " "), "12,34 €");
});

test("a currency that the phone cannot write is written as it is", () => {
  assert.equal(moneyOf(1234, "X", {}, "en-US"), "12.34 X");
});

test("a distance has a decimal below 10 km", () => {
  assert.equal(kmOf(0.04, "en-US"), "0.0 km");
  assert.equal(kmOf(3.26, "en-US"), "3.3 km");
  assert.equal(kmOf(3.26, "de-DE"), "3,3 km");
  assert.equal(kmOf(10, "en-US"), "10 km");
  assert.equal(kmOf(1234.5, "en-US"), "1,235 km");
});

test("a time of day is written as the phone's region does", () => {
  const instant = new Date(2026, 1, 1, 14, 5).getTime();
  assert.equal(clockIn("de-DE", undefined)(instant), "14:05");
  assert.match(clockIn("en-US", undefined)(instant), /^02:05\sPM$/);
  assert.equal(clockIn("de-DE", undefined)(new Date(instant).toISOString()), "14:05");
});

test("a time of day names its zone where the company's clocks show another time", () => {
  const [winter, summer] = ["2026-02-01T10:00:00.000Z", "2026-07-01T10:00:00.000Z"];
  const london = clockIn("en-GB", "Europe/Berlin", "Europe/London");
  assert.deepEqual([london(winter), london(summer)], ["10:00 GMT", "11:00 BST"]);
  assert.equal(clockIn("de-DE", "Europe/Vienna", "Europe/Berlin")(winter), "11:00", "another zone with the same time");
  const lisbon = clockIn("de-DE", "Etc/UTC", "Europe/Lisbon");
  assert.equal(lisbon(winter), "10:00");
  assert.notEqual(lisbon(summer), "11:00", "the same time in winter only");
  assert.equal(clockIn("de-DE", "Mars/Olympus", "Europe/Berlin")(winter), "11:00", "a zone that the phone does not know");
});

test("a place without an address is its coordinates, from left to right", () => {
  assert.equal(addressOf({ lat: 52.519, lon: 13.404, address: "Spandauer Straße 1" }), "Spandauer Straße 1");
  assert.equal(addressOf({ lat: 52.519, lon: 13.4, address: null }), "\u206652.5190, 13.4000\u2069");
});
