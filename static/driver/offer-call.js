// Calls the driver to the phone for an offer, while this page has a connection: sound, notification, badge. Once they see
// the offer, the server hears so.

import { counted, text } from "./text.js";
import { now } from "./client.js";
import { remaining } from "./state.js";

/** @import {Alarm} from "./alarm.js" */
/** @import {Page} from "./page.js" */
/** @import {Push} from "./push.js" */

const TAG = "offer"; // the service worker's too

export class OfferCall {
  /** @param {{page: Page, alarm: Alarm, push: Push}} parts */
  constructor({ page, alarm, push }) {
    this._page = page;
    this._alarm = alarm;
    this._push = push;
    /** @type {ServiceWorkerRegistration | null} */
    this._worker = null;
    /** @type {Set<string>} the offers whose receipt the server has */
    this._received = new Set();
    /** @type {string | null} */
    this._notified = null;
    /** @type {string | null} the offer that was shown last */
    this._lately = null;
    this._badge = 0;
  }

  /** @param {ServiceWorkerRegistration} worker */
  registered(worker) {
    this._worker = worker;
  }

  // Receipts are said again on a new connection.
  repeat() {
    this._received.clear();
  }

  /** @param {string | null} offered the id of the offer that is on the screen */
  follow(offered) {
    this._showBadge((offered === null ? 0 : 1) + Object.keys(this._page.client.state.messages).length);
    if (offered !== this._lately) {
      if (this._lately !== null) void this.unnotify(this._lately);
      this._lately = offered;
    }
    if (offered === null) {
      this._alarm.stop();
      return;
    }
    if (this._alarm.wanted) this._alarm.start();
    if (!this._received.has(offered)) this._reach(offered);
  }

  /**
   * Close the notification of an offer (or of any), by this page or by the service worker: it is seen or has ended.
   * @param {string | null} [offerId]
   */
  async unnotify(offerId = null) {
    const registration = await navigator.serviceWorker?.getRegistration(callboard.at("/driver"));
    if (!registration) return;
    await alone(async () => {
      for (const notification of await registration.getNotifications({ tag: TAG })) {
        if (offerId === null || notification.data?.offerId === offerId) notification.close();
      }
    });
  }

  /**
   * The driver sees the offer, or is called to the phone.
   * @param {string} offerId
   */
  _reach(offerId) {
    if (document.visibilityState !== "visible") {
      this._notify(offerId);
      return;
    }
    if (!this._page.client.tell({ type: "received", offerId })) return;
    this._received.add(offerId);
    void this.unnotify(offerId);
  }

  /** @param {string} offerId */
  _notify(offerId) {
    const registration = this._worker;
    const entry = this._page.client.state.offers[offerId];
    if (!registration || !entry || this._notified === offerId || this._push.silenced) return;
    if (globalThis.Notification?.permission !== "granted") return;
    this._notified = offerId;
    const store = entry.offer.payload.pickupStoreName;
    const seconds = Math.round(remaining(entry, now()) / 1000);
    const options = {
      body: counted("{count} second to answer", "{count} seconds to answer", seconds),
      tag: TAG,
      renotify: true,
      requireInteraction: true,
      data: { offerId },
    };
    void alone(() => registration.showNotification(text("New offer: {store}", { store }), options));
  }

  /** @param {number} count what waits for the driver, on the icon of the installed app */
  _showBadge(count) {
    if (count === this._badge) return;
    this._badge = count;
    const shown = count > 0 ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
    shown?.catch(() => {}); // not installed
  }
}

/**
 * The service worker says why.
 * @param {() => Promise<void>} work
 */
const alone = (work) => navigator.locks.request(TAG, work);
