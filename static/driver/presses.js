// Which presses were aimed at what was there before. Pure: moments and places are arguments.

export const SETTLE_MS = 600;

/** @typedef {[left: number, top: number, right: number, bottom: number]} Box */
/** @typedef {{seen: Box, placed: Box}} Spot its place on the screen, and in what it scrolls with */
/** @typedef {Spot & {until: number}} Left where it was before, until this moment */

/**
 * Something that can be pressed: what it means, since when it is seen as that, and where it is and was.
 * @typedef {Spot & {meaning: string, since: number, past: Left[]}} Face
 */

/**
 * A press, by when and where the finger came down. A key and a screen reader's click have no place.
 * @typedef {{at: number, place: [x: number, y: number] | null}} Press
 */

/**
 * Whether it came too early: what was pressed had not been under the thumb for SETTLE_MS then, as what it is now.
 * @param {Face} face
 * @param {Press} press
 */
export const isEarly = ({ since, seen, placed, past }, { at, place }) => {
  if (at - since < SETTLE_MS) return true;
  if (place === null) return false;
  const [x, y] = place;
  const [dx, dy] = [placed[0] - seen[0], placed[1] - seen[1]];
  return past.some((before) => at - before.until < SETTLE_MS && !isIn(before.seen, x, y) && !isIn(before.placed, x + dx, y + dy));
};

/**
 * The face after it has moved, which is painted later.
 * @param {Face} before
 * @param {Spot} now
 * @param {number} at
 * @returns {Face}
 */
export const moved = (before, { seen, placed }, at) => ({
  ...before,
  seen,
  placed,
  past: [...before.past.filter(({ until }) => at - until < SETTLE_MS), { seen: before.seen, placed: before.placed, until: Infinity }],
});

/**
 * The face once it is painted.
 * @param {Face} face
 * @param {number} at
 * @returns {Face}
 */
export const painted = (face, at) => ({
  ...face,
  since: Math.min(face.since, at),
  past: face.past.map((before) => ({ ...before, until: Math.min(before.until, at) })),
});

/**
 * Whether a thumb over its middle finds it where it was.
 * @param {Spot} before
 * @param {Spot} now
 */
export const isAtHand = (before, now) => isIn(before.seen, ...middle(now.seen)) || isIn(before.placed, ...middle(now.placed));

/**
 * @param {Box} box
 * @returns {[x: number, y: number]}
 */
const middle = ([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2];

/**
 * @param {Box} box
 * @param {number} x
 * @param {number} y
 */
const isIn = ([left, top, right, bottom], x, y) => x >= left && x <= right && y >= top && y <= bottom;
