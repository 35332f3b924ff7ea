import assert from "node:assert/strict";
import { test } from "node:test";

import { isSigned } from "../../static/driver/signature.js";

test("a slip of the finger is no signature", () => {
  assert.ok(!isSigned([]));
  assert.ok(!isSigned([[{ x: 5, y: 5 }], [{ x: 300, y: 100 }]]), "two dots");
  assert.ok(!isSigned([[{ x: 0, y: 0 }, { x: 30, y: 40 }]]), "50 px");
  assert.ok(isSigned([[{ x: 0, y: 0 }, { x: 30, y: 0 }], [{ x: 100, y: 0 }, { x: 100, y: 30 }]]), "60 px in two strokes");
});
