// A driver's app without its screen: the connection of one driver, what the driver knows, and the queue of what they did.
// The page uses it, and so can any other app: nothing here needs a page.

import { KeptActions } from "./action-store.js";
import { Actions } from "./actions.js";
import { Connection, Refused } from "./connection.js";
import { handIn } from "./hand-in.js";
import { whose } from "./ids.js";
import { checkPin } from "./pin.js";
import { LASTING_STATES } from "./reconnect.js";
import { Gap, fold, openOffer, start } from "./state.js";
import { Tab } from "./tab.js";
import { upload } from "./upload.js";

/** @import {Action, ActionStore, Deed} from "./actions.js" */
/** @import {ConnectionState, Phone} from "./connection.js" */
/** @import {Moment, State} from "./state.js" */

/** @typedef {ConnectionState | "other_tab"} ClientState in "other_tab" another tab of the app is in use, and this one sends nothing */

/**
 * @typedef {object} ClientOptions
 * @property {string} base the address of the server, such as "https://dispatch.example"
 * @property {(before: State) => void} [adopted] called for every new state
 * @property {(message: Wire.ToDriver) => void} [heard] called for every message, once it is in the state
 * @property {(state: ClientState) => void} [changed] called for every new state of the connection
 * @property {(action: Action, error: Refused) => void} [refused] called for what the server did not accept
 * @property {(action: Action) => void} [uploaded] called for a picture that the server has
 * @property {() => void} [handedIn] called once this device, which is not in use, has nothing left to hand in
 * @property {() => void} [queued] called when the queue has changed
 * @property {ActionStore} [store] where the queue is kept: in IndexedDB if it is left out, in memory without one
 * @property {Phone} [phone] a browser's page if it is left out
 * @property {boolean} [oneTab] whether only one tab of the app, or one other page of its origin, is in use; true in a
 *   browser's page if it is left out
 * @property {() => void} [free] called in the state "other_tab" once that tab is no longer in use: this one may connect
 */

const SETTLE_EVERY_MS = 250;
const PING_MS = 12_000;
const PING_WITH_OFFER_MS = 4_000;
const DONE = new Set(["COMPLETED", "RETURNED"]);
/** @type {Set<ConnectionState>} another device has the connection */
const WITH_ANOTHER = new Set(["superseded", "two_devices", "other_device"]);
/** @type {Set<ConnectionState>} another device has it, or another tab of this one */
const TAKEN = new Set(["superseded", "other_device"]);

/** @returns {Moment} */
export const now = () => ({ mono: performance.now(), wall: Date.now() });

export class DriverClient {
  /** @param {ClientOptions} options */
  constructor(options) {
    this._options = options;
    this.state = start();
    /** @type {Connection | null} */
    this.connection = null;
    /** @type {string | null} */
    this.token = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this._timer = undefined;
    const { oneTab = Boolean(globalThis.document), free } = options;
    this._tab = oneTab ? new Tab({ taken: () => this._setAside(), free: () => free?.() }) : null;
    this.actions = new Actions({
      store: options.store ?? new KeptActions(),
      changed: () => {
        options.queued?.();
        void this.settle();
      },
      refused: (action, error) => options.refused?.(action, error),
      upload: async (action) => {
        await this._whileValid(upload(action, this.token, options.base));
        options.uploaded?.(action);
      },
    });
  }

  /**
   * Open the connection, with what is known of an earlier one, and send what is queued. Without `takeOver` the state of
   * the connection is "other_device" while another device of the driver is in use: ask the driver. From now on this tab is
   * the one in use, and any other one is in the state "other_tab".
   * @param {string} token
   * @param {Partial<State>} [known]
   * @param {{takeOver?: boolean}} [how]
   */
  connect(token, known = {}, { takeOver = true } = {}) {
    this._end();
    this.token = token;
    this.state = { ...start(), ...known };
    const connection = new Connection({
      url: `${this._options.base.replace(/^http/, "ws")}/ws/driver`,
      token,
      lastSeq: () => this.state.seq,
      heard: (message) => this._heard(message),
      changed: (state) => this._changed(connection, state),
      takeOver,
      pingEvery: () => (openOffer(this.state, now()) ? PING_WITH_OFFER_MS : PING_MS),
      ...(this._options.phone && { phone: this._options.phone }),
    });
    this.connection = connection;
    this._timer = setInterval(() => void this.settle(), SETTLE_EVERY_MS);
    const open = () => {
      if (this.connection !== connection) return;
      void this.actions.load(now());
      connection.open();
    };
    if (this._tab) void this._tab.use().then(open); // the others have to know it before
    else open();
  }

