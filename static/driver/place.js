// Where the driver is: from the device, or by hand where the device does not tell (a demonstration, a test).

const SEND_EVERY_MS = 4_000;
const STANDING_STILL_MS = 30_000;

export class Place {
  // `send(location)` passes a location on and returns whether it was sent; `changed()` is called when `state` or
  // `here` are new. States: "asking", "device", "by_hand", "refused", "unavailable", "off".
  constructor({ send, changed }) {
    this.state = "off";
    this.here = null;
    this._send = send;
    this._changed = changed;
    this._sentAt = -Infinity;
    this._isNews = false;
    setInterval(() => this._again(), SEND_EVERY_MS);
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
        this.here = {
          lat: coords.latitude,
          lon: coords.longitude,
          ...(coords.accuracy != null && { accuracyM: Math.min(coords.accuracy, 100_000) }),
          ...(coords.heading != null && !Number.isNaN(coords.heading) && { heading: coords.heading }),
          ...(coords.speed != null && { speedKmh: Math.min(500, Math.max(0, coords.speed * 3.6)) }),
        };
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

  // The driver does not allow the browser to use the position.
  refuse() {
    this._set("refused");
  }

  // Be here because somebody says so.
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

  _pass() {
    if (!this.known || performance.now() - this._sentAt < SEND_EVERY_MS) return;
    if (!this._send({ type: "location", ...this.here })) return;
    this._sentAt = performance.now();
    this._isNews = false;
  }

  // What came too soon after the last one. And whoever stands still is told of by no device, but their position must
  // not grow old.
  _again() {
    if (this._isNews || performance.now() - this._sentAt >= STANDING_STILL_MS) this._pass();
  }

  _set(state) {
    this.state = state;
    this._changed();
  }
}
