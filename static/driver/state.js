// What a driver knows: the messages of the socket folded into one state. Pure: no DOM, no socket, no clock of its own.
// Texts in it are English, each with its values: what is shown translates them.
//
// `now` is a moment as `{mono, wall}`: milliseconds of the monotonic clock and of the device's calendar. Some devices
// stop the first while they sleep, people set the second: of what passed on each, the longer time counts.

/** @typedef {{mono: number, wall: number}} Moment */
/** @typedef {{offer: Wire.OfferView, at: Moment}} OpenOffer `at` is when the offer's remainingMs was true */
/** @typedef {"info" | "good" | "work" | "bad" | "urgent"} NoticeKind an urgent one stays longer than the others */
/** @typedef {{id: number, kind: NoticeKind, text: string, values: Record<string, string>}} Notice */
/** @typedef {Wire.DriverView["availability"] | "busy"} ShownState */
/** @typedef {{cents: number, currency: string}} Earning in minor units, with the tip */

/**
 * @typedef {object} State
 * @property {number | null} seq the number of the newest message
 * @property {Wire.DriverView | null} driver
 * @property {Record<string, OpenOffer>} offers by id
 * @property {Record<string, Wire.DrivenAssignmentView>} assignments the active ones, by id
 * @property {Record<string, Earning>} earnings what offers named, by the delivery's id
 * @property {Wire.RunStopView[]} run the stops in order, if there is more than one delivery
 * @property {Record<string, Wire.ChatMessageView>} messages those of dispatch that the driver has not seen, by id
 * @property {{server: number, at: Moment} | null} clock what the server's clock said when
 * @property {Notice[]} notices what the driver should know, oldest first
 * @property {number} noticed how many notices there have been
 */

/** @returns {State} */
export const start = () => ({
  seq: null,
  driver: null,
  offers: {},
  assignments: {},
  earnings: {},
  run: [],
  messages: {},
  clock: null,
  notices: [],
  noticed: 0,
});

/**
 * Milliseconds between two moments; never below 0.
 * @param {Moment} since
 * @param {Moment} now
 */
const passed = (since, now) => Math.max(now.mono - since.mono, now.wall - since.wall, 0);

/**
 * Milliseconds that an offer still has; never below 0.
 * @param {OpenOffer} entry
 * @param {Moment} now
 */
export const remaining = ({ offer, at }, now) => Math.max(0, offer.remainingMs - passed(at, now));

/**
 * The whole time an offer was given, in milliseconds.
 * @param {OpenOffer} entry
 */
export const allotted = ({ offer }) =>
  Math.max(offer.remainingMs, Date.parse(offer.expiresAt) - Date.parse(offer.createdAt), 1);

/**
 * The server's time in Unix milliseconds.
 * @param {State} state
 * @param {Moment} now
 */
export const serverNow = (state, now) => (state.clock ? state.clock.server + passed(state.clock.at, now) : now.wall);

/**
 * The offer to show: of those that still run, the one that ends first.
 * @param {State} state
 * @param {Moment} now
 * @returns {OpenOffer | null}
 */
export const openOffer = (state, now) =>
  Object.values(state.offers)
    .filter((entry) => remaining(entry, now) > 0)
    .sort((a, b) => remaining(a, now) - remaining(b, now))[0] ?? null;

/**
 * Assignments in the order of their next stops, or else in that in which they were made.
 * @param {State} state
 */
export const work = (state) => {
  const open = state.run.filter((stop) => !stop.doneAt).map((stop) => stop.assignmentId);
  /** @param {Wire.DrivenAssignmentView} a */
  const place = ({ id }) => (open.includes(id) ? open.indexOf(id) : open.length);
  return Object.values(state.assignments).sort(
    (a, b) => place(a) - place(b) || (a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : 0),
  );
};

/**
 * @param {State} state
 * @param {string} serverTime
 * @param {Moment} now
 * @returns {State}
 */
export const heardClock = (state, serverTime, now) => ({ ...state, clock: { server: Date.parse(serverTime), at: now } });

/**
 * The state with one notice more; the newest five are kept. An urgent one is there once.
 * @param {State} state
 * @param {NoticeKind} kind
 * @param {string} text
 * @param {Record<string, string>} [values]
 * @returns {State}
 */
export const say = (state, kind, text, values = {}) => ({
  ...state,
  noticed: state.noticed + 1,
  notices: [...state.notices.filter((one) => kind !== "urgent" || one.kind !== kind || one.text !== text).slice(-4), { id: state.noticed + 1, kind, text, values }],
});

/**
 * @param {State} state
 * @param {number} id
 * @returns {State}
 */
export const unsay = (state, id) => ({ ...state, notices: state.notices.filter((notice) => notice.id !== id) });

/**
 * The driver has seen a message.
 * @param {State} state
 * @param {string} id
 * @returns {State}
 */
export const sawMessage = (state, id) => {
  const { [id]: seen, ...messages } = state.messages;
  return { ...state, messages };
};

