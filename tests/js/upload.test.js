import assert from "node:assert/strict";
import { test } from "node:test";

import { upload } from "../../static/driver/upload.js";

/** @type {import("../../static/driver/actions.js").Action} */
const PROOF = { actionId: "a1", driverId: "d1", type: "proof", assignmentId: "x1", storeName: "Roma", at: 0, due: 0, tried: true };

test("a picture that the browser has lost is taken again, and does not wait for a network for ever", async (t) => {
  const { fetch } = globalThis;
  globalThis.fetch = () => Promise.reject(new TypeError("failed to fetch"));
  t.after(() => (globalThis.fetch = fetch));
  const kept = new Blob(["a picture"]);
  const lost = Object.assign(new Blob(["a picture"]), { arrayBuffer: () => Promise.reject(new Error("NotReadableError")) });

  await assert.rejects(upload({ ...PROOF, picture: kept }, "token"), { code: "try_again" });
  await assert.rejects(upload({ ...PROOF, picture: kept }, null), { code: "try_again" });
  await assert.rejects(upload({ ...PROOF, picture: lost }, "token"), { code: "no_picture" });
  await assert.rejects(upload(PROOF, "token"), { code: "no_picture" });
});
