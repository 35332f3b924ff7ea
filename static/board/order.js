// Where rows belong. Pure: of rows it knows only what `by` says about two of them.

/**
 * How many of these ordered rows come before this one.
 * @template Row
 * @param {readonly Row[]} rows in order
 * @param {Row} row
 * @param {(a: Row, b: Row) => number} by
 * @returns {number}
 */
export const rankOf = (rows, row, by) => {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (by(/** @type {Row} */ (rows[middle]), row) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
};

/**
 * The longest run of rows that are in order among themselves (patience sorting): the others are the fewest that have to
 * move for all to be in order.
 * @template {object} Row
 * @param {Iterable<Row>} rows
 * @param {(a: Row, b: Row) => number} by
 * @returns {Set<Row>}
 */
export const inOrder = (rows, by) => {
  /** @type {Row[]} the smallest end of a run of each length */
  const ends = [];
  /** @type {Map<Row, Row | undefined>} */
  const before = new Map();
  for (const row of rows) {
    const rank = rankOf(ends, row, by);
    before.set(row, ends[rank - 1]);
    ends[rank] = row;
  }
  /** @type {Set<Row>} */
  const run = new Set();
  for (let row = ends.at(-1); row; row = before.get(row)) run.add(row);
  return run;
};