  /**
   * Send what is queued without a connection, for a device that the driver does not use now: nothing is offered to it, and
   * the device that is in use keeps its connection. The state "refused" says that the token is no longer valid.
   * @param {string} token
   */
  handIn(token) {
    this.close();
    this.token = token;
    void this.actions.load(now());
    this._timer = setInterval(() => void this.settle(), SETTLE_EVERY_MS);
  }

  // The driver leaves this device: nothing of them stays, but what is queued.
  forget() {
    this.close();
    this._tab?.forget();
  }

  // What is known is forgotten, but not the queue. Another tab may be in use.
  close() {
    this._end();
    this._tab?.leave();
  }

  _end() {
    clearInterval(this._timer);
    this.connection?.close();
    this.connection = null;
    this.token = null;
    this.state = start();
  }

  /**
   * Send and wait: the `result` of the ack. Throws Refused.
   * @param {Wire.FromDriver} message
   */
  async ask(message) {
    if (!this.connection) throw new Refused("offline", "offline");
    return this.connection.ask(message);
  }

  /**
   * Send without waiting for an answer. Whether it was sent.
   * @param {Wire.FromDriver} message
   */
  tell(message) {
    return this.connection?.tell(message) ?? false;
  }

  /**
   * Queue what the driver did. It is sent in order, now or later, until the server has answered.
   * @param {Deed} deed
   */
  report(deed) {
    return this.actions.add(deed, now());
  }

  /**
   * Take over a state that something else than a message has led to.
   * @param {State} next
   */
  adopt(next) {
    const before = this.state;
    this.state = next;
    this._options.adopted?.(before);
  }

  /**
   * Whether the server accepts the customer's PIN, asked before the handover is reported. "unknown": the handover says it.
   * @param {string} assignmentId
   * @param {string} pin
   */
  async checkPin(assignmentId, pin) {
    const { token, state } = this;
    if (token === null || !state.driver) return "unknown";
    return checkPin({ driverId: state.driver.id, assignmentId, pin }, token, this._options.base);
  }

  // Send the oldest report that is due and need not wait for another one.
  async settle() {
    const { connection, state, token } = this;
    if (connection?.isOpen && state.driver) await this.actions.settle(state.driver.id, (message) => connection.ask(message), now);
    else if (token !== null && this._isBeside) await this._handIn(token);
  }

  // Whether the driver does not use this device now: what is queued here goes by HTTP.
  get _isBeside() {
    return this.connection === null || WITH_ANOTHER.has(this.connection.state);
  }

  /** @param {string} token */
  async _handIn(token) {
    const driverId = whose(token);
    if (driverId === null || this.actions.of(driverId).length === 0) return;
    if (this._tab && !(await this._tab.mayHandIn())) return;
    if (this.token !== token || !this._isBeside) return;
    let accepted = false;
    /** @param {Wire.FromDriver} message */
    const sent = async (message) => {
      await this._whileValid(handIn(driverId, message, token, this._options.base));
      accepted = true;
    };
    await this.actions.settle(driverId, sent, now);
    if (accepted && this.actions.of(driverId).length === 0) this._options.handedIn?.();
  }

  /**
   * Without a connection nothing else would tell that the token is no longer valid.
   * @param {Promise<void>} sending
   */
  async _whileValid(sending) {
    try {
      await sending;
    } catch (error) {
      if (error instanceof Refused && error.code === "unauthorized" && this.token !== null && this._isBeside) {
        this.token = null;
        this._options.changed?.("refused");
      }
      throw error;
    }
  }

  /**
   * A connection that another tab has taken is no other device's. One that is not opened again by itself is no use of a tab.
   * @param {Connection} connection
   * @param {ConnectionState} state
   */
  _changed(connection, state) {
    const tell = () => {
      if (LASTING_STATES.has(state)) this._tab?.leave();
      this._options.changed?.(state);
    };
    if (!this._tab || !TAKEN.has(state)) {
      tell();
      return;
    }
    void this._tab.isOtherInUse().then((other) => {
      if (this.connection !== connection) return;
      if (other) this._setAside();
      else tell();
    });
  }

  // Another tab is in use: what is queued is that one's to send, and to take back. What is known stays, to be shown.
  _setAside() {
    const known = this.state;
    this._end();
    this.state = known;
    void this.actions.leave();
    this._tab?.wait();
    this._options.changed?.("other_tab");
  }

  /** @param {Wire.ToDriver} message */
  _heard(message) {
    try {
      this.adopt(fold(this.state, message, now()));
    } catch (error) {
      if (!(error instanceof Gap)) throw error;
      this.connection?.reopen();
      return;
    }
    for (const one of message.type === "hello" ? message.missed : [message]) {
      if (one.type === "assignment" && DONE.has(one.assignment.status)) void this.actions.completed(one.assignment.id);
    }
    this._options.heard?.(message);
    void this.settle();
  }
}
