// What the driver page says: states, reasons, notices, amounts, distances, times.

import { counted, locale, text } from "./text.js";

export const STATES = {
  available: [text("You are available"), text("Waiting for an offer.")],
  busy: [text("You are on a delivery"), text("You get new offers when it is done.")],
  on_break: [text("You are on a break"), text("It ends by itself in")],
  paused: [text("You are paused"), text("You get no offers until you resume.")],
  shift_ended: [text("Your shift has ended"), text("Thank you. You can start again at any time.")],
  offline: [text("You are not on shift"), text("Start your shift to get offers.")],
  unreachable: [text("No connection"), text("Offers cannot reach you.")],
};

export const PUSH = {
  unasked: text("Get offers when the page is closed"),
  off: text("Get offers when the page is closed"),
  working: text("Turning notifications on…"),
  on: text("Notifications are on"),
  blocked: text("The browser blocks notifications"),
};

// By the source of an assignment that the driver did not ask for.
export const GIVEN = {
  auto_accepted: text("Assigned to you because you did not answer"),
  manual: text("Assigned to you by your dispatcher"),
};

// The code that is sent, and what it means.
export const REJECTIONS = [
  ["too_far", text("Too far")],
  ["low_pay", text("Pays too little")],
  ["shop_slow", text("Store too slow")],
  ["vehicle", text("Vehicle trouble")],
  ["wrong_direction", text("Wrong direction")],
  ["other", text("Other")],
];

// Messages of the sign-in form.
export const GATE = {
  unknown: text("This is not a driver’s link."),
  refused: text("This invitation is not valid: it was used or has expired. Ask your dispatcher for a new one."),
  limited: text("Too many tries from this network. Wait five minutes and open the link again."),
  signing: text("Signing you in…"),
  unreachable: text("No connection. You will be signed in when the connection is back."),
};

export const LASTING = {
  superseded: [
    text("Callboard is open somewhere else"),
    text("You opened it in another tab or on another device. You get your offers there."),
    text("Use it here"),
  ],
  refused: [text("This link no longer works"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  signed_out: [text("You are signed out"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  expired: [text("This link has expired"), text("Ask your dispatcher for a new link."), text("Enter another link")],
  outdated: [text("This page is out of date"), text("Reload it to continue."), text("Reload")],
};

// The server's refusals, by their codes.
const REFUSALS = {
  offline: text("Not sent: you are offline."),
  no_answer: text("The server does not answer."),
  try_again: text("That did not work. Try again."),
  too_many_requests: text("That did not work. Try again."),
  internal_error: text("That did not work. Try again."),
  assignment_not_active: text("The order is no longer yours."),
  not_found: text("The order is no longer yours."),
  already_picked_up: text("The order is already picked up."),
  already_delivered: text("The order is already delivered."),
  not_picked_up: text("The order is not picked up yet."),
  driver_deactivated: text("Your account is deactivated. Ask your dispatcher."),
};

export const refused = ({ code }) => REFUSALS[code] ?? text("That did not work. Ask your dispatcher.");

export const deliveredRefused = (store, { code }) => {
  if (code === "assignment_not_active" || code === "not_found") {
    return text(
      "“Delivered” was not accepted for {store}: the order is no longer yours. If you handed it over, tell your dispatcher.",
      { store },
    );
  }
  return text("“Delivered” was not accepted for {store}. {reason}", { store, reason: refused({ code }) });
};

export const notice = ({ text: key, values }) => text(key, values);

const MINOR_UNITS = JSON.parse(document.getElementById("minor-units").content.textContent);

// "Cents" are minor units of ISO 4217, of which a currency has its own number.
export const money = (cents, currency) => {
  const digits = MINOR_UNITS[currency] ?? 2;
  const amount = cents / 10 ** digits;
  try {
    const options = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(locale, options).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`;
  }
};

const number = (digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const [tenths, whole] = [number(1), number(0)];

export const km = (distance) => `${(distance < 10 ? tenths : whole).format(distance)} km`;

export const minutes = (count) => text("{count} min", { count: whole.format(count) });

export const offlineFor = (seconds) => {
  if (seconds < 10) return "";
  if (seconds < 90) return counted("For {count} second.", "For {count} seconds.", seconds - (seconds % 10));
  return counted("For {count} minute.", "For {count} minutes.", Math.round(seconds / 60));
};

export const clock = (instant) =>
  new Date(instant).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });

// 75000 ms as 1:15, hours in front if there are any. Rounded up: 0:00 is the end.
export const countdown = (ms) => {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};

// How far a delivery that the driver has ended is on its way to the server.
export const delivered = ({ left, tried }, online) => {
  if (left > 0) return text("Delivered. Sent in {seconds} s", { seconds: Math.ceil(left / 1000) });
  return tried && online ? text("Sending…") : text("Saved, not sent yet");
};

export const saved = (actions, signedOut) => {
  const what = counted(
    "Saved on this phone, not sent yet: {count} delivery is marked as delivered.",
    "Saved on this phone, not sent yet: {count} deliveries are marked as delivered.",
    actions.length,
  );
  const then = signedOut ? text("Open your own link again to send it.") : text("It is sent automatically.");
  return `${what} ${then}`;
};

// Without an address its coordinates, which are read from left to right in every language.
export const address = (point) => point.address || `\u2066${point.lat.toFixed(4)}, ${point.lon.toFixed(4)}\u2069`;

// Opens the phone's navigation where there is one.
export const mapLink = ({ lat, lon }) => `https://www.google.com/maps/dir/?api=1&destination=${lat},${lon}`;
