// What the driver reads without a connection: since when there is none, what was known last, and what to do now.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { show, write } from "./paint.js";

/** @import {LastSeen} from "./last-seen.js" */

/**
 * @param {boolean} isOffline
 * @param {number} seconds for how long
 * @param {boolean} isRetried whether the page connects again by itself
 */
export const drawOffline = (isOffline, seconds, isRetried) => {
  show(byId("offline"), isOffline);
  show(byId("offline-again"), isRetried);
  if (isOffline) write(byId("offline-since"), w.offlineFor(seconds));
};

/** @param {string} name of a line above the driver's numbers */
const lineOf = (name) => {
  const list = within(byId("numbers"), "dl");
  const found = list.querySelector(`[data-seen="${name}"]`);
  if (found instanceof HTMLElement) return found;
  const line = document.createElement("div");
  line.dataset.seen = name;
  line.append(document.createElement("dt"), document.createElement("dd"));
  list.prepend(line);
  return line;
};

/**
 * The state when the page was last connected, and since when the driver is on shift; nothing while it is connected.
 * @param {LastSeen | null} seen
 * @param {number} now in Unix milliseconds
 */
export const drawLastSeen = (seen, now) => {
  const [since, state] = [lineOf("since"), lineOf("state")];
  show(state, seen !== null);
  show(since, seen !== null && seen.since !== null);
  if (!seen) return;
  write(within(state, "dt"), w.asOf(seen.at));
  write(within(state, "dd"), w.stateThen(seen.driver, now));
  if (seen.since === null) return;
  write(within(since, "dt"), w.SINCE);
  write(within(since, "dd"), w.clock(seen.since));
};
