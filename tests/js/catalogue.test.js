import assert from "node:assert/strict";
import { test } from "node:test";

import { keyOf, localeFor, textsIn } from "../../static/driver/catalogue.js";

const KEYS = ["1472d", "ki1r", "9r2kc", "olbq", "1yd5z"]; // tests/test_texts.py has them too

const POLISH = byKey({
  "Start shift": "Rozpocznij zmianę",
  "New offer: {store}": "Nowa oferta: {store}",
  "For {count} minute.": { one: "{count} minutę.", few: "{count} minuty.", many: "{count} minut.", other: "{count} minuty." },
});

/**
 * The catalogue as a page has it.
 * @param {Record<string, import("../../static/driver/catalogue.js").Words>} words by their English text
 */
function byKey(words) {
  return Object.fromEntries(Object.entries(words).map(([english, translated]) => [keyOf(english), translated]));
}

test("the key of a text is short, and the server makes the same", () => {
  assert.deepEqual(["", "Start shift", "{count} delivery", "“Zoë” – 10 €", "🛵"].map(keyOf), KEYS);
});

test("an English text is its own translation", () => {
  const { text } = textsIn({}, "en", "en-GB");
  assert.equal(text("Start shift"), "Start shift");
  assert.equal(text("New offer: {store}", { store: "Mario's" }), "New offer: Mario's");
});

test("values are put into the translation, and what has no value is left", () => {
  const { text } = textsIn(POLISH, "pl", "pl");
  assert.equal(text("Start shift"), "Rozpocznij zmianę");
  assert.equal(text("New offer: {store}", { store: "{count}" }), "Nowa oferta: {count}");
  assert.equal(text("New offer: {store}"), "Nowa oferta: {store}");
});

test("English has two plural forms", () => {
  const { counted } = textsIn({}, "en", "en-US");
  const minutes = (/** @type {number} */ count) => counted("For {count} minute.", "For {count} minutes.", count);
  assert.equal(minutes(1), "For 1 minute.");
  assert.equal(minutes(0), "For 0 minutes.");
  assert.equal(minutes(1200), "For 1,200 minutes.");
});

test("a language has the plural forms that it needs", () => {
  const { counted } = textsIn(POLISH, "pl", "pl");
  const minutes = (/** @type {number} */ count) => counted("For {count} minute.", "For {count} minutes.", count);
  assert.deepEqual([1, 2, 5, 22].map(minutes), ["1 minutę.", "2 minuty.", "5 minut.", "22 minuty."]);
});

test("numbers are written as the phone's region of the page's language does", () => {
  assert.equal(localeFor("de", ["en-US", "de-AT", "de"]), "de-AT");
  assert.equal(localeFor("de", ["en-US"]), "de");
  assert.equal(localeFor("de", ["den-US"]), "de");
});
