import assert from "node:assert/strict";
import { test } from "node:test";

import { hereFrom } from "../../static/driver/place.js";

/**
 * What a device measured.
 * @param {Partial<GeolocationCoordinates>} measured
 * @returns {GeolocationCoordinates}
 */
const coords = (measured) => {
  const all = { latitude: 52.5, longitude: 13.4, accuracy: 8, altitude: null, altitudeAccuracy: null, heading: null, speed: null };
  return { ...all, ...measured, toJSON: () => "" };
};

test("a speed in m/s is sent in km/h", () => {
  assert.deepEqual(hereFrom(coords({ heading: 90, speed: 10 })), { lat: 52.5, lon: 13.4, accuracyM: 8, heading: 90, speedKmh: 36 });
});

test("what the device does not know is left out", () => {
  assert.deepEqual(hereFrom(coords({})), { lat: 52.5, lon: 13.4, accuracyM: 8 });
  assert.deepEqual(hereFrom(coords({ heading: NaN, speed: NaN })), { lat: 52.5, lon: 13.4, accuracyM: 8 });
});

test("a measurement beyond the limits of the contract is cut, not refused", () => {
  const here = hereFrom(coords({ accuracy: 250_000, speed: 1_000 }));
  assert.deepEqual(here, { lat: 52.5, lon: 13.4, accuracyM: 100_000, speedKmh: 500 });
  assert.equal(hereFrom(coords({ speed: -1 })).speedKmh, 0);
});
