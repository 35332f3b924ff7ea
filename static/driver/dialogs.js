// The questions that the driver page asks. Each resolves to the answer, or to null.

import { openOffer, work } from "./state.js";
import { text } from "./text.js";
import { chip } from "./view.js";
import { minutes as inMinutes } from "./words.js";

const $ = (id) => document.getElementById(id);
const BREAKS = [15, 30, 45, 60];

const answered = (dialog) =>
  new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true });
  });

const breakChips = BREAKS.map((minutes) =>
  chip($("break").querySelector(".chips"), inMinutes(minutes), () => {
    $("minutes").value = minutes;
    markChips();
  }),
);
const markChips = () =>
  breakChips.forEach((button, place) => {
    button.setAttribute("aria-pressed", String(Number($("minutes").value) === BREAKS[place]));
  });
$("minutes").addEventListener("input", markChips);

export const askBreak = async () => {
  $("minutes").value = 30;
  markChips();
  return (await answered($("break"))) ? $("minutes").valueAsNumber : null;
};

export const askLeave = () => answered($("leave"));

// By hand: {lat, lon}. Where the driver has to go anyway is offered.
export const askPlace = async (here, state, now) => {
  const known = [];
  const entry = openOffer(state, now);
  if (entry) known.push([text("Pickup of the offer"), entry.offer.payload.pickupLocation]);
  for (const { storeName, pickup, dropoff } of work(state)) known.push([text("Pickup: {store}", { store: storeName }), pickup], [text("Drop-off: {store}", { store: storeName }), dropoff]);
  const fill = (point) => {
    $("lat").value = point.lat;
    $("lon").value = point.lon;
  };
  $("places").replaceChildren();
  for (const [label, point] of known) chip($("places"), label, () => fill(point));
  if (here) fill(here);
  if (!(await answered($("place")))) return null;
  return { lat: $("lat").valueAsNumber, lon: $("lon").valueAsNumber };
};
