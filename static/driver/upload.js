// The upload of a proof: a photo or a signature.

import { Refused } from "./connection.js";
import { refusalIn } from "./hand-in.js";

/** @import {Action} from "./actions.js" */
/** @typedef {"photo" | "signature"} PictureKind */

const ANSWER_MS = 60_000;

/**
 * Uploads a picture. The same `actionId` again is the same proof. Throws Refused: "try_again" if nobody knows
 * whether it arrived, or the server is busy, "unauthorized" if the token is no longer valid.
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
    answer = await fetch(`${base}/drivers/${driverId}/assignments/${assignmentId}/proofs?${new URLSearchParams({ kind, actionId, present: "0" })}`, {
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
  throw answer.status === 413 || answer.status === 415 || answer.status === 422 ? new Refused("no_picture", "") : await refusalIn(answer);
};

/** @param {Blob} picture */
const isReadable = (picture) => picture.arrayBuffer().then(() => true, () => false);
