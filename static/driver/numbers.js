// The driver's own numbers of today and of the week, as the server counts them.

const ANSWER_MS = 8_000;
const OLD_MS = 300_000;

/** @typedef {{currency: string, cents: number}} PayTotal */
/** @typedef {{since: string, deliveries: number, pay: PayTotal[], withoutPay: number, onShiftSeconds: number, breakSeconds: number}} Period */
/** @typedef {{timeZone: string, today: Period, week: Period}} DriverNumbers */

export class Numbers {
  /** @param {{changed: () => void}} options */
  constructor({ changed }) {
    this._changed = changed;
    /** @type {DriverNumbers | null} */
    this.known = null;
    this.at = 0; // when they were true, in Unix milliseconds
    this._of = "";
    this._asked = -Infinity;
  }

  // Something that counts has happened: ask again when they are shown.
  stale() {
    this._asked = -Infinity;
  }

  /**
   * Asks for them if they are old. Another driver's are not shown.
   * @param {string} driverId
   * @param {string} token
   * @param {number} now on the monotonic clock in ms
   */
  async refresh(driverId, token, now) {
    if (this._of !== driverId) {
      this.known = null;
      this._of = driverId;
      this.stale();
    }
    if (now - this._asked < OLD_MS) return;
    this._asked = now;
    try {
      const answer = await fetch(`/drivers/${driverId}/numbers`, {
        headers: { Authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout?.(ANSWER_MS),
      });
      if (!answer.ok) return; // a node of the previous release has none
      /** @type {DriverNumbers} */
      const numbers = await answer.json();
      if (this._of !== driverId) return;
      this.known = numbers;
      this.at = Date.now();
    } catch {
      return; // no network: what is known stays
    }
    this._changed();
  }
}
