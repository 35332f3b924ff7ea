// What a phone shows before it connects: the driver, what they have in hand, and another device that is in use.

import { call } from "./sign-in.js";

/** @typedef {{name: string | null, since: string}} OtherDevice a device without a name has its token from a back end */
/** @typedef {{driver: Wire.DriverView, assignments: Wire.DrivenAssignmentView[], otherDevice: OtherDevice | null}} Session */

/**
 * Unlike a connection, it does not make the driver present. "refused" if this device is signed out.
 * @param {string} driverId
 * @param {string} token
 * @param {string} [base] the address of the server; a page's own if it is left out
 * @returns {Promise<Session | "refused" | "unreachable">}
 */
export const sessionOf = async (driverId, token, base = "") => {
  try {
    const answer = await call(`${base}/drivers/${encodeURIComponent(driverId)}/session`, { headers: { Authorization: `Bearer ${token}` } });
    if (!answer.ok) return answer.status === 401 ? "refused" : "unreachable";
    return await answer.json();
  } catch {
    return "unreachable";
  }
};
