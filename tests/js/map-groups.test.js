import assert from "node:assert/strict";
import { test } from "node:test";

import { grouped, most } from "../../static/board/map-groups.js";

/** @typedef {import("../../static/board/map-groups.js").At} At */

/**
 * So many places in a city, a few kilometres apart.
 * @param {number} count
 * @param {At} [middle]
 * @returns {At[]}
 */
const city = (count, [lat, lon] = [52.5, 13.4]) =>
  Array.from({ length: count }, (_, n) => [lat + (n % 5) / 100, lon + (n % 7) / 100]);

test("one who is far away does not decide what the map shows", () => {
  for (const far of /** @type {At[]} */ ([[48.1, 11.6], [52.5, 16.4], [-33.9, 151.2]])) {
    for (const count of [2, 3, 4, 25]) assert.deepEqual(most([...city(count), far]), city(count), `${far} ${count}`);
  }
});

test("who is a little outside, two cities, and two alone are all shown", () => {
  const two = [...city(10), ...city(10, [48.1, 11.6])];
  for (const places of [[...city(25), /** @type {At} */ ([52.58, 13.5])], two, [...city(1), ...city(1, [48.1, 11.6])], city(1), []]) {
    assert.deepEqual(most(places), places);
  }
});

test("three on each other are one, two are not", () => {
  const at = (/** @type {{x: number}} */ { x }) => ({ x, y: 5 });
  const groups = grouped([{ x: 1 }, { x: 2 }, { x: 9 }, { x: 21 }, { x: 22 }], at, 20);
  assert.deepEqual(groups, [
    { name: "0:0", things: [{ x: 1 }, { x: 2 }, { x: 9 }] },
    { name: "1:0:0", things: [{ x: 21 }] },
    { name: "1:0:1", things: [{ x: 22 }] },
  ]);
});
