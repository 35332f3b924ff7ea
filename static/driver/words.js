// What the driver page says: states, reasons, notices, amounts, distances, times.

import { byId } from "../elements.js";
import { clockIn, countdown, kmOf, moneyOf } from "./amounts.js";
import { counted, locale, text } from "./text.js";

/** @import {Action, Standing} from "./actions.js" */
/** @import {Refused} from "./connection.js" */
/** @import {Period} from "./numbers.js" */
/** @import {PushState} from "./push.js" */
/** @import {Notice, ShownState} from "./state.js" */
/** @import {Stop} from "./stops.js" */

/** @type {Record<ShownState | "connecting" | "unreachable", [title: string, body: string]>} */
export const STATES = {
  available: [text("You are available"), text("Waiting for an offer.")],
  busy: [text("You are on a delivery"), text("You get new offers when it is done.")],
  on_break: [text("You are on a break"), text("It ends by itself in")],
  paused: [text("You are paused"), text("You get no offers until you resume.")],
  shift_ended: [text("Your shift has ended"), text("Thank you. You can start again at any time.")],
  offline: [text("You are not on shift"), text("Start your shift to get offers.")],
  unreachable: [text("No connection"), ""],
  connecting: [text("Connecting"), ""],
};

/**
 * What the driver does without a connection: nothing, where only the server is away. The banner says that it is tried again.
 * @param {boolean} reachable whether the phone has a network
 */
export const whileUnreachable = (reachable) => (reachable ? "" : text("Go where there is a network."));

/** @type {Partial<Record<PushState, string>>} by the state of push */
export const PUSH = {
  unasked: text("Get offers when the page is closed"),
  off: text("Get offers when the page is closed"),
  working: text("Turning notifications on…"),
  on: text("Notifications are on"),
  blocked: text("The browser blocks notifications"),
};

/** @type {Record<string, string>} by the source of an assignment that the driver did not ask for */
export const GIVEN = {
  auto_accepted: text("Assigned to you because you did not answer"),
  manual: text("Assigned to you by your dispatcher"),
};

/** @type {[code: string, words: string][]} */
export const REJECTIONS = [
  ["too_far", text("Too far")],
  ["low_pay", text("Pays too little")],
  ["shop_slow", text("Store too slow")],
  ["vehicle", text("Vehicle trouble")],
  ["wrong_direction", text("Wrong direction")],
  ["other", text("Other")],
];

/** @type {[code: string, words: string][]} why a driver gives a delivery back */
export const RELEASES = [
  ["vehicle", text("Vehicle trouble")],
  ["unwell", text("I am unwell")],
  ["too_far", text("Too far")],
  ["shop_closed", text("Store is closed")],
  ["shop_slow", text("Store too slow")],
  ["unsafe", text("Not safe")],
  ["other", text("Other")],
];

/** @type {[code: string, words: string][]} why a handover failed */
export const FAILURES = [
  ["recipient_absent", text("Nobody there")],
  ["refused", text("Refused")],
  ["wrong_address", text("Wrong address")],
  ["damaged", text("Damaged")],
  ["unsafe", text("Not safe")],
  ["other", text("Other")],
];

/** @type {[code: string, words: string][]} what happens to the goods after a failed handover */
export const AFTER_FAILURE = [
  ["return", text("I bring them back to the store")],
  ["end", text("They stay here. The order ends")],
];

/** @typedef {"unknown" | "refused" | "limited" | "signing" | "unreachable"} GateMessage */

/** @type {Record<GateMessage, string>} messages of the sign-in form */
export const GATE = {
  unknown: text("This is not a driver’s link."),
  refused: text("This invitation is not valid: it was used or has expired. Ask your dispatcher for a new one."),
  limited: text("Too many tries from this network. Wait five minutes and open the link again."),
  signing: text("Signing you in…"),
  unreachable: text("No connection. You will be signed in when the connection is back."),
};

