import assert from "node:assert/strict";
import { test } from "node:test";

import { isLoudEnough } from "../../static/board/loudness.js";

test("a level is loud enough if it was chosen, or is higher", () => {
  assert.ok(!isLoudEnough("", 3, true));
  assert.deepEqual([1, 2, 3].map((level) => isLoudEnough("2", level, false)), [false, true, true]);
  assert.ok(isLoudEnough("top", 3, true));
  assert.ok(!isLoudEnough("top", 3, false));
});
