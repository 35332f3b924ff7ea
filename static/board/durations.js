// Durations as the board writes them. Pure: the clock is an argument.

import { text } from "../driver/text.js";

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/**
 * 4:05, 1:04:05
 * @param {number} ms
 * @returns {string}
 */
export const exact = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  const h = Math.floor(s / 3600);
  const m = Math.floor((s % 3600) / 60);
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
};

/**
 * What is left until a deadline. Rounded up, so that 0:00 is shown at the deadline and not a second before.
 * @param {number} ms
 * @returns {string}
 */
export const left = (ms) => exact(ms + 999);

/**
 * 0 s, 15 s, 12 min, 3 h 5 min, 2 d: changes seldom, for what nobody watches by the second.
 * @param {number} ms
 * @returns {string}
 */
export const coarse = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return text("{seconds} s", { seconds: Math.floor(s / 15) * 15 });
  if (s < 3600) return text("{minutes} min", { minutes: Math.floor(s / 60) });
  if (s < 86400) {
    return text("{hours} h {minutes} min", { hours: Math.floor(s / 3600), minutes: Math.floor((s % 3600) / 60) });
  }
  return text("{days} d", { days: Math.floor(s / 86400) });
};

/**
 * The share of a time window that is left, from 1 to 0.
 * @param {number} from
 * @param {number} deadline
 * @param {number} at
 * @returns {number}
 */
export const share = (from, deadline, at) => Math.min(1, Math.max(0, (deadline - at) / (deadline - from)));

/**
 * How far the server's clock is ahead of this one, after a message with the server's time. The quickest message tells
 * the time best; a clock that was set tells itself.
 * @param {number} ahead what was known before, 0 for nothing
 * @param {number} serverNow
 * @param {number} at when the message came
 * @returns {number}
 */
export const aheadAfter = (ahead, serverNow, at) => {
  const heard = serverNow - at;
  return ahead === 0 || heard > ahead || ahead - heard > 2000 ? heard : ahead;
};
