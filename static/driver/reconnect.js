// When to connect again after a socket was lost, and when not to. Pure: chance is an argument.

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 20_000;

/** @typedef {"refused" | "expired" | "superseded" | "outdated" | "two_devices" | "other_device"} LastingState the page does not connect again by itself */

/** @type {Record<number, LastingState>} by the close code */
const LASTING = { 4101: "refused", 4102: "expired", 4103: "superseded", 4104: "outdated", 4105: "two_devices", 4106: "other_device" };

/** @type {ReadonlySet<string>} */
export const LASTING_STATES = new Set(Object.values(LASTING));

/**
 * The state that a close code leads to, or null if the page is to connect again.
 * @param {number} code
 * @returns {LastingState | null}
 */
export const lastingState = (code) => LASTING[code] ?? null;

/**
 * How long to wait before the next attempt, in milliseconds: twice as long after every failure, up to 20 s, and shorter
 * by chance, so that thousands of phones do not come back at once.
 * @param {number} failures attempts in a row that failed before this one
 * @param {number | null} asked the pause that the server asked for in `goodbye`
 * @param {number} chance from 0 to 1
 * @returns {number}
 */
export const pauseMs = (failures, asked, chance) =>
  asked ?? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + chance / 2);
