// What the driver has to know and may not have read yet, kept on this phone over reloads: what the server did not accept of
// a delivery in hand, and urgent notices.

import { read, write } from "./storage.js";

const REFUSALS = "callboard.driver.refusals";
const URGENT = "callboard.driver.urgent";

/** @import {Notice} from "./state.js" */
/** @typedef {{text: string, values: Record<string, string>, at: number}} Urgent `at` is in Unix milliseconds */

/** @type {(key: string) => any} */
const kept = (key) => {
  try {
    return JSON.parse(read(key) ?? "null");
  } catch {
    return null;
  }
};

/** Refusals by the assignment's id. */
export class Refusals {
  constructor() {
    /** @type {Map<string, string>} */
    this._words = new Map(Object.entries(kept(REFUSALS) ?? {}));
  }

  /** @param {string} assignmentId */
  of(assignmentId) {
    return this._words.get(assignmentId) ?? null;
  }

  /**
   * @param {string} assignmentId
   * @param {string | null} words null once the driver has answered it
   */
  set(assignmentId, words) {
    if (this.of(assignmentId) === words) return;
    if (words === null) this._words.delete(assignmentId);
    else this._words.set(assignmentId, words);
    write(REFUSALS, this._words.size === 0 ? null : JSON.stringify(Object.fromEntries(this._words)));
  }

  /** @param {Record<string, unknown>} assignments in hand */
  keepOnly(assignments) {
    for (const id of [...this._words.keys()]) if (!(id in assignments)) this.set(id, null);
  }
}

/**
 * Keep those that are urgent, each since it was first said.
 * @param {Notice[]} notices
 * @param {number} at now, in Unix milliseconds
 */
export const keepUrgent = (notices, at) => {
  const before = new Map(keptUrgent().map((one) => [key(one), one]));
  const urgent = notices.filter(({ kind }) => kind === "urgent").map((one) => before.get(key(one)) ?? { text: one.text, values: one.values, at });
  if (urgent.length > 0 || before.size > 0) write(URGENT, urgent.length === 0 ? null : JSON.stringify(urgent));
};

/** @returns {Urgent[]} */
export const keptUrgent = () => kept(URGENT) ?? [];

/** @param {{text: string, values: Record<string, string>}} said */
const key = ({ text, values }) => JSON.stringify([text, values]);
