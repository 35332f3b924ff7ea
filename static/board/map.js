// The map: drivers, pickups and offers on one canvas, out of the same rows as the lists. It needs no tiles.
import { text } from "../driver/text.js";
import { byId } from "../elements.js";
import { focusRow } from "./lists.js";

/** @import {CircleMarker, CircleMarkerOptions, GridLayer, GridLayerOptions, LatLngTuple, Map as LeafletMap, Polyline, PolylineOptions, Renderer} from "leaflet" */
/** @typedef {{layer: CircleMarker | Polyline, drawn: string}} Thing */

/** @type {Record<string, string>} the colours of drivers by their state */
const STYLES = {
  available: "--good",
  busy: "--accent",
  on_break: "--warn",
  paused: "--high",
  offline: "--line-strong",
  shift_ended: "--line-strong",
};

/** With more runs than this on the map, their stops have no numbers: nobody could read them. */
const NUMBERED = 30;

/** @type {LeafletMap} */
let map;
/** @type {Renderer} */
let canvas;
/** @type {Map<string, Thing>} */
const things = new Map();
let fitted = false;

/** @type {Record<string, string>} */
const palette = {};
const readPalette = () => {
  // light-dark() is resolved by the browser on a real property only.
  const probe = document.createElement("i");
  document.body.append(probe);
  for (const name of ["--good", "--accent", "--warn", "--high", "--bad", "--line", "--line-strong", "--ink", "--bg"]) {
    probe.style.color = `var(${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
};

/**
 * @param {string | undefined} written "lat,lon"
 * @returns {LatLngTuple | null}
 */
const point = (written) => {
  const [lat = NaN, lon = NaN] = (written ?? "").split(",").map((part) => (part.trim() ? Number(part) : NaN));
  return Number.isFinite(lat) && Number.isFinite(lon) ? [lat, lon] : null;
};

const L = () => {
  if (!window.L) throw new Error("Leaflet is missing");
  return window.L;
};

/**
 * A dot on the map; a click on it leads to the row with this id.
 * @param {string} key
 * @param {LatLngTuple} place
 * @param {CircleMarkerOptions} style
 * @param {string} [id]
 * @returns {CircleMarker}
 */
const putDot = (key, place, style, id) => {
  const drawn = JSON.stringify(style);
  const old = things.get(key);
  if (old && "setLatLng" in old.layer) {
    old.layer.setLatLng(place);
    if (old.drawn !== drawn) {
      old.layer.setStyle(style);
      if (style.radius) old.layer.setRadius(style.radius);
      old.drawn = drawn;
    }
    return old.layer;
  }
  const layer = L().circleMarker(place, { ...style, renderer: canvas, interactive: Boolean(id) });
  if (id) layer.on("click", () => focusRow(id));
  layer.addTo(map);
  things.set(key, { layer, drawn });
  return layer;
};

/**
 * @param {string} key
 * @param {LatLngTuple[]} places
 * @param {PolylineOptions} style
 */
const putLine = (key, places, style) => {
  const drawn = JSON.stringify(style);
  const old = things.get(key);
  if (old && "setLatLngs" in old.layer) {
    old.layer.setLatLngs(places);
    if (old.drawn !== drawn) old.layer.setStyle(style);
    old.drawn = drawn;
    return;
  }
  const layer = L().polyline(places, { ...style, renderer: canvas, interactive: false });
  layer.addTo(map);
  things.set(key, { layer, drawn });
};

/**
 * @param {HTMLElement} row
 * @param {Set<string>} kept
 */
const drawDriver = (row, kept) => {
  if (!row.dataset.at || row.hidden || ["offline", "shift_ended"].includes(row.dataset.state ?? "")) return;
  const at = point(row.dataset.at);
  if (!at) return;
  const fill = palette[STYLES[row.dataset.state ?? ""] ?? "--ink"];
  kept.add(`v${row.id}`);
  putDot(`v${row.id}`, at, { radius: 4, weight: 1, color: palette["--bg"], fillColor: fill, fillOpacity: 1 }, row.id);
};

/**
 * The stops of a driver in order, with their numbers while those can be told apart.
 * @param {string} key
 * @param {LatLngTuple | null} from
 * @param {string} run
 * @param {Set<string>} kept
 * @param {{numbered: boolean, opacity: number}} style
 */
const drawRun = (key, from, run, kept, { numbered, opacity }) => {
  const stops = run.split(";").map(point).filter((at) => at !== null);
  const way = from ? [from, ...stops] : stops;
  if (way.length < 2) return;
  kept.add(key);
  putLine(key, way, { weight: 2, color: palette["--accent"], opacity });
  if (!numbered) return;
  for (const [index, at] of stops.entries()) {
    const name = `${key} ${index + 1}`;
    kept.add(name);
    // Several stops at one place show all their numbers.
    const same = stops.flatMap(([lat, lon], other) => (lat === at[0] && lon === at[1] ? [other + 1] : []));
    const style = { radius: 7, weight: 2, color: palette["--accent"], fillColor: palette["--bg"], fillOpacity: 1 };
    const dot = putDot(name, at, style).unbindTooltip();
    if (same[0] !== index + 1) continue;
    dot.bindTooltip(same.join(", "), { permanent: true, direction: "right", offset: [6, 0], className: "stop-number" });
  }
};

/**
 * @param {HTMLElement} row
 * @param {Set<string>} kept
 */
const drawPickup = (row, kept) => {
  if (row.hidden || row.dataset.gone !== undefined) return;
  const at = point(row.dataset.at);
  if (!at) return;
  const level = Number(row.dataset.level);
  const stroke = palette[level > 2 ? "--bad" : level === 2 ? "--high" : level === 1 ? "--warn" : "--ink"];
  kept.add(row.id);
  putDot(row.id, at, { radius: 6 + Math.min(level, 3), weight: 2.5, color: stroke, fillColor: stroke, fillOpacity: 0.15 }, row.id);
  const driver = row.dataset.offered && document.getElementById(`v-${row.dataset.offered}`);
  const from = driver ? point(driver.dataset.at) : null;
  if (!from) return;
  kept.add(`l${row.id}`);
  putLine(`l${row.id}`, [from, at], { weight: 2, dashArray: "5 5", color: palette["--ink"], opacity: 0.8 });
};

/**
 * @param {HTMLElement} row
 * @param {Set<string>} kept
 */
const drawTrip = (row, kept) => {
  if (row.hidden || row.dataset.gone !== undefined) return;
  const driver = document.getElementById(`v-${row.dataset.driver}`);
  if (driver?.dataset.run) return;
  const from = point(driver?.dataset.at);
  const to = point(row.dataset.state === "picked_up" ? row.dataset.to : row.dataset.at);
  if (!from || !to) return;
  kept.add(row.id);
  putLine(row.id, [from, to], { weight: 1.5, color: palette["--accent"], opacity: 0.45 });
};

/** @param {Set<string>} kept */
const sweep = (kept) => {
  for (const [key, { layer }] of things) {
    if (kept.has(key)) continue;
    layer.remove();
    things.delete(key);
  }
};

const drawBoard = () => {
  /** @type {Set<string>} */
  const kept = new Set();
  for (const row of byId("rows-active", HTMLTableSectionElement).rows) drawTrip(row, kept);
  const drivers = [...byId("rows-drivers", HTMLTableSectionElement).rows];
  const runs = drivers.filter((row) => row.dataset.run && !row.hidden);
  for (const { id, dataset } of runs) {
    drawRun(`r${id}`, point(dataset.at), dataset.run ?? "", kept, { numbered: runs.length <= NUMBERED, opacity: 0.45 });
  }
  for (const row of drivers) drawDriver(row, kept);
  for (const row of byId("rows-waiting", HTMLTableSectionElement).rows) drawPickup(row, kept);
  sweep(kept);
  fitOnce();
};

const drawPlaces = () => {
  const { dataset } = byId("places");
  /** @type {Set<string>} */
  const kept = new Set();
  /**
   * @param {string} key
   * @param {string | undefined} place
   * @param {string} name of a colour
   * @param {number} radius
   * @param {string} label
   */
  const dot = (key, place, name, radius, label) => {
    const at = point(place);
    if (!at) return null;
    kept.add(key);
    const style = { radius, weight: 2.5, color: palette[name], fillColor: palette[name], fillOpacity: 0.25 };
    putDot(key, at, style).unbindTooltip().bindTooltip(label, { permanent: true, direction: "right", offset: [8, 0] });
    return at;
  };
  /**
   * @param {string} key
   * @param {LatLngTuple | null} from
   * @param {LatLngTuple | null} to
   * @param {string} name of a colour
   * @param {string} [dashArray]
   */
  const line = (key, from, to, name, dashArray) => {
    if (!from || !to) return;
    kept.add(key);
    putLine(key, [from, to], { weight: 2, color: palette[name], opacity: 0.7, ...(dashArray && { dashArray }) });
  };
  const driver = dot("driver", dataset.driver, "--good", 6, text("driver"));
  if (dataset.pickup) {
    const pickup = dot("pickup", dataset.pickup, "--ink", 8, text("pickup"));
    const dropoff = dot("drop-off", dataset.dropoff, "--accent", 8, text("drop-off"));
    line("trip", pickup, dropoff, "--accent");
    line("way", driver, pickup, "--ink", "5 5");
  }
  if (dataset.run) drawRun("run", driver, dataset.run, kept, { numbered: true, opacity: 0.7 });
  for (const [index, trip] of (dataset.work ?? "").split(";").filter(Boolean).entries()) {
    const [a, b, c, d] = trip.split(",");
    const number = index + 1;
    const pickup = dot(`pickup ${number}`, `${a},${b}`, "--ink", 8, text("pickup {number}", { number }));
    const dropoff = dot(`drop-off ${number}`, `${c},${d}`, "--accent", 8, text("drop-off {number}", { number }));
    line(`trip ${index + 1}`, pickup, dropoff, "--accent");
  }
  sweep(kept);
  fitOnce();
};

const bounds = () => {
  const all = L().latLngBounds([]);
  for (const { layer } of things.values()) {
    if ("getLatLng" in layer) all.extend(layer.getLatLng());
    else all.extend(layer.getBounds());
  }
  return all;
};

const fit = () => {
  const all = bounds();
  if (all.isValid()) map.fitBounds(all.pad(0.05), { maxZoom: 15, animate: false });
};

const fitOnce = () => {
  if (fitted || !things.size) return;
  fitted = true;
  fit();
};

// A faint net instead of tiles: it shows how far and which way one moved.
const net = () => {
  /** @type {new (options: GridLayerOptions) => GridLayer} */
  const Net = L().GridLayer.extend({
    createTile() {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 256;
      const pen = tile.getContext("2d");
      if (!pen) return tile;
      pen.strokeStyle = palette["--line"] ?? "";
      pen.strokeRect(-0.5, -0.5, 256, 256);
      pen.globalAlpha = 0.4;
      for (const at of [64, 128, 192]) {
        pen.strokeRect(at - 0.5, -1, 0, 258);
        pen.strokeRect(-1, at - 0.5, 258, 0);
      }
      return tile;
    },
  });
  return new Net({ updateWhenIdle: true });
};

export const startMap = () => {
  const place = document.getElementById("map");
  if (!place || !window.L) return;
  readPalette();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  map = L().map(place, {
    attributionControl: Boolean(place.dataset.tiles),
    zoomControl: true,
    zoomSnap: 0.25,
    zoomDelta: 1,
    wheelPxPerZoomLevel: 120,
    preferCanvas: true,
    zoomAnimation: !still,
    fadeAnimation: false,
    worldCopyJump: true,
    center: [0, 0],
    zoom: 2,
  });
  canvas = L().canvas({ padding: 0.3, tolerance: 4 });
  /** @type {GridLayer | undefined} */
  let ground;
  if (place.dataset.tiles) {
    map.attributionControl.setPrefix(false);
    L().tileLayer(place.dataset.tiles, { attribution: place.dataset.attribution, maxZoom: 19, referrerPolicy: "origin" }).addTo(map);
  } else ground = net().addTo(map);
  L().control.scale({ imperial: false }).addTo(map);
  const Fit = L().Control.extend({
    onAdd() {
      const box = L().DomUtil.create("div", "leaflet-bar");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fit";
      button.title = text("Show everything");
      button.setAttribute("aria-label", text("Show everything on the map"));
      button.textContent = "⤢";
      button.addEventListener("click", fit);
      L().DomEvent.disableClickPropagation(box);
      box.append(button);
      return box;
    },
  });
  new Fit({ position: "topright" }).addTo(map);

  const draw = document.getElementById("board") ? drawBoard : drawPlaces;
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    setTimeout(() => {
      asked = false;
      if (!document.hidden) draw();
    }, 200);
  };
  for (const name of ["board:changed", "board:moved", "board:places"]) document.addEventListener(name, soon);
  document.addEventListener("visibilitychange", soon);
  const recolour = () => {
    readPalette();
    ground?.redraw();
    soon();
  };
  document.addEventListener("callboard:theme", recolour);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  document.addEventListener("board:row", (event) => {
    const where = point(event.detail.row.dataset.at);
    if (where && !map.getBounds().contains(where)) map.panTo(where, { animate: !still });
  });
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(place);
  draw();
};
