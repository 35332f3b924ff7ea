// Which tab of this phone is in use: the one that holds a lock, which the browser keeps for all tabs in one place. What a tab
// reads in localStorage may be older than what another one has just written.

import { newId } from "./ids.js";
import { read, write } from "./storage.js";

const LOCK = "callboard-tab";
const TAB = "callboard.driver.tab"; // the tab used last, for browsers without locks (plain http) and for pages of earlier releases
const RELOAD_MS = 3_000; // a tab that is only reloaded is back by then
const GRANTED_MS = 2_000; // a browser that does not answer keeps nobody from work

export class Tab {
  /**
   * `taken` is called once another tab is used instead of this one, `free` when that one no longer is and this one waits.
   * @param {{taken: () => void, free: () => void}} calls
   */
  constructor(calls) {
    this._calls = calls;
    this._locks = globalThis.navigator?.locks;
    this._id = newId();
    this._own = `${LOCK} ${this._id}`; // a lock that nobody else asks for: it tells whose the other one is
    /** @type {AbortController | null} */
    this._waiting = null;
    /** @type {(() => void) | null} gives the lock up, while this tab is in use */
    this._release = null;
    this._locks?.request(this._own, forever).catch(ignored);
  }

  /**
   * Use this tab, and no other one. Resolves once the others can know it.
   * @returns {Promise<void>}
   */
  use() {
    this._waiting?.abort();
    const locks = this._locks;
    write(TAB, this._id);
    if (!locks || this._release) return Promise.resolve();
    let release = ignored;
    const released = new Promise((resolve) => {
      release = () => resolve(null);
    });
    this._release = release;
    return new Promise((used) => {
      setTimeout(used, GRANTED_MS);
      const granted = () => {
        used();
        return released;
      };
      locks.request(LOCK, { steal: true }, granted).catch((error) => {
        used();
        if (this._release !== release) return; // this tab was no longer in use
        this._release = null;
        if (isTaken(error)) this._calls.taken();
      });
    });
  }

  // This tab is no longer in use, and does not wait to be: another one may be.
  leave() {
    this._waiting?.abort();
    this._release?.();
    this._release = null;
  }

  /**
   * Whether another tab of this phone is in use.
   * @returns {Promise<boolean>}
   */
  async isOtherInUse() {
    if (!this._locks) return read(TAB) !== this._id;
    const { held = [] } = await this._locks.query();
    /** @param {string} name */
    const holder = (name) => held.find((lock) => lock.name === name)?.clientId;
    return holder(LOCK) !== undefined && holder(LOCK) !== holder(this._own);
  }

  /**
   * Whether a tab that is not in use may send what is left. A browser without locks does not know whether the tab that was
   * used last is still there.
   * @returns {Promise<boolean>}
   */
  async mayHandIn() {
    return !this._locks || !(await this.isOtherInUse());
  }

  // The driver leaves this phone.
  forget() {
    this.leave();
    write(TAB, null);
  }

  // Wait until the other tab is no longer in use, and is not only loaded again.
  wait() {
    this.leave();
    this._waiting = new AbortController();
    void this._wait(this._waiting.signal);
  }

  /** @param {AbortSignal} signal */
  async _wait(signal) {
    try {
      await this._locks?.request(LOCK, { signal }, () => new Promise((resolve) => setTimeout(resolve, RELOAD_MS)));
    } catch (error) {
      if (isTaken(error) && !signal.aborted) void this._wait(signal); // it is back
      return;
    }
    if (this._locks && !signal.aborted) this._calls.free();
  }
}

const forever = () => new Promise(() => {});
const ignored = () => {};

/** @param {unknown} error */
const isTaken = (error) => error instanceof DOMException && error.name === "AbortError";
