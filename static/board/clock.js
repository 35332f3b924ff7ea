// One timer a page. Instants are in the page as Unix milliseconds of the server: `data-since` counts up,
// `data-deadline` counts down, `data-ends` hides what is no longer possible. The server says its time with every pulse.
import { aheadAfter, coarse, exact, left, share } from "./durations.js";

/** @typedef {HTMLTimeElement & {coarse?: boolean}} Time */

let ahead = 0;
const times = /** @type {HTMLCollectionOf<Time>} */ (document.getElementsByTagName("time"));
const fuses = /** @type {HTMLCollectionOf<HTMLElement>} */ (document.getElementsByClassName("fuse"));
const endings = /** @type {HTMLCollectionOf<HTMLElement>} */ (document.getElementsByClassName("ending"));
/** @type {((at: number) => void)[]} */
const everySecond = [];
const COARSE = '[data-list="drivers"], [data-list="active"], .alerts, .facts, .timeline, .work, .coarse';

export const now = () => Date.now() + ahead;

/** @param {number} serverNow */
export const learnTime = (serverNow) => {
  ahead = aheadAfter(ahead, serverNow, Date.now());
};

/** @param {(at: number) => void} work */
export const onTick = (work) => everySecond.push(work);

/** @param {Time} time */
const isCoarse = (time) => {
  time.coarse ??= !time.closest(".exact") && Boolean(time.closest(COARSE));
  return time.coarse;
};

/**
 * @param {Time} time
 * @param {number} at
 */
const write = (time, at) => {
  const { since, deadline } = time.dataset;
  if (!since && !deadline) return;
  let text;
  if (since) text = isCoarse(time) ? coarse(at - Number(since)) : exact(at - Number(since));
  else {
    const rest = Number(deadline) - at;
    text = left(rest);
    if ((rest <= 0) !== (time.dataset.over !== undefined)) {
      if (rest <= 0) time.dataset.over = "";
      else delete time.dataset.over;
    }
  }
  if (time.textContent !== text) time.textContent = text;
};

/**
 * @param {HTMLElement} fuse
 * @param {number} at
 */
const burn = (fuse, at) => {
  const { from, deadline } = fuse.dataset;
  fuse.style.setProperty("--left", share(Number(from), Number(deadline), at).toFixed(3));
};

/**
 * @param {HTMLElement} button
 * @param {number} at
 */
const end = (button, at) => {
  button.hidden = at > Number(button.dataset.ends);
};

/** @param {Element} element */
export const tickWithin = (element) => {
  const at = now();
  for (const time of element.getElementsByTagName("time")) write(time, at);
  for (const fuse of element.getElementsByClassName("fuse")) burn(/** @type {HTMLElement} */ (fuse), at);
  for (const button of element.getElementsByClassName("ending")) end(/** @type {HTMLElement} */ (button), at);
};

const tick = () => {
  const at = now();
  for (const time of times) write(time, at);
  for (const fuse of fuses) burn(fuse, at);
  for (const button of endings) end(button, at);
  for (const work of everySecond) work(at);
  // At the server's full seconds, so that all boards on a wall count together.
  setTimeout(tick, 1000 - (now() % 1000) + 5);
};

export const startClock = () => tick();
