import assert from "node:assert/strict";
import { test } from "node:test";

import { say, start } from "../../static/driver/state.js";
import { Refusals, keepUrgent, keptUrgent } from "../../static/driver/told.js";

test("what was refused is known to the next page, until the driver answers it or the delivery is gone", () => {
  const refusals = new Refusals();
  refusals.set("a1", "The PIN is wrong.");
  refusals.set("a2", "Take a photo first.");
  assert.equal(new Refusals().of("a1"), "The PIN is wrong.");
  refusals.set("a1", null);
  assert.deepEqual(["a1", "a2"].map((id) => new Refusals().of(id)), [null, "Take a photo first."]);
  refusals.keepOnly({ a1: {} });
  assert.equal(new Refusals().of("a2"), null);
});

test("an urgent notice is kept since it was first said, until it is dismissed", () => {
  const first = say(say(start(), "info", "Hello."), "urgent", "Keep the goods of {store}.", { store: "Roma" });
  keepUrgent(first.notices, 1_000);
  const again = say(first, "urgent", "Call dispatch.");
  keepUrgent(again.notices, 2_000);
  assert.deepEqual(keptUrgent(), [
    { text: "Keep the goods of {store}.", values: { store: "Roma" }, at: 1_000 },
    { text: "Call dispatch.", values: {}, at: 2_000 },
  ]);
  keepUrgent([], 3_000);
  assert.deepEqual(keptUrgent(), []);
});
