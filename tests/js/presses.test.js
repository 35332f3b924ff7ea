import assert from "node:assert/strict";
import { test } from "node:test";

import { SETTLE_MS, isAtHand, isEarly, moved, painted } from "../../static/driver/presses.js";

/** @import {Box, Face, Spot} from "../../static/driver/presses.js" */

/**
 * A button of 200 x 60 px.
 * @param {number} top
 * @param {number} [scrolled] how far its page is scrolled
 * @returns {Spot}
 */
const spot = (top, scrolled = 0) => {
  /** @type {Box} */
  const seen = [0, top, 200, top + 60];
  return { seen, placed: [0, top + scrolled, 200, top + scrolled + 60] };
};
/** @returns {Face} */
const seenAt = (since = 1_000) => ({ ...spot(100), meaning: "delivered", since, past: [] });
/** @type {[x: number, y: number]} */
const THUMB = [100, 130];

test("what has just come takes no press for 600 ms, and then at once", () => {
  assert.equal(isEarly(seenAt(Infinity), { at: 5_000, place: THUMB }), true, "not painted yet");
  assert.equal(isEarly(seenAt(), { at: 1_000 + SETTLE_MS - 1, place: THUMB }), true);
  assert.equal(isEarly(seenAt(), { at: 1_000 + SETTLE_MS, place: THUMB }), false);
  assert.equal(isEarly(seenAt(), { at: 1_000 + SETTLE_MS, place: null }), false, "a key");
});

test("a button that slid under the thumb is new to it, one that was there all the time is not", () => {
  const slid = painted(moved(seenAt(), spot(120), 3_000), 3_020);
  assert.equal(isEarly(slid, { at: 3_100, place: THUMB }), false, "the thumb was over it before, too");
  assert.equal(isEarly(slid, { at: 3_100, place: [100, 170] }), true, "nothing was there");
  assert.equal(isEarly(slid, { at: 3_100, place: null }), false, "a key hits the same button");
  assert.equal(isEarly(slid, { at: 3_020 + SETTLE_MS, place: [100, 170] }), false);
});

test("a button that moves twice does not start anew for a thumb that it never left", () => {
  let face = painted(moved(seenAt(), spot(115), 1_200), 1_210);
  face = painted(moved(face, spot(90), 1_400), 1_410);
  assert.equal(isEarly(face, { at: 1_599, place: THUMB }), true, "600 ms since it came");
  assert.equal(isEarly(face, { at: 1_600, place: THUMB }), false, "not 600 ms since it moved last");
  assert.equal(isEarly(face, { at: 1_600, place: [100, 100] }), true, "it was lower for a moment");
  assert.equal(moved(face, spot(90), 9_000).past.length, 1, "what was long ago is forgotten");
});

test("a move that is not painted yet has not been seen", () => {
  const face = moved(seenAt(), spot(300), 3_000);
  assert.equal(isEarly(face, { at: 3_010, place: [100, 330] }), true);
  assert.deepEqual(painted(face, 3_020).past.map(({ until }) => until), [3_020]);
});

test("in a page that was scrolled the place counts in which the button scrolls", () => {
  const face = painted(moved({ ...seenAt(), ...spot(100, 400) }, spot(40, 480), 3_000), 3_010);
  assert.equal(isEarly(face, { at: 3_100, place: [100, 50] }), false, "20 px lower in the page");
  assert.equal(isEarly(face, { at: 3_100, place: [100, 90] }), true);
});

test("a thumb over its middle finds it where it was, if it has moved less than half its height in all", () => {
  const once = moved(seenAt(), spot(125), 3_000);
  assert.equal(isAtHand(once), true);
  assert.equal(isAtHand(moved(seenAt(), spot(140), 3_000)), false);
  const twice = moved(painted(once, 3_010), spot(145), 3_100);
  assert.equal(isAtHand(twice), false, "two small steps");
  assert.equal(isEarly(painted(twice, 3_110), { at: 3_300, place: [100, 175] }), true, "so the veil and the guard agree");
  assert.equal(isAtHand(moved({ ...seenAt(), ...spot(100, 50) }, spot(300, -150), 3_000)), true, "only scrolled");
});