/**
 * An order as a notice names it: its store and its number.
 * @param {{storeName: string, sellerOrderId?: string}} order
 */
export const named = ({ storeName, sellerOrderId }) => (sellerOrderId ? `${storeName} (${sellerOrderId})` : storeName);

/**
 * Whether there is an offer or a delivery that was not there before: what was said before it is no longer about now.
 * @param {State} before
 * @param {State} after
 */
export const hasNewWork = (before, after) =>
  Object.keys(after.offers).some((id) => !(id in before.offers)) || Object.keys(after.assignments).some((id) => !(id in before.assignments));

// A message is out of its order: something is missing, only a new `hello` helps.
export class Gap extends Error {}

/**
 * The state after a message. Throws Gap.
 * @param {State} state
 * @param {Wire.ToDriver} message
 * @param {Moment} now
 * @returns {State}
 */
export const fold = (state, message, now) => {
  switch (message.type) {
    case "hello":
      return greeted(state, message, now);
    case "pong":
      return heardClock(state, message.serverTime, now);
    case "offer":
    case "offer_closed":
    case "assignment":
    case "run":
    case "availability":
    case "message":
      return isNext(state, message.seq) ? { ...heard(state, message, now), seq: message.seq } : state;
    default: {
      // A message of a newer server: if it has a number, only that counts, so that the next one is no gap.
      const { seq } = /** @type {{seq?: unknown}} */ (message);
      return typeof seq === "number" && isNext(state, seq) ? { ...state, seq } : state;
    }
  }
};

/**
 * Whether a message with this number is the next one, and not one heard before. Throws Gap.
 * @param {State} state
 * @param {number} seq
 */
const isNext = (state, seq) => {
  if (state.seq !== null && seq <= state.seq) return false;
  if (state.seq === null || seq !== state.seq + 1) throw new Gap(`${state.seq} then ${seq}`);
  return true;
};

/**
 * The snapshot is the truth; what was missed is gone through first, for what it has to say.
 * @param {State} before
 * @param {Wire.Hello} hello
 * @param {Moment} now
 * @returns {State}
 */
const greeted = (before, hello, now) => {
  let state = before;
  for (const message of hello.missed) state = heard(state, message, now);
  if (hello.resync) state = say(state, "info", "You were away for a long time. This page is up to date again.");
  for (const { deliveryId, payload } of hello.offers) state = earns(state, deliveryId, payload);
  return heardClock(
    {
      ...state,
      seq: hello.seq,
      driver: hello.driver,
      offers: Object.fromEntries(hello.offers.map((offer) => [offer.id, { offer, at: now }])),
      assignments: Object.fromEntries(hello.assignments.map((assignment) => [assignment.id, assignment])),
      // A node of the previous release does not send these.
      run: hello.run ?? [],
      messages: Object.fromEntries((hello.messages ?? []).map((message) => [message.id, message])),
    },
    hello.serverTime,
    now,
  );
};

/**
 * @param {State} state
 * @param {Wire.Numbered} message
 * @param {Moment} now
 * @returns {State}
 */
const heard = (state, message, now) => {
  switch (message.type) {
    case "offer": {
      const { offer } = message;
      return earns({ ...state, offers: { ...state.offers, [offer.id]: { offer, at: now } } }, offer.deliveryId, offer.payload);
    }
    case "offer_closed": {
      const { [message.offerId]: closed, ...offers } = state.offers;
      return sayClosed({ ...state, offers }, message);
    }
    case "assignment":
      return assigned(state, message.assignment);
    case "run":
      return { ...state, run: message.stops };
    case "message": {
      const next = { ...state, messages: { ...state.messages, [message.message.id]: message.message } };
      return say(next, "work", "New message from your dispatcher.");
    }
    case "availability": {
      const driver = state.driver && {
        ...state.driver,
        availability: message.availability,
        availabilityUntil: message.until ?? null,
        availabilityReason: message.reason ?? null,
      };
      return sayAvailability({ ...state, driver }, message);
    }
    default:
      return state;
  }
};

/**
 * What is neither offered nor in hand any more is forgotten.
 * @param {State} state
 * @param {string} deliveryId
 * @param {Wire.OfferPayload} payload
 * @returns {State}
 */
const earns = (state, deliveryId, { estimatedEarningCents: cents, currency }) => {
  const held = new Set(Object.values(state.assignments).map((assignment) => assignment.deliveryId));
  const known = Object.entries(state.earnings).filter(([id]) => held.has(id));
  return { ...state, earnings: { ...Object.fromEntries(known), [deliveryId]: { cents, currency } } };
};

/**
 * @param {Wire.Place} before
 * @param {Wire.Place} after
 */
const isElsewhere = (before, after) =>
  before.lat !== after.lat || before.lon !== after.lon || (before.address ?? "") !== (after.address ?? "");

/**
 * A place that is elsewhere now must not be read too late: the way there has begun.
 * @param {State} state
 * @param {Wire.DrivenAssignmentView} before
 * @param {Wire.DrivenAssignmentView} after
 * @returns {State}
 */
