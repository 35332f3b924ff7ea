// The check of a customer's PIN, before the handover is reported.

import { newId } from "./ids.js";
import { call } from "./sign-in.js";

/** @typedef {"right" | "wrong" | "locked" | "unknown"} PinAnswer "unknown" if no answer came, or the server is older */

/**
 * A wrong PIN counts as a try: five of them lock it.
 * @param {{driverId: string, assignmentId: string, pin: string}} tried
 * @param {string} token
 * @param {string} [base] the address of the server; a page's own if it is left out
 * @returns {Promise<PinAnswer>}
 */
export const checkPin = async ({ driverId, assignmentId, pin }, token, base = "") => {
  try {
    const answer = await call(`${base}/drivers/${driverId}/assignments/${assignmentId}/pin`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ pin, actionId: newId() }),
    });
    if (answer.ok) return "right";
    const { code } = await answer.json();
    return code === "pin_wrong" ? "wrong" : code === "pin_locked" ? "locked" : "unknown";
  } catch {
    return "unknown";
  }
};
