// How long a notice stays, and that an urgent one is said again by a page that was loaded again.

import { hasNewWork, say, unsay } from "./state.js";
import { keepUrgent, keptUrgent } from "./told.js";

/** @import {Page} from "./page.js" */
/** @import {State} from "./state.js" */

const NOTICE_MS = 9_000;
const URGENT_MS = 120_000;
const LOOK_AGAIN_MS = 1_000;

export class Notices {
  /**
   * `nudge` makes the driver look.
   * @param {{page: Page, isOfferShown: () => boolean, nudge: () => void}} options
   */
  constructor({ page, isOfferShown, nudge }) {
    this._page = page;
    this._isOfferShown = isOfferShown;
    this._nudge = nudge;
    /** @type {Map<number, number>} when a notice was first said, on the monotonic clock in ms */
    this._saidAt = new Map();
  }

  /**
   * A new state: what it says for the first time goes away by itself.
   * @param {State} before
   */
  adopted(before) {
    const { state } = this._page.client;
    for (const notice of state.notices) {
      if (before.notices.includes(notice)) continue;
      this._saidAt.set(notice.id, performance.now());
      this._dismissLater(notice.id, notice.kind === "urgent" ? URGENT_MS : NOTICE_MS);
      if (["work", "bad", "urgent"].includes(notice.kind)) this._nudge();
    }
    keepUrgent(state.notices, Date.now());
    if (hasNewWork(before, state)) this._endUrgent();
  }

  // What was urgent and may not be read yet is said again, after a reload or by another screen of this page.
  sayAgain() {
    const { client } = this._page;
    for (const { text: words, values, at } of keptUrgent()) {
      if (Math.abs(Date.now() - at) < URGENT_MS) client.adopt(say(client.state, "urgent", words, values));
    }
  }

  /** @param {number} id */
  dismiss(id) {
    const { client } = this._page;
    client.adopt(unsay(client.state, id));
    this._page.draw();
  }

  /**
   * The time of an offer does not count: notices wait for its end, and are then there as long as others.
   * @param {number} id
   * @param {number} ms
   */
  _dismissLater(id, ms) {
    const isSeen = !this._isOfferShown();
    const step = isSeen ? Math.min(ms, LOOK_AGAIN_MS) : LOOK_AGAIN_MS;
    setTimeout(() => {
      const rest = isSeen && !this._isOfferShown() ? ms - step : ms;
      if (rest > 0) this._dismissLater(id, rest);
      else this.dismiss(id);
    }, step);
  }

  // An offer or a delivery has come: what is urgent about an earlier order has had its time, or gets it still.
  _endUrgent() {
    for (const { id, kind } of this._page.client.state.notices) {
      const unread = NOTICE_MS - (performance.now() - (this._saidAt.get(id) ?? 0));
      if (kind !== "urgent") continue;
      if (unread > 0) this._dismissLater(id, unread);
      else this.dismiss(id);
    }
  }
}
