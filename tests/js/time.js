// The time of a test: timers fire when the test says so, and the clocks show what it says.

/** @typedef {{at: number, every: number | null, work: () => void}} Timer */

/** Lets everything that waits for a promise go on. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

export class Time {
  wall = 1_800_000_000_000;
  /** @type {Map<number, Timer>} */
  #timers = new Map();
  #number = 0;

  /**
   * Replaces the timers and `Date.now` until the test ends.
   * @param {{after: (work: () => void) => void}} test
   */
  constructor(test) {
    const before = { setTimeout, clearTimeout, setInterval, clearInterval };
    const { now } = Date;
    /**
     * @param {() => void} work
     * @param {number} [ms]
     */
    const once = (work, ms = 0) => this.#start(work, ms, null);
    /**
     * @param {() => void} work
     * @param {number} ms
     */
    const again = (work, ms) => this.#start(work, ms, ms);
    /** @param {number} id */
    const stop = (id) => this.#timers.delete(id);
    Object.assign(globalThis, { setTimeout: once, clearTimeout: stop, setInterval: again, clearInterval: stop });
    Date.now = () => this.wall;
    test.after(() => {
      Object.assign(globalThis, before);
      Date.now = now;
    });
  }

  /**
   * @param {() => void} work
   * @param {number} ms
   * @param {number | null} every
   */
  #start(work, ms, every) {
    this.#number += 1;
    this.#timers.set(this.#number, { at: this.wall + ms, every, work });
    return this.#number;
  }

  /**
   * Time passes; what is due happens in order.
   * @param {number} ms
   */
  async pass(ms) {
    const end = this.wall + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, timer] = due;
      this.wall = timer.at;
      if (timer.every === null) this.#timers.delete(id);
      else timer.at += timer.every;
      timer.work();
      await settled();
    }
    this.wall = end;
    await settled();
  }
}
