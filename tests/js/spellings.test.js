import assert from "node:assert/strict";
import { test } from "node:test";

import { hasWords, spellings } from "../../static/board/spellings.js";

const spelled = spellings("José Müller, Łódź, Straße der Brüder Sørensen").join("\n");

test("a word is found with and without the marks on its letters, by both ways to write an umlaut", () => {
  for (const search of [
    "jose", "JOSÉ", "jose\u0301", "muller", "Mueller", "müller jose", "lodz", "ŁÓDŹ", "strasse", "straße", "brueder",
    "sorensen", "soerensen", "", " ",
  ]) assert.ok(hasWords(spelled, search), search);
  for (const search of ["josy", "muler", "jose nobody"]) assert.ok(!hasWords(spelled, search), search);
});

test("what is written without marks is found with them", () => {
  const plain = spellings("Jose Mueller and Muller").join("\n");
  for (const search of ["José", "Müller", "müller"]) assert.ok(hasWords(plain, search), search);
});

test("a plain text has one spelling", () => {
  assert.deepEqual(spellings("Roma 12"), ["roma 12"]);
});
