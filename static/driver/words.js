// What the driver page says: states, reasons, amounts, distances, times.

export const STATES = {
  available: ["You are available", "Waiting for an offer."],
  busy: ["You are on a delivery", "You get new offers when it is done."],
  on_break: ["You are on a break", "It ends by itself in"],
  paused: ["You are paused", "You get no offers until you resume."],
  shift_ended: ["Your shift has ended", "Thank you. You can start again at any time."],
  offline: ["You are not on shift", "Start your shift to get offers."],
  unreachable: ["No connection", "Offers cannot reach you."],
};

export const PUSH = {
  unasked: "Get offers when the page is closed",
  off: "Get offers when the page is closed",
  working: "Turning notifications on…",
  on: "Notifications are on",
  blocked: "The browser blocks notifications",
};

// By the source of an assignment that the driver did not ask for.
export const GIVEN = {
  auto_accepted: "Assigned to you because you did not answer",
  manual: "Assigned to you by your dispatcher",
};

// The code that is sent, and what it means.
export const REJECTIONS = [
  ["too_far", "Too far"],
  ["low_pay", "Pays too little"],
  ["shop_slow", "Store too slow"],
  ["vehicle", "Vehicle trouble"],
  ["wrong_direction", "Wrong direction"],
  ["other", "Other"],
];

export const LASTING = {
  superseded: [
    "Callboard is open somewhere else",
    "You opened it in another tab or on another device. You get your offers there.",
    "Use it here",
  ],
  refused: ["This link no longer works", "Ask your dispatcher for a new link.", "Enter another link"],
  expired: ["This link has expired", "Ask your dispatcher for a new link.", "Enter another link"],
  outdated: ["This page is out of date", "Reload it to continue.", "Reload"],
};

export const money = (cents, currency) => {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency }).format(cents / 100);
  } catch {
    return `${(cents / 100).toFixed(2)} ${currency}`;
  }
};

export const km = (distance) => `${distance < 10 ? distance.toFixed(1) : Math.round(distance)} km`;

export const clock = (instant) =>
  new Date(instant).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });

// 75000 ms as 1:15, hours in front if there are any. Rounded up: 0:00 is over.
export const countdown = (ms) => {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};

// How far a delivery that the driver has ended is on its way to the server.
export const delivered = ({ left, tried }, online) => {
  if (left > 0) return `Delivered. Sent in ${Math.ceil(left / 1000)} s`;
  return tried && online ? "Sending…" : "Saved, not sent yet";
};

export const saved = (actions, signedOut) => {
  const what = actions.length === 1 ? "1 delivery is" : `${actions.length} deliveries are`;
  const then = signedOut ? "Open your own link again to send it." : "It is sent automatically.";
  return `Saved on this phone, not sent yet: ${what} marked as delivered. ${then}`;
};

export const address = (point) => point.address || `${point.lat.toFixed(4)}, ${point.lon.toFixed(4)}`;

// Opens the phone's navigation where there is one.
export const mapLink = ({ lat, lon }) => `https://www.google.com/maps/dir/?api=1&destination=${lat},${lon}`;
