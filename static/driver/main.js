// The driver page: the client, the screen and the phone put together.

import { byId } from "../elements.js";
import { UNDO_MS } from "./actions.js";
import { KeptActions } from "./action-store.js";
import { Alarm } from "./alarm.js";
import { DriverClient, now } from "./client.js";
import { Refused } from "./connection.js";
import { Guard } from "./guard.js";
import { newId, whose } from "./ids.js";
import { keepInHand, keptInHand } from "./in-hand.js";
import { Numbers } from "./numbers.js";
import { Place } from "./place.js";
import { Sent } from "./proofs.js";
import { Push } from "./push.js";
import { askHandover, forgetDraft, keepDraftOf } from "./handover.js";
import { sessionOf } from "./session.js";
import { hasStarted, left, started } from "./shift.js";
import { askBreak, askFar, askLeave, askPlace, askSignOut, askTrouble, askWords, closeEnded, sayInQuestion, sent } from "./dialogs.js";
import { LONGER_BY_MIN, hasNewWork, named, openOffer, remaining, sawMessage, say, start, unsay } from "./state.js";
import { Tab } from "./tab.js";
import { codeIn, keep, kept, renew, replaceBy, signIn, signOut, signingIn, takeFromAddress, tokenIn } from "./token.js";
import { counted, text } from "./text.js";
import { Refusals, keepUrgent, keptUrgent } from "./told.js";
import { watchTextSize } from "./text-size.js";
import { View } from "./view.js";
import { GATE, km, refused, reportRefused } from "./words.js";

/** @import {ConnectionState} from "./connection.js" */
/** @import {Handover} from "./handover.js" */
/** @import {PictureKind} from "./upload.js" */
/** @import {State} from "./state.js" */
/** @import {Brought} from "./token.js" */
/** @import {GateMessage} from "./words.js" */

const NOTICE_MS = 9_000;
const URGENT_MS = 120_000;
const DRAW_EVERY_MS = 250;
const RENEW_AGAIN_MS = 3_000;
const LOOK_AGAIN_MS = 1_000;

/** @type {import("./view.js").Phase} what the page shows */
let phase = "start";
let wantsShift = false; // the driver has started it, and the server does not know yet
/** @type {State} what is known before the page connects */
let known = start();
/** @type {import("./session.js").OtherDevice | null} the other phone that is in use */
let other = null;
const refusals = new Refusals();
/** @type {Map<number, number>} when a notice was first said, on the monotonic clock in ms */
const saidAt = new Map();
/** @type {Set<string>} */
const busyWith = new Set();
/** @type {Set<string>} */
const received = new Set();
const alarm = new Alarm();
/** @type {import("./view.js").Act} */
const act = (action, id = "", detail = "") => ACTIONS[action]?.(id, detail);
const view = new View(act);
const proofs = new Sent();
const client = new DriverClient({
  base: location.origin + callboard.at(""),
  adopted: (before) => adopted(before),
  heard: (message) => heard(message),
  changed: (next) => changed(next),
  queued: () => draw(),
  uploaded: ({ assignmentId, kind }) => kind && proofs.add(assignmentId, kind),
  refused: (action, error) => refusedReport(action, error),
  store: new KeptActions({
    unsaved: () => client.adopt(say(client.state, "urgent", "This phone cannot save the picture. Keep this page open until it is sent.")),
    again: () => void actions.load(now()),
  }),
  handedIn: () => client.adopt(say(client.state, "good", "Your dispatcher has everything that you did on this phone.")),
});
const { actions } = client;
const tab = new Tab({ taken: () => setAside(), free: () => phase === "superseded" && startShift(false) });
const push = new Push({ changed: () => draw(), failed: () => client.adopt(failed(NO_PUSH)) });
const numbers = new Numbers({ changed: () => draw() });
const place = new Place({ send: (message) => client.tell(message), changed: () => draw() });

// Into the socket

