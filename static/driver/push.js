// Web push: offers reach this device while the page is closed, if the driver says so. The service worker shows them.

/** @import {Here} from "./place.js" */

const WANTED = "callboard.driver.push"; // "on" or "off", once the driver has decided
const PASS = "callboard-pass"; // the token, where the service worker finds it
const PASS_KEY = "/driver/pass";
const SUBSCRIBED_WITHIN_MS = 20_000;

/** @typedef {"unsupported" | "unasked" | "off" | "working" | "on" | "blocked"} PushState */

export class Push {
  /**
   * `changed` is called for every new state, `failed` when the browser or the server did not do it.
   * @param {{changed: () => void, failed: () => void}} options
   */
  constructor({ changed, failed }) {
    /** @type {PushState} */
    this.state = "unsupported";
    this._options = { changed, failed };
    /** @type {ServiceWorkerRegistration | null} */
    this._registration = null;
    /** @type {{token: string, driverId: string} | null} */
    this._who = null;
    /** @type {string | null} where the server knows it: its address there */
    this._subscription = null;
    this._timesOff = 0;
  }

  // The driver does not want to be notified, whatever the browser allows.
  get silenced() {
    return this._decided() === "off";
  }

  /**
   * The service worker is there.
   * @param {ServiceWorkerRegistration} registration
   */
  registered(registration) {
    if (!("PushManager" in globalThis) || !("Notification" in globalThis)) return;
    this._registration = registration;
    this._settle();
    this._resume();
  }

  /**
   * This driver is in, with this token.
   * @param {string} token
   * @param {string} driverId
   */
  entered(token, driverId) {
    if (this._who?.token === token) return;
    this._who = { token, driverId };
    this._resume();
  }

  // The driver asks for it: the one moment in which browsers let us ask back.
  async turnOn() {
    if ((await Notification.requestPermission()) === "granted") {
      this._decide("on");
      await this._subscribe();
    } else this._settle();
  }

  // Also when the driver leaves this device. The browser unsubscribes even if the server cannot be reached.
  async turnOff({ forget = false } = {}) {
    this._decide(forget ? null : "off");
    this._timesOff += 1;
    const { _who: who, _subscription: path } = this;
    this._subscription = null;
    if (forget) this._who = null;
    this._settle();
    const subscription = await this._registration?.pushManager.getSubscription();
    await Promise.allSettled([
      who && path && call(who.token, "DELETE", path),
      subscription?.unsubscribe(),
      globalThis.caches?.delete(PASS),
    ]);
  }

  /**
   * The page goes out of sight, and its socket may follow: a call keeps the driver within reach for a while.
   * @param {Here | null} here
   */
  left(here) {
    if (this.state !== "on" || !this._who) return;
    const { token, driverId } = this._who;
    const said = here
      ? call(token, "POST", `/drivers/${driverId}/location`, here)
      : call(token, "GET", `/drivers/${driverId}`);
    said.catch(() => {}); // the page is leaving: a failure concerns nobody
  }

  // Said again at each start: what the server knows ends with the token that said so.
  _resume() {
    const ready = this._registration && this._who && Notification.permission === "granted";
    if (ready && this._decided() === "on") this._subscribe();
  }

  async _subscribe() {
    if (!this._who || !this._registration) return this._settle(); // `entered` goes on
    const { token, driverId } = this._who;
    const { pushManager } = this._registration;
    const timesOff = this._timesOff;
    /** @type {PushSubscription | null} */
    let subscription = null;
    this._set("working");
    try {
      const { key } = await call(token, "GET", "/drivers/push-key");
      subscription = await pushManager.getSubscription();
      if (subscription && encoded(subscription.options.applicationServerKey) !== key) {
        await subscription.unsubscribe();
        subscription = null;
      }
      const wanted = { userVisibleOnly: true, applicationServerKey: decoded(key) };
      subscription ??= await soon(pushManager.subscribe(wanted));
      const path = `/drivers/${driverId}/push-subscriptions`;
      const { id } = await call(token, "POST", path, subscription);
      if (this._timesOff !== timesOff) call(token, "DELETE", `${path}/${id}`).catch(() => {}); // it ends with the token too
      if (this._timesOff !== timesOff || this._who?.token !== token) return;
      this._subscription = `${path}/${id}`;
      await (await caches.open(PASS)).put(PASS_KEY, new Response(token));
      if (this._timesOff === timesOff) this._set("on");
      else await caches.delete(PASS); // turned off meanwhile: the driver may have left this phone
    } catch {
      this._settle();
      if (this._timesOff === timesOff) this._options.failed();
    } finally {
      // Turned off meanwhile, when there was nothing to unsubscribe yet.
      if (this._timesOff !== timesOff) await subscription?.unsubscribe().catch(() => {});
    }
  }

  _settle() {
    if (!this._registration) return;
    const decided = this._decided();
    if (Notification.permission === "denied") this._set("blocked");
    else if (decided === null) this._set("unasked");
    else this._set(this._subscription ? "on" : "off");
  }

  /** @param {PushState} state */
  _set(state) {
    if (this.state === state) return;
    this.state = state;
    this._options.changed();
  }

  _decided() {
    try {
      return localStorage.getItem(WANTED);
    } catch {
      return null;
    }
  }

  /** @param {"on" | "off" | null} what */
  _decide(what) {
    try {
      if (what === null) localStorage.removeItem(WANTED);
      else localStorage.setItem(WANTED, what);
    } catch {
      // it lasts as long as the page
    }
  }
}

/**
 * Browsers whose push service is out of reach keep on trying for ever.
 * @template T
 * @param {Promise<T>} work
 * @returns {Promise<T>}
 */
const soon = (work) =>
  Promise.race([
    work,
    /** @type {Promise<never>} */
    (new Promise((_, reject) => setTimeout(() => reject(new Error("no push service")), SUBSCRIBED_WITHIN_MS))),
  ]);

/**
 * The JSON of the answer, null for 204. Throws if the server refuses or cannot be reached.
 * @param {string} token
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
const call = async (token, method, path, body) => {
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), keepalive: true });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.status === 204 ? null : response.json();
};

/** @param {ArrayBuffer | null} bytes */
const encoded = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes ?? []))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** @param {string} text */
const decoded = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
