import assert from "node:assert/strict";
import { test } from "node:test";

import { read, write } from "../../static/driver/storage.js";

test("where storage is full the new text counts, not the one that is stored", (t) => {
  const stored = new Map([["device", "old"]]);
  let room = false;
  const localStorage = {
    getItem: (/** @type {string} */ key) => stored.get(key) ?? null,
    removeItem: (/** @type {string} */ key) => void stored.delete(key),
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => {
      if (!room) throw new Error("QuotaExceededError");
      stored.set(key, value);
    },
  };
  Object.defineProperty(globalThis, "localStorage", { value: localStorage, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "localStorage"));

  assert.equal(read("device"), "old");
  write("device", "new");
  assert.equal(read("device"), "new");
  stored.set("device", "of another tab");
  assert.equal(read("device"), "of another tab");
  room = true;
  write("device", "newer");
  assert.deepEqual([read("device"), stored.get("device")], ["newer", "newer"]);
  write("device", null);
  assert.equal(read("device"), null);
});
