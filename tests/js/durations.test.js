import assert from "node:assert/strict";
import { test } from "node:test";

import { aheadAfter, coarse, exact, left, share } from "../../static/board/durations.js";

const [S, MIN, H, D] = [1_000, 60_000, 3_600_000, 86_400_000];

test("an age to the second", () => {
  assert.deepEqual([0, 4 * MIN + 5_999, H + 4 * MIN + 5 * S, -7].map(exact), ["0:00", "4:05", "1:04:05", "0:00"]);
});

test("what is left shows 0:00 at the deadline and not a second before", () => {
  assert.deepEqual([2 * S, 1_001, S, 1, 0, -1].map(left), ["0:02", "0:02", "0:01", "0:01", "0:00", "0:00"]);
});

test("an age for what nobody watches by the second", () => {
  const ages = [-1, 14 * S, 15 * S, 59 * S, MIN, 59 * MIN + 59 * S, H, 3 * H + 5 * MIN, D - 1, D, 2.9 * D].map(coarse);
  assert.deepEqual(ages, ["0 s", "0 s", "15 s", "45 s", "1 min", "59 min", "1 h 0 min", "3 h 5 min", "23 h 59 min", "1 d", "2 d"]);
});

test("a fuse burns from 1 to 0", () => {
  assert.deepEqual([90, 100, 125, 200, 300].map((at) => share(100, 200, at)), [1, 1, 0.75, 0, 0]);
});

test("of the messages that tell the server's time the quickest counts", () => {
  assert.equal(aheadAfter(0, 5_000, 4_000), 1_000);
  assert.equal(aheadAfter(1_000, 6_200, 5_000), 1_200, "quicker");
  assert.equal(aheadAfter(1_200, 7_000, 6_500), 1_200, "slower");
  assert.equal(aheadAfter(1_200, 9_000, 20_000), -11_000, "this clock was set");
});
