// The socket to the server: opened, watched, opened again. It knows the protocol's envelope, not what messages mean.

import { LASTING_STATES, lastingState, pauseMs } from "./reconnect.js";

/** @import {LastingState} from "./reconnect.js" */
/**
 * "online" is after `hello`, "offline" waits to try again; "closed" once the page has closed it.
 * @typedef {"connecting" | "online" | "offline" | "closed" | LastingState} ConnectionState
 */
/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * What a connection needs of the device: whether it has a network, whether somebody looks at the app, and to be called
 * when one of them changes.
 * @typedef {object} Phone
 * @property {new (url: string, protocols: string[]) => WebSocket} WebSocket
 * @property {() => boolean} isOnline
 * @property {() => boolean} isVisible
 * @property {(changed: () => void) => (() => void)} watch returns what ends it
 */

/**
 * @typedef {object} Options
 * @property {Phone} [phone] a browser's page if it is left out
 * @property {string} url
 * @property {string} token
 * @property {() => number | null} lastSeq where the stream ended
 * @property {(message: Wire.ToDriver) => void} heard gets every message
 * @property {(state: ConnectionState) => void} changed gets every new state
 * @property {() => number} pingEvery how often to ask whether the server is there, in milliseconds
 * @property {boolean} [takeOver] whether the driver wants this device, also if another one is in use; true if it is left
 *   out. It counts for one `hello`: later on the driver is asked (the state "other_device").
 */

/**
 * @typedef {object} Waiting a message whose answer is to come
 * @property {(result: Record<string, unknown> | null) => void} resolve
 * @property {(error: Refused) => void} reject
 * @property {Timer} timer
 */

const OPEN = 1; // the `readyState` of a socket before it closes
const STEADY_MS = 5_000;
const HELLO_WITHIN_MS = 10_000;
const PONG_WITHIN_MS = 4_000;
const ANSWER_WITHIN_MS = 10_000;

/** @returns {Phone} */
const browser = () => ({
  WebSocket: globalThis.WebSocket,
  isOnline: () => navigator.onLine !== false,
  isVisible: () => document.visibilityState === "visible",
  watch: (changed) => {
    const kinds = ["online", "offline", "pageshow"];
    for (const kind of kinds) addEventListener(kind, changed);
    document.addEventListener("visibilitychange", changed);
    return () => {
      for (const kind of kinds) removeEventListener(kind, changed);
      document.removeEventListener("visibilitychange", changed);
    };
  },
});

export class Refused extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {Partial<Wire.Error>} [details]
   */
  constructor(code, message, details = {}) {
    super(message);
    this.code = code;
    this.nowWith = details.nowWith;
    this.missing = details.missing ?? [];
  }
}

export class Connection {
  /** @param {Options} options */
  constructor(options) {
    /** @type {ConnectionState} */
    this.state = "connecting";
    this._options = options;
    this._failures = 0;
    /** @type {Map<string, Waiting>} */
    this._waiting = new Map();
    /** @type {WebSocket | null} */
    this._socket = null;
    /** @type {number | null} the pause that the server asked for */
    this._pauseMs = null;
    /** @type {Timer | undefined} */
    this._retry = undefined;
    /** @type {Timer | undefined} until `hello` */
    this._watch = undefined;
    /** @type {Timer | undefined} */
    this._steady = undefined;
    /** @type {Timer | undefined} */
    this._probing = undefined;
    /** @type {Timer | null} */
    this._pongDue = null;
    this._number = 0;
    this._takeOver = options.takeOver ?? true;
    this._isDoubtful = false; // the device says that it has no network, and it has one
    /** since when it is online, or is not, on the monotonic clock in ms */
    this.since = performance.now();
    this._phone = options.phone ?? browser();
    this._unwatch = this._phone.watch(() => this._look());
  }

  open() {
    clearTimeout(this._retry);
    this._drop();
    this._set("connecting");
    const seq = this._options.lastSeq();
    const query = [seq === null ? "" : `lastSeq=${seq}`, this._takeOver ? "" : "takeOver=0"].filter(Boolean).join("&");
    const socket = new this._phone.WebSocket(`${this._options.url}${query && "?"}${query}`, ["callboard.v1", `bearer.${this._options.token}`]);
    this._socket = socket;
    this._pauseMs = null;
    this._watch = setTimeout(() => this._lost(socket, 0), HELLO_WITHIN_MS);
    socket.onmessage = (event) => this._received(socket, event.data);
    socket.onclose = (event) => this._lost(socket, event.code);
  }

  close() {
    clearTimeout(this._retry);
    this.state = "closed";
    this._drop();
    this._unwatch();
  }

  // Start over with a new `hello`.
  reopen() {
    this._failures = 0;
    this.open();
  }

