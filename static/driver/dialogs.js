// The questions that the driver page asks. Each resolves to the answer, or to null.

import { byId, within } from "../elements.js";
import { MADE_WAY } from "./offer-screen.js";
import { chip } from "./paint.js";
import { openOffer, work } from "./state.js";
import { text } from "./text.js";
import { AFTER_FAILURE, FAILURES, RELEASES, minutes as inMinutes } from "./words.js";

/** @import {Here} from "./place.js" */
/** @import {Moment, State} from "./state.js" */

const BREAKS = [15, 30, 45, 60];
const duration = byId("minutes", HTMLInputElement);
const lat = byId("lat", HTMLInputElement);
const lon = byId("lon", HTMLInputElement);
/** @param {string} id */
const dialogOf = (id) => byId(id, HTMLDialogElement);

/**
 * Whether the driver chose to go on.
 * @param {HTMLDialogElement} dialog
 * @param {string} [assignmentId] the delivery that it is about: the question closes when that ends
 * @returns {Promise<boolean>}
 */
export const answered = (dialog, assignmentId = "") =>
  new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.dataset.assignment = assignmentId;
    dialog.showModal();
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true });
  });

/**
 * Say it in the question that is open, over its buttons: all else is behind it, for the eye and for a screen reader. It
 * goes with the next press that counts.
 * @param {string} words
 */
export const sayInQuestion = (words) => {
  const ends = document.querySelector("dialog:modal .ends");
  if (!ends || ends.querySelector(".word")) return;
  const word = document.createElement("p");
  word.classList.add("word", "error");
  word.setAttribute("role", "alert");
  word.textContent = words;
  ends.prepend(word);
  const dialog = ends.closest("dialog");
  for (const kind of ["click", "close"]) dialog?.addEventListener(kind, () => word.remove(), { once: true });
};

/** @param {Record<string, unknown>} assignments in hand: what is asked about another one closes */
export const closeEnded = (assignments) => {
  for (const dialog of document.querySelectorAll("dialog")) {
    const about = dialog.dataset.assignment;
    if (dialog.open && about && !(about in assignments)) dialog.close("");
  }
};

const breakChips = BREAKS.map((minutes) =>
  chip(within(byId("break"), ".chips"), inMinutes(minutes), () => {
    duration.value = String(minutes);
    markChips();
  }),
);
const markChips = () =>
  breakChips.forEach((button, place) => {
    button.setAttribute("aria-pressed", String(Number(duration.value) === BREAKS[place]));
  });
duration.addEventListener("input", markChips);

/** @param {boolean} working whether a delivery is in hand */
export const askBreak = async (working) => {
  byId("break-work").hidden = !working;
  duration.value = "30";
  markChips();
  return (await answered(dialogOf("break"))) ? duration.valueAsNumber : null;
};

const written = byId("words", HTMLInputElement);

/** What the driver writes to dispatch, or null. It stays in the form until `sent`. */
export const askWords = async () => ((await answered(dialogOf("write"))) ? written.value.trim() || null : null);

export const sent = () => {
  written.value = "";
};

/** @typedef {{reason: string, note: string | null, how: "release" | "return" | "end"}} Trouble */

/**
 * Why the driver gives a delivery back, or cannot hand it over and what then. No answer without a choice of each.
 * @param {Wire.DrivenAssignmentView} assignment
 * @param {boolean} picked
 * @returns {Promise<Trouble | null>}
 */
export const askTrouble = async ({ id, storeName: store }, picked) => {
  const dialog = dialogOf("trouble");
  const note = byId("trouble-note", HTMLInputElement);
  const send = within(dialog, 'button[value="go"]', HTMLButtonElement);
  byId("trouble-title").textContent = picked ? text("Why could you not deliver?") : text("Why do you give it back?");
  byId("trouble-text").textContent = picked ? store : text("{store}: another driver gets the order.", { store });
  send.textContent = picked ? text("Report it") : text("Give back");
  note.value = "";
  const ready = () => {
    send.disabled = reason() === null || how() === null;
  };
  const reason = choice(within(dialog, ".chips"), picked ? FAILURES : RELEASES, ready);
  byId("trouble-then").hidden = !picked;
  /** @type {() => string | null} */
  const how = picked ? choice(within(byId("trouble-then"), ".chips"), AFTER_FAILURE, ready) : () => "release";
  ready();
  const confirmed = await answered(dialog, id);
  const [why, then] = [reason(), how()];
  if (!confirmed || why === null || (then !== "release" && then !== "return" && then !== "end")) return null;
  return { reason: why, note: note.value.trim() || null, how: then };
};

/**
 * A chip for each code, of which one can be chosen. Returns what gives the chosen code.
 * @param {Element} list
 * @param {[code: string, words: string][]} codes
 * @param {() => void} changed
 * @returns {() => string | null}
 */
const choice = (list, codes, changed) => {
  /** @type {string | null} */
  let chosen = null;
  list.replaceChildren();
  for (const [code, label] of codes) {
    const press = chip(list, label, () => {
      chosen = code;
      for (const other of list.children) other.setAttribute("aria-pressed", String(other === press));
      changed();
    });
    press.setAttribute("aria-pressed", "false");
  }
  return () => chosen;
};

/**
 * A question that made way for an offer comes back after it.
 * @param {string} question
 * @param {string} assignmentId
 * @param {() => boolean} inHand whether the driver still has the delivery
 * @returns {Promise<boolean>}
 */
export const askFar = async (question, assignmentId, inHand) => {
  const dialog = dialogOf("far");
  byId("far-title").textContent = question;
  const yes = await answered(dialog, assignmentId);
  if (dialog.returnValue !== MADE_WAY) return yes;
  await offerGone();
  return inHand() && !dialog.open && askFar(question, assignmentId, inHand);
};

/** @returns {Promise<void>} */
const offerGone = () =>
  new Promise((resolve) => {
    const offer = byId("offer");
    if (offer.hidden) return resolve();
    const watcher = new MutationObserver(() => {
      if (!offer.hidden) return;
      watcher.disconnect();
      resolve();
    });
    watcher.observe(offer, { attributes: true, attributeFilter: ["hidden"] });
  });

export const askLeave = () => answered(dialogOf("leave"));
/** @param {boolean} working whether a delivery is in hand */
export const askSignOut = (working) => {
  byId("sign-out-work").hidden = !working;
  return answered(dialogOf("sign-out"));
};

/**
 * By hand. Where the driver has to go anyway is offered.
 * @param {Here | null} here
 * @param {State} state
 * @param {Moment} now
 * @returns {Promise<{lat: number, lon: number} | null>}
 */
export const askPlace = async (here, state, now) => {
  /** @type {[label: string, place: Wire.Place][]} */
  const known = [];
  const entry = openOffer(state, now);
  if (entry) known.push([text("Pickup of the offer"), entry.offer.payload.pickupLocation]);
  for (const { storeName, pickup, dropoff } of work(state)) {
    known.push([text("Pickup: {store}", { store: storeName }), pickup]);
    known.push([text("Drop-off: {store}", { store: storeName }), dropoff]);
  }
  /** @param {{lat: number, lon: number}} point */
  const fill = (point) => {
    lat.value = String(point.lat);
    lon.value = String(point.lon);
  };
  byId("places").replaceChildren();
  for (const [label, point] of known) chip(byId("places"), label, () => fill(point));
  if (here) fill(here);
  if (!(await answered(dialogOf("place")))) return null;
  return { lat: lat.valueAsNumber, lon: lon.valueAsNumber };
};
