// How alive the stream is, and when to connect again. Pure: `at` is the monotonic clock in milliseconds.
import { text } from "../driver/text.js";
import { coarse } from "./durations.js";

const SILENT_MS = 12_000; // the server says something every 5 s
const SILENT_WHEN_SEEN_MS = 7_000;
const STALE_READ_MS = 6_000;
const SHOW_RECONNECTING_MS = 1_500;
const CONNECTING_MS = 5_000;
const STALE_MS = 60_000;
const TRY_EVERY_MS = 3_000;

/** @typedef {"connecting" | "live" | "reconnecting" | "stale" | "over"} Shown */

export class Liveness {
  open = false;
  over = false; // nobody is logged in any more
  resting = false; // nobody sees the page, and others need the connection
  /** @type {number | null} */
  #heardAt = null;
  #lostAt;
  #triedAt;
  #readAge = 0;

  /** @param {number} at */
  constructor(at) {
    this.#lostAt = at;
    this.#triedAt = at;
  }

  /** @param {number} at */
  connected(at) {
    this.#triedAt = at;
  }

  /**
   * A message has come.
   * @param {number} at
   */
  heard(at) {
    this.#heardAt = at;
    this.open = true;
  }

  /**
   * A pulse says how long ago the server read the database, in ms.
   * @param {number} age
   */
  pulse(age) {
    this.#readAge = age;
  }

  /** @param {number} at */
  lost(at) {
    if (!this.open) return;
    this.open = false;
    this.#lostAt = at;
  }

  /**
   * Whether to connect now: not more often than every 3 s.
   * @param {number} at
   */
  mayConnect(at) {
    if (this.over || this.resting || at - this.#triedAt < TRY_EVERY_MS) return false;
    this.#triedAt = at;
    return true;
  }

  /**
   * The page comes back from where the browser keeps pages that were left: what it held is gone, and need not be waited
   * for.
   * @param {number} at
   */
  restored(at) {
    this.#triedAt = -Infinity;
    this.lost(at);
  }

  /**
   * The page is seen again. Whether what it holds is too old to be trusted.
   * @param {number} at
   */
  seen(at) {
    if (this.open && at - (this.#heardAt ?? -Infinity) <= SILENT_WHEN_SEEN_MS) return false;
    this.restored(at);
    return true;
  }

  /** The network is back: the next attempt need not wait. */
  networkIsBack() {
    this.#triedAt = -Infinity;
  }

  /**
   * Whether an open stream has been silent for too long. It counts as lost then.
   * @param {number} at
   */
  isSilent(at) {
    if (!this.open || at - (this.#heardAt ?? this.#lostAt) <= SILENT_MS) return false;
    this.lost(at);
    return true;
  }

  /**
   * Whether it has been lost for longer than a moment.
   * @param {number} at
   */
  isLost(at) {
    return !this.open && at - this.#lostAt > TRY_EVERY_MS;
  }

  /**
   * What the badge shows, and a few words more. Null: what it showed before.
   * @param {number} at
   * @returns {[shown: Shown, more: string] | null}
   */
  badge(at) {
    if (this.over) return ["over", ""];
    const age = this.#heardAt === null ? 0 : at - this.#heardAt;
    if (this.open) {
      const stale = age + this.#readAge;
      const isStale = stale > STALE_READ_MS * 2 || this.#readAge > STALE_READ_MS;
      return isStale ? ["stale", text("{duration} old", { duration: coarse(stale) })] : ["live", ""];
    }
    const lost = at - this.#lostAt;
    if (this.#heardAt === null && lost < CONNECTING_MS) return ["connecting", ""];
    if (lost < SHOW_RECONNECTING_MS) return null;
    const more = this.#heardAt === null ? "" : text("last update {duration} ago", { duration: coarse(age) });
    return [lost > STALE_MS ? "stale" : "reconnecting", more];
  }
}

/**
 * What is said to those who listen when the badge changes.
 * @param {Shown} before
 * @param {Shown} now
 * @returns {string}
 */
export const announcement = (before, now) => {
  if (now === before) return "";
  if (now === "live") return before === "connecting" ? "" : text("Live again.");
  if (now === "reconnecting") return text("Connection lost. Reconnecting.");
  return now === "stale" ? text("This page is out of date.") : "";
};