/** @param {{takeOver?: boolean}} [how] whether the driver has chosen this phone, also if another one is in use */
const enter = ({ takeOver = false } = {}) => {
  client.close();
  known = start();
  other = null;
  const token = kept();
  if (!token) {
    phase = "gate";
    void actions.load(now());
    draw();
    return;
  }
  byId("enter-error").hidden = true;
  const driverId = whose(token);
  const inHand = keptInHand(driverId);
  if (hasStarted(driverId, inHand !== null)) {
    connect(token, inHand, takeOver);
    return;
  }
  phase = "ready";
  known = { ...known, ...inHand };
  draw();
  scrollTo(0, 0); // what was scrolled before a reload was another screen
  client.handIn(token); // what an ended shift, or a phone that is not in use, has left to send needs no start
  sayAgain();
  void look(takeOver);
};

// What was urgent and may not be read yet is said again, after a reload or by another screen of this page.
const sayAgain = () => {
  for (const { text: words, values, at } of keptUrgent()) {
    if (Math.abs(Date.now() - at) < URGENT_MS) client.adopt(say(client.state, "urgent", words, values));
  }
};

/**
 * Who is signed in, what they have in hand, and whether another phone is in use: if so, the driver chooses, before any
 * start of a shift. A device that was signed out says so.
 * @param {boolean} [takeOver]
 * @param {number} [again] how often to ask again who took over: this page may learn of it before the server has stored it
 */
const look = async (takeOver = false, again = 3) => {
  const token = kept();
  const { connection } = client;
  if (token === null) return;
  /**
   * @param {number} ms
   * @param {number} times
   */
  const later = (ms, times) => setTimeout(() => client.connection === connection && void look(takeOver, times), ms);
  const found = await sessionOf(whose(token) ?? "", token);
  if (client.connection !== connection || kept() !== token || phase === "inside" || phase === "superseded") return;
  if (found === "unreachable") {
    later(RENEW_AGAIN_MS, again);
    return;
  }
  if (found === "refused") {
    if (phase === "ready") void comeBack("refused");
    return;
  }
  renewed = false;
  const { driver, assignments, otherDevice } = found;
  known = { ...known, driver, assignments: Object.fromEntries(assignments.map((one) => [one.id, one])) };
  other = otherDevice;
  if (phase === "ready" && other !== null && !takeOver) phase = "another_phone";
  else if (phase === "another_phone" && other === null && again > 0) later(LOOK_AGAIN_MS, again - 1);
  draw();
};

/**
 * @param {string} token
 * @param {import("./in-hand.js").InHand | null} inHand
 * @param {boolean} takeOver
 */
const connect = (token, inHand, takeOver) => {
  phase = "inside";
  other = null;
  received.clear();
  client.connect(token, inHand ?? {}, { takeOver, after: tab.use() });
  sayAgain();
  draw();
};

let opened = 0;
/**
 * Enter with the token or the code of a link, or without one with the stored token. Any page can open a link, so a phone
 * that is signed in stays signed in until the server accepts the link.
 * @param {Brought & {actionId?: string}} brought
 */
const bringIn = async ({ token, code, actionId = newId() }) => {
  const mine = ++opened;
  if (token !== null && kept() === null) keep(token);
  const held = kept();
  if (code === null && (token === null || token === held)) return enter();
  if (held === null) {
    enter();
    sayAtGate("signing");
  }
  const attempt = async () => {
    if (code !== null) return signIn(code, actionId);
    return token === null ? "refused" : replaceBy(token);
  };
  let outcome = await attempt();
  if (outcome !== "in" && held !== null) enter();
  while (outcome === "unreachable" && mine === opened) {
    if (held === null) sayAtGate(outcome);
    await new Promise((resolve) => setTimeout(resolve, RENEW_AGAIN_MS));
    outcome = await attempt();
  }
  if (outcome === "in") enter({ takeOver: held !== null }); // its connection with the token before is not another phone's
  else if (mine === opened && held === null) sayAtGate(outcome);
  else if (mine === opened) stillIn(outcome === "refused" ? STILL_IN : GATE[outcome]);
};

const STILL_IN = text("This link was used or has expired. You are still signed in.");

/** @param {string} why */
const stillIn = (why) => client.adopt(say(client.state, "info", why));

/** @param {GateMessage} why */
const sayAtGate = (why) => {
  byId("enter-error").textContent = GATE[why];
  byId("enter-error").hidden = false;
};

