// What is seen, as a function of what is known. It changes elements only where they differ; it decides nothing.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { UNDO_MS } from "./actions.js";
import { Duty } from "./duty.js";
import { Inbox } from "./inbox.js";
import { JobCards } from "./job-cards.js";
import { OfferScreen } from "./offer-screen.js";
import { childrenOf, set, show, write } from "./paint.js";
import { drawLastSeen, drawOffline } from "./offline-screen.js";
import { openOffer, work } from "./state.js";
import { text } from "./text.js";

/** @import {LastSeen} from "./last-seen.js" */
/** @import {DriverNumbers} from "./numbers.js" */
/** @import {About, Act} from "./page.js" */
/** @import {Moment, State} from "./state.js" */

const OFFLINE_AFTER_MS = 1_500;

export class View {
  /** @param {Act} act */
  constructor(act) {
    this._act = act;
    this._duty = new Duty(act);
    this._inbox = new Inbox(act);
    this._jobs = new JobCards(act);
    this._offer = new OfferScreen(act);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._silence = undefined;
    this._isOffline = false;
    this._reachableAt = performance.now(); // when the phone was last seen with a network
  }

  // The id of the offer that is shown.
  get offerShown() {
    return this._offer.shown;
  }

  /**
   * The top of a delivery's card is in view.
   * @param {string} assignmentId
   */
  showJob(assignmentId) {
    this._jobs.show(assignmentId);
  }

  /**
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  draw(state, about, now) {
    set(document.body, "data-view", about.phase);
    const { connection, phase } = about;
    // What was kept is not what is: until the server is heard for the first time, nobody knows whether it is there.
    const failed = !about.reachable || (state.clock === null && connection === "offline");
    this._isOffline = phase === "inside" && connection !== "online" && (failed || now.mono - about.since > OFFLINE_AFTER_MS);
    show(byId("gate"), about.phase === "gate");
    const lasting = w.LASTING[about.phase];
    show(byId("over"), Boolean(lasting));
    if (lasting) this._drawLasting(phase, lasting, about.other);
    const driver = about.phase === "inside" ? state.driver : null;
    const inside = driver !== null;
    const ready = about.phase === "ready";
    const working = work(state).length > 0;
    const isLost = this._isOffline && !working;
    show(byId("duty"), inside || ready || isLost);
    if (!inside) show(byId("controls"), false);
    show(byId("forget"), about.phase !== "gate");
    show(byId("line"), about.phase === "inside");
    write(byId("name"), state.driver?.name ?? "Callboard");
    this._drawLine(about.connection);
    this._reachableAt = about.reachable ? now.mono : this._reachableAt;
    const since = ready ? this._reachableAt : about.since;
    drawOffline(this._isOffline || (ready && !about.reachable), Math.floor((now.mono - since) / 1000), !ready);
    this._duty.drawPlace(about, inside || ready);
    this._duty.drawPush(about, inside);
    this._jobs.draw(inside || ready ? work(state) : [], state, about, now);
    this._drawRun(inside ? state.run : []);
    set(document.body, "data-lost", isLost ? "" : null);
    const call = document.querySelector("#lost-call");
    if (call instanceof HTMLElement) show(call, isLost);
    this._drawNumbers(working ? null : isLost ? (about.seen?.numbers ?? null) : inside ? about.numbers : null, isLost ? about.seen : null);
    this._drawSaved(state, about, inside);
    if (driver) this._duty.draw(state, driver, about, now, this._isOffline);
    else if (ready) this._duty.drawStart(working);
    else if (isLost) this._duty.drawLost(about);
    const off = driver !== null && state.clock !== null && !this._isOffline && (driver.availability === "shift_ended" || driver.availability === "offline");
    this._duty.drawAsks(about, ready || off);
    this._offer.draw(inside && about.connection === "online" ? openOffer(state, now) : null, about, now);
    this._offer.drawUndo(state, about, now);
    this._inbox.drawMessages(inside ? Object.values(state.messages).sort((a, b) => (a.at < b.at ? -1 : 1)) : [], about);
    show(byId("do-write"), inside);
    byId("do-write", HTMLButtonElement).disabled = about.connection !== "online";
    this._inbox.drawNotices(state.notices);
  }

  /**
   * @param {string} phase
   * @param {[title: string, body: string, button: string]} words
   * @param {import("./session.js").OtherDevice | null} other
   */
  _drawLasting(phase, [title, body, button], other) {
    const isOther = other !== null && (phase === "another_phone" || phase === "two_devices");
    write(byId("over-title"), isOther ? w.otherSince(other.since) : title);
    write(byId("over-text"), isOther && other.name ? `${other.name}. ${body}` : body);
    write(byId("over-do"), button);
    const call = document.querySelector("#over-call");
    if (call instanceof HTMLElement) show(call, !["other_tab", "outdated"].includes(phase));
    byId("over-do").onclick = () => this._act(`over-${phase}`);
  }

  /** @param {About["connection"]} connection */
  _drawLine(connection) {
    const offline = this._isOffline;
    set(byId("line"), "data-state", offline ? "offline" : connection === "online" ? "online" : "connecting");
    write(within(byId("line"), "span"), offline ? text("Offline") : connection === "online" ? text("Online") : text("Connecting"));
  }

  /**
   * All stops of all deliveries: what is next is on the first card.
   * @param {Wire.RunStopView[]} stops
   */
  _drawRun(stops) {
    show(byId("run"), stops.length > 0);
    const list = within(byId("run"), "ol");
    while (list.children.length > stops.length) list.lastElementChild?.remove();
    stops.forEach((stop, place) => {
      const line = childrenOf(list)[place] ?? list.appendChild(document.createElement("li"));
      write(line, w.runStop(stop));
      line.classList.toggle("done", stop.doneAt !== undefined);
    });
  }

  /**
   * @param {DriverNumbers | null} numbers
   * @param {LastSeen | null} seen
   */
  _drawNumbers(numbers, seen) {
    show(byId("numbers"), numbers !== null || seen !== null);
    drawLastSeen(seen, Date.now());
    for (const name of /** @type {const} */ (["today", "week"])) {
      const line = within(byId("numbers"), `[data-period="${name}"]`);
      show(line, numbers !== null);
      if (numbers) write(within(line, "dd"), (seen ? w.earlier(seen) : "") + w.period(numbers[name]));
    }
    const withoutPay = numbers?.week.withoutPay ?? 0;
    show(byId("numbers-without"), withoutPay > 0);
    write(byId("numbers-without"), w.withoutPay(withoutPay));
  }

  /**
   * Deliveries that are kept on this phone and have no card here that says so.
   * @param {State} state
   * @param {About} about
   * @param {boolean} inside
   */
  _drawSaved(state, about, inside) {
    const hidden = about.saved.filter(({ assignmentId }) => !inside || !state.assignments[assignmentId]);
    show(byId("saved"), hidden.length > 0);
    write(byId("saved"), hidden.length ? w.saved(hidden, about.phase) : "");
  }

  /**
   * For those who listen: what eyes see on the buttons. It stays as long as it may be true.
   * @param {string} said
   */
  whisper(said) {
    clearTimeout(this._silence);
    this._silence = setTimeout(() => write(byId("said"), ""), UNDO_MS);
    const again = byId("said").textContent === said;
    write(byId("said"), again ? `${said}\u00a0` : said); // the same words twice would be no news
  }
}
