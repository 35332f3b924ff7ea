// Keeps the screen on while offers can come.

/** @import {Page} from "./page.js" */

export class WakeLock {
  /** @param {{page: Page}} parts */
  constructor({ page }) {
    this._page = page;
    /** @type {WakeLockSentinel | null} */
    this._lock = null;
  }

  // Called when the connection changes and when the page is visible again: browsers end the lock of a hidden page.
  async look() {
    const wanted = this._page.client.connection?.state === "online" && document.visibilityState === "visible";
    if (!wanted || this._lock || !navigator.wakeLock) return;
    try {
      this._lock = await navigator.wakeLock.request("screen");
      this._lock.addEventListener("release", () => {
        this._lock = null;
      });
    } catch {
      this._lock = null; // low battery, or not allowed
    }
  }
}
