// The driver page: the client, the screen and the phone put together.

import { KeptActions } from "./action-store.js";
import { Alarm } from "./alarm.js";
import { DriverClient, now } from "./client.js";
import { Deeds } from "./deeds.js";
import { askBreak, askLeave, closeEnded, sayInQuestion } from "./dialogs.js";
import { Entry } from "./entry.js";
import { Gate } from "./gate.js";
import { Guard } from "./guard.js";
import { forgetDraft, keepDraftOf } from "./handover.js";
import { whose } from "./ids.js";
import { keepInHand } from "./in-hand.js";
import { forgetSeen, keepSeen, lastSeen } from "./last-seen.js";
import { openMenu } from "./menu.js";
import { Notices } from "./notices.js";
import { Numbers } from "./numbers.js";
import { OfferCall } from "./offer-call.js";
import { Page } from "./page.js";
import { Place } from "./place.js";
import { Sent } from "./proofs.js";
import { Push } from "./push.js";
import { Requests } from "./requests.js";
import { left, started } from "./shift.js";
import { LONGER_BY_MIN, openOffer, sawMessage, say } from "./state.js";
import { watchTextSize } from "./text-size.js";
import { text } from "./text.js";
import { kept, signOut, signingIn, takeFromAddress } from "./token.js";
import { Refusals, keepUrgent } from "./told.js";
import { View } from "./view.js";
import { WakeLock } from "./wake-lock.js";

/** @import {State} from "./state.js" */

const DRAW_EVERY_MS = 250;
const NO_PUSH = text("Notifications do not work in this browser now. You get offers only while this page is open.");

const refusals = new Refusals();
const alarm = new Alarm();
const nudge = () => alarm.nudge();
/** @type {import("./page.js").Act} */
const act = (action, id = "", detail = "") => ACTIONS[action]?.(id, detail);
const view = new View(act);
const proofs = new Sent();
const client = new DriverClient({
  base: location.origin + callboard.at(""),
  adopted: (before) => adopted(before),
  heard: (message) => heard(message),
  changed: (next) => {
    entry.changed(next);
    void wakeLock.look();
  },
  free: () => page.phase === "other_tab" && entry.enter(),
  queued: () => draw(),
  uploaded: ({ assignmentId, kind }) => kind && proofs.add(assignmentId, kind),
  refused: (action, error) => deeds.refused(action, error),
  store: new KeptActions({
    unsaved: () => client.adopt(say(client.state, "urgent", "This phone cannot save the picture. Keep this page open until it is sent.")),
    again: () => void client.actions.load(now()),
  }),
  handedIn: () => client.adopt(say(client.state, "good", "Your dispatcher has everything that you did on this phone.")),
});
const page = new Page({ client, draw: () => draw() });
const place = new Place({ send: (message) => client.tell(message), changed: () => draw() });
const push = new Push({ changed: () => draw(), failed: () => requests.failed(NO_PUSH) });
const numbers = new Numbers({
  changed: () => {
    keepKnown();
    draw();
  },
});
const notices = new Notices({ page, isOfferShown: () => view.offerShown !== null, nudge });
const entry = new Entry({ page, notices });
const gate = new Gate({ page, entry });
const requests = new Requests({ page });
const deeds = new Deeds({ page, place, proofs, refusals, view, nudge });
const offerCall = new OfferCall({ page, alarm, push });
const wakeLock = new WakeLock({ page });

/** @param {Wire.ToDriver} message */
const heard = (message) => {
  if (["hello", "assignment", "availability"].includes(message.type)) numbers.stale();
  if (message.type === "hello") {
    offerCall.repeat();
    place.repeat();
    const token = kept();
    if (token) push.entered(token, message.driver.id);
    if (!openOffer(client.state, now())) void offerCall.unnotify();
    if (entry.greeted()) void requests.ask("resume", { type: "resume" });
  }
  draw();
};

/** @param {State} before */
const adopted = (before) => {
  notices.adopted(before);
  const { driver, assignments, earnings } = client.state;
  if (!driver || client.state.clock === null) return; // nothing is heard yet
  refusals.keepOnly(assignments);
  closeEnded(assignments);
  started(driver.availability === "shift_ended" ? "" : driver.id);
  keepInHand({ driver, assignments, earnings });
  proofs.keepOnly(assignments);
  keepDraftOf(assignments);
  keepKnown();
};

const keepKnown = () => {
  const { driver, clock } = client.state;
  if (driver && clock) keepSeen(driver, Date.now(), numbers.of(driver.id));
};

