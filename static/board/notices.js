// What is said: one polite status region; an alert, a sound and a desktop notice for those who want them, by level.

import { text } from "../driver/text.js";
import { byId } from "../elements.js";
import { isLoudEnough } from "./loudness.js";

/** @import {Row} from "./address.js" */

const said = byId("said");
const critical = byId("critical");
const KEYS = { sound: "callboard.sound", notices: "callboard.notices" };
/** @type {ReturnType<typeof setTimeout> | undefined} */
let hush;

/** @param {string} words */
export const announce = (words) => {
  said.textContent = words;
  said.dataset.shown = "";
  clearTimeout(hush);
  hush = setTimeout(() => delete said.dataset.shown, 6000);
};

/**
 * @param {string} key
 * @param {string} value
 */
const keep = (key, value) => {
  try {
    localStorage.setItem(key, value);
  } catch {
    // storage is forbidden: the choice lasts as long as the page
  }
};

/** @param {string} key */
const kept = (key) => {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
};

/** @type {AudioContext | undefined} */
let audio;
/** @param {boolean} top whether it is the highest level */
const beep = (top) => {
  try {
    audio ??= new AudioContext();
    const at = audio.currentTime;
    for (const [index, pitch] of (top ? [880, 660, 880] : [660, 880]).entries()) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0.0001, at + index * 0.18);
      volume.gain.exponentialRampToValueAtTime(0.2, at + index * 0.18 + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, at + index * 0.18 + 0.16);
      tone.connect(volume).connect(audio.destination);
      tone.start(at + index * 0.18);
      tone.stop(at + index * 0.18 + 0.17);
    }
  } catch {
    // no sound device
  }
};

/** @param {Row} row */
export const escalated = (row) => {
  const level = Number(row.dataset.level);
  const top = row.querySelector('[data-shape="top"]') !== null;
  const order = row.querySelector(".ref")?.textContent ?? "";
  const { store = "" } = row.dataset;
  const line = text("Level {level}: {store} {order} has no driver.", { level, store, order });
  if (top) critical.textContent = line;
  if (isLoudEnough(byId("sound", HTMLSelectElement).value, level, top)) beep(top);
  const notices = byId("notices", HTMLSelectElement).value;
  if (isLoudEnough(notices, level, top) && globalThis.Notification?.permission === "granted") {
    new Notification("Callboard", { body: line, tag: row.id });
  }
};

export const startNotices = () => {
  const sound = byId("sound", HTMLSelectElement);
  const notices = byId("notices", HTMLSelectElement);
  sound.value = kept(KEYS.sound);
  notices.value = globalThis.Notification?.permission === "granted" ? kept(KEYS.notices) : "";
  sound.addEventListener("change", () => {
    keep(KEYS.sound, sound.value);
    if (sound.value) beep(false);
  });
  notices.addEventListener("change", async () => {
    if (notices.value && (await globalThis.Notification?.requestPermission()) !== "granted") {
      notices.value = "";
      announce(text("The browser blocks notifications."));
    }
    keep(KEYS.notices, notices.value);
  });
};

/**
 * The API's errors are problems in JSON: their detail is for people.
 * @param {string} answer
 * @returns {string}
 */
export const detailOf = (answer) => {
  try {
    return JSON.parse(answer).detail;
  } catch {
    return new DOMParser().parseFromString(answer, "text/html").body.textContent.trim();
  }
};
