// The map: drivers, pickups and offers on one canvas, out of the same rows as the lists. It needs no tiles.
import { focusRow } from "./lists.js";

const STYLES = {
  available: "--good",
  busy: "--accent",
  on_break: "--warn",
  paused: "--high",
  offline: "--line-strong",
  shift_ended: "--line-strong",
};

let map;
let canvas;
const things = new Map(); // key -> layer
let fitted = false;

let palette = {};
const readPalette = () => {
  // light-dark() is resolved by the browser on a real property only.
  const probe = document.createElement("i");
  document.body.append(probe);
  for (const name of ["--good", "--accent", "--warn", "--high", "--bad", "--line", "--line-strong", "--ink", "--bg"]) {
    probe.style.color = `var(${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return palette;
};

const point = (text) => {
  const [lat, lon] = text.split(",").map(Number);
  return Number.isFinite(lat) && Number.isFinite(lon) ? [lat, lon] : null;
};

const put = (key, make, places, style, id) => {
  const old = things.get(key);
  if (old) {
    if (old.setLatLngs) old.setLatLngs(places);
    else old.setLatLng(places);
    const drawn = JSON.stringify(style);
    if (old.drawn !== drawn) {
      old.setStyle(style);
      if (style.radius) old.setRadius(style.radius);
      old.drawn = drawn;
    }
    return old;
  }
  const layer = make(places, { ...style, renderer: canvas, interactive: Boolean(id) });
  layer.drawn = JSON.stringify(style);
  if (id) layer.on("click", () => focusRow(id));
  layer.addTo(map);
  things.set(key, layer);
  return layer;
};

const L = () => globalThis.L;

const drawDriver = (row, kept) => {
  if (!row.dataset.at || row.hidden || ["offline", "shift_ended"].includes(row.dataset.state)) return;
  const at = point(row.dataset.at);
  if (!at) return;
  const fill = palette[STYLES[row.dataset.state]];
  kept.add(`v${row.id}`);
  put(`v${row.id}`, L().circleMarker, at, { radius: 4, weight: 1, color: palette["--bg"], fillColor: fill, fillOpacity: 1 }, row.id);
};

const drawPickup = (row, kept) => {
  if (row.hidden || row.dataset.gone !== undefined) return;
  const at = point(row.dataset.at);
  const level = Number(row.dataset.level);
  const stroke = palette[level > 2 ? "--bad" : level === 2 ? "--high" : level === 1 ? "--warn" : "--ink"];
  kept.add(row.id);
  put(row.id, L().circleMarker, at, { radius: 6 + Math.min(level, 3), weight: 2.5, color: stroke, fillColor: stroke, fillOpacity: 0.15 }, row.id);
  const driver = row.dataset.offered && document.getElementById(`v-${row.dataset.offered}`);
  const from = driver?.dataset.at && point(driver.dataset.at);
  if (!from) return;
  kept.add(`l${row.id}`);
  put(`l${row.id}`, L().polyline, [from, at], { weight: 2, dashArray: "5 5", color: palette["--ink"], opacity: 0.8 });
};

const drawTrip = (row, kept) => {
  if (row.hidden || row.dataset.gone !== undefined) return;
  const driver = document.getElementById(`v-${row.dataset.driver}`);
  const from = driver?.dataset.at && point(driver.dataset.at);
  const to = point(row.dataset.state === "picked_up" ? row.dataset.to : row.dataset.at);
  if (!from || !to) return;
  kept.add(row.id);
  put(row.id, L().polyline, [from, to], { weight: 1.5, color: palette["--accent"], opacity: 0.45 });
};

const sweep = (kept) => {
  for (const [key, layer] of things) {
    if (kept.has(key)) continue;
    layer.remove();
    things.delete(key);
  }
};

const drawBoard = () => {
  const kept = new Set();
  for (const row of document.getElementById("rows-active").rows) drawTrip(row, kept);
  for (const row of document.getElementById("rows-drivers").rows) drawDriver(row, kept);
  for (const row of document.getElementById("rows-waiting").rows) drawPickup(row, kept);
  sweep(kept);
  fitOnce();
};

const drawPlaces = () => {
  const { dataset } = document.getElementById("places");
  const kept = new Set();
  const dot = (key, text, name, radius) => {
    const at = text && point(text);
    if (!at) return null;
    kept.add(key);
    put(key, L().circleMarker, at, { radius, weight: 2.5, color: palette[name], fillColor: palette[name], fillOpacity: 0.25 });
    things.get(key).unbindTooltip().bindTooltip(key, { permanent: true, direction: "right", offset: [8, 0] });
    return at;
  };
  const line = (key, from, to, name, dashArray) => {
    if (!from || !to) return;
    kept.add(key);
    put(key, L().polyline, [from, to], { weight: 2, color: palette[name], opacity: 0.7, ...(dashArray && { dashArray }) });
  };
  const driver = dot("driver", dataset.driver, "--good", 6);
  if (dataset.pickup) {
    const pickup = dot("pickup", dataset.pickup, "--ink", 8);
    const dropoff = dot("drop-off", dataset.dropoff, "--accent", 8);
    line("trip", pickup, dropoff, "--accent");
    line("way", driver, pickup, "--ink", "5 5");
  }
  for (const [index, trip] of (dataset.work ?? "").split(";").filter(Boolean).entries()) {
    const [a, b, c, d] = trip.split(",");
    const pickup = dot(`pickup ${index + 1}`, `${a},${b}`, "--ink", 8);
    const dropoff = dot(`drop-off ${index + 1}`, `${c},${d}`, "--accent", 8);
    line(`trip ${index + 1}`, pickup, dropoff, "--accent");
  }
  sweep(kept);
  fitOnce();
};

const bounds = () => {
  const all = L().latLngBounds([]);
  for (const layer of things.values()) all.extend(layer.getLatLng ? layer.getLatLng() : layer.getLatLngs());
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
  const Net = L().GridLayer.extend({
    createTile() {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 256;
      const pen = tile.getContext("2d");
      pen.strokeStyle = palette["--line"];
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
  if (!place || !globalThis.L) return;
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
  let ground;
  if (place.dataset.tiles) {
    map.attributionControl.setPrefix(false);
    L().tileLayer(place.dataset.tiles, { attribution: place.dataset.attribution, maxZoom: 19 }).addTo(map);
  } else ground = net().addTo(map);
  L().control.scale({ imperial: false }).addTo(map);
  const Fit = L().Control.extend({
    onAdd() {
      const box = L().DomUtil.create("div", "leaflet-bar");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fit";
      button.title = "Show everything";
      button.setAttribute("aria-label", "Show everything on the map");
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
    const { at } = event.detail.row.dataset;
    const where = at && point(at);
    if (where && !map.getBounds().contains(where)) map.panTo(where, { animate: !still });
  });
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(place);
  draw();
};
