// The form of an order: a click on the map sets a position, a store or a phone that is known fills in the rest. What
// somebody has written stays.
import { byId } from "./elements.js";

/** @import {CircleMarker, LatLngTuple, LeafletMouseEvent, Map as LeafletMap} from "leaflet" */

const ENDS = ["pickup", "dropoff"];
/** @type {Record<string, string>} */
const COLOURS = { pickup: "#0b5cad", dropoff: "#a83c00" };

/** @param {string} name */
const input = (name) => byId(name, HTMLInputElement);

/**
 * @param {string} position
 * @returns {LatLngTuple | null}
 */
const pointIn = (position) => {
  const [lat, lon, more] = position.split(/[,;]/).map((part) => (part.trim() ? Number(part) : NaN));
  if (lat === undefined || lon === undefined || more !== undefined) return null;
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? [lat, lon] : null;
};

/** @param {string} end */
const placeOf = (end) => pointIn(input(`${end}.at`).value);

const chosenEnd = () => {
  /** @type {HTMLInputElement | null} */
  const chosen = document.querySelector('[name="end"]:checked');
  return chosen?.value ?? "pickup";
};

/** @param {string} end */
const choose = (end) => {
  /** @type {HTMLInputElement | null} */
  const button = document.querySelector(`[name="end"][value="${end}"]`);
  if (button) button.checked = true;
};

/** @type {LeafletMap | undefined} */
let map;
/** @type {Map<string, CircleMarker>} */
const dots = new Map();

const draw = () => {
  if (!map || !window.L) return;
  for (const end of ENDS) {
    const place = placeOf(end);
    const old = dots.get(end);
    if (!place) {
      old?.remove();
      dots.delete(end);
    } else if (old) old.setLatLng(place);
    else {
      const style = { radius: 8, weight: 3, color: "#fff", fillColor: COLOURS[end], fillOpacity: 1 };
      dots.set(end, window.L.circleMarker(place, style).addTo(map));
    }
  }
};

const fit = () => {
  const places = ENDS.map(placeOf).filter((place) => place !== null);
  if (map && window.L && places.length) map.fitBounds(window.L.latLngBounds(places).pad(0.3), { maxZoom: 14 });
};

/** What the form shows as the place of an address, by end. @type {Map<string, {address: string, at: string}>} */
const located = new Map();

/** @param {(field: HTMLInputElement) => string} of what it shows, or what came with the page: a person may have written before this script */
const remember = (of) => {
  for (const end of ENDS) located.set(end, { address: of(input(`${end}.address`)), at: of(input(`${end}.at`)) });
};

/**
 * The place of an address is none of the next: the server searches that one. What a person wrote or clicked stays.
 * @param {string} end
 */
const forgetPlace = (end) => {
  const { address, at } = located.get(end) ?? {};
  const field = input(`${end}.at`);
  if (!address || !at) return;
  if (input(`${end}.address`).value === address) field.value ||= at;
  else if (field.value === at) field.value = "";
  draw();
};

/** @param {Record<string, string | null | undefined>} values the fields that are empty get these */
const fill = (values) => {
  for (const [name, value] of Object.entries(values)) {
    const field = document.getElementById(name);
    if (!(field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement)) continue;
    if (value && (!field.value || field.dataset.filled === field.value)) {
      field.value = value;
      field.dataset.filled = value;
    }
  }
  for (const end of ENDS) {
    const at = values[`${end}.at`];
    const before = document.getElementById(`${end}.before`);
    // The server asks about another address at this position.
    if (at && before instanceof HTMLInputElement) before.value = JSON.stringify([values[`${end}.address`] ?? "", at]);
  }
  remember((field) => field.value);
  draw();
  fit();
};

const knownStore = () => {
  const { value } = input("storeName");
  /** @type {NodeListOf<HTMLOptionElement>} */
  const options = document.querySelectorAll("#stores option");
  const { dataset } = [...options].find((option) => option.value === value) ?? {};
  if (!dataset) return;
  fill({ "pickup.address": dataset.address, "pickup.phone": dataset.phone, "pickup.at": dataset.at });
  if (dataset.at) choose("dropoff");
};

