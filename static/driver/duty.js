// Whether the driver gets offers, what keeps them away, and how to change it: availability, position, notifications.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { countdown } from "./amounts.js";
import { set, show, write } from "./paint.js";
import { canBeLonger, foreignReason, serverNow, work } from "./state.js";
import { text } from "./text.js";

/** @import {About, Act} from "./page.js" */
/** @import {Moment, ShownState, State} from "./state.js" */

/**
 * The state that the driver sees: availability, or what keeps offers away.
 * @param {Wire.DriverView} driver
 * @returns {ShownState}
 */
const shownState = (driver) => (driver.availability === "available" && driver.busy ? "busy" : driver.availability);

/**
 * What the driver can do in a state, each in a place of its own; and to end the shift.
 * @type {Record<ShownState, [rest: string | null, pause: string | null, resume: string | null]>}
 */
const CONTROLS = {
  available: [text("Take a break"), text("Pause"), null],
  busy: [text("Take a break"), text("Then pause"), null],
  on_break: [text("Change length"), text("+10 min"), text("Back to work")],
  paused: [text("Take a break"), null, text("Resume")],
  shift_ended: [null, null, text("Start shift")],
  offline: [null, null, text("Start shift")],
};

export class Duty {
  /** @param {Act} act */
  constructor(act) {
    for (const id of ["do-break", "do-pause", "do-resume", "do-leave"]) {
      const press = byId(id);
      press.addEventListener("click", () => {
        press.closest("details")?.removeAttribute("open");
        act(press.dataset.action ?? "");
      });
    }
  }

  /**
   * @param {About} about
   * @param {boolean} inside
   */
  drawPlace({ place }, inside) {
    /** @type {Record<string, string>} by the state of the position */
    const hints = {
      off: text("You get no offers without your position."),
      asking: text("Finding your position…"),
      refused: text("Your position is not shared. Allow it for this page in the settings of the browser."),
      unavailable: isSecureContext
        ? text("This device does not give its position. You get no offers without it.")
        : text("This address has no https. Without it, browsers give no position and no notifications, and you get no offers. Ask your dispatcher for the https address."),
    };
    const words = hints[place.state];
    const isAsked = place.state === "off" && !byId("asks").hidden;
    show(byId("whereabouts"), inside && !place.known && Boolean(words) && !isAsked);
    write(byId("whereabouts-text"), words ?? "");
    show(byId("locate"), place.state !== "asking");
    write(byId("locate"), place.state === "off" ? text("Share position") : text("Set position"));
    show(byId("by-hand"), inside && ["refused", "unavailable", "by_hand"].includes(place.state));
  }

  /**
   * Without a connection, by a page that knows nothing of the driver.
   * @param {About} about
   */
  drawLost({ reachable }) {
    const [title] = w.STATES.unreachable;
    set(byId("sign"), "data-state", "unreachable");
    write(byId("duty-title"), title);
    write(byId("duty-text"), w.whileUnreachable(reachable));
    for (const id of ["duty-time", "call-me", "hush", "do-resume"]) show(byId(id), false);
  }

  /**
   * Signed in, and not connected: nothing is offered before the driver wants it.
   * @param {boolean} working
   */
  drawStart(working) {
    set(byId("sign"), "data-state", "offline");
    write(byId("duty-title"), working ? w.STATES.busy[0] : text("Start your shift"));
    write(byId("duty-text"), working ? text("Go on with it on this phone.") : text("You get offers from then on."));
    for (const id of ["duty-time", "call-me", "hush"]) show(byId(id), false);
    const press = byId("do-resume", HTMLButtonElement);
    show(press, true);
    write(press, working ? text("Use this phone") : text("Start shift"));
    press.disabled = false;
  }

  /**
   * What the start of a shift asks the phone for, and how it stands.
   * @param {About} about
   * @param {boolean} yes
   */
  drawAsks({ place, push, sound }, yes) {
    show(byId("asks"), yes);
    if (!yes) return;
    const secure = isSecureContext;
    /** @type {Record<string, [good: boolean, words: string]>} */
    const asks = {
      place: [place.known, w.placeAsk(place.state, place.known, secure)],
      sound: [sound, sound ? text("Each offer rings.") : text("It is off. Turn it on in the menu.")],
      notices: [push === "on", w.noticesAsk(push, secure)],
    };
    for (const [name, [good, words]] of Object.entries(asks)) {
      const line = within(byId("asks"), `[data-ask="${name}"]`);
      set(line, "data-good", good ? "" : null);
      write(within(line, "span"), words);
    }
  }

  /**
   * @param {About} about
   * @param {boolean} inside
   */
  drawPush({ push }, inside) {
    show(byId("notify"), inside && push !== "unsupported");
    write(byId("notify"), w.PUSH[push] ?? "");
    set(byId("notify"), "aria-pressed", push === "blocked" ? null : String(push === "on"));
    byId("notify", HTMLButtonElement).disabled = push === "blocked" || push === "working";
    byId("call-me", HTMLButtonElement).disabled = push === "working";
  }

  /**
   * @param {State} state
   * @param {Wire.DriverView} driver
   * @param {About} about
   * @param {Moment} now
   * @param {boolean} offline
   */
  draw(state, driver, about, now, offline) {
    const shown = shownState(driver);
    const sign = offline ? "unreachable" : state.clock === null ? "connecting" : shown;
    const [title, body] = w.STATES[sign];
    const reason = sign !== shown || shown === "available" || shown === "busy" ? null : foreignReason(driver);
    const until = sign === "on_break" && driver.availabilityUntil ? Date.parse(driver.availabilityUntil) : null;
    set(byId("sign"), "data-state", sign);
    write(byId("duty-title"), title);
    const endless = sign === "on_break" && until === null;
    const unplaced = sign === "available" && !about.place.known;
    const says = unplaced ? text("You get no offers without your position.") : offline ? w.whileUnreachable(about.reachable) : body;
    write(byId("duty-text"), [reason && text("Reason: {reason}.", { reason: w.reasonOf(reason) }), endless ? null : says].filter(Boolean).join(" "));
    show(byId("duty-time"), until !== null);
    if (until !== null) write(byId("duty-time"), countdown(until - serverNow(state, now)));
    show(byId("call-me"), about.push === "unasked" && shown !== "shift_ended" && !offline);
    show(byId("hush"), sign === "available" && about.sound);
    set(byId("hush"), "data-done", about.audible ? "" : null);
    const isHeard = state.clock !== null; // before, what was known last may be hours old
    const [rest, pauses, resume] = CONTROLS[shown];
    // A break can be longer; whoever is not on one can pause.
    const resting = shown === "on_break";
    set(byId("do-pause"), "data-action", resting ? "extend" : "pause");
    const pause = resting && !canBeLonger(driver.availabilityUntil, serverNow(state, now)) ? null : pauses;
    /** @type {[id: string, label: string | null][]} */
    const presses = [["do-break", rest], ["do-pause", pause], ["do-resume", resume], ["do-leave", rest && text("End shift")]];
    for (const [id, label] of presses) {
      const press = byId(id, HTMLButtonElement);
      show(press, Boolean(label) && isHeard);
      if (label) write(press, label);
      press.disabled = about.connection !== "online";
      set(press, "aria-busy", about.busyWith.has(press.dataset.action ?? "") ? "true" : null);
    }
    show(byId("controls"), rest !== null && isHeard);
    // With a delivery in hand its steps have their place.
    const [controls, into] = [byId("controls"), work(state).length > 0 ? within(document, ".menu-body") : byId("app")];
    if (controls.parentElement !== into) into.append(controls);
  }
}
