// The upload of a proof: a photo or a signature.

import { Refused } from "./connection.js";

/** @import {Action} from "./actions.js" */
/** @typedef {"photo" | "signature"} PictureKind */

const ANSWER_MS = 60_000;

/**
 * Uploads a picture. The same `actionId` again is the same proof. Throws Refused: "try_again" if nobody knows
 * whether it arrived, or the server is busy.
 * @param {Action} action
 * @param {string | null} token
 * @param {string} [base] the address of the server; a page's own if it is left out
 */
export const upload = async ({ driverId, assignmentId, actionId, kind = "photo", picture }, token, base = "") => {
  if (!picture) throw new Refused("no_picture", "");
  if (token === null) throw new Refused("try_again", "");
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(`${base}/drivers/${driverId}/assignments/${assignmentId}/proofs?${new URLSearchParams({ kind, actionId })}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      body: picture,
      signal: AbortSignal.timeout?.(ANSWER_MS),
    });
  } catch {
    // A browser can lose a picture that it has kept: no try would ever succeed, and the handover would wait for it.
    throw new Refused((await isReadable(picture)) ? "try_again" : "no_picture", "");
  }
  if (answer.ok) return;
  // A token that has expired: the connection gets another one.
  if (answer.status === 401 || answer.status === 429 || answer.status >= 500) throw new Refused("try_again", "");
  /** @type {Partial<Wire.Error>} */
  const problem = await answer.json().catch(() => ({}));
  const unreadable = answer.status === 413 || answer.status === 415 || answer.status === 422;
  throw new Refused(unreadable ? "no_picture" : (problem.code ?? "internal_error"), problem.message ?? "", problem);
};

/** @param {Blob} picture */
const isReadable = (picture) => picture.arrayBuffer().then(() => true, () => false);
