// The map: drivers, pickups and offers on one canvas, out of the same rows as the lists. It needs no tiles.
import { counted, text } from "../driver/text.js";
import { byId } from "../elements.js";
import { focusRow } from "./lists.js";
import { grouped, most } from "./map-groups.js";

/** @import {CircleMarker, CircleMarkerOptions, GridLayer, GridLayerOptions, LatLngBounds, LatLngTuple, Map as LeafletMap, Polyline, PolylineOptions, Renderer} from "leaflet" */
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

/** Dots within so many pixels are one mark with their number. */
const CELL = 24;

/** @type {LeafletMap} */
let map;
/** @type {Renderer} */
let canvas;
/** @type {Map<string, Thing>} */
const things = new Map();
/** Whether a person has moved the map: it then stays where it is. */
let moved = false;
let fitting = false;
/** @type {LatLngTuple[]} drivers and orders, without the lines between them */
let places = [];

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
 * A dot on the map, and what a click on it does.
 * @param {string} key
 * @param {LatLngTuple} place
 * @param {CircleMarkerOptions} style
 * @param {() => void} [clicked]
 * @returns {CircleMarker}
 */
const putDot = (key, place, style, clicked) => {
  const drawn = JSON.stringify(style);
  const old = things.get(key);
  if (old && "setLatLng" in old.layer) {
    old.layer.setLatLng(place);
    if (old.drawn !== drawn) {
      old.layer.setStyle(style);
      if (style.radius) old.layer.setRadius(style.radius);
      old.drawn = drawn;
    }
    if (clicked) old.layer.off("click").on("click", clicked);
    return old.layer;
  }
  const layer = L().circleMarker(place, { ...style, renderer: canvas, interactive: Boolean(clicked) });
  if (clicked) layer.on("click", clicked);
  layer.addTo(map);
  things.set(key, { layer, drawn });
  return layer;
};

/**
 * @param {string} key
 * @param {LatLngTuple[]} line
 * @param {PolylineOptions} style
 */
const putLine = (key, line, style) => {
  const drawn = JSON.stringify(style);
  const old = things.get(key);
  if (old && "setLatLngs" in old.layer) {
    old.layer.setLatLngs(line);
    if (old.drawn !== drawn) old.layer.setStyle(style);
    old.drawn = drawn;
    return;
  }
  const layer = L().polyline(line, { ...style, renderer: canvas, interactive: false });
  layer.addTo(map);
  things.set(key, { layer, drawn });
};

/** @typedef {{row: HTMLElement, at: LatLngTuple}} Placed */

/**
 * The rows that have a place on the map.
 * @param {Iterable<HTMLElement>} rows
 * @returns {Placed[]}
 */
const placed = (rows) =>
  [...rows].flatMap((row) => {
    const at = row.hidden || row.dataset.gone !== undefined ? null : point(row.dataset.at);
    return at ? [{ row, at }] : [];
  });

/**
 * One mark for rows whose dots would lie on each other, with their number. A click shows them apart, or the list if they
 * are at one place.
 * @param {string} key
 * @param {Placed[]} group
 * @param {string | undefined} color
 * @param {Set<string>} kept
 */
const drawGroup = (key, group, color, kept) => {
  const middle = /** @type {LatLngTuple} */ ([
    group.reduce((sum, { at }) => sum + at[0], 0) / group.length,
    group.reduce((sum, { at }) => sum + at[1], 0) / group.length,
  ]);
  kept.add(key);
  const style = { radius: 12, weight: 2.5, color, fillColor: palette["--bg"], fillOpacity: 0.9 };
  const dot = putDot(key, middle, style, () => {
    const around = L().latLngBounds(group.map(({ at }) => at));
    const apart = !around.getNorthEast().equals(around.getSouthWest()) && map.getZoom() < map.getMaxZoom();
    if (apart) map.fitBounds(around.pad(0.2), { maxZoom: 19, animate: false });
    else if (group[0]) focusRow(group[0].row.id);
  });
  const number = String(group.length);
  if (dot.getTooltip()?.getContent() === number) return;
  dot.unbindTooltip();
  dot.bindTooltip(number, { permanent: true, direction: "center", className: "group-number" });
};

/**
 * @param {string} kind
 * @param {Placed[]} all
 * @param {Set<string>} kept
 * @param {(group: Placed[]) => string | undefined} colorOf
 * @param {(one: Placed) => void} drawOne
 */
const drawGrouped = (kind, all, kept, colorOf, drawOne) => {
  const zoom = map.getZoom();
  for (const { name, things: group } of grouped(all, ({ at }) => map.project(at, zoom), CELL)) {
    if (group.length > 1) drawGroup(`${kind} ${zoom} ${name}`, group, colorOf(group), kept);
    else for (const one of group) drawOne(one);
  }
};

/**
 * @param {Placed[]} all
 * @param {Set<string>} kept
 */