const knownCustomer = async () => {
  const { value } = input("dropoff.phone");
  if (value.replace(/\D/g, "").length < 5) return;
  const { ok, body } = await callboard.send("GET", `/orders/customer?phone=${encodeURIComponent(value)}`);
  if (!ok || value !== input("dropoff.phone").value || body === null || typeof body !== "object") return;
  fill(Object.fromEntries(Object.entries(body).map(([name, text]) => [`dropoff.${name}`, text])));
};

const WAIT_MS = 350;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let typed;

/**
 * What the address may mean, beneath its field; the position of the one that is chosen.
 * @param {string} end
 */
const lookUp = async (end) => {
  const field = input(`${end}.address`);
  const { value } = field;
  if (value.trim().length < 4) return;
  const { ok, body } = await callboard.send("GET", `/orders/places?q=${encodeURIComponent(value)}`);
  if (!ok || !Array.isArray(body) || value !== field.value) return;
  const options = body.map(({ address, lat, lon }) => {
    const option = document.createElement("option");
    option.value = address;
    option.dataset.at = `${lat}, ${lon}`;
    return option;
  });
  byId(`${end}.places`, HTMLDataListElement).replaceChildren(...options);
};

/** @param {string} end */
const choosePlace = (end) => {
  const { value } = input(`${end}.address`);
  const chosen = [...byId(`${end}.places`, HTMLDataListElement).options].find((option) => option.value === value);
  if (!chosen?.dataset.at) return false;
  input(`${end}.at`).value = chosen.dataset.at;
  located.set(end, { address: value, at: chosen.dataset.at });
  draw();
  fit();
  return true;
};

/**
 * A position in another form, such as the link of a map, as the form shows it.
 * @param {string} end
 */
const readPosition = async (end) => {
  const field = input(`${end}.at`);
  const { value } = field;
  if (placeOf(end) || value.trim().length < 4) return;
  const { ok, body } = await callboard.send("GET", `/orders/places?q=${encodeURIComponent(value)}`);
  if (!ok || !Array.isArray(body) || body.length !== 1 || value !== field.value) return;
  field.value = `${body[0].lat}, ${body[0].lon}`;
  draw();
  fit();
};

const startMap = () => {
  const place = byId("pick");
  if (!window.L) return;
  const near = pointIn(place.dataset.near ?? "");
  map = window.L.map(place, {
    attributionControl: Boolean(place.dataset.tiles),
    zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    ...(near ? { center: near, zoom: 12 } : { center: [0, 0], zoom: 2 }),
  });
  if (place.dataset.tiles) {
    map.attributionControl.setPrefix(false);
    window.L.tileLayer(place.dataset.tiles, { attribution: place.dataset.attribution, maxZoom: 19, referrerPolicy: "origin" }).addTo(map);
  }
  window.L.control.scale({ imperial: false }).addTo(map);
  map.on("click", (/** @type {LeafletMouseEvent} */ { latlng }) => {
    const end = chosenEnd();
    const { lat, lng } = latlng.wrap();
    input(`${end}.at`).value = `${lat.toFixed(6)}, ${lng.toFixed(6)}`;
    draw();
    if (end === "pickup" && !placeOf("dropoff")) choose("dropoff");
  });
  draw();
  fit();
};

/**
 * What was written before this script came is known as well, if its writer has gone on.
 * @param {string} name
 * @param {() => void} known
 */
const whenWritten = (name, known) => {
  const field = input(name);
  field.addEventListener("change", known);
  if (field.value !== field.defaultValue && document.activeElement !== field) known();
};

remember((field) => field.defaultValue);
startMap();
whenWritten("storeName", knownStore);
whenWritten("dropoff.phone", () => void knownCustomer());
for (const end of ENDS) {
  if (document.getElementById(`${end}.places`)) {
    input(`${end}.address`).addEventListener("input", () => {
      clearTimeout(typed);
      if (choosePlace(end)) return;
      forgetPlace(end);
      typed = setTimeout(() => void lookUp(end), WAIT_MS);
    });
  }
  input(`${end}.at`).addEventListener("input", draw);
  input(`${end}.at`).addEventListener("change", () => void readPosition(end));
  input(`${end}.at`).addEventListener("focus", () => choose(end));
}
