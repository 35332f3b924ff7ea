// Photos and signatures of a handover: made small on the phone, and which of them the server has.

import { read, write } from "./storage.js";

/** @import {PictureKind} from "./upload.js" */

const EDGE = 1600;
const QUALITY = 0.82;
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

// Which pictures the server has: it does not tell. Kept on the phone until their delivery is no longer in hand.
export class Sent {
  constructor() {
    /** @type {Record<string, PictureKind[]>} by assignment */
    this._kinds = JSON.parse(read(KEY) ?? "{}");
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
    write(KEY, JSON.stringify(kinds));
  }
}