  // Whether messages can be sent: a socket that closes takes none, before it says so.
  get isOpen() {
    return this.state === "online" && this._socket !== null && !(this._socket.readyState > OPEN);
  }

  /**
   * Send without waiting for an answer. Whether it was sent.
   * @param {Wire.FromDriver} message
   * @returns {boolean}
   */
  tell(message) {
    if (!this.isOpen) return false;
    this._socket?.send(JSON.stringify(message));
    return true;
  }

  /**
   * Send and wait: the `result` of the ack. Throws Refused, with the code "offline" or "no_answer" where nobody knows.
   * @param {Wire.FromDriver} message
   * @returns {Promise<Record<string, unknown> | null>}
   */
  ask(message) {
    return new Promise((resolve, reject) => {
      const id = `m${++this._number}`;
      if (!this.tell({ ...message, id })) {
        reject(new Refused("offline", "offline"));
        return;
      }
      const timer = setTimeout(() => {
        this._waiting.delete(id);
        reject(new Refused("no_answer", "no answer"));
        this.reopen();
      }, ANSWER_WITHIN_MS);
      this._waiting.set(id, { resolve, reject, timer });
    });
  }

  /**
   * @param {WebSocket} socket
   * @param {string} text
   */
  _received(socket, text) {
    if (socket !== this._socket) return;
    /** @type {Wire.ToDriver} */
    const message = JSON.parse(text);
    if (message.type === "hello") {
      clearTimeout(this._watch);
      this._steady = setTimeout(() => {
        this._failures = 0;
      }, STEADY_MS);
      this._takeOver = false;
      this._isDoubtful = !this._phone.isOnline();
      this.since = performance.now();
      this.state = "online"; // before it is heard: what it leads to may be sent at once
      this._options.heard(message);
      if (this.state === "online") this._options.changed("online");
      this._scheduleProbe();
      return;
    }
    if (message.type === "goodbye") this._pauseMs = message.reconnectAfterMs;
    if (message.type === "pong") {
      clearTimeout(this._pongDue ?? undefined);
      this._pongDue = null;
    }
    if (message.type === "ack" || message.type === "error") this._answered(message);
    this._options.heard(message);
  }

  /** @param {Wire.Ack | Wire.Error} message */
  _answered(message) {
    if (message.id === undefined) return;
    const waiting = this._waiting.get(message.id);
    if (!waiting) return;
    this._waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.type === "ack") waiting.resolve(message.result ?? null);
    else waiting.reject(new Refused(message.code, message.message, message));
  }

  // Back from sleep, from the background, or the network came or went.
  _look() {
    if (LASTING_STATES.has(this.state)) return;
    if (this._phone.isOnline()) this._isDoubtful = false;
    if (this.state === "online") {
      if (!this._phone.isOnline() && !this._isDoubtful) this._lost(this._socket, 0);
      else if (this._phone.isVisible()) this._probe();
    } else if (this._phone.isOnline() && this.state === "offline") {
      this._failures = 0;
      this.open();
    }
  }

  _scheduleProbe() {
    clearTimeout(this._probing);
    this._probing = setTimeout(() => {
      this._probe();
      this._scheduleProbe();
    }, this._options.pingEvery());
  }

  // Is anybody there? A socket can look open for minutes after its network is gone.
  _probe() {
    if (this._pongDue || this.state !== "online") return;
    this.tell({ type: "ping" }); // a socket that closes takes it no more, and is given up as one without an answer
    const socket = this._socket;
    this._pongDue = setTimeout(() => this._lost(socket, 0), PONG_WITHIN_MS);
  }

  _drop() {
    clearTimeout(this._watch);
    clearTimeout(this._steady);
    clearTimeout(this._probing);
    clearTimeout(this._pongDue ?? undefined);
    this._pongDue = null;
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    for (const { reject, timer } of this._waiting.values()) {
      clearTimeout(timer);
      reject(new Refused("offline", "connection lost"));
    }
    this._waiting.clear();
  }

  /**
   * @param {WebSocket | null} socket
   * @param {number} code
   */
  _lost(socket, code) {
    if (socket !== this._socket || socket === null) return;
    const asked = this._pauseMs;
    this._drop();
    const lasting = lastingState(code);
    if (lasting) {
      this._set(lasting);
      return;
    }
    this._set("offline");
    // The device says when its network is back, but not all of them know.
    const failures = this._phone.isOnline() ? this._failures++ : Infinity;
    this._retry = setTimeout(() => this.open(), pauseMs(failures, asked, Math.random()));
  }

  /** @param {ConnectionState} state */
  _set(state) {
    if (this.state === state) return;
    if (this.state === "online") this.since = performance.now();
    this.state = state;
    this._options.changed(state);
  }
}
