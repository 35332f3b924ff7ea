import assert from "node:assert/strict";
import { test } from "node:test";

import { inOrder, rankOf } from "../../static/board/order.js";

/**
 * @param {{n: number}} a
 * @param {{n: number}} b
 */
const by = (a, b) => a.n - b.n;
/** @param {number[]} numbers */
const rows = (numbers) => numbers.map((n) => ({ n }));

test("a new row comes behind its equals", () => {
  const known = rows([1, 3, 3, 5]);
  assert.deepEqual([0, 1, 3, 4, 9].map((n) => rankOf(known, { n }, by)), [0, 1, 3, 3, 4]);
  assert.equal(rankOf([], { n: 1 }, by), 0);
});

test("the rows that need not move are the longest run in order", () => {
  for (const [numbers, run] of /** @type {[number[], number[]][]} */ ([
    [[], []],
    [[1, 2, 3], [1, 2, 3]],
    [[9, 1, 2, 3], [1, 2, 3]],
    [[2, 3, 1, 4], [2, 3, 4]],
    [[3, 2, 1], [1]],
    [[2, 2, 1, 2], [2, 2, 2]],
    [[5, 1, 6, 2, 7, 3], [1, 2, 3]],
  ])) {
    assert.deepEqual([...inOrder(rows(numbers), by)].map(({ n }) => n).sort(), run, String(numbers));
  }
});

/**
 * The longest run, found by trying every subset.
 * @param {number[]} numbers
 */
const longest = (numbers) => {
  let most = 0;
  for (let subset = 0; subset < 2 ** numbers.length; subset++) {
    const chosen = numbers.filter((_, place) => subset & (1 << place));
    const ordered = chosen.every((n, place) => place === 0 || Number(chosen[place - 1]) <= n);
    if (ordered) most = Math.max(most, chosen.length);
  }
  return most;
};

test("no longer run exists, for every arrangement of six rows", () => {
  for (let number = 0; number < 6 ** 6; number += 7) {
    const numbers = Array.from({ length: 6 }, (_, place) => Math.floor(number / 6 ** place) % 6);
    const run = [...inOrder(rows(numbers), by)].reverse();
    assert.equal(run.length, longest(numbers), String(numbers));
    assert.ok(run.every((row, place) => place === 0 || by(/** @type {{n: number}} */ (run[place - 1]), row) <= 0));
  }
});
