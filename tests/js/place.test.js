import assert from "node:assert/strict";
import { test } from "node:test";

import { farFrom, hereFrom } from "../../static/driver/place.js";

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

test("a driver is far from a place only if the phone is sure: lately, exactly, and by more than 300 m", () => {
  const here = { lat: 52.52, lon: 13.405, accuracyM: 100 };
  const at = { wall: 1_000_000, mono: 5_000 };
  const later = { wall: at.wall + 120_000, mono: at.mono + 120_000 };
  const north = (/** @type {number} */ km) => ({ lat: here.lat + km / 111.195, lon: here.lon });
  assert.equal(farFrom(here, at, north(1.4), later)?.toFixed(2), "1.40");
  assert.equal(farFrom(here, at, { lat: here.lat, lon: here.lon + 0.1 }, at)?.toFixed(1), "6.8");
  assert.equal(farFrom(here, at, north(0.29), at), null);
  assert.equal(farFrom(here, at, north(0.31), at)?.toFixed(2), "0.31");
  const far = north(1.4);
  assert.equal(farFrom(here, at, far, { ...later, mono: later.mono + 1 }), null, "old");
  assert.equal(farFrom(here, at, far, { ...later, wall: later.wall + 1 }), null, "the phone slept");
  assert.equal(farFrom({ ...here, accuracyM: 101 }, at, far, at), null, "inexact");
  assert.equal(farFrom({ lat: here.lat, lon: here.lon }, at, far, at), null, "set by hand");
  assert.equal(farFrom(null, { wall: -Infinity, mono: -Infinity }, far, at), null, "unknown");
});
