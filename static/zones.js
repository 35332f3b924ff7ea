// Zones on the map. An admin draws the shape of one: points are set and moved by mouse or finger, or in the list of
// points by keyboard. The field with GeoJSON always has the same shape, and is what the form sends.
import { text } from "./driver/text.js";
import { byId } from "./elements.js";
import { between, geoJsonOf, pointFrom, rounded, shapeFrom } from "./zone-shape.js";

/** @import {LayerGroup, LeafletMouseEvent, Map as LeafletMap, Marker, TooltipOptions} from "leaflet" */
/** @import {Point, Ring, Shape} from "./zone-shape.js" */

const LISTED = 200;
/** The most points of a zone. */
const LARGEST = 5000;
/** @type {TooltipOptions} */
const NAME = { permanent: true, direction: "center", className: "zone-name" };
const place = byId("zone-map");
/** @type {Record<string, unknown>} the other zones' shapes by their names */
const others = JSON.parse(byId("zone-shapes", HTMLTemplateElement).content.textContent ?? "{}");
const field = document.getElementById("shape");
const L = window.L;

/** @type {Shape} */
let shape = [];
let drawing = false;
/** @type {LeafletMap | undefined} */
let map;
/** @type {LayerGroup | undefined} */
let layer;

/** @returns {Ring} the ring that grows: the outer one of the last polygon */
const lastRing = () => {
  let ring = shape.at(-1)?.[0];
  if (!ring) shape.push([(ring = [])]);
  return ring;
};

/** @returns {{ring: Ring, at: number}[]} every point with its ring */
const points = () => shape.flatMap((rings) => rings.flatMap((ring) => ring.map((_, at) => ({ ring, at }))));

/** @param {Point} point */
const written = ([lat, lon]) => `${lat}, ${lon}`;

/** @param {string} kind @param {Point} point @param {string} title */
const handle = (kind, point, title) => {
  if (!L) throw new Error("Leaflet is missing");
  const icon = L.divIcon({ className: `zone-${kind}`, iconSize: kind === "point" ? [18, 18] : [12, 12] });
  return L.marker(point, { icon, draggable: true, keyboard: false, title });
};

const draw = () => {
  if (!map || !L) return;
  layer?.remove();
  const group = L.layerGroup().addTo(map);
  layer = group;
  if (!(field instanceof HTMLTextAreaElement)) return;
  const movable = points().length <= LISTED;
  for (const rings of shape) {
    const line = L.polygon(rings, { className: "zone-shape", interactive: false });
    group.addLayer(line);
    if (!movable) continue;
    for (const ring of rings) ring.forEach((point, at) => drawPoint(group, ring, at, point, () => line.setLatLngs(rings)));
  }
};

/**
 * A point, and the one half-way to the next that becomes a point when it is moved.
 * @param {LayerGroup} group
 * @param {Ring} ring
 * @param {number} at
 * @param {Point} point
 * @param {() => void} moved
 */
const drawPoint = (group, ring, at, point, moved) => {
  const here = handle("point", point, text("Drag to move, click to remove"));
  follow(here, (to) => {
    ring[at] = to;
    moved();
  });
  here.on("click", () => {
    if (drawing && at === 0 && ring.length > 2) finish();
    else if (!drawing) remove(ring, at);
  });
  group.addLayer(here);
  const next = ring[(at + 1) % ring.length];
  if (drawing || !next || ring.length < 3) return;
  const middle = handle("middle", between(point, next), text("Drag to add a point"));
  let added = false;
  follow(middle, (to) => {
    if (added) ring[at + 1] = to;
    else ring.splice(at + 1, 0, to);
    added = true;
    moved();
  });
  group.addLayer(middle);
};

/** @param {Marker} marker @param {(to: Point) => void} move */
const follow = (marker, move) => {
  marker.on("drag", () => {
    const { lat, lng } = marker.getLatLng().wrap();
    move([rounded(lat), rounded(lng)]);
  });
  marker.on("dragend", show);
};

/** @param {Ring} ring @param {number} at */
const remove = (ring, at) => {
  ring.splice(at, 1);
  if (!ring.length) shape = shape.map((rings) => rings.filter((one) => one.length)).filter((rings) => rings.length);
  show();
};

/** Everything that shows the shape: the map, the list, the field. */
const show = () => {
  if (field instanceof HTMLTextAreaElement) field.value = geoJsonOf(shape);
  draw();
  list();
};

const list = () => {
  const rows = points();
  byId("points-count").textContent = String(rows.length);
  byId("point-first").hidden = rows.length > 0;
  const shown = rows.length > LISTED ? [] : rows;
  byId("points").replaceChildren(
    ...shown.map(({ ring, at }, index) => {
      const row = document.createElement("li");
      const input = document.createElement("input");
      const point = ring[at];
      if (point) input.value = written(point);
      input.className = "mono";
      input.setAttribute("aria-label", text("Point {number}: latitude, longitude", { number: index + 1 }));
      input.addEventListener("change", () => {
        const moved = pointFrom(input.value);
        input.setCustomValidity(moved ? "" : text("Write latitude and longitude, such as 52.52, 13.40."));
        if (!moved) return void input.reportValidity();
        ring[at] = moved;
        show();
        focusOn(index);
      });
      row.append(
        input,
        button(text("Add a point after {number}", { number: index + 1 }), "+", () => {
          const [one, next] = [ring[at], ring[(at + 1) % ring.length]];
          if (!one || !next) return;
          const step = /** @type {Point} */ ([rounded(one[0] + 0.01), rounded(one[1] + 0.01)]);
          ring.splice(at + 1, 0, ring.length > 2 ? between(one, next) : step);
          show();
          focusOn(index + 1);
        }),
        button(text("Remove point {number}", { number: index + 1 }), "−", () => {
          remove(ring, at);
          focusOn(Math.min(index, points().length - 1));
        }),
      );
      return row;
    }),
  );
};