/** @param {Wire.ToDriver} message */
const heard = (message) => {
  if (["hello", "assignment", "availability"].includes(message.type)) numbers.stale();
  if (message.type === "hello") {
    renewed = false;
    received.clear();
    place.repeat();
    const token = kept();
    if (token) push.entered(token, message.driver.id);
    if (!openOffer(client.state, now())) unnotify();
    if (wantsShift && isOff()) void ask("resume", { type: "resume" });
    wantsShift = false;
  }
  draw();
};

/**
 * A new state: what it says for the first time goes away by itself.
 * @param {State} before
 */
const adopted = (before) => {
  for (const notice of client.state.notices) {
    if (before.notices.includes(notice)) continue;
    saidAt.set(notice.id, performance.now());
    dismissLater(notice.id, notice.kind === "urgent" ? URGENT_MS : NOTICE_MS);
    if (["work", "bad", "urgent"].includes(notice.kind)) alarm.nudge();
  }
  keepUrgent(client.state.notices, Date.now());
  if (hasNewWork(before, client.state)) endUrgent();
  const { driver, assignments, earnings } = client.state;
  if (!driver) return;
  refusals.keepOnly(assignments);
  closeEnded(assignments);
  started(driver.availability === "shift_ended" ? "" : driver.id);
  keepInHand({ driver, assignments, earnings });
  proofs.keepOnly(assignments);
  keepDraftOf(assignments);
};

/**
 * The time of an offer does not count: notices wait for its end, and are then there as long as others.
 * @param {number} id
 * @param {number} ms
 */
const dismissLater = (id, ms) => {
  const isSeen = view.offerShown === null;
  const step = isSeen ? Math.min(ms, LOOK_AGAIN_MS) : LOOK_AGAIN_MS;
  setTimeout(() => {
    const rest = isSeen && view.offerShown === null ? ms - step : ms;
    if (rest > 0) dismissLater(id, rest);
    else dismiss(id);
  }, step);
};

// An offer or a delivery has come: what is urgent about an earlier order has had its time, or gets it still.
const endUrgent = () => {
  for (const { id, kind } of client.state.notices) {
    const unread = NOTICE_MS - (performance.now() - (saidAt.get(id) ?? 0));
    if (kind !== "urgent") continue;
    if (unread > 0) dismissLater(id, unread);
    else dismiss(id);
  }
};

/**
 * It is said where the driver goes on: at the delivery, or above everything once that is not theirs any more.
 * @param {import("./actions.js").Action} action
 * @param {Refused} error
 */
const refusedReport = (action, error) => {
  const { assignmentId } = action;
  const words = reportRefused(named(action), error);
  if (!(assignmentId in client.state.assignments) || error.code === "assignment_not_active" || error.code === "not_found") {
    client.adopt(say(client.state, "urgent", words));
    return;
  }
  refusals.set(assignmentId, words);
  alarm.nudge();
  draw();
  view.showJob(assignmentId);
};

// The server refused the token. A phone that signed in renews it once.
let renewed = false;
/** @param {"refused" | "expired"} why */
const comeBack = async (why) => {
  const mine = client.connection;
  const outcome = renewed ? "refused" : await renew(kept()); // a renewed token that is refused is not renewed again
  if (client.connection !== mine) return;
  if (outcome === "unreachable") {
    setTimeout(() => {
      if (client.connection === mine) void comeBack(why);
    }, RENEW_AGAIN_MS);
  } else if (outcome === "renewed") {
    renewed = true;
    enter();
  } else {
    phase = outcome === "none" ? why : "signed_out";
    client.state = known = start();
    draw();
  }
};

// Another tab of this phone is in use: what was done on this phone is that one's to send, and to undo.
const setAside = () => {
  if (phase === "inside") known = client.state;
  client.close();
  phase = "superseded";
  renewed = wantsShift = false;
  void actions.leave();
  closeEnded({});
  tab.wait();
  sayAgain();
  keepAwake();
  draw();
};

/** @param {ConnectionState} next */
const changed = async (next) => {
  const { connection } = client;
  if (next === "refused" || next === "expired") void comeBack(next);
  else if (next === "superseded" || next === "outdated" || next === "two_devices" || next === "other_device") {
    const own = (next === "superseded" || next === "other_device") && (await tab.isOtherInUse());
    if (client.connection !== connection) return;
    if (own) return setAside();
    renewed = false;
    phase = next === "outdated" || next === "two_devices" ? next : "another_phone";
    started(""); // a page that is opened again does not take over by itself
    known = client.state;
    client.state = start();
    sayAgain();
    if (phase !== "outdated") void look();
  }
  keepAwake();
  draw();
};

