// The screen of an offer, over everything else: what is offered, for how long, and the answer.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { addressOf } from "./amounts.js";
import { chip, childrenOf, link, set, show, write } from "./paint.js";
import { allotted, remaining } from "./state.js";
import { text } from "./text.js";

/** @import {About, Act} from "./page.js" */
/** @import {Moment, OpenOffer, State} from "./state.js" */

export const MADE_WAY = "offer"; // the answer of a question that an offer closed
const SHORT_MS = 10_000;
const UNEXPLAINED_MS = 2_500; // a page that is not seen looks once a second

export class OfferScreen {
  /** @param {Act} act */
  constructor(act) {
    this._act = act;
    /** @type {string | null} the id of the offer that is shown */
    this.shown = null;
    /** @type {string | null} the id of the offer that the driver does not want: it is still so after a lost connection */
    this._unwanted = null;
    /** @type {string | null} the id of the offer that was rejected without a reason */
    this._rejected = null;
    byId("accept").addEventListener("click", () => this._answer("accept"));
    byId("reject").addEventListener("click", () => this._refuse(true));
    byId("back").addEventListener("click", () => this._refuse(false));
    for (const [reason, words] of w.REJECTIONS) {
      chip(within(byId("reasons"), ".chips"), words, () => this._answer("reject", reason));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !byId("offer").hidden) this._refuse(false);
    });
  }

  /**
   * Answers the offer that is shown.
   * @param {"accept" | "reject"} action
   * @param {string} [reason]
   */
  _answer(action, reason) {
    if (this.shown !== null) this._act(action, this.shown, reason);
  }

  /**
   * @param {OpenOffer | null} entry
   * @param {About} about
   * @param {Moment} now
   */
  draw(entry, about, now) {
    const box = byId("offer");
    if (!entry) {
      if (this.shown !== null) {
        this.shown = null;
        show(box, false);
        delete box.dataset.id;
        this._coverApp(false);
        byId("main").focus({ preventScroll: true });
      }
      return;
    }
    const { offer } = entry;
    const left = remaining(entry, now);
    if (this.shown !== offer.id) {
      this.shown = offer.id;
      for (const dialog of document.querySelectorAll("dialog")) if (dialog.open) dialog.close(MADE_WAY);
      this._fillOffer(offer);
      box.dataset.id = offer.id;
      show(box, true);
      this._coverApp(true);
      this._askWhy(this._unwanted === offer.id);
      this._rejected = null;
      box.scrollTop = 0;
    }
    write(byId("offer-left"), String(Math.ceil(left / 1000)));
    byId("ring", SVGElement).style.strokeDashoffset = String(1 - left / allotted(entry));
    set(within(box, ".ring"), "data-short", left < SHORT_MS ? "" : null);
    const busy = about.busyWith.has(`accept ${offer.id}`);
    const rejecting = about.busyWith.has(`reject ${offer.id}`);
    for (const press of box.querySelectorAll("button")) {
      if (press.closest("#answer, #reasons")) press.disabled = busy || rejecting;
    }
    write(byId("accept"), busy ? text("Accepting…") : text("Accept"));
    // Who has pressed *Reject* has answered, also without a reason when the time is over or the phone is put away.
    const saysNo = !byId("reasons").hidden && (left < UNEXPLAINED_MS || document.visibilityState === "hidden");
    if (saysNo && !rejecting && this._rejected !== offer.id) {
      this._rejected = offer.id;
      this._answer("reject");
    }
  }

  /**
   * What was delivered just before an offer came can be undone over it too. A line stays as long as the offer does: what
   * moves under a finger loses the tap.
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  drawUndo({ driver, assignments }, { actions, connection }, now) {
    const list = byId("offer-undo");
    if (this.shown === null || !driver) return list.replaceChildren();
    for (const { assignmentId, storeName, type } of actions.of(driver.id)) {
      if (type !== "completed" || childrenOf(list).some((line) => line.dataset.id === assignmentId)) continue;
      list.append(this._undoLine(assignmentId, storeName));
    }
    for (const line of childrenOf(list)) {
      const id = line.dataset.id ?? "";
      const done = actions.standing(driver.id, id, now);
      const press = within(line, "button");
      const focused = press === document.activeElement;
      const what = done ? w.delivered(done, connection === "online", assignments[id]?.deliveryStatus === "RETURNING") : id in assignments ? text("Not delivered yet") : text("Delivered");
      write(within(line, "span"), what);
      show(press, done !== null && !done.tried && done.type === "completed");
      if (focused && press.hidden) byId("offer-title").focus({ preventScroll: true });
    }
  }

  /**
   * @param {string} assignmentId
   * @param {string} storeName
   */
  _undoLine(assignmentId, storeName) {
    const line = document.createElement("li");
    line.dataset.id = assignmentId;
    const words = document.createElement("p");
    const store = document.createElement("b");
    store.textContent = storeName;
    words.append(store, document.createElement("span"));
    const press = document.createElement("button");
    press.type = "button";
    press.dataset.action = "undo";
    press.textContent = text("Undo");
    press.setAttribute("aria-label", text("Undo: not delivered, {store}", { store: storeName }));
    press.addEventListener("click", () => this._act("undo", assignmentId));
    line.append(words, press);
    return line;
  }

  /** @param {boolean} yes */
  _coverApp(yes) {
    for (const part of childrenOf(byId("app"))) part.inert = yes;
  }

  /**
   * @param {Wire.OfferView} offer
   */
  _fillOffer({ payload }) {
    write(byId("offer-title"), payload.pickupStoreName);
    write(byId("offer-pay"), w.money(payload.estimatedEarningCents, payload.currency));
    write(byId("offer-km"), w.km(payload.estimatedDistanceKm));
    write(byId("offer-trip"), w.trip(payload.estimatedTripKm));
    write(byId("offer-min"), w.minutes(payload.estimatedPickupTimeMin));
    const { addOn } = payload;
    show(byId("offer-addon"), addOn !== undefined);
    if (addOn) write(byId("offer-addon"), w.addOn(addOn));
    write(byId("offer-by"), w.clock(payload.estimatedDeliveryTime));
    write(byId("offer-from"), addressOf(payload.pickupLocation));
    write(byId("offer-to"), addressOf(payload.dropoffLocation));
    link(byId("offer-from-map"), payload.pickupLocation, text("Map to the pickup"));
    link(byId("offer-to-map"), payload.dropoffLocation, text("Map to the drop-off"));
  }

  /** @param {boolean} yes */
  _refuse(yes) {
    this._unwanted = yes ? this.shown : null;
    this._askWhy(yes);
  }

  /** @param {boolean} yes */
  _askWhy(yes) {
    show(byId("reasons"), yes);
    show(byId("answer"), !yes);
    byId(yes ? "reasons-title" : "offer-title").focus({ preventScroll: true });
  }
}