const sayMoved = (state, before, after) => {
  const store = named(after);
  /** @param {Wire.Place} place */
  const to = ({ address }) => (address ? `: ${address}` : "");
  let next = state;
  if (isElsewhere(before.pickup, after.pickup)) {
    next = say(next, "work", "The pickup at {store} is at another place now{to}.", { store, to: to(after.pickup) });
  }
  if (isElsewhere(before.dropoff, after.dropoff)) {
    next = say(next, "work", "The customer of the delivery from {store} is at another place now{to}.", { store, to: to(after.dropoff) });
  }
  return next;
};

/**
 * @param {State} state
 * @param {Wire.DrivenAssignmentView} assignment
 * @returns {State}
 */
const assigned = (state, assignment) => {
  const { [assignment.id]: before, ...others } = state.assignments;
  const active = assignment.status === "ACTIVE";
  const assignments = active ? { ...others, [assignment.id]: assignment } : others;
  const activeCount = Object.keys(assignments).length;
  const driver = state.driver && { ...state.driver, activeCount, busy: activeCount >= state.driver.capacity };
  const next = { ...state, assignments, driver };
  const store = named(assignment);
  if (active && !before) {
    if (assignment.source === "manual") {
      return say(next, "work", "Your dispatcher assigned you a delivery from {store}.", { store });
    }
    if (assignment.source === "auto_accepted") {
      return say(next, "work", "You have the delivery from {store}, because you did not answer the offer.", { store });
    }
  }
  if (active && before) return sayMoved(next, before, assignment);
  const why = assignment.endReason ? `: ${assignment.endReason}` : "";
  switch (assignment.status) {
    case "REASSIGNED":
      return say(next, "bad", "The delivery from {store} is no longer yours{why}.", { store, why });
    case "CANCELLED":
      return say(next, "bad", "The delivery from {store} was cancelled{why}.", { store, why });
    case "COMPLETED":
      return say(next, "good", "Delivered: {store}.", { store });
    case "RETURNED":
      return say(next, "good", "Returned to the store: {store}.", { store });
    case "FAILED":
      return say(next, "info", "Not delivered: {store}.", { store });
    case "RELEASED":
      return say(next, "info", "Given back: {store}.", { store });
    default:
      return next;
  }
};

/**
 * @param {State} state
 * @param {Wire.OfferClosed} closed
 * @returns {State}
 */
const sayClosed = (state, closed) => {
  if (closed.outcome === "EXPIRED" && !closed.assignmentId) return say(state, "info", "The offer has expired.");
  if (closed.outcome !== "WITHDRAWN") return state;
  switch (closed.reason) {
    case "cancelled":
      return say(state, "info", "The order was cancelled.");
    case "changed":
      return say(state, "info", "The offer was withdrawn: the order or your data have changed.");
    case "assigned_by_hand":
      return say(state, "info", "The offer was withdrawn: your dispatcher assigned the order.");
    case "driver_full":
      return say(state, "info", "The offer was withdrawn: you have enough orders.");
    case "on_break":
    case "paused":
    case "shift_ended":
      return state; // the driver's own doing
    default:
      return say(state, "info", "The offer was withdrawn.");
  }
};

const KNOWN_REASONS = new Set([
  "driver_requested",
  "driver_paused",
  "driver_shift_end",
  "driver_resumed",
  "break_expired",
  "unresponsive",
  "connection_lost",
  "reconnected",
  "first_seen",
  "never_seen",
  "reassigned",
]);

/**
 * Somebody else's reason for the driver's availability, if it is one.
 * @param {Wire.DriverView} driver
 */
export const foreignReason = (driver) => foreign(driver.availabilityReason);

/**
 * @param {string | null | undefined} reason
 * @returns {string | null}
 */
const foreign = (reason) => (reason && !KNOWN_REASONS.has(reason) ? reason : null);

/**
 * @param {State} state
 * @param {Wire.AvailabilityChanged} message
 * @returns {State}
 */
const sayAvailability = (state, { reason }) => {
  if (reason === "unresponsive") {
    return say(state, "bad", "You are paused, because you did not answer several offers. Resume when you are ready.");
  }
  if (reason === "reassigned") return say(state, "bad", "Your dispatcher reassigned your order and paused you.");
  if (reason === "break_expired") return say(state, "info", "Your break has ended.");
  const why = foreign(reason);
  return why ? say(state, "bad", "Your dispatcher changed your availability: {reason}.", { reason: why }) : state;
};

const LONGEST_BREAK_MIN = 120;
export const LONGER_BY_MIN = 10;

/**
 * Whether a break can be ten minutes longer: it has an end, and is then not longer than a driver may choose.
 * @param {string | null | undefined} until
 * @param {number} now the server's time in Unix milliseconds
 * @returns {boolean}
 */
export const canBeLonger = (until, now) =>
  Boolean(until) && Date.parse(until ?? "") - now <= (LONGEST_BREAK_MIN - LONGER_BY_MIN) * 60_000;