// Out of the hands

/**
 * Sends what the driver did, once at a time. Whether the server accepted it.
 * @param {string} what
 * @param {Wire.FromDriver} message
 * @returns {Promise<boolean>}
 */
const ask = async (what, message) => {
  if (busyWith.has(what)) return false;
  busyWith.add(what);
  draw();
  try {
    await client.ask(message);
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // The next `hello` shows the outcome of a message whose answer was lost.
    if (error.code === "offer_no_longer_open" && "offerId" in message) forgetOffer(message.offerId);
    else client.adopt(failed(refused(error)));
    return false;
  } finally {
    busyWith.delete(what);
    draw();
  }
};

/** @type {{words: string, actionId: string} | null} what the driver wrote and the server has not confirmed */
let unsent = null;

// The same words again, after an error, are the same message.
const write = async () => {
  const words = await askWords();
  if (words === null || busyWith.has("say")) return;
  if (unsent?.words !== words) unsent = { words, actionId: newId() };
  busyWith.add("say");
  try {
    await client.ask({ type: "say", text: words, actionId: unsent.actionId });
    unsent = null;
    sent();
    client.adopt(say(client.state, "good", "Your dispatcher has your message."));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    client.adopt(failed(refused(error)));
  } finally {
    busyWith.delete("say");
    draw();
  }
};

// Not on shift: from here on the driver starts one.
const isOff = () => phase === "ready" || ["shift_ended", "offline"].includes(client.state.driver?.availability ?? "");

// One tap asks for all that offers need. Browsers allow sound by themselves after it.
const askPhone = () => {
  if (place.state === "off") place.watch();
  if (push.state === "unasked") void push.turnOn();
};

/** @param {boolean} [takeOver] */
const startShift = (takeOver = true) => {
  const token = kept();
  wantsShift ||= phase === "ready";
  const driverId = token && whose(token);
  if (driverId) started(driverId);
  if (token === null) enter();
  else connect(token, keptInHand(driverId), takeOver);
};

// The driver chose this phone, perhaps for the first time.
const usePhone = () => {
  askPhone();
  startShift();
};

/**
 * What went wrong, in the words of the page.
 * @param {string} words
 */
const failed = (words) => say(client.state, "bad", words);

const NO_PUSH = text("Notifications do not work in this browser now. You get offers only while this page is open.");

/** @param {string} offerId */
const forgetOffer = (offerId) => {
  const { [offerId]: closed, ...offers } = client.state.offers;
  const next = { ...client.state, offers };
  client.adopt(say(next, "info", "This offer is closed."));
};

/** @param {number} id */
const dismiss = (id) => {
  client.adopt(unsay(client.state, id));
  draw();
};

const hasWork = () => Object.keys((phase === "inside" ? client.state : known).assignments).length > 0;

const forget = () => {
  opened++;
  byId("gate-goods").hidden = !hasWork();
  keepInHand(null);
  refusals.keepOnly({});
  keepUrgent([], Date.now());
  forgetDraft();
  left();
  tab.forget();
  push.turnOff({ forget: true });
  void signOut();
  enter();
};

/**
 * The assignment as its driver sees it.
 * @param {string} assignmentId
 */
const assignmentOf = (assignmentId) => {
  const assignment = client.state.assignments[assignmentId];
  return assignment && actions.seen(assignment);
};

/**
 * Keep what the driver did until the server has answered. What it refused before is answered with it.
 * @param {Wire.DrivenAssignmentView} assignment
 * @param {Omit<import("./actions.js").Deed, "driverId" | "assignmentId" | "storeName" | "sellerOrderId">} deed
 */
const report = async ({ driverId, id: assignmentId, storeName, sellerOrderId }, deed) => {
  refusals.set(assignmentId, null);
  await actions.add({ driverId, assignmentId, storeName, sellerOrderId, ...deed }, now());
};