/** @param {number} index */
const focusOn = (index) => {
  const input = byId("points").children[index]?.querySelector("input");
  if (input) input.focus();
  else byId("point-first").focus();
};

/** @param {string} label @param {string} sign @param {() => void} act */
const button = (label, sign, act) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = sign;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
};

const say = (/** @type {string} */ words) => {
  byId("zone-status").textContent = words;
};

const finish = () => {
  drawing = false;
  byId("draw").setAttribute("aria-pressed", "false");
  place.classList.remove("drawing");
  say("");
  show();
};

const begin = () => {
  drawing = true;
  shape.push([[]]);
  byId("draw").setAttribute("aria-pressed", "true");
  place.classList.add("drawing");
  say(text("Click on the map for each point. A click on the first point, Enter or Escape ends it."));
  show();
};

const fit = () => {
  if (!map || !L) return;
  const own = points().map(({ ring, at }) => ring[at]).filter((point) => point !== undefined);
  const all = Object.values(others).flatMap((one) => (shapeFrom(JSON.stringify(one)) ?? []).flat(2));
  const near = pointFrom(place.dataset.near ?? "");
  if (own.length > 1) map.fitBounds(L.latLngBounds(own).pad(0.2), { maxZoom: 15 });
  else if (all.length > 1) map.fitBounds(L.latLngBounds(all).pad(0.1), { maxZoom: 14 });
  else if (near) map.setView(near, 12);
};

const startMap = () => {
  if (!L) return;
  map = L.map(place, {
    attributionControl: Boolean(place.dataset.tiles),
    zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    center: [0, 0],
    zoom: 2,
  });
  if (place.dataset.tiles) {
    map.attributionControl.setPrefix(false);
    const { tiles, attribution } = place.dataset;
    L.tileLayer(tiles, { attribution, maxZoom: 19, referrerPolicy: "origin" }).addTo(map);
  }
  L.control.scale({ imperial: false }).addTo(map);
  for (const [name, one] of Object.entries(others)) {
    const rings = shapeFrom(JSON.stringify(one));
    const label = document.createElement("span");
    label.textContent = name;
    if (!rings?.length) continue;
    L.polygon(rings, { className: "zone-other", interactive: false }).bindTooltip(label, NAME).addTo(map);
  }
  map.on("click", (/** @type {LeafletMouseEvent} */ { latlng }) => {
    if (!drawing) return;
    const { lat, lng } = latlng.wrap();
    lastRing().push([rounded(lat), rounded(lng)]);
    show();
  });
};

/** @param {Shape} found */
const tooMany = (found) => {
  // As GeoJSON counts: the first point of a ring is also its last.
  const count = found.flat().reduce((all, ring) => all + ring.length + 1, 0);
  return count > LARGEST ? text("This shape has {count} points, and a zone at most {limit}.", { count, limit: LARGEST }) : "";
};

const readField = () => {
  if (!(field instanceof HTMLTextAreaElement)) return false;
  const found = shapeFrom(field.value);
  field.setCustomValidity(found ? tooMany(found) : text("This is no GeoJSON with a Polygon or MultiPolygon."));
  if (found) shape = found;
  return field.validity.valid;
};

startMap();
if (field instanceof HTMLTextAreaElement) {
  readField();
  draw();
  list();
  field.addEventListener("change", () => {
    if (!readField()) return void field.reportValidity();
    draw();
    list();
    fit();
  });
  byId("draw").addEventListener("click", () => (drawing ? finish() : begin()));
  byId("clear").addEventListener("click", () => {
    shape = [];
    if (drawing) finish();
    else show();
  });
  byId("point-first").addEventListener("click", () => {
    const { lat, lng } = map?.getCenter().wrap() ?? { lat: 0, lng: 0 };
    const size = 0.02;
    const corners = [[-size, -size], [-size, size], [size, size], [size, -size]];
    shape = [[corners.map(([up = 0, right = 0]) => /** @type {Point} */ ([rounded(lat + up), rounded(lng + right)]))]];
    show();
    fit();
    focusOn(0);
  });
  document.addEventListener("keydown", (event) => {
    if (!drawing || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    finish();
  });
  byId("shape-file", HTMLInputElement).addEventListener("change", async () => {
    const file = byId("shape-file", HTMLInputElement).files?.[0];
    if (!file) return;
    const content = await file.text();
    // The same shape without the blanks and properties of the file: the form has a limit.
    const found = shapeFrom(content);
    field.value = found?.length ? geoJsonOf(found) : content;
    field.dispatchEvent(new Event("change"));
  });
}
fit();
