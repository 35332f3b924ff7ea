// Reports over HTTP, by a phone without a connection: another phone of the driver has it, and keeps it.

import { Refused } from "./connection.js";
import { call } from "./sign-in.js";

/** @type {Partial<Record<Wire.FromDriver["type"], string>>} the calls, by the messages that they stand for */
const CALLS = { arrived: "arrived", picked_up: "pickup", completed: "complete", release: "release", failed: "failed" };

/**
 * Sends a report. It does not make the driver present. Throws Refused: "try_again" if nobody knows whether it arrived, or
 * the server is busy, "unauthorized" if the token is no longer valid.
 * @param {string} driverId
 * @param {Wire.FromDriver} message
 * @param {string} token
 * @param {string} [base] the address of the server; a page's own if it is left out
 */
export const handIn = async (driverId, message, token, base = "") => {
  const { type, ...said } = message;
  if (!("assignmentId" in said) || CALLS[type] === undefined) throw new Refused("invalid", type);
  const { assignmentId, ...body } = said;
  /** @type {Response} */
  let answer;
  try {
    answer = await call(`${base}/drivers/${driverId}/assignments/${assignmentId}/${CALLS[type]}?present=0`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refused("try_again", "");
  }
  if (!answer.ok) throw await refusalIn(answer);
};

/**
 * What the server said instead of yes.
 * @param {Response} answer
 */
export const refusalIn = async (answer) => {
  if (answer.status === 401) return new Refused("unauthorized", "");
  if (answer.status === 429 || answer.status >= 500) return new Refused("try_again", "");
  /** @type {Partial<Wire.Error> & {detail?: string}} */
  const problem = await answer.json().catch(() => ({}));
  return new Refused(problem.code ?? "internal_error", problem.detail ?? "", problem);
};