/**
 * Keep a picture until it is sent, before the delivery that needs it.
 * @param {Wire.DrivenAssignmentView} assignment
 * @param {PictureKind} kind
 * @param {Blob} picture
 */
const keepProof = async (assignment, kind, picture) => {
  await report(assignment, { type: "proof", kind, picture });
  draw();
};

/**
 * Whether the driver is where this happens, as far as the phone knows, or says that it happened all the same.
 * @param {string} assignmentId
 * @param {Wire.Place} where
 * @param {(distance: string) => string} question
 */
const isHere = async (assignmentId, where, question) => {
  const away = place.farFrom(where, now());
  return away === null || (await askFar(question(km(away)), assignmentId, () => assignmentId in client.state.assignments));
};

/** @param {string} distance */
const farFromStore = (distance) => text("You are {distance} away from the store. Picked up anyway?", { distance });
/** @param {string} distance */
const farFromCustomer = (distance) => text("You are {distance} away from the customer. Delivered anyway?", { distance });

/**
 * What a handover needs is asked for first. It is sent in order: pictures, then the delivery.
 * @param {string} assignmentId
 */
const complete = async (assignmentId) => {
  const assignment = assignmentOf(assignmentId);
  if (!assignment || busyWith.has(`completed ${assignmentId}`)) return;
  const returning = assignment.deliveryStatus === "RETURNING";
  if (!returning && !(await isHere(assignmentId, assignment.dropoff, farFromCustomer))) return;
  const required = returning ? [] : (assignment.proofRequired ?? []);
  /** @type {Handover | null} */
  let given = { signature: null, name: null, pin: null };
  if (required.length > 0) {
    given = await askHandover({
      assignmentId,
      online: client.connection?.state === "online",
      check: (pin) => (client.connection?.state === "online" ? client.checkPin(assignmentId, pin) : null),
      recipient: assignment.dropoff.name ?? assignment.dropoff.address ?? "",
      required,
      has: (kind) => proofs.has(assignmentId, kind) || actions.proving(assignment.driverId, assignmentId, kind),
      keep: (picture) => keepProof(assignment, "photo", picture),
    });
  }
  if (!given) return;
  busyWith.add(`completed ${assignmentId}`);
  const { storeName } = assignment;
  if (given.signature) await keepProof(assignment, "signature", given.signature);
  const proof = { ...(given.pin === null ? {} : { pin: given.pin }), ...(given.name === null ? {} : { name: given.name }) };
  await report(assignment, { type: "completed", ...proof });
  forgetDraft();
  busyWith.delete(`completed ${assignmentId}`);
  draw();
  const seconds = UNDO_MS / 1000;
  view.whisper(
    returning
      ? text("Returned to the store: {store}. You can undo it for {seconds} seconds.", { store: storeName, seconds })
      : text("Delivered: {store}. You can undo it for {seconds} seconds.", { store: storeName, seconds }),
  );
};

