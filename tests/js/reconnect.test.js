import assert from "node:assert/strict";
import { test } from "node:test";

import { LASTING_STATES, lastingState, pauseMs } from "../../static/driver/reconnect.js";

test("pauses double from 400 ms to 20 s", () => {
  const pauses = Array.from({ length: 9 }, (_, failures) => pauseMs(failures, null, 1));
  assert.deepEqual(pauses, [400, 800, 1_600, 3_200, 6_400, 12_800, 20_000, 20_000, 20_000]);
});

test("chance makes a pause up to half as long", () => {
  assert.equal(pauseMs(3, null, 0), 1_600);
  assert.equal(pauseMs(3, null, 0.5), 2_400);
  assert.equal(pauseMs(1_000, null, 0), 10_000);
});

test("the pause that the server asks for counts", () => {
  assert.equal(pauseMs(7, 1_250, 0.9), 1_250);
  assert.equal(pauseMs(7, 0, 0.9), 0);
});

test("close codes 4101 to 4105 end in a state that lasts, all others connect again", () => {
  assert.deepEqual([4101, 4102, 4103, 4104, 4105].map(lastingState), ["refused", "expired", "superseded", "outdated", "two_devices"]);
  for (const code of [0, 1000, 1006, 1009, 1012, 4201, 4202, 4203]) assert.equal(lastingState(code), null);
  assert.ok(LASTING_STATES.has("superseded"));
  for (const state of ["connecting", "online", "offline", "closed"]) assert.ok(!LASTING_STATES.has(state));
});
