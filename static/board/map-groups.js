// What a map of many places shows: where most of them are, and one mark for those that lie on each other. Without a map.

/** @typedef {[lat: number, lon: number, altitude?: number]} At */

/** The part of all places that decides what is near, how many times as far the others may be, and what is always near. */
const SHARE = 0.8;
const TIMES = 2.5;
const NEAR_KM = 10;
/** So many places on each other are one mark. */
const FEWEST = 3;

/** @param {number[]} numbers */
const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(half)] ?? 0) + (sorted[Math.ceil(half)] ?? 0)) / 2;
};

/**
 * The kilometres between two places, as exact as a map needs them.
 * @param {At} one
 * @param {At} other
 */
const km = ([lat, lon], [otherLat, otherLon]) => {
  const east = (lon - otherLon) * Math.cos(((lat + otherLat) / 2) * (Math.PI / 180));
  return Math.hypot(lat - otherLat, east) * 111.2;
};

/**
 * The places without those that are far away from most.
 * @param {At[]} places
 * @returns {At[]}
 */
export const most = (places) => {
  const middle = /** @type {At} */ ([median(places.map(([lat]) => lat)), median(places.map(([, lon]) => lon))]);
  const distances = places.map((place) => km(place, middle));
  const usual = [...distances].sort((a, b) => a - b)[Math.floor(SHARE * (places.length - 1))] ?? 0;
  const limit = Math.max(NEAR_KM, TIMES * usual);
  return places.filter((_, index) => (distances[index] ?? 0) <= limit);
};

/**
 * Things whose dots would lie on each other, as one, and all others alone.
 * @template T
 * @param {T[]} things
 * @param {(thing: T) => {x: number, y: number}} placeOf in pixels of the whole world, so that a move of the map changes nothing
 * @param {number} size of what counts as one place, in pixels
 * @returns {{name: string, things: T[]}[]} `name` stays the same while the group stays where it is
 */
export const grouped = (things, placeOf, size) => {
  /** @type {Map<string, T[]>} */
  const cells = new Map();
  for (const thing of things) {
    const { x, y } = placeOf(thing);
    const name = `${Math.floor(x / size)}:${Math.floor(y / size)}`;
    const cell = cells.get(name);
    if (cell) cell.push(thing);
    else cells.set(name, [thing]);
  }
  return [...cells].flatMap(([name, cell]) =>
    cell.length >= FEWEST ? [{ name, things: cell }] : cell.map((thing, index) => ({ name: `${name}:${index}`, things: [thing] })),
  );
};