/** @type {Record<string, (id: string, detail: string) => unknown>} what the driver can do, by the name on its button */
const ACTIONS = {
  accept: (offerId) => ask(`accept ${offerId}`, { type: "accept", offerId }),
  reject: (offerId, reason) => ask(`reject ${offerId}`, { type: "reject", offerId, ...(reason && { reason }) }),
  picked_up: async (assignmentId) => {
    const assignment = assignmentOf(assignmentId);
    if (!assignment || !(await isHere(assignmentId, assignment.pickup, farFromStore))) return;
    await report(assignment, { type: "picked_up" });
    draw();
    view.showJob(assignmentId);
  },
  completed: (assignmentId) => complete(assignmentId),
  returned: (assignmentId) => complete(assignmentId),
  arrived: async (assignmentId) => {
    const assignment = assignmentOf(assignmentId);
    if (!assignment) return;
    const where = assignment.pickedUpAt === null ? "pickup" : "dropoff";
    await report(assignment, { type: "arrived", where });
    draw();
  },
  trouble: async (assignmentId) => {
    const assignment = assignmentOf(assignmentId);
    if (!assignment) return;
    const answer = await askTrouble(assignment, assignment.pickedUpAt !== null);
    if (!answer) return;
    const { reason, note, how } = answer;
    await report(assignment, how === "release" ? { type: "release", reason, note } : { type: "failed", reason, note, then: how });
    draw();
    view.showJob(assignmentId);
  },
  undo: async (assignmentId) => {
    if (!client.state.driver) return;
    const undone = await actions.undo(client.state.driver.id, assignmentId);
    draw();
    view.whisper(undone ? text("Undone. The order is not delivered.") : text("Too late to undo: it is being sent."));
  },
  resume: () => {
    if (!isOff()) return ask("resume", { type: "resume" });
    askPhone();
    if (phase !== "ready") return ask("resume", { type: "resume" });
    return startShift(other !== null);
  },
  pause: () => ask("pause", { type: "pause" }),
  extend: () => ask("extend", { type: "take_break", durationMinutes: LONGER_BY_MIN, extend: true }),
  break: async () => {
    const durationMinutes = await askBreak(Object.keys(client.state.assignments).length > 0);
    if (durationMinutes !== null) ask("break", { type: "take_break", durationMinutes });
  },
  leave: async () => {
    if (await askLeave()) ask("leave", { type: "end_shift" });
  },
  seen: async (messageId) => {
    if (await ask(`seen ${messageId}`, { type: "seen", messageId })) client.adopt(sawMessage(client.state, messageId));
    draw();
  },
  dismiss: (id) => dismiss(Number(id)),
  "over-superseded": () => startShift(),
  "over-another_phone": () => usePhone(),
  "over-two_devices": () => usePhone(),
  "over-refused": forget,
  "over-signed_out": forget,
  "over-expired": forget,
  "over-outdated": () => location.reload(),
};

// On the screen

let badge = 0;
/** @param {number} count what waits for the driver, on the icon of the installed app */
const showBadge = (count) => {
  if (count === badge) return;
  badge = count;
  const shown = count > 0 ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
  shown?.catch(() => {}); // not installed
};

const draw = () => {
  const at = now();
  const token = kept();
  view.draw(
    phase === "inside" ? client.state : { ...known, notices: client.state.notices },
    {
      connection: client.connection?.state,
      since: client.connection?.since ?? at.mono,
      reachable: navigator.onLine !== false,
      other,
      place,
      busyWith,
      phase,
      sound: alarm.wanted,
      audible: alarm.audible,
      push: push.state,
      actions,
      refusals,
      saved: token === null ? actions.all : actions.of(whose(token) ?? ""),
      numbers: numbers.known,
      proofs,
    },
    at,
  );
  if (client.connection?.state === "online" && client.state.driver) {
    const idle = Object.keys(client.state.assignments).length === 0 && document.visibilityState === "visible";
    if (idle && token !== null) void numbers.refresh(client.state.driver.id, token, at.mono);
  }
  const offered = view.offerShown;
  showBadge((offered === null ? 0 : 1) + Object.keys(client.state.messages).length);
  if (offered !== lately) {
    if (lately !== null) unnotify(lately);
    lately = offered;
  }
  if (offered === null) alarm.stop();
  else {
    if (alarm.wanted) alarm.start();
    if (!received.has(offered)) shown(offered);
    if (!drawing) spin();
  }
};

/**
 * The driver sees the offer, or is called to the phone.
 * @param {string} offerId
 */
const shown = (offerId) => {
  if (document.visibilityState === "visible") {
    if (!client.tell({ type: "received", offerId })) return;
    received.add(offerId);
    unnotify(offerId);
  } else notify(offerId);
};

let drawing = false;
const spin = () => {
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (view.offerShown !== null) draw();
  });
};
setInterval(draw, DRAW_EVERY_MS);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") push.left(place.known ? place.here : null);
  keepAwake();
  draw();
});

// The phone

const TAG = "offer"; // the service worker's too
/** @type {ServiceWorkerRegistration | null} */
let worker = null;
/** @type {string | null} */
let notified = null;
/** @type {string | null} the offer that was shown last */
let lately = null;
/** @param {string} offerId */
const notify = (offerId) => {
  const registration = worker;
  const entry = client.state.offers[offerId];
  if (!registration || !entry || notified === offerId || push.silenced) return;
  if (globalThis.Notification?.permission !== "granted") return;
  notified = offerId;
  const store = entry.offer.payload.pickupStoreName;
  const seconds = Math.round(remaining(entry, now()) / 1000);
  const options = {
    body: counted("{count} second to answer", "{count} seconds to answer", seconds),
    tag: TAG,
    renotify: true,
    requireInteraction: true,
    data: { offerId },
  };
  alone(() => registration.showNotification(text("New offer: {store}", { store }), options));
};