/** @type {Record<string, [title: string, body: string, button: string]>} by the phase of the page */
export const LASTING = {
  other_tab: [text("Callboard is open in another tab"), text("You get your offers there."), text("Use it here")],
  another_phone: [
    text("Another phone is signed in as you"),
    text("It gets your offers. If it is not yours, call your dispatcher, who can sign it out."),
    text("Use this phone"),
  ],
  two_devices: [
    text("Another phone is signed in as you"),
    text("The two phones took turns, so this one has to wait. Try again in a minute. If the other phone is not yours, call your dispatcher, who can sign it out."),
    text("Use this phone"),
  ],
  refused: [text("This link no longer works"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  signed_out: [text("You are signed out"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  expired: [text("This link has expired"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  outdated: [text("This page is out of date"), text("Reload it to continue."), text("Reload")],
};

/** @param {string} since */
export const otherSince = (since) => text("Another phone is signed in as you since {time}", { time: clock(since) });

/** @type {Record<string, string>} the server's refusals, by their codes */
const REFUSALS = {
  offline: text("Not sent: you are offline."),
  no_answer: text("The server does not answer."),
  try_again: text("That did not work. Try again."),
  too_many_messages: text("You have written many messages. Call your dispatcher."),
  too_many_requests: text("That did not work. Try again."),
  internal_error: text("That did not work. Try again."),
  assignment_not_active: text("The order is no longer yours."),
  not_found: text("The order is no longer yours."),
  already_picked_up: text("The order is already picked up."),
  already_delivered: text("The order is already delivered."),
  no_picture: text("The picture cannot be read. Take another one."),
  too_many_proofs: text("There are 20 pictures already."),
  not_picked_up: text("The order is not picked up yet."),
  pin_wrong: text("The PIN is wrong. Ask the customer again."),
  pin_locked: text("The PIN was wrong too often. Call your dispatcher."),
  driver_deactivated: text("Your account is deactivated. Ask your dispatcher."),
};

/** @param {{code: string}} error */
export const refused = ({ code }) => REFUSALS[code] ?? text("That did not work. Ask your dispatcher.");

/** @type {Record<string, string>} proof that is missing */
const PROOFS = {
  photo: text("Take a photo of the handover first."),
  signature: text("Ask the customer to sign first."),
  pin: text("Ask the customer for the PIN first."),
};

/** @type {Record<"photo" | "pin" | "signature", string>} what a handover needs */
const KINDS = { photo: text("photo"), signature: text("signature"), pin: text("PIN") };

/**
 * What a handover needs, and how far it is.
 * @param {"photo" | "pin" | "signature"} kind
 * @param {boolean} saved
 * @param {boolean} sent
 * @param {boolean} online
 * @returns {string}
 */
export const proof = (kind, saved, sent, online) => {
  if (saved) return online ? text("{proof} (sending…)", { proof: KINDS[kind] }) : text("{proof} (saved, not sent yet)", { proof: KINDS[kind] });
  return sent ? text("{proof} (sent)", { proof: KINDS[kind] }) : KINDS[kind];
};

/** @type {Record<string, string>} what to do with the goods of an order that the driver lost, by who has it now */
const GOODS = {
  another_driver: text("Another driver has this order now. If you have the goods, keep them and call your dispatcher."),
  nobody: text("This order was taken from you. If you have the goods, keep them and call your dispatcher."),
  over: text("This order is closed. If you still have the goods, call your dispatcher."),
};

/**
 * The position, at the start of a shift.
 * @param {import("./place.js").PlaceState} state
 * @param {boolean} known
 * @param {boolean} secure whether this page has https
 */
export const placeAsk = (state, known, secure) => {
  if (known) return text("It is shared.");
  if (state === "refused") return text("It is blocked. Allow it for this page in the settings of the browser.");
  if (state === "unavailable") return secure ? text("This device does not give it.") : text("It does not work without https.");
  return text("Your browser asks for it. You get offers near you.");
};

/**
 * Notifications, at the start of a shift.
 * @param {PushState} state
 * @param {boolean} secure
 */
export const noticesAsk = (state, secure) => {
  if (state === "on") return text("They are on.");
  if (state === "off") return text("They are off. Turn them on in the menu.");
  if (state === "blocked") return text("They are blocked. Allow them for this page in the settings of the browser.");
  if (state === "unsupported") return secure ? text("This browser has none. Keep this page open.") : text("They do not work without https.");
  return text("Your browser asks for them. You get offers when the page is closed.");
};

/**
 * What the server did not accept, and what to do now.
 * @param {string} store with the order's number
 * @param {Pick<Refused, "code" | "nowWith" | "missing">} error
 */
export const reportRefused = (store, { code, nowWith, missing }) => {
  const goods = code === "assignment_not_active" && nowWith !== undefined ? GOODS[nowWith] : undefined;
  const proofs = code === "proof_required" ? missing.map((kind) => PROOFS[kind]).filter(Boolean).join(" ") : "";
  return text("Not accepted for {store}. {reason}", { store, reason: goods ?? (proofs || refused({ code })) });
};

/** @type {Record<string, string>} what dispatch and the server give as a reason: codes, and what the board suggests */
const REASONS = {
  ...Object.fromEntries([...FAILURES, ...RELEASES]),
  driver_gone: text("Connection lost"),
  "Driver asked for it": text("You asked for it"),
  "Driver does not answer": text("You did not answer"),
  "Does not answer": text("You did not answer"),
  "Driver is late": text("Too late"),
  "Vehicle trouble": text("Vehicle trouble"),
  "Driver is unwell": text("You are unwell"),
  Unwell: text("You are unwell"),
  "Customer cancelled": text("The customer cancelled"),
  "Store closed": text("Store is closed"),
  "Out of stock": text("Out of stock"),
  "Placed twice": text("Ordered twice"),
  "No driver found": text("No driver found"),
  "Asked by phone": text("You asked for it"),
  "End of the day": text("End of the day"),
};

/**
 * A reason in the words of the page. People's own words stay as they are.
 * @param {string} reason
 */
export const reasonOf = (reason) => REASONS[reason] ?? reason;

/** @param {Notice} notice */
export const notice = ({ text: key, values }) => {
  const { reason, why } = values;
  return text(key, { ...values, ...(reason && { reason: reasonOf(reason) }), ...(why && { why: `: ${reasonOf(why.slice(2))}` }) });
};

const given = byId("minor-units", HTMLTemplateElement);
/** @type {Record<string, number>} */
const MINOR_UNITS = JSON.parse(given.content.textContent ?? "{}");
const twoDigits = new Intl.NumberFormat(locale, { minimumIntegerDigits: 2 });
const digits = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });

/**
 * @param {number} cents
 * @param {string} currency
 */
export const money = (cents, currency) => moneyOf(cents, currency, MINOR_UNITS, locale);

/** @param {number} distance */
export const km = (distance) => kmOf(distance, locale);

/**
 * The drop-off of an offer. A node of an earlier release does not say how far it is.
 * @param {number | undefined} distance from the pickup, in km
 */
export const trip = (distance) =>
  distance === undefined ? text("Drop-off") : text("Drop-off, {distance} from the pickup", { distance: km(distance) });

/** @param {number} count */
export const minutes = (count) => text("{count} min", { count: digits.format(count) });

/** @type {(instant: string | number) => string} */
export const clock = clockIn(locale, document.documentElement.dataset.zone);

export const SINCE = text("On shift here since");

/**
 * When something was true that may not be so any more.
 * @param {number} at in Unix milliseconds
 */
export const asOf = (at) => text("As of {time}", { time: clock(at) });

/**
 * The time of numbers that are older than the rest.
 * @param {import("./last-seen.js").LastSeen} seen
 */
export const earlier = ({ at, numbersAt }) => (clock(at) === clock(numbersAt) ? "" : `${asOf(numbersAt)}: `);

/**
 * The state of a driver when they were last connected.
 * @param {Wire.DriverView} driver
 * @param {number} now in Unix milliseconds
 */
export const stateThen = ({ availability, availabilityUntil }, now) => {
  const [title, body] = STATES[availability];
  const left = availability === "on_break" && availabilityUntil ? Date.parse(availabilityUntil) - now : 0;
  if (left > 0) return `${title}. ${body} ${countdown(left)}`;
  return left < 0 ? text("Your break has ended.") : title;
};

/**
 * For how long there has been no connection; nothing below 10 s.
 * @param {number} seconds
 * @returns {string}
 */
export const offlineFor = (seconds) => {
  if (seconds < 10) return "";
  if (seconds < 90) return counted("For {count} second.", "For {count} seconds.", seconds - (seconds % 10));
  return counted("For {count} minute.", "For {count} minutes.", Math.round(seconds / 60));
};

/**
 * Where a delivery is, for its driver.
 * @param {boolean} picked
 * @param {boolean} returning
 * @param {Standing | null} done
 * @returns {string}
 */
export const stage = (picked, returning, done) => {
  if (done?.type === "release") return text("Given back");
  if (done?.type === "failed") return text("Could not deliver");
  if (returning) return done ? text("Returned to the store") : text("On the way back to the store");
  if (done) return text("Delivered");
  return picked ? text("On the way to the customer") : text("On the way to the pickup");
};

/**
 * The button of an arrival: what it reports, or that it is reported.
 * @param {boolean} picked
 * @param {string | null} at
 * @param {boolean} saved
 * @param {boolean} online
 * @returns {string}
 */
export const arrived = (picked, at, saved, online) => {
  if (at !== null) return text("Arrived at {time}", { time: clock(at) });
  if (saved) return online ? text("Sending…") : text("Saved, not sent yet");
  return picked ? text("I am at the customer") : text("I am at the store");
};

/**
 * The step before the one that is to be done.
 * @param {string | null} pickedUpAt
 * @param {boolean} returning
 * @param {boolean} sent
 * @param {boolean} online
 * @returns {string}
 */
export const stepDone = (pickedUpAt, returning, sent, online) => {
  if (pickedUpAt === null) return "";
  if (!sent && !online) return returning ? text("Could not deliver. Saved, not sent yet") : text("Picked up. Saved, not sent yet");
  return returning ? text("Could not deliver") : text("Picked up at {time}", { time: clock(pickedUpAt) });
};

/**
 * How far a delivery that the driver has ended is on its way to the server.
 * @param {Standing} standing
 * @param {boolean} online
 * @param {boolean} returning
 * @returns {string}
 */
export const delivered = ({ left, tried }, online, returning) => {
  const seconds = Math.ceil(left / 1000);
  if (left > 0 && online) return returning ? text("Returned. Sent in {seconds} s", { seconds }) : text("Delivered. Sent in {seconds} s", { seconds });
  return tried && online ? text("Sending…") : text("Saved, not sent yet");
};

const SENDING = new Set(["inside", "ready", "other_tab", "another_phone", "two_devices"]);

/**
 * @param {Action[]} actions
 * @param {import("./page.js").Phase} phase
 * @returns {string}
 */
export const saved = (actions, phase) => {
  const what = actions.every(({ type }) => type === "completed")
    ? counted(
        "Saved on this phone, not sent yet: {count} delivery is marked as delivered.",
        "Saved on this phone, not sent yet: {count} deliveries are marked as delivered.",
        actions.length,
      )
    : counted(
        "Saved on this phone, not sent yet: {count} report.",
        "Saved on this phone, not sent yet: {count} reports.",
        actions.length,
      );
  const then = SENDING.has(phase) ? text("It is sent automatically.") : text("Open your own link again to send it.");
  return `${what} ${then}`;
};

/** @type {Record<Stop["kind"], [name: string, map: string, call: string]>} a stop, and the links to it */
export const STOPS = {
  pickup: [text("Pickup"), text("Map to the pickup at {store}"), text("Call the store")],
  dropoff: [text("Drop-off"), text("Map to the drop-off from {store}"), text("Call the customer")],
  return: [text("Back to the store"), text("Map to the pickup at {store}"), text("Call the store")],
};

/**
 * What an offer adds to the deliveries in hand.
 * @param {Wire.AddOn} addOn
 */
export const addOn = ({ extraMinutes, stops }) =>
  counted("On your way: {minutes} more, {count} stop in all", "On your way: {minutes} more, {count} stops in all", stops, {
    minutes: minutes(extraMinutes),
  });

/**
 * A stop of several: what it is, where, of which order, and when it is planned or was done.
 * @param {Wire.RunStopView} stop
 */
export const runStop = ({ kind, place, storeName, sellerOrderId, plannedAt, doneAt }) => {
  const where = kind === "dropoff" ? (place.name ?? place.address ?? storeName) : storeName;
  const time = doneAt === undefined ? clock(plannedAt) : text("done {time}", { time: clock(doneAt) });
  return `${STOPS[kind][0]}: ${where} · ${sellerOrderId} · ${time}`;
};

/**
 * Who is at a stop.
 * @param {Stop} stop
 */
export const nameOf = ({ kind, name }) => name ?? (kind === "dropoff" ? text("Customer") : text("Store"));

/**
 * When a stop has to be done: what it is called, and the time. Null if nobody said.
 * @param {Stop} stop
 * @param {number} now the server's time in Unix milliseconds
 * @returns {{label: string, time: string, late: boolean} | null}
 */
export const due = ({ kind, dueAt }, now) => {
  if (dueAt === null) return null;
  const past = Date.parse(dueAt) < now;
  if (kind === "pickup") return { label: past ? text("Ready since") : text("Ready at"), time: clock(dueAt), late: false };
  return { label: past ? text("Late since") : text("Deliver by"), time: clock(dueAt), late: past };
};

/**
 * What a driver did in a time: deliveries, time on shift, pay in all its currencies.
 * @param {Period} period
 * @returns {string}
 */
export const period = ({ deliveries, onShiftSeconds, pay }) => {
  const hours = digits.format(Math.floor(onShiftSeconds / 3600));
  const rest = twoDigits.format(Math.floor((onShiftSeconds % 3600) / 60));
  return [
    counted("{count} delivery", "{count} deliveries", deliveries),
    text("{hours}:{minutes} h", { hours, minutes: rest }),
    pay.map(({ cents, currency }) => money(cents, currency)).join(" + "),
  ].filter(Boolean).join(" · ");
};

/** @param {number} count */
export const withoutPay = (count) =>
  counted("The pay of {count} delivery is not known.", "The pay of {count} deliveries is not known.", count);
