import assert from "node:assert/strict";
import { test } from "node:test";

import { SHOWS, SORTS, addressOf, wantedBy } from "../../static/board/address.js";

/** @import {Row} from "../../static/board/address.js" */

const BOARD = "https://x.example/board";

test("an address without a query shows everything in the first order", () => {
  const wanted = wantedBy("");
  assert.deepEqual(wanted.sorts, { waiting: "level", active: "since", offers: "deadline", drivers: "state" });
  assert.deepEqual([wanted.q, wanted.zone, wanted.show, wanted.row, wanted.picks.size], ["", "", "", "", 0]);
  assert.equal(addressOf(wanted, BOARD), BOARD);
});

test("what is wanted comes back from its address", () => {
  const search = "?q=pizza+mario&zone=Mitte&show=late&row=d-1&pick=d-1.d-2&sort-waiting=-store&sort-drivers=load";
  const wanted = wantedBy(search);
  assert.deepEqual([wanted.q, wanted.zone, wanted.show, wanted.row], ["pizza mario", "Mitte", "late", "d-1"]);
  assert.deepEqual([...wanted.picks], ["d-1", "d-2"]);
  assert.equal(wanted.sorts.waiting, "store");
  assert.ok(wanted.backwards.waiting);
  assert.ok(!wanted.backwards.drivers);
  assert.equal(addressOf(wanted, BOARD), BOARD + search);
});

test("one view has one address, whatever led to it", () => {
  const wanted = wantedBy("?sort=age&zone=Mitte");
  assert.equal(wanted.sorts.waiting, "since");
  const address = addressOf(wanted, `${BOARD}?zone=West&q=x&sort=age&other=1`);
  assert.equal(address, `${BOARD}?other=1&zone=Mitte&sort-waiting=since`);
});

test("what nobody knows is left out, also names that every object has", () => {
  const wanted = wantedBy("?show=constructor&sort-active=toString&sort-drivers=nothing");
  assert.equal(wanted.show, "");
  assert.equal(wanted.sorts.active, "since");
  assert.equal(wanted.sorts.drivers, "state");
});

test("more than 20 selected rows are too many for an address", () => {
  const wanted = wantedBy("");
  for (let n = 0; n < 20; n++) wanted.picks.add(`d-${n}`);
  assert.match(addressOf(wanted, BOARD), /pick=d-0\.d-1\./);
  wanted.picks.add("d-20");
  assert.equal(addressOf(wanted, BOARD), BOARD);
});

/**
 * A row as the comparisons see it.
 * @param {string} id
 * @param {Record<string, string>} dataset
 * @returns {Row}
 */
const row = (id, dataset) => /** @type {Row} */ (/** @type {unknown} */ ({ id, dataset, driverName: dataset.name }));

/**
 * @param {string} sort
 * @param {Row[]} rows
 */
const sorted = (sort, rows) => rows.sort(SORTS[sort]).map(({ id }) => id);

test("rows are sorted by what was chosen, then by age, then by id", () => {
  const rows = [
    row("c", { level: "1", since: "5", store: "Bo", state: "busy", name: "Zoe", km: "2", load: "1", tries: "0", deadline: "9" }),
    row("b", { level: "2", since: "7", store: "Al", state: "available", name: "Ann", km: "9", load: "0", tries: "3", deadline: "4" }),
    row("a", { level: "1", since: "5", store: "Al", state: "strange", name: "Max", km: "2", load: "1", tries: "0", deadline: "9" }),
  ];
  for (const [sort, ids] of Object.entries({
    level: ["b", "a", "c"],
    since: ["a", "c", "b"],
    store: ["a", "b", "c"],
    state: ["b", "c", "a"],
    name: ["b", "a", "c"],
    km: ["b", "a", "c"],
    load: ["a", "c", "b"],
    tries: ["b", "a", "c"],
    deadline: ["b", "a", "c"],
  })) {
    assert.deepEqual(sorted(sort, rows), ids, sort);
  }
  assert.equal(Object.keys(SORTS).length, 9);
});

test("each number of the headline shows its rows", () => {
  const shows = (/** @type {string} */ show, /** @type {DOMStringMap} */ dataset) => SHOWS[show]?.[1](dataset);
  assert.deepEqual([shows("unoffered", {}), shows("unoffered", { offered: "v1" })], [true, false]);
  assert.deepEqual([shows("late", { level: "1" }), shows("late", { level: "0" })], [true, false]);
  assert.deepEqual([shows("unacknowledged", {}), shows("unacknowledged", { acknowledged: "" })], [true, false]);
  const held = { held: "", level: "0" };
  assert.deepEqual([shows("held", held), shows("held", {})], [true, false]);
  assert.deepEqual(["waiting", "unoffered", "unacknowledged"].map((show) => shows(show, held)), [false, false, false]);
  assert.ok(shows("waiting", {}));
  assert.deepEqual([shows("gone", { driverGone: "" }), shows("gone", {})], [true, false]);
  assert.deepEqual(["offline", "shift_ended", "busy"].map((state) => shows("off", { state })), [true, true, false]);
});