/**
 * Close the notification of an offer (or of any), by this page or by the service worker: it is seen or has ended.
 * @param {string | null} [offerId]
 */
const unnotify = async (offerId = null) => {
  const registration = await navigator.serviceWorker?.getRegistration(callboard.at("/driver"));
  if (!registration) return;
  await alone(async () => {
    for (const notification of await registration.getNotifications({ tag: TAG })) {
      if (offerId === null || notification.data?.offerId === offerId) notification.close();
    }
  });
};

/**
 * The service worker says why.
 * @param {() => Promise<void>} work
 */
const alone = (work) => navigator.locks.request(TAG, work);

/** @type {WakeLockSentinel | null} */
let lock = null;
const keepAwake = async () => {
  const wanted = client.connection?.state === "online" && document.visibilityState === "visible";
  if (!wanted || lock || !navigator.wakeLock) return;
  try {
    lock = await navigator.wakeLock.request("screen");
    lock.addEventListener("release", () => {
      lock = null;
    });
  } catch {
    lock = null; // low battery, or not allowed
  }
};

byId("locate").addEventListener("click", () => (place.state === "off" ? place.watch() : byHand()));
byId("by-hand").addEventListener("click", () => byHand());
const byHand = async () => {
  const chosen = await askPlace(place.here, client.state, now());
  if (chosen) place.put(chosen.lat, chosen.lon);
};

const sound = byId("sound");
sound.addEventListener("click", () => {
  alarm.wanted = !alarm.wanted;
  if (!alarm.wanted) alarm.stop();
  sound.setAttribute("aria-pressed", String(alarm.wanted));
  sound.textContent = alarm.wanted ? text("Sound is on") : text("Sound is off");
  draw();
});
byId("do-write").addEventListener("click", () => void write());
byId("forget").addEventListener("click", async () => {
  if (await askSignOut(hasWork())) forget();
});
const link = byId("link", HTMLInputElement);
byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const brought = { token: tokenIn(link.value), code: codeIn(link.value) };
  if (brought.token === null && brought.code === null) {
    sayAtGate("unknown");
    return;
  }
  link.value = "";
  void bringIn(brought);
});

byId("notify").addEventListener("click", () => (push.state === "on" ? push.turnOff() : push.turnOn()));
byId("call-me").addEventListener("click", () => push.turnOn());
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  const install = byId("install");
  install.hidden = false;
  install.onclick = () => {
    install.hidden = true;
    event.prompt();
  };
});
addEventListener("hashchange", () => bringIn(takeFromAddress()));

// Start

const locate = async () => {
  const query = new URLSearchParams(location.search);
  const lat = Number.parseFloat(query.get("lat") ?? "");
  const lon = Number.parseFloat(query.get("lon") ?? "");
  if (Math.abs(lat) <= 90 && Math.abs(lon) <= 180) {
    place.put(lat, lon);
    return;
  }
  if (!isSecureContext) {
    place.watch(); // the browser would not even ask: say why
    return;
  }
  try {
    const permission = await navigator.permissions.query({ name: "geolocation" });
    if (permission.state === "granted") place.watch();
    else if (permission.state === "denied") place.refuse();
  } catch {
    // the browser does not tell: the button asks
  }
};

watchTextSize();
new Guard({
  early: () => {
    const words = text("This button is new. Press it again.");
    view.whisper(words);
    sayInQuestion(words);
  },
});
const brought = takeFromAddress();
const begun = brought.token === null && brought.code === null ? signingIn() : null;
bringIn(begun === null ? brought : { token: null, ...begun });
locate();
if ("serviceWorker" in navigator) {
  navigator.serviceWorker
    .register(callboard.at("/driver/sw.js"), { scope: callboard.at("/driver") })
    .then((registration) => {
      worker = registration;
      push.registered(registration);
    })
    .catch(() => {}); // without it the page works, only not offline
}
