// The deliveries in hand, kept on this phone, so that a page that opens without a network shows them. Nothing of it
// is kept once the driver has no delivery or has left the device.

import { read, write } from "./storage.js";

const KEY = "callboard.inHand";

/** @import {State} from "./state.js" */
/** @typedef {{driver: Wire.DriverView} & Pick<State, "assignments" | "earnings">} InHand */

let written = "";

/** @param {InHand | null} inHand */
export const keepInHand = (inHand) => {
  const next = inHand && Object.keys(inHand.assignments).length > 0 ? JSON.stringify(inHand) : "";
  if (next === written) return;
  written = next;
  write(KEY, next || null);
};

/**
 * What this driver had in hand when the page was last open.
 * @param {string | null} driverId
 * @returns {InHand | null}
 */
export const keptInHand = (driverId) => {
  written = read(KEY) ?? "";
  try {
    /** @type {InHand | null} */
    const kept = JSON.parse(written || "null");
    return kept?.driver.id === driverId ? { ...kept, earnings: kept.earnings ?? {} } : null; // an older page kept none
  } catch {
    return null;
  }
};
