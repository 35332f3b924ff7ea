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
export const isEarly = (face, { at, place }) => {
  if (at - face.since < SETTLE_MS) return true;
  return place !== null && face.past.some((before) => at - before.until < SETTLE_MS && !wasUnder(before, face, place));
};

/**
 * Whether it was under the thumb in an earlier place.
 * @param {Spot} before
 * @param {Spot} now
 * @param {[x: number, y: number]} thumb
 */
const wasUnder = (before, { seen, placed }, [x, y]) =>
  isIn(before.seen, x, y) || isIn(before.placed, x + placed[0] - seen[0], y + placed[1] - seen[1]);

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
 * Whether a thumb over its middle found it wherever it was lately.
 * @param {Face} face
 */
export const isAtHand = (face) => face.past.every((before) => wasUnder(before, face, middle(face.seen)));

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
