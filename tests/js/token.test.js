import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";

import { whose } from "../../static/driver/ids.js";
import { codeIn, keep, kept, renew, replaceBy, signIn, signOut, tokenIn } from "../../static/driver/token.js";

if (!globalThis.crypto) Object.defineProperty(globalThis, "crypto", { value: webcrypto }); // Node.js 18

/** @param {unknown} claims */
const token = (claims) => `eyJ.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s-_9`;

test("a token is found in a link, in a fragment or alone", () => {
  const one = token({ sub: "d1" });
  for (const text of [one, ` ${one}\n`, `#token=${one}`, `https://x.example/driver?lat=1#a=2&token=${one}`]) {
    assert.equal(tokenIn(text), one);
  }
  for (const text of ["", "hello", "https://x.example/driver", `https://x.example/driver?token=${one}`, "a.b", `${one} is mine`]) {
    assert.equal(tokenIn(text), null);
  }
});

test("a token says whose it is", () => {
  assert.equal(whose(token({ sub: "7b1f", name: "Ælfþryð ??>>" })), "7b1f");
  assert.equal(whose(token({})), null);
  assert.equal(whose("a.b.c"), null);
  assert.equal(whose("nothing"), null);
});

test("where storage is forbidden a token lasts as long as the page", () => {
  keep("a.b.c");
  assert.equal(kept(), "a.b.c");
  keep(null);
  assert.equal(kept(), null);
});

test("a code is found in the link of an invitation, or alone", () => {
  const code = "AbCdEfGhIjKlMnOpQr-_09";
  for (const text of [code, ` ${code}\n`, `#code=${code}`, `https://x.example/driver#a=1&code=${code}`]) {
    assert.equal(codeIn(text), code);
  }
  for (const text of ["", `${code}x`, `https://x.example/driver?code=${code}`, `#token=${token({})}`]) {
    assert.equal(codeIn(text), null);
  }
});

/**
 * The server: its answers in order, null for none, and what it was asked.
 * @param {import("node:test").TestContext} t
 * @param {(Response | null)[]} answers
 */
const server = (t, answers) => {
  /** @type {[path: string, body: Record<string, string>][]} */
  const asked = [];
  const { fetch } = globalThis;
  globalThis.fetch = async (path, options) => {
    asked.push([String(path), JSON.parse(String(options?.body ?? "{}"))]);
    const answer = answers.shift();
    if (!answer) throw new TypeError("no network");
    return answer;
  };
  t.after(() => {
    globalThis.fetch = fetch;
    keep(null);
  });
  return asked;
};

/** @param {number} n */
const signedIn = (n) => Response.json({ token: `token ${n}`, deviceToken: `device ${n}` });
/** @param {number} status */
const refused = (status) => new Response("{}", { status });

test("a phone that signed in renews its token with the newest device token", async (t) => {
  const asked = server(t, [signedIn(1), signedIn(2), signedIn(3)]);
  assert.equal(await signIn("code", "id"), "in");
  assert.equal(kept(), "token 1");
  assert.equal(await renew("token 1"), "renewed");
  assert.equal(await renew("token 2"), "renewed");
  assert.equal(kept(), "token 3");
  assert.deepEqual(asked.map(([path, { deviceToken }]) => [path, deviceToken]), [
    ["/driver/sign-in", undefined],
    ["/driver/renew", "device 1"],
    ["/driver/renew", "device 2"],
  ]);
});

test("a renewal whose answer was lost is repeated as the same one", async (t) => {
  const asked = server(t, [signedIn(1), null, refused(503), refused(429), signedIn(2), signedIn(3)]);
  await signIn("code", "id");
  for (let n = 0; n < 3; n++) assert.equal(await renew("token 1"), "unreachable");
  assert.equal(await renew("token 1"), "renewed");
  await renew("token 2");
  const ids = asked.slice(1).map(([, { actionId }]) => actionId);
  assert.equal(new Set(ids.slice(0, 4)).size, 1);
  assert.match(String(ids[0]), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(ids[4], ids[0], "another renewal");
});

test("a token that another tab renewed is not renewed again", async (t) => {
  const asked = server(t, [signedIn(1)]);
  await signIn("code", "id");
  assert.equal(await renew("an older token"), "renewed");
  assert.equal(asked.length, 1);
});

test("a token from a back end cannot be renewed", async (t) => {
  const asked = server(t, [signedIn(1)]);
  await signIn("code", "id");
  keep("a.b.c");
  assert.equal(await renew("a.b.c"), "none");
  assert.equal(asked.length, 1);
});

test("a sign-in that is refused changes nothing, and says why", async (t) => {
  server(t, [refused(410), refused(429), refused(500), null]);
  keep("a.b.c");
  /** @type {string[]} */
  const outcomes = [];
  for (let n = 0; n < 4; n++) outcomes.push(await signIn("code", "id"));
  assert.deepEqual(outcomes, ["refused", "limited", "unreachable", "unreachable"]);
  assert.equal(kept(), "a.b.c");
});

test("a token of a link replaces that of the phone once the server accepts it", async (t) => {
  const other = token({ sub: "d2" });
  const asked = server(t, [signedIn(1), refused(401), null, Response.json({}), null]);
  await signIn("code", "id");
  assert.deepEqual([await replaceBy("a.b.c"), await replaceBy(other), await replaceBy(other)], ["refused", "refused", "unreachable"]);
  assert.equal(kept(), "token 1");
  assert.equal(await replaceBy(other), "in");
  assert.equal(kept(), other);
  assert.deepEqual(asked.slice(1).map(([path]) => path), ["/drivers/d2", "/drivers/d2", "/drivers/d2", "/driver/sign-out"]);
  assert.equal(await renew(other), "none");
});

test("a phone that signs out forgets its tokens, also without a network", async (t) => {
  const asked = server(t, [signedIn(1), null]);
  await signIn("code", "id");
  await signOut();
  assert.equal(kept(), null);
  assert.deepEqual(asked[1], ["/driver/sign-out", { deviceToken: "device 1" }]);
  assert.equal(await renew(null), "none");
});

test("a renewal that is answered after the driver signed out signs nobody in, and its device is ended", async (t) => {
  const asked = server(t, [signedIn(1), signedIn(2), refused(401)]);
  await signIn("code", "id");
  const renewing = renew("token 1");
  await Promise.resolve(); // the request is on its way
  await signOut();
  assert.equal(await renewing, "none");
  assert.equal(kept(), null);
  assert.equal(await renew(null), "none", "no device token is left");
  assert.deepEqual(asked.slice(1).map(([path, { deviceToken }]) => [path, deviceToken]), [
    ["/driver/renew", "device 1"],
    ["/driver/sign-out", "device 1"],
    ["/driver/sign-out", "device 2"],
  ]);
});

test("a tab that sees late what another tab renewed does not end the device", async (t) => {
  /** @type {Map<string, string>} */
  const stored = new Map();
  const storage = {
    getItem: (/** @type {string} */ key) => stored.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void stored.set(key, value),
    removeItem: (/** @type {string} */ key) => void stored.delete(key),
  };
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  t.after(() => Reflect.deleteProperty(globalThis, "localStorage"));
  const asked = server(t, [signedIn(1), signedIn(2)]);
  await signIn("code", "id");
  const renewing = renew("token 1");
  while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
  stored.set("callboard.driver.device", JSON.stringify({ token: "device 2" }));
  assert.equal(await renewing, "renewed");
  assert.deepEqual(asked.map(([path]) => path), ["/driver/sign-in", "/driver/renew"]);
});
