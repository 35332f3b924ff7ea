import assert from "node:assert/strict";
import { test } from "node:test";

import { keep, kept, tokenIn, whose } from "../../static/driver/token.js";

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
