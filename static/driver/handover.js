// The question at a customer's door: everything that the handover needs, in one place.

import { byId, within } from "../elements.js";
import { answered } from "./dialogs.js";
import { shrunk } from "./proofs.js";
import { SignaturePad } from "./signature.js";
import { read, write } from "./storage.js";
import { text } from "./text.js";
import { refused } from "./words.js";

/** @import {PinAnswer} from "./pin.js" */
/** @import {PictureKind} from "./upload.js" */
/** @typedef {{signature: Blob | null, name: string | null, pin: string | null}} Handover */

/**
 * @typedef {object} Asked
 * @property {string} assignmentId
 * @property {string} recipient
 * @property {("photo" | "pin" | "signature")[]} required
 * @property {boolean} online whether a wrong PIN is refused at once
 * @property {(pin: string) => Promise<PinAnswer> | null} check whether the server accepts a PIN; null without a network
 * @property {(kind: PictureKind) => boolean} has whether a picture of this kind is kept or sent already
 * @property {(picture: Blob) => Promise<void>} keep what to do with a photo
 */

const dialog = byId("handover", HTMLDialogElement);
const photo = byId("handover-photo");
const camera = within(photo, "input", HTMLInputElement);
const preview = within(photo, "canvas", HTMLCanvasElement);
const signature = byId("handover-signature");
const recipient = byId("recipient", HTMLInputElement);
const pin = byId("pin-digits", HTMLInputElement);
const send = within(dialog, 'button[value="go"]', HTMLButtonElement);

/** @type {Asked | null} what is asked for now */
let asked = null;
/**
 * What was signed and typed before an offer closed the question, the driver went back, or the phone ended the page, as
 * it may do while the camera is open. Nobody has to sign twice. It is kept on this phone, but not the PIN.
 * @typedef {{assignmentId: string, strokes: import("./signature.js").Dot[][], name: string}} Draft
 */
const DRAFT = "callboard.driver.handover";
let typed = { assignmentId: "", pin: "" };
/** @returns {Draft | null} */
const draft = () => JSON.parse(read(DRAFT) ?? "null");
const keepDraft = () => {
  if (!asked) return;
  const { assignmentId } = asked;
  typed = { assignmentId, pin: pin.value };
  write(DRAFT, JSON.stringify({ assignmentId, strokes: pad.strokes, name: recipient.value }));
};
// The driver's reports have it now, or the driver leaves this phone.
export const forgetDraft = () => write(DRAFT, null);

/**
 * Nothing of a customer stays on the phone after the delivery.
 * @param {Record<string, unknown>} assignments in hand
 */
export const keepDraftOf = (assignments) => {
  const kept = draft();
  if (kept !== null && !(kept.assignmentId in assignments)) forgetDraft();
};
let isReading = false;
let isChecking = false;
const wrongPin = byId("pin-wrong");

const ready = () => {
  if (!asked) return;
  const { required, has } = asked;
  const kept = { photo: has("photo"), signature: has("signature") };
  const signed = pad.signed || kept.signature;
  within(photo, "p").textContent = isReading ? text("One moment…") : kept.photo ? text("The photo is taken.") : text("Take a photo of the handover.");
  within(photo, "span").textContent = kept.photo ? text("Take another photo") : text("Take a photo");
  byId("pad-hint").hidden = signed;
  byId("pad-clear").hidden = !pad.signed;
  byId("pad-kept").hidden = !kept.signature || pad.signed;
  const open = [required.includes("photo") && !kept.photo, required.includes("signature") && !signed, isReading, isChecking];
  send.disabled = open.some(Boolean) || (required.includes("pin") && !pin.checkValidity());
};

const pad = new SignaturePad(within(signature, "canvas", HTMLCanvasElement), ready);
byId("pad-clear").addEventListener("click", () => pad.clear());
pin.addEventListener("input", () => {
  wrongPin.hidden = true;
  ready();
});

// A wrong PIN is said while the customer is still there, before the time to undo begins.
dialog.addEventListener("submit", async (event) => {
  const now = asked;
  if (event.submitter !== send || !now?.required.includes("pin")) return;
  const checking = now.check(pin.value);
  if (checking === null) return;
  event.preventDefault();
  isChecking = true;
  ready();
  const answer = await checking;
  if (asked !== now) return;
  isChecking = false;
  ready();
  if (answer === "right" || answer === "unknown") return dialog.close("go");
  wrongPin.textContent = refused({ code: answer === "wrong" ? "pin_wrong" : "pin_locked" });
  wrongPin.hidden = false;
  pin.select();
  wrongPin.scrollIntoView({ block: "nearest" });
});
for (const kind of ["input", "pointerup", "click"]) dialog.addEventListener(kind, keepDraft);

camera.addEventListener("change", async () => {
  const file = camera.files?.[0];
  const before = asked;
  camera.value = "";
  if (!file || !before) return;
  const wrong = byId("handover-wrong");
  isReading = true;
  wrong.hidden = true;
  ready();
  try {
    const { picture, drawn } = await shrunk(file);
    await before.keep(picture);
    preview.hidden = false;
    const scale = preview.width / Math.min(drawn.width, drawn.height);
    const [width, height] = [drawn.width * scale, drawn.height * scale];
    preview.getContext("2d")?.drawImage(drawn, (preview.width - width) / 2, (preview.height - height) / 2, width, height);
  } catch {
    wrong.hidden = false;
  } finally {
    isReading = false;
    ready();
  }
});

/**
 * What the customer gives, or null. The camera opens at once if a photo is all that is missing at first.
 * @param {Asked} now
 * @returns {Promise<Handover | null>}
 */
export const askHandover = async (now) => {
  asked = now;
  const { required } = now;
  byId("handover-to").textContent = now.recipient;
  photo.hidden = !required.includes("photo");
  signature.hidden = byId("handover-name").hidden = !required.includes("signature");
  byId("handover-pin").hidden = pin.disabled = !required.includes("pin");
  byId("pin-later").hidden = now.online;
  wrongPin.hidden = true;
  isChecking = false;
  byId("handover-wrong").hidden = true;
  preview.hidden = true;
  const kept = draft();
  const before = kept?.assignmentId === now.assignmentId ? kept : null;
  recipient.value = before?.name ?? "";
  pin.value = typed.assignmentId === now.assignmentId ? typed.pin : "";
  const given = answered(dialog, now.assignmentId);
  pad.strokes = before?.strokes ?? [];
  if (required.includes("photo") && !now.has("photo")) camera.click();
  const confirmed = await given;
  keepDraft();
  const drawn = confirmed && pad.signed ? await pad.picture() : null;
  asked = null;
  if (!confirmed) return null;
  return { signature: drawn, name: recipient.value.trim() || null, pin: required.includes("pin") ? pin.value : null };
};
