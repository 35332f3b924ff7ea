// The shape of a zone as points that people move: from GeoJSON and back. Nothing here knows the page or the map.

/** @typedef {[number, number]} Point latitude, longitude */
/** @typedef {Point[]} Ring not closed: the last point is not the first one again */
/** @typedef {Ring[][]} Shape polygons, each with the ring around it, then those of its holes */

/** @param {unknown} value @returns {value is number} */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/**
 * @param {unknown} ring positions with the longitude first, closed
 * @returns {Ring}
 */
const ringOf = (ring) => {
  if (!Array.isArray(ring)) throw new TypeError("a ring is a list");
  const points = ring.map((position) => {
    if (!Array.isArray(position) || !isNumber(position[0]) || !isNumber(position[1])) throw new TypeError("no position");
    return /** @type {Point} */ ([position[1], position[0]]);
  });
  const [first, last] = [points[0], points.at(-1)];
  if (points.length > 1 && first && last && first[0] === last[0] && first[1] === last[1]) points.pop();
  return points;
};

/**
 * The polygons of GeoJSON: a geometry, a feature, or a collection with one feature.
 * @param {string} written
 * @returns {Shape | null} null if it has none; an empty text is no polygon
 */
export const shapeFrom = (written) => {
  if (!written.trim()) return [];
  try {
    let found = JSON.parse(written);
    if (found.type === "FeatureCollection" && found.features.length === 1) [found] = found.features;
    if (found.type === "Feature") found = found.geometry;
    const polygons = found.type === "Polygon" ? [found.coordinates] : found.type === "MultiPolygon" ? found.coordinates : null;
    if (!Array.isArray(polygons)) return null;
    return polygons.map((/** @type {unknown} */ rings) => {
      if (!Array.isArray(rings)) throw new TypeError("a polygon is a list of rings");
      return rings.map(ringOf);
    });
  } catch {
    return null;
  }
};

/** @param {Ring} ring */
const closed = (ring) => {
  const positions = ring.map(([lat, lon]) => [lon, lat]);
  const [first] = positions;
  return first ? [...positions, first] : positions;
};

/**
 * @param {Shape} shape
 * @returns {string} GeoJSON, empty without a point
 */
export const geoJsonOf = (shape) => {
  const polygons = shape.map((rings) => rings.filter((ring) => ring.length).map(closed)).filter((rings) => rings.length);
  if (!polygons.length) return "";
  return JSON.stringify(
    polygons.length === 1
      ? { type: "Polygon", coordinates: polygons[0] }
      : { type: "MultiPolygon", coordinates: polygons },
  );
};

/**
 * @param {Point} one
 * @param {Point} other
 * @returns {Point} the point half-way
 */
export const between = (one, other) => [rounded((one[0] + other[0]) / 2), rounded((one[1] + other[1]) / 2)];

/** @param {number} degrees @returns {number} to about 10 cm */
export const rounded = (degrees) => Math.round(degrees * 1e6) / 1e6;

/**
 * @param {string} written "52.52, 13.40"
 * @returns {Point | null}
 */
export const pointFrom = (written) => {
  const parts = written.split(/[,;]/).map((part) => (part.trim() ? Number(part) : NaN));
  const [lat, lon] = parts;
  if (parts.length !== 2 || !isNumber(lat) || !isNumber(lon)) return null;
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? [lat, lon] : null;
};
