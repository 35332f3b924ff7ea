// Thumbs are slower than screens. What has just appeared, moved or come to mean something else takes no press for a
// moment: the press was aimed at what was there before. One guard for everything that can be pressed, by what is seen.

import { targetOf } from "../elements.js";

export const SETTLE_MS = 600;
const MOVED_PX = 12;
const CLICK_AFTER_MS = 350; // how long after the finger is lifted a browser may still report its click
const PRESSABLE = "button, summary, a[href]";
const WATCHED = ["hidden", "disabled", "inert", "open", "class", "href", "data-action", "data-id", "data-view", "data-state"];

/** @typedef {{meaning: string, seen: number[], placed: number[]}} Face */

export class Guard {
  /**
   * `early` is called for a press that came too early and was dropped.
   * @param {{early: () => void}} options
   */
  constructor({ early }) {
    this._early = early;
    /** @type {WeakMap<Element, Face & {since: number}>} what can be pressed now, and since when it is seen */
    this._known = new WeakMap();
    /** @type {{at: number, ended: number | null} | null} */
    this._press = null;
    /** @type {number | null} */
    this._painting = null;
    this._watcher = new MutationObserver(() => this._look());
    this._watcher.observe(document.documentElement, {
      subtree: true,
      childList: true,
      characterData: true,
      attributes: true,
      attributeFilter: WATCHED,
    });
    addEventListener("resize", () => this._look());
    addEventListener("pointerdown", (event) => this._down(event), true);
    for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, (event) => this._up(event), true);
    addEventListener("keydown", (event) => event.repeat || this._down(event), true);
    addEventListener("keyup", (event) => this._up(event), true);
    addEventListener("click", (event) => this._clicked(event), true);
    this._look();
  }

  // Which buttons are new. Their time begins with the frame that paints them: none is painted on a hidden page.
  _look() {
    const modal = [...document.querySelectorAll("dialog:modal")].pop() ?? null;
    let fresh = false;
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(PRESSABLE))) {
      const before = this._known.get(element);
      if (!isShown(element, modal)) {
        this._known.delete(element);
        element.removeAttribute("data-settling");
        continue;
      }
      const face = faceOf(element);
      if (before && before.meaning === face.meaning && !(moved(before.seen, face.seen) && moved(before.placed, face.placed))) continue;
      this._known.set(element, { ...face, since: Infinity });
      element.setAttribute("data-settling", "");
      fresh = true;
    }
    if (fresh && !this._painting) this._painting = requestAnimationFrame(() => this._painted());
  }

  _painted() {
    this._painting = null;
    const since = performance.now();
    for (const element of document.querySelectorAll("[data-settling]")) {
      const face = this._known.get(element);
      if (face?.since !== Infinity) continue;
      face.since = since;
      setTimeout(() => {
        if (this._known.get(element) === face) element.removeAttribute("data-settling");
      }, SETTLE_MS);
    }
  }

  /** @param {Event} event */
  _down(event) {
    this._press = { at: event.timeStamp, ended: null };
  }

  /** @param {Event} event */
  _up(event) {
    if (this._press) this._press.ended = event.timeStamp;
  }

  /**
   * A click counts from when the finger or the key went down. One without either is a screen reader's, or a switch's.
   * @param {Event} event
   */
  _clicked(event) {
    const element = targetOf(event)?.closest(PRESSABLE);
    if (!element) return;
    this._look(); // also what moved without a change of the document: a font, an animation
    const face = this._known.get(element);
    const press = this._press;
    const own = press && (press.ended === null || event.timeStamp - press.ended < CLICK_AFTER_MS);
    const at = own ? press.at : event.timeStamp;
    if (!face || at - face.since >= SETTLE_MS) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this._early();
  }
}

/**
 * Not under a question or an offer, and not greyed out.
 * @param {HTMLElement} element
 * @param {Element | null} modal
 */
const isShown = (element, modal) =>
  !(element instanceof HTMLButtonElement && element.disabled) && element.checkVisibility() && !element.closest("[inert]") && (!modal || modal.contains(element));

/**
 * `seen` is its place on the screen, `placed` its place in what it scrolls with: scrolling changes only the first,
 * a bar that sticks to the screen only the second.
 * @param {HTMLElement} element
 * @returns {Face}
 */
const faceOf = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  let [x, y] = [0, 0];
  for (let around = element.parentElement; around; around = around.parentElement) {
    x += around.scrollLeft;
    y += around.scrollTop;
  }
  /** @type {HTMLElement | null} */
  const thing = element.closest("[data-id]");
  const of = thing?.dataset.id ?? "";
  return {
    meaning: `${of} ${element.dataset.action ?? ""} ${element.textContent}`,
    seen: [left, top, right, bottom],
    placed: [left + x, top + y, right + x, bottom + y],
  };
};

/**
 * @param {number[]} before
 * @param {number[]} now
 */
const moved = (before, now) => before.some((edge, place) => Math.abs(edge - (now[place] ?? edge)) > MOVED_PX);
