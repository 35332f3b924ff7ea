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
    /** @type {{numbers: DriverNumbers, at: number} | null} */
    this._known = null;
    this._of = "";
    this._asked = -Infinity;
  }

  // Something that counts has happened: ask again when they are shown.
  stale() {
    this._asked = -Infinity;
  }

  // The driver leaves this phone.
  forget() {
    this._known = null;
    this._of = "";
    this.stale();
  }

  /**
   * What is known of this driver, and when it was true, in Unix milliseconds. Another driver may have been here before.
   * @param {string | undefined} driverId
   */
  of(driverId) {
    return driverId === this._of ? this._known : null;
  }

  /**
   * Asks for them if they are old.
   * @param {string} driverId
   * @param {string} token
   * @param {number} now on the monotonic clock in ms
   */
  async refresh(driverId, token, now) {
    if (this._of !== driverId) this.forget();
    this._of = driverId;
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
      this._known = { numbers, at: Date.now() };
    } catch {
      return; // no network: what is known stays
    }
    this._changed();
  }
}
