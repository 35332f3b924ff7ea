// Photos and signatures of a handover: made small on the phone, and uploaded.

import { Refused } from "./connection.js";

/** @import {Action} from "./actions.js" */
/** @typedef {"photo" | "signature"} PictureKind */

const EDGE = 1600;
const QUALITY = 0.82;
const ANSWER_MS = 60_000;
const KEY = "callboard.proofs";

/**
 * The picture, upright and small, encoded anew: nothing of its metadata is left, such as where it was taken. Throws what
 * the browser throws for no picture.
 * @param {Blob} file
 * @returns {Promise<{picture: Blob, drawn: HTMLCanvasElement}>}
 */
export const shrunk = async (file) => {
  const image = await createImageBitmap(file);
  const scale = Math.min(1, EDGE / Math.max(image.width, image.height));
  const drawn = document.createElement("canvas");
  drawn.width = Math.max(1, Math.round(image.width * scale));
  drawn.height = Math.max(1, Math.round(image.height * scale));
  drawn.getContext("2d")?.drawImage(image, 0, 0, drawn.width, drawn.height);
  image.close();
  /** @type {Blob} */
  const picture = await new Promise((resolve, reject) => {
    drawn.toBlob((made) => (made ? resolve(made) : reject(new Error())), "image/jpeg", QUALITY);
  });
  return { picture, drawn };
};

/**
 * Uploads a picture. The same `actionId` again is the same proof. Throws Refused: "try_again" if nobody knows
 * whether it arrived, or the server is busy.
 * @param {Action} action
 * @param {string | null} token
 */
export const upload = async ({ driverId, assignmentId, actionId, kind = "photo", picture }, token) => {
  if (token === null || !picture) throw new Refused("try_again", "");
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(`/drivers/${driverId}/assignments/${assignmentId}/proofs?${new URLSearchParams({ kind, actionId })}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      body: picture,
      signal: AbortSignal.timeout?.(ANSWER_MS),
    });
  } catch {
    throw new Refused("try_again", "");
  }
  if (answer.ok) return;
  // A token that has expired: the connection gets another one.
  if (answer.status === 401 || answer.status === 429 || answer.status >= 500) throw new Refused("try_again", "");
  /** @type {Partial<Wire.Error>} */
  const problem = await answer.json().catch(() => ({}));
  const unreadable = answer.status === 413 || answer.status === 415 || answer.status === 422;
  throw new Refused(unreadable ? "no_picture" : (problem.code ?? "internal_error"), problem.message ?? "", problem);
};

// Which pictures the server has: it does not tell. Kept on the phone until their delivery is no longer in hand.
export class Sent {
  constructor() {
    /** @type {Record<string, PictureKind[]>} by assignment */
    this._kinds = {};
    try {
      this._kinds = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    } catch {
      // no storage: it lasts as long as the page
    }
  }

  /**
   * @param {string} assignmentId
   * @param {PictureKind} kind
   */
  has(assignmentId, kind) {
    return this._kinds[assignmentId]?.includes(kind) ?? false;
  }

  /**
   * @param {string} assignmentId
   * @param {PictureKind} kind
   */
  add(assignmentId, kind) {
    if (!this.has(assignmentId, kind)) this._write({ ...this._kinds, [assignmentId]: [...(this._kinds[assignmentId] ?? []), kind] });
  }

  /** @param {Record<string, unknown>} assignments */
  keepOnly(assignments) {
    const kept = Object.entries(this._kinds).filter(([id]) => id in assignments);
    if (kept.length < Object.keys(this._kinds).length) this._write(Object.fromEntries(kept));
  }

  /** @param {Record<string, PictureKind[]>} kinds */
  _write(kinds) {
    this._kinds = kinds;
    try {
      localStorage.setItem(KEY, JSON.stringify(kinds));
    } catch {
      // it lasts as long as the page
    }
  }
}
