// Thumbs are slower than screens. What has just appeared, moved or come to mean something else takes no press for a
// moment: the press was aimed at what was there before. One guard for everything that can be pressed, by what is seen.

import { targetOf } from "../elements.js";
import { SETTLE_MS, isAtHand, isEarly, moved, painted } from "./presses.js";

/** @import {Box, Face, Press, Spot} from "./presses.js" */

const MOVED_PX = 12;
const CLICK_AFTER_MS = 350; // how long after the finger is lifted a browser may still report its click
const PRESSABLE = "button, summary, a[href]";
const WATCHED = ["hidden", "disabled", "inert", "open", "class", "href", "data-action", "data-id", "data-view", "data-state"];

export class Guard {
  /**
   * `early` is called for a press that came too early and was dropped.
   * @param {{early: () => void}} options
   */
  constructor({ early }) {
    this._early = early;
    /** @type {WeakMap<Element, Face>} what can be pressed now */
    this._known = new WeakMap();
    /** @type {Press & {ended: number | null, on: Element | null, meaning: string | undefined, early: boolean} | null} */
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
    addEventListener("scroll", () => this._scrolled(), { passive: true });
    addEventListener("pointerdown", (event) => this._down(event, [event.clientX, event.clientY]), true);
    for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, (event) => this._up(event), true);
    addEventListener("keydown", (event) => event.repeat || this._down(event, null), true);
    addEventListener("keyup", (event) => this._up(event), true);
    addEventListener("click", (event) => this._clicked(event), true);
    this._look();
  }

  // What sticks to an edge changes its place on the screen and on the page while the driver scrolls: that is no move.
  _scrolled() {
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".acts :is(button, a)"))) {
      const face = this._known.get(element);
      if (face) this._known.set(element, Object.assign(face, spotOf(element)));
    }
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
      const meaning = meaningOf(element);
      const spot = spotOf(element);
      const same = before?.meaning === meaning ? before : null;
      if (same && !(differs(same.seen, spot.seen) && differs(same.placed, spot.placed))) continue;
      const face = same ? moved(same, spot, performance.now()) : { ...spot, meaning, since: Infinity, past: [] };
      this._known.set(element, face);
      if (!same || !isAtHand(face)) element.setAttribute("data-settling", "");
      fresh = true;
    }
    if (fresh && !this._painting) this._painting = requestAnimationFrame(() => this._painted());
  }

  _painted() {
    this._painting = null;
    const now = performance.now();
    for (const element of document.querySelectorAll(PRESSABLE)) {
      const face = this._known.get(element);
      if (!face || (face.since < Infinity && face.past.every(({ until }) => until < Infinity))) continue;
      const shown = painted(face, now);
      this._known.set(element, shown);
      setTimeout(() => {
        if (this._known.get(element) === shown) element.removeAttribute("data-settling");
      }, SETTLE_MS);
    }
  }

  /**
   * It is judged when the finger or the key goes down: what changes under a finger is not what was aimed at.
   * @param {Event} event
   * @param {[x: number, y: number] | null} place
   */
  _down(event, place) {
    this._look(); // also what moved without a change of the document: a font, an animation
    const on = targetOf(event)?.closest(PRESSABLE) ?? null;
    const press = { at: event.timeStamp, place };
    const face = on ? this._known.get(on) : undefined;
    this._press = { ...press, ended: null, on, meaning: face?.meaning, early: face !== undefined && isEarly(face, press) };
  }

  /** @param {Event} event */
  _up(event) {
    if (this._press) this._press.ended = event.timeStamp;
  }

  /**
   * One without a finger or a key is a screen reader's, or a switch's.
   * @param {Event} event
   */
  _clicked(event) {
    const element = targetOf(event)?.closest(PRESSABLE);
    if (!element) return;
    this._look();
    const face = this._known.get(element);
    const press = this._press;
    const own = press && (press.ended === null || event.timeStamp - press.ended < CLICK_AFTER_MS) ? press : null;
    if (!face) return;
    const early = own?.on === element && own.meaning === face.meaning ? own.early : isEarly(face, own ?? { at: event.timeStamp, place: null });
    if (!early) return;
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

/** @param {HTMLElement} element */
const meaningOf = (element) => {
  /** @type {HTMLElement | null} */
  const thing = element.closest("[data-id]");
  return `${thing?.dataset.id ?? ""} ${element.dataset.action ?? ""} ${element.textContent}`;
};

/**
 * `seen` is its place on the screen, `placed` its place in what it scrolls with: scrolling changes only the first,
 * a bar that sticks to the screen only the second.
 * @param {HTMLElement} element
 * @returns {Spot}
 */
const spotOf = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  let [x, y] = [0, 0];
  for (let around = element.parentElement; around; around = around.parentElement) {
    x += around.scrollLeft;
    y += around.scrollTop;
  }
  return { seen: [left, top, right, bottom], placed: [left + x, top + y, right + x, bottom + y] };
};

/**
 * @param {Box} before
 * @param {Box} now
 */
const differs = (before, now) => before.some((edge, place) => Math.abs(edge - (now[place] ?? edge)) > MOVED_PX);