// One tap asks for all that offers need. Browsers allow sound by themselves after it.
const askPhone = () => {
  if (place.state === "off") place.watch();
  if (push.state === "unasked") void push.turnOn();
};

// The driver chose this phone, perhaps for the first time.
const usePhone = () => {
  askPhone();
  entry.startShift();
};

// The driver leaves this phone.
const forget = () => {
  gate.leave();
  keepInHand(null);
  forgetSeen();
  numbers.forget();
  refusals.keepOnly({});
  keepUrgent([], Date.now());
  forgetDraft();
  left();
  client.forget();
  void push.turnOff({ forget: true });
  void signOut();
  entry.enter();
};

/** @type {Record<string, (id: string, detail: string) => unknown>} what the driver can do, by the name on its button */
const ACTIONS = {
  accept: (offerId) => requests.ask(`accept ${offerId}`, { type: "accept", offerId }),
  reject: (offerId, reason) => requests.ask(`reject ${offerId}`, { type: "reject", offerId, ...(reason && { reason }) }),
  picked_up: (assignmentId) => deeds.pickedUp(assignmentId),
  completed: (assignmentId) => deeds.complete(assignmentId),
  returned: (assignmentId) => deeds.complete(assignmentId),
  arrived: (assignmentId) => deeds.arrived(assignmentId),
  trouble: (assignmentId) => deeds.trouble(assignmentId),
  undo: (assignmentId) => deeds.undo(assignmentId),
  resume: () => {
    if (page.isOff) askPhone();
    if (page.phase === "ready") return entry.startShift(page.other !== null);
    return requests.ask("resume", { type: "resume" });
  },
  pause: () => requests.ask("pause", { type: "pause" }),
  extend: () => requests.ask("extend", { type: "take_break", durationMinutes: LONGER_BY_MIN, extend: true }),
  break: async () => {
    const durationMinutes = await askBreak(Object.keys(client.state.assignments).length > 0);
    if (durationMinutes !== null) void requests.ask("break", { type: "take_break", durationMinutes });
  },
  leave: async () => {
    if (await askLeave()) void requests.ask("leave", { type: "end_shift" });
  },
  seen: async (messageId) => {
    if (await requests.ask(`seen ${messageId}`, { type: "seen", messageId })) client.adopt(sawMessage(client.state, messageId));
    draw();
  },
  dismiss: (id) => notices.dismiss(Number(id)),
  "over-other_tab": () => entry.startShift(),
  "over-another_phone": () => usePhone(),
  "over-two_devices": () => usePhone(),
  "over-refused": forget,
  "over-signed_out": forget,
  "over-expired": forget,
  "over-outdated": () => location.reload(),
};

// On the screen

const draw = () => {
  const at = now();
  const token = kept();
  const { actions } = client;
  view.draw(
    page.state,
    {
      connection: client.connection?.state,
      since: client.connection?.since ?? at.mono,
      reachable: navigator.onLine !== false,
      other: page.other,
      place,
      busyWith: page.busyWith,
      phase: page.phase,
      sound: alarm.wanted,
      audible: alarm.audible,
      push: push.state,
      actions,
      refusals,
      saved: token === null ? actions.all : actions.of(whose(token) ?? ""),
      numbers: numbers.of(client.state.driver?.id)?.numbers ?? null,
      seen: client.connection?.state === "online" ? null : lastSeen(token && whose(token)),
      proofs,
    },
    at,
  );
  if (client.connection?.state === "online" && client.state.driver) {
    const idle = Object.keys(client.state.assignments).length === 0 && document.visibilityState === "visible";
    if (idle && token !== null) void numbers.refresh(client.state.driver.id, token, at.mono);
  }
  offerCall.follow(view.offerShown);
  if (view.offerShown !== null && !drawing) spin();
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
  void wakeLock.look();
  draw();
});

// Start

openMenu({ page, alarm, place, push, requests, forget });
watchTextSize();
new Guard({
  early: () => {
    const words = text("This button is new. Press it again.");
    view.whisper(words);
    sayInQuestion(words);
  },
});
addEventListener("hashchange", () => void gate.bringIn(takeFromAddress()));
const brought = takeFromAddress();
const begun = brought.token === null && brought.code === null ? signingIn() : null;
void gate.bringIn(begun === null ? brought : { token: null, ...begun });
void place.begin();
if ("serviceWorker" in navigator) {
  navigator.serviceWorker
    .register(callboard.at("/driver/sw.js"), { scope: callboard.at("/driver") })
    .then((registration) => {
      offerCall.registered(registration);
      push.registered(registration);
    })
    .catch(() => {}); // without it the page works, only not offline
}
