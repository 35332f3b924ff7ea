// The way into the socket and out of it: with a shift that the driver has started, on the one phone and in the one tab that
// they use, with a token that the server accepts.

import { byId } from "../elements.js";
import { now } from "./client.js";
import { closeEnded } from "./dialogs.js";
import { whose } from "./ids.js";
import { keptInHand } from "./in-hand.js";
import { lastSeen } from "./last-seen.js";
import { sessionOf } from "./session.js";
import { hasStarted, started } from "./shift.js";
import { start } from "./state.js";
import { kept, renew } from "./token.js";

/** @import {ClientState} from "./client.js" */
/** @import {Notices} from "./notices.js" */
/** @import {Page} from "./page.js" */

const LOOK_AGAIN_MS = 1_000;
const TRY_AGAIN_MS = 3_000;

export class Entry {
  /** @param {{page: Page, notices: Notices}} parts */
  constructor({ page, notices }) {
    this._page = page;
    this._notices = notices;
    this._isRenewed = false; // a phone that signed in renews a refused token once
    this._wantsShift = false; // the driver has started it, and the server does not know yet
  }

  /** @param {{takeOver?: boolean}} [how] whether the driver has chosen this phone, also if another one is in use */
  enter({ takeOver = false } = {}) {
    const page = this._page;
    const { client } = page;
    client.close();
    page.known = start();
    page.other = null;
    const token = kept();
    if (!token) {
      page.phase = "gate";
      void client.actions.load(now());
      page.draw();
      return;
    }
    byId("enter-error").hidden = true;
    const driverId = whose(token);
    const inHand = keptInHand(driverId);
    if (hasStarted(driverId, inHand !== null)) {
      this._connect(token, inHand, takeOver);
      return;
    }
    page.phase = "ready";
    page.known = { ...page.known, driver: lastSeen(driverId)?.driver ?? null, ...inHand };
    page.draw();
    scrollTo(0, 0); // what was scrolled before a reload was another screen
    client.handIn(token); // what an ended shift, or a phone that is not in use, has left to send needs no start
    this._notices.sayAgain();
    void this._look(takeOver);
  }

  /**
   * The driver works in this tab from now on.
   * @param {boolean} [takeOver] whether they have chosen this phone, also if another one is in use
   */
  startShift(takeOver = true) {
    const token = kept();
    this._wantsShift ||= this._page.phase === "ready";
    const driverId = token && whose(token);
    if (driverId) started(driverId);
    if (token === null) this.enter();
    else this._connect(token, keptInHand(driverId), takeOver);
  }

  // The server has said hello. Whether the driver has started a shift that it does not know of.
  greeted() {
    const isToStart = this._wantsShift && this._page.isOff;
    this._isRenewed = this._wantsShift = false;
    return isToStart;
  }

  /** @param {ClientState} next */
  changed(next) {
    const page = this._page;
    const { client } = page;
    if (next === "refused" || next === "expired") void this._comeBack(next);
    else if (next === "other_tab" || next === "superseded" || next === "outdated" || next === "two_devices" || next === "other_device") {
      this._isRenewed = false;
      if (next === "other_tab") this._wantsShift = false;
      else started(""); // a page that is opened again does not take over by itself
      if (page.phase === "inside") page.known = client.state;
      page.phase = next === "superseded" || next === "other_device" ? "another_phone" : next;
      client.state = start();
      if (next === "other_tab") closeEnded({});
      this._notices.sayAgain();
      if (page.phase === "another_phone" || page.phase === "two_devices") void this._look();
    }
    page.draw();
  }

  /**
   * @param {string} token
   * @param {import("./in-hand.js").InHand | null} inHand
   * @param {boolean} takeOver
   */
  _connect(token, inHand, takeOver) {
    const page = this._page;
    page.phase = "inside";
    page.other = null;
    const seen = lastSeen(whose(token));
    page.client.connect(token, inHand ?? (seen ? { driver: seen.driver } : {}), { takeOver });
    this._notices.sayAgain();
    page.draw();
  }

  /**
   * Who is signed in, what they have in hand, and whether another phone is in use: if so, the driver chooses, before any
   * start of a shift. A device that was signed out says so.
   * @param {boolean} [takeOver]
   * @param {number} [again] how often to ask again who took over: this page may learn of it before the server has stored it
   */
  async _look(takeOver = false, again = 3) {
    const page = this._page;
    const { client } = page;
    const token = kept();
    const { connection } = client;
    if (token === null) return;
    /**
     * @param {number} ms
     * @param {number} times
     */
    const later = (ms, times) => setTimeout(() => client.connection === connection && void this._look(takeOver, times), ms);
    const found = await sessionOf(whose(token) ?? "", token);
    if (client.connection !== connection || kept() !== token || page.phase === "inside" || page.phase === "other_tab") return;
    if (found === "unreachable") {
      later(TRY_AGAIN_MS, again);
      return;
    }
    if (found === "refused") {
      if (page.phase === "ready") void this._comeBack("refused");
      return;
    }
    this._isRenewed = false;
    const { driver, assignments, otherDevice } = found;
    page.known = { ...page.known, driver, assignments: Object.fromEntries(assignments.map((one) => [one.id, one])) };
    page.other = otherDevice;
    if (page.phase === "ready" && otherDevice !== null && !takeOver) page.phase = "another_phone";
    else if (page.phase === "another_phone" && otherDevice === null && again > 0) later(LOOK_AGAIN_MS, again - 1);
    page.draw();
  }

  /**
   * The server refused the token.
   * @param {"refused" | "expired"} why
   */
  async _comeBack(why) {
    const page = this._page;
    const { client } = page;
    const mine = client.connection;
    const outcome = this._isRenewed ? "refused" : await renew(kept()); // a renewed token that is refused is not renewed again
    if (client.connection !== mine) return;
    if (outcome === "unreachable") {
      setTimeout(() => {
        if (client.connection === mine) void this._comeBack(why);
      }, TRY_AGAIN_MS);
    } else if (outcome === "renewed") {
      this._isRenewed = true;
      this.enter();
    } else {
      page.phase = outcome === "none" ? why : "signed_out";
      client.state = page.known = start();
      page.draw();
    }
  }
}
