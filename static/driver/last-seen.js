// What was last known of the driver, kept on this phone, so that a page that opens without a network says more than that it
// has none. Nothing of an order is in it, and nothing is left once the driver has left the phone.

import { read, write } from "./storage.js";

const KEY = "callboard.driver.lastSeen";
const OFTEN_MS = 60_000;
const SHIFT_MS = 12 * 3_600_000; // a page that was not used for so long begins another shift

/** @import {DriverNumbers} from "./numbers.js" */

/**
 * All instants are the phone's, in Unix milliseconds.
 * @typedef {object} LastSeen
 * @property {Wire.DriverView} driver without the place
 * @property {number} at when it was true
 * @property {number | null} since since when the driver is on shift on this phone
 * @property {DriverNumbers | null} numbers
 * @property {number} numbersAt when they were true
 */

/**
 * What this driver's page last heard.
 * @param {string | null} driverId
 * @returns {LastSeen | null}
 */
export const lastSeen = (driverId) => {
  try {
    /** @type {LastSeen | null} */
    const kept = JSON.parse(read(KEY) ?? "null");
    return kept?.driver.id === driverId ? kept : null;
  } catch {
    return null;
  }
};

/**
 * @param {Wire.DriverView} driver
 * @param {number} at
 * @param {{numbers: DriverNumbers, at: number} | null} told the driver's numbers
 */
export const keepSeen = (driver, at, told) => {
  const before = lastSeen(driver.id);
  /** @type {LastSeen} */
  const next = {
    driver: { ...driver, location: null },
    at,
    since: onShiftSince(driver, at, before),
    numbers: told?.numbers ?? before?.numbers ?? null,
    numbersAt: told?.at ?? before?.numbersAt ?? at,
  };
  if (before && Math.abs(at - before.at) < OFTEN_MS && JSON.stringify({ ...next, at: before.at }) === JSON.stringify(before)) return;
  write(KEY, JSON.stringify(next));
};

// The driver leaves this phone.
export const forgetSeen = () => write(KEY, null);

/**
 * A lost connection does not end a shift.
 * @param {Wire.DriverView} driver
 * @param {number} at
 * @param {LastSeen | null} before
 */
const onShiftSince = ({ availability }, at, before) => {
  const since = before !== null && Math.abs(at - before.at) < SHIFT_MS ? before.since : null;
  if (availability === "shift_ended") return null;
  return availability === "offline" ? since : (since ?? at);
};