const drawDrivers = (all, kept) => {
  /** @param {HTMLElement} row */
  const fill = (row) => palette[STYLES[row.dataset.state ?? ""] ?? "--ink"];
  /** @param {Placed[]} group the colour of those who are free, if there are any */
  const colorOf = (group) => fill((group.find(({ row }) => row.dataset.state === "available") ?? group[0] ?? { row: document.body }).row);
  drawGrouped("drivers", all, kept, colorOf, ({ row, at }) => {
    kept.add(`v${row.id}`);
    const style = { radius: 4, weight: 1, color: palette["--bg"], fillColor: fill(row), fillOpacity: 1 };
    putDot(`v${row.id}`, at, style, () => focusRow(row.id));
  });
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

/** @param {number} level */
const colorOfLevel = (level) => palette[level > 2 ? "--bad" : level === 2 ? "--high" : level === 1 ? "--warn" : "--ink"];

/**
 * @param {Placed[]} all
 * @param {Set<string>} kept
 */
const drawPickups = (all, kept) => {
  /** @param {Placed[]} group */
  const colorOf = (group) => colorOfLevel(Math.max(...group.map(({ row }) => Number(row.dataset.level))));
  drawGrouped("pickups", all, kept, colorOf, ({ row, at }) => {
    const level = Number(row.dataset.level);
    const stroke = colorOfLevel(level);
    kept.add(row.id);
    const style = { radius: 6 + Math.min(level, 3), weight: 2.5, color: stroke, fillColor: stroke, fillOpacity: 0.15 };
    putDot(row.id, at, style, () => focusRow(row.id));
  });
  for (const one of all) drawOffered(one, kept);
};

/**
 * @param {Placed} placed
 * @param {Set<string>} kept
 */
const drawOffered = ({ row, at }, kept) => {
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
  const onShift = placed(drivers.filter((row) => !["offline", "shift_ended"].includes(row.dataset.state ?? "")));
  const waiting = placed(byId("rows-waiting", HTMLTableSectionElement).rows);
  places = [...onShift, ...waiting].map(({ at }) => at);
  // First where the map is: what lies on each other depends on it.
  fitToMost();
  drawDrivers(onShift, kept);
  drawPickups(waiting, kept);
  sweep(kept);
  tellOutside();
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
    // A driver at the store has their name on the other side of the dot.
    const [direction, offset] = key === "driver" ? /** @type {const} */ (["left", -8]) : /** @type {const} */ (["right", 8]);
    putDot(key, at, style).unbindTooltip().bindTooltip(label, { permanent: true, direction, offset: [offset, 0] });
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
  if (!moved && !holds(bounds())) fit(bounds());
};

const bounds = () => {
  const all = L().latLngBounds(places);
  for (const { layer } of things.values()) {
    if ("getLatLng" in layer) all.extend(layer.getLatLng());
    else all.extend(layer.getBounds());
  }
  return all;
};

/** @param {LatLngBounds} wanted */
const holds = (wanted) => !wanted.isValid() || (fitted && map.getBounds().contains(wanted));

let fitted = false;
/** @param {LatLngBounds} wanted */
const fit = (wanted) => {
  if (!wanted.isValid()) return;
  fitted = true;
  fitting = true;
  map.fitBounds(wanted, { maxZoom: 15, animate: false, padding: [18, 18] });
  fitting = false;
};

/** Until a person moves the map, it shows where most are. */
const fitToMost = () => {
  const wanted = L().latLngBounds(most(places));
  if (!moved && !holds(wanted)) fit(wanted);
};

/** Says how many the map does not show. */
const tellOutside = () => {
  if (!outside) return;
  const shown = map.getBounds();
  const count = places.filter((at) => !shown.contains(at)).length;
  outside.hidden = !count;
  const said = counted("{count} outside", "{count} outside", count);
  if (outside.textContent !== said) outside.textContent = said;
};

/** @type {HTMLButtonElement | null} */
let outside = null;

const showEverything = () => {
  moved = true;
  fit(bounds());
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
      button.addEventListener("click", showEverything);
      L().DomEvent.disableClickPropagation(box);
      box.append(button);
      return box;
    },
  });
  new Fit({ position: "topright" }).addTo(map);
  const Outside = L().Control.extend({
    onAdd() {
      outside = document.createElement("button");
      outside.type = "button";
      outside.className = "outside";
      outside.hidden = true;
      outside.title = text("Show everything");
      outside.addEventListener("click", showEverything);
      L().DomEvent.disableClickPropagation(outside);
      return outside;
    },
  });
  if (document.getElementById("board")) new Outside({ position: "bottomright" }).addTo(map);

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
  map.on("dragstart zoomstart", () => {
    if (!fitting) moved = true;
  });
  map.on("moveend", tellOutside);
  map.on("zoomend", soon);
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
    if (!where || map.getBounds().contains(where)) return;
    moved = true;
    map.panTo(where, { animate: !still });
  });
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(place);
  draw();
};
