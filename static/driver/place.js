// Where the driver is: from the device, or by hand where the device does not tell (a demonstration, a test).

const SEND_EVERY_MS = 4_000;
const STANDING_STILL_MS = 30_000;
const FRESH_MS = 120_000;
const EXACT_M = 100;
const FAR_KM = 0.3;
const EARTH_KM = 6371.0088;

/** @import {Moment} from "./state.js" */
/** @typedef {Omit<Wire.Location, "type">} Here */
/** @typedef {"asking" | "device" | "by_hand" | "refused" | "unavailable" | "off"} PlaceState */

/**
 * What the device measured, within the limits of the contract. Devices leave out what they do not know.
 * @param {GeolocationCoordinates} coords
 * @returns {Here}
 */
export const hereFrom = ({ latitude, longitude, accuracy, heading, speed }) => ({
  lat: latitude,
  lon: longitude,
  ...(isKnown(accuracy) && { accuracyM: Math.min(accuracy, 100_000) }),
  ...(isKnown(heading) && { heading }),
  ...(isKnown(speed) && { speedKmh: Math.min(500, Math.max(0, speed * 3.6)) }),
});

/**
 * @param {number | null | undefined} value
 * @returns {value is number}
 */
const isKnown = (value) => typeof value === "number" && !Number.isNaN(value);

/**
 * How many km the driver is away from a place, if the phone is sure that they are far from it; else null.
 * @param {Here | null} here
 * @param {Moment} at when the phone was there
 * @param {{lat: number, lon: number}} place
 * @param {Moment} now
 * @returns {number | null}
 */
export const farFrom = (here, at, place, now) => {
  const age = Math.max(now.mono - at.mono, now.wall - at.wall); // one of the clocks may have slept, or was set
  if (here === null || (here.accuracyM ?? Infinity) > EXACT_M || age > FRESH_MS) return null;
  const rad = Math.PI / 180;
  const half = (/** @type {number} */ degrees) => Math.sin((degrees * rad) / 2) ** 2;
  const chord = half(place.lat - here.lat) + Math.cos(here.lat * rad) * Math.cos(place.lat * rad) * half(place.lon - here.lon);
  const km = 2 * EARTH_KM * Math.asin(Math.sqrt(Math.min(1, chord)));
  return km > FAR_KM ? km : null;
};

export class Place {
  /**
   * `send` returns whether the location was sent; `changed` is called when `state` or `here` are new.
   * @param {{send: (location: Wire.Location) => boolean, changed: () => void}} options
   */
  constructor({ send, changed }) {
    /** @type {PlaceState} */
    this.state = "off";
    /** @type {Here | null} */
    this.here = null;
    /** @type {number | undefined} */
    this._watching = undefined;
    this._at = { wall: -Infinity, mono: -Infinity }; // of `here`
    this._send = send;
    this._changed = changed;
    this._sentAt = -Infinity;
    this._isNews = false;
    setInterval(() => this._again(), SEND_EVERY_MS);
  }

  // A page whose address names a place is there; else what the browser allows already.
  async begin() {
    const query = new URLSearchParams(location.search);
    const lat = Number.parseFloat(query.get("lat") ?? "");
    const lon = Number.parseFloat(query.get("lon") ?? "");
    if (Math.abs(lat) <= 90 && Math.abs(lon) <= 180) {
      this.put(lat, lon);
      return;
    }
    if (!isSecureContext) {
      this.watch(); // the browser would not even ask: say why
      return;
    }
    try {
      const permission = await navigator.permissions.query({ name: "geolocation" });
      if (permission.state === "granted") this.watch();
      else if (permission.state === "denied") this._set("refused");
    } catch {
      // the browser does not tell: the button asks
    }
  }

  // Ask the device.
  watch() {
    if (!("geolocation" in navigator) || !isSecureContext) {
      this._set("unavailable");
      return;
    }
    if (this._watching !== undefined) navigator.geolocation.clearWatch(this._watching);
    this._set(this.here && this.state === "device" ? "device" : "asking");
    this._watching = navigator.geolocation.watchPosition(
      ({ coords }) => {
        this.here = hereFrom(coords);
        this._at = { wall: Date.now(), mono: performance.now() };
        this._isNews = true;
        this._set("device");
        this._pass();
      },
      (error) => {
        if (this.state === "device" && error.code !== error.PERMISSION_DENIED) return; // a moment in a tunnel
        this._set(error.code === error.PERMISSION_DENIED ? "refused" : "unavailable");
      },
      { enableHighAccuracy: true, maximumAge: 10_000, timeout: 20_000 },
    );
  }

  /**
   * Be here because somebody says so.
   * @param {number} lat
   * @param {number} lon
   */
  put(lat, lon) {
    if (this._watching !== undefined) navigator.geolocation.clearWatch(this._watching);
    this._watching = undefined;
    this.here = { lat, lon };
    this._set("by_hand");
    this._sentAt = -Infinity;
    this._pass();
  }

  // The connection is new: say at once where we are.
  repeat() {
    this._sentAt = -Infinity;
    this._pass();
  }

  get known() {
    return this.here !== null && (this.state === "device" || this.state === "by_hand");
  }

  /**
   * @param {{lat: number, lon: number}} place
   * @param {Moment} now
   */
  farFrom(place, now) {
    return farFrom(this.here, this._at, place, now);
  }

  _pass() {
    if (!this.here || !this.known || performance.now() - this._sentAt < SEND_EVERY_MS) return;
    if (!this._send({ type: "location", ...this.here })) return;
    this._sentAt = performance.now();
    this._isNews = false;
  }

  // What came too soon after the last one. And no device reports a driver who does not move, but their position must
  // not grow old.
  _again() {
    if (this._isNews || performance.now() - this._sentAt >= STANDING_STILL_MS) this._pass();
  }

  /** @param {PlaceState} state */
  _set(state) {
    this.state = state;
    this._changed();
  }
}
