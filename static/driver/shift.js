// Whether the driver has started a shift on this phone. It is kept on this phone.

import { read, write } from "./storage.js";

const SHIFT = "callboard.driver.shift"; // the driver's id, and when the page was last used, in Unix milliseconds
const SHIFT_MS = 12 * 3_600_000; // a page that was not used for so long begins another shift
const AGAIN_MS = 600_000;

/**
 * Whether this driver has started a shift on this phone. An older page, which kept nothing, knew no start: `working`, that
 * there is a delivery in hand, says it for it.
 * @param {string | null} driverId
 * @param {boolean} working
 */
export const hasStarted = (driverId, working) => {
  const kept = read(SHIFT);
  if (kept === null) return driverId !== null && working;
  const [id, at] = kept.split(" ");
  return id === driverId && (working || Date.now() - Number(at) < SHIFT_MS);
};

/** @param {string} driverId "" once the shift has ended, or another phone has taken over */
export const started = (driverId) => {
  const [id, at] = (read(SHIFT) ?? "").split(" ");
  if (id !== driverId || Date.now() - Number(at) > AGAIN_MS) write(SHIFT, `${driverId} ${Date.now()}`);
};

// The driver leaves this phone.
export const left = () => write(SHIFT, null);
