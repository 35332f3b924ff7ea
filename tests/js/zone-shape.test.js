import assert from "node:assert/strict";
import { test } from "node:test";

import { between, geoJsonOf, pointFrom, shapeFrom } from "../../static/zone-shape.js";

const square = { type: "Polygon", coordinates: [[[13, 52], [14, 52], [14, 53], [13, 53], [13, 52]]] };
const corners = [[52, 13], [52, 14], [53, 14], [53, 13]];

test("a shape is read from a geometry, a feature and a collection of one, and written as it was", () => {
  const feature = { type: "Feature", properties: {}, geometry: square };
  for (const given of [square, feature, { type: "FeatureCollection", features: [feature] }]) {
    const shape = shapeFrom(JSON.stringify(given));
    assert.deepEqual(shape, [[corners]]);
    assert.deepEqual(JSON.parse(geoJsonOf(shape ?? [])), square);
  }
});

test("holes and several polygons are kept", () => {
  const many = { type: "MultiPolygon", coordinates: [square.coordinates, [...square.coordinates, ...square.coordinates]] };
  assert.deepEqual(JSON.parse(geoJsonOf(shapeFrom(JSON.stringify(many)) ?? [])), many);
});

test("an empty text is an empty shape, and a text that is no shape is refused", () => {
  assert.deepEqual(shapeFrom("  "), []);
  assert.equal(geoJsonOf([]), "");
  assert.equal(geoJsonOf([[[]]]), "");
  for (const wrong of ["{", "7", "null", '{"type":"Point","coordinates":[1,2]}', '{"type":"Polygon","coordinates":[[["a",1]]]}']) {
    assert.equal(shapeFrom(wrong), null, wrong);
  }
  assert.equal(shapeFrom(JSON.stringify({ type: "FeatureCollection", features: [] })), null);
});

test("a point is latitude and longitude in range", () => {
  assert.deepEqual(pointFrom("52.5, 13.4"), [52.5, 13.4]);
  for (const wrong of ["", "52.5", "52.5, ", "a, b", "91, 0", "0, 181", "1, 2, 3"]) assert.equal(pointFrom(wrong), null, wrong);
});

test("the point between two is half-way", () => {
  assert.deepEqual(between([52, 13], [53, 14]), [52.5, 13.5]);
});
