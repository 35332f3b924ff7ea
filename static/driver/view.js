// What is seen, as a function of what is known. It changes elements only where they differ; it decides nothing.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { UNDO_MS } from "./actions.js";
import { addressOf, countdown } from "./amounts.js";
import { callTo, directionsTo } from "./links.js";
import { allotted, canBeLonger, foreignReason, openOffer, remaining, serverNow, work } from "./state.js";
import { nextStop, payOf, stopsOf } from "./stops.js";
import { text } from "./text.js";

/** @import {Action, Actions, Standing} from "./actions.js" */
/** @import {ConnectionState} from "./connection.js" */
/** @import {DriverNumbers} from "./numbers.js" */
/** @import {Place} from "./place.js" */
/** @import {Sent} from "./proofs.js" */
/** @import {PushState} from "./push.js" */
/** @import {Moment, Notice, OpenOffer, ShownState, State} from "./state.js" */
/** @import {Stop} from "./stops.js" */

/**
 * Called for what the driver does: the name of the action, of what (an id), and a detail.
 * @typedef {(action: string, id?: string, detail?: string) => void} Act
 */

/** @typedef {"start" | "gate" | "ready" | "inside" | "signed_out" | "another_phone" | ConnectionState} Phase */

/**
 * What is not in the state.
 * @typedef {object} About
 * @property {ConnectionState | undefined} connection
 * @property {number} since since when the page is online, or is not, on the monotonic clock in ms
 * @property {boolean} reachable whether the phone has a network, as far as it knows
 * @property {import("./session.js").OtherDevice | null} other the other phone that is in use
 * @property {Place} place
 * @property {Set<string>} busyWith what is being sent
 * @property {Phase} phase
 * @property {boolean} sound whether the driver wants it
 * @property {boolean} audible whether it would be heard
 * @property {PushState} push
 * @property {Actions} actions
 * @property {import("./told.js").Refusals} refusals what the server did not accept of deliveries in hand
 * @property {Action[]} saved
 * @property {DriverNumbers | null} numbers
 * @property {Sent} proofs the pictures that the server has
 */

export const MADE_WAY = "offer"; // the answer of a question that an offer closed
const SHORT_MS = 10_000;
/** @type {ReadonlySet<Notice["kind"]>} what came in while the driver reads further down is brought into view, like a message */
const TO_READ = new Set(["work", "bad", "urgent"]);
const UNEXPLAINED_MS = 2_500; // a page that is not seen looks once a second
const OFFLINE_AFTER_MS = 1_500;

/**
 * @param {Node} node
 * @param {string} value
 */
const write = (node, value) => {
  if (node.textContent !== value) node.textContent = value;
};
/**
 * @param {HTMLElement} element
 * @param {boolean} yes
 */
const show = (element, yes) => {
  if (element.hidden === yes) element.hidden = !yes;
};
/**
 * Sets an attribute, or removes it if there is no value.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
const set = (element, name, value) => {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};

/**
 * The state that the driver sees: availability, or what keeps offers away.
 * @param {Wire.DriverView} driver
 * @returns {ShownState}
 */
export const shownState = (driver) => (driver.availability === "available" && driver.busy ? "busy" : driver.availability);

/**
 * What the driver can do in a state, each in a place of its own; and to end the shift.
 * @type {Record<ShownState, [rest: string | null, pause: string | null, resume: string | null]>}
 */
const CONTROLS = {
  available: [text("Take a break"), text("Pause"), null],
  busy: [text("Take a break"), text("Then pause"), null],
  on_break: [text("Change length"), text("+10 min"), text("Back to work")],
  paused: [text("Take a break"), null, text("Resume")],
  shift_ended: [null, null, text("Start shift")],
  offline: [null, null, text("Start shift")],
};

export class View {
  /** @param {Act} act */
  constructor(act) {
    this.act = act;
    this.offline = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.silence = undefined;
    /** @type {string | null} the id of the offer that is shown */
    this.offerShown = null;
    /** @type {string | null} the id of the offer that the driver does not want: it is still so after a lost connection */
    this.unwanted = null;
    /** @type {string | null} the id of the offer that was rejected without a reason */
    this.rejected = null;
    for (const id of ["do-break", "do-pause", "do-resume", "do-leave"]) {
      const press = byId(id);
      press.addEventListener("click", () => {
        press.closest("details")?.removeAttribute("open");
        act(press.dataset.action ?? "");
      });
    }
    byId("accept").addEventListener("click", () => this.answer("accept"));
    byId("reject").addEventListener("click", () => this.refuse(true));
    byId("back").addEventListener("click", () => this.refuse(false));
    for (const [reason, words] of w.REJECTIONS) {
      chip(within(byId("reasons"), ".chips"), words, () => this.answer("reject", reason));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !byId("offer").hidden) this.refuse(false);
    });
  }

  /**
   * Answers the offer that is shown.
   * @param {"accept" | "reject"} action
   * @param {string} [reason]
   */
  answer(action, reason) {
    if (this.offerShown !== null) this.act(action, this.offerShown, reason);
  }

  /**
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  draw(state, about, now) {
    set(document.body, "data-view", about.phase);
    const { connection, phase } = about;
    // What was kept is not what is: until the server is heard for the first time, nobody knows whether it is there.
    const failed = !about.reachable || (state.clock === null && connection === "offline");
    this.offline = phase === "inside" && connection !== "online" && (failed || now.mono - about.since > OFFLINE_AFTER_MS);
    show(byId("gate"), about.phase === "gate");
    const lasting = w.LASTING[about.phase];
    show(byId("over"), Boolean(lasting));
    if (lasting) this.drawLasting(phase, lasting, about.other);
    const driver = about.phase === "inside" ? state.driver : null;
    const inside = driver !== null;
    const ready = about.phase === "ready";
    show(byId("duty"), inside || ready);
    if (!inside) show(byId("controls"), false);
    show(byId("forget"), about.phase !== "gate");
    show(byId("line"), about.phase === "inside");
    write(byId("name"), state.driver?.name ?? "Callboard");
    this.drawLine(about, now);
    this.drawPlace(about, inside || ready);
    this.drawPush(about, inside);
    this.drawWork(inside || ready ? work(state) : [], state, about, now);
    this.drawRun(inside ? state.run : []);
    this.drawNumbers(inside && work(state).length === 0 ? about.numbers : null);
    this.drawSaved(state, about, inside);
    if (driver) this.drawDuty(state, driver, about, now);
    else if (ready) this.drawReady(work(state).length > 0);
    const off = driver !== null && !this.offline && (driver.availability === "shift_ended" || driver.availability === "offline");
    this.drawAsks(about, ready || off);
    this.drawOffer(inside && about.connection === "online" ? openOffer(state, now) : null, about, now);
    this.drawUndo(state, about, now);
    this.drawMessages(inside ? Object.values(state.messages).sort((a, b) => (a.at < b.at ? -1 : 1)) : [], about);
    show(byId("do-write"), inside);
    byId("do-write", HTMLButtonElement).disabled = about.connection !== "online";
    this.drawNotices(state.notices);
  }

  /**
   * @param {string} phase
   * @param {[title: string, body: string, button: string]} words
   * @param {import("./session.js").OtherDevice | null} other
   */
  drawLasting(phase, [title, body, button], other) {
    const isOther = other !== null && (phase === "another_phone" || phase === "two_devices");
    write(byId("over-title"), isOther ? w.otherSince(other.since) : title);
    write(byId("over-text"), isOther && other.name ? `${other.name}. ${body}` : body);
    write(byId("over-do"), button);
    const call = document.querySelector("#over-call");
    if (call instanceof HTMLElement) show(call, !["superseded", "outdated"].includes(phase));
    byId("over-do").onclick = () => this.act(`over-${phase}`);
  }

  /**
   * @param {About} about
   * @param {Moment} now
   */
  drawLine({ connection, since }, now) {
    const { offline } = this;
    set(byId("line"), "data-state", offline ? "offline" : connection === "online" ? "online" : "connecting");
    write(within(byId("line"), "span"), offline ? text("Offline") : connection === "online" ? text("Online") : text("Connecting"));
    show(byId("offline"), offline);
    if (offline) {
      const seconds = Math.floor((now.mono - since) / 1000);
      write(byId("offline-since"), w.offlineFor(seconds));
    }
  }

  /**
   * @param {About} about
   * @param {boolean} inside
   */
  drawPlace({ place }, inside) {
    /** @type {Record<string, string>} by the state of the position */
    const hints = {
      off: text("You get no offers without your position."),
      asking: text("Finding your position…"),
      refused: text("Your position is not shared. Allow it for this page in the settings of the browser."),
      unavailable: isSecureContext
        ? text("This device does not give its position. You get no offers without it.")
        : text("This address has no https. Without it, browsers give no position and no notifications, and you get no offers. Ask your dispatcher for the https address."),
    };
    const words = hints[place.state];
    const isAsked = place.state === "off" && !byId("asks").hidden;
    show(byId("whereabouts"), inside && !place.known && Boolean(words) && !isAsked);
    write(byId("whereabouts-text"), words ?? "");
    show(byId("locate"), place.state !== "asking");
    write(byId("locate"), place.state === "off" ? text("Share position") : text("Set position"));
    show(byId("by-hand"), inside && ["refused", "unavailable", "by_hand"].includes(place.state));
  }

  /**
   * Signed in, and not connected: nothing is offered before the driver wants it.
   * @param {boolean} working
   */
  drawReady(working) {
    set(byId("sign"), "data-state", "offline");
    write(byId("duty-title"), working ? w.STATES.busy[0] : text("Start your shift"));
    write(byId("duty-text"), working ? text("Go on with it on this phone.") : text("You get offers from then on."));
    for (const id of ["duty-time", "call-me", "hush"]) show(byId(id), false);
    const press = byId("do-resume", HTMLButtonElement);
    show(press, true);
    write(press, working ? text("Use this phone") : text("Start shift"));
    press.disabled = false;
  }

  /**
   * What the start of a shift asks the phone for, and how it stands.
   * @param {About} about
   * @param {boolean} yes
   */
  drawAsks({ place, push, sound }, yes) {
    show(byId("asks"), yes);
    if (!yes) return;
    const secure = isSecureContext;
    /** @type {Record<string, [good: boolean, words: string]>} */
    const asks = {
      place: [place.known, w.placeAsk(place.state, place.known, secure)],
      sound: [sound, sound ? text("Each offer rings.") : text("It is off. Turn it on in the menu.")],
      notices: [push === "on", w.noticesAsk(push, secure)],
    };
    for (const [name, [good, words]] of Object.entries(asks)) {
      const line = within(byId("asks"), `[data-ask="${name}"]`);
      set(line, "data-good", good ? "" : null);
      write(within(line, "span"), words);
    }
  }

  /**
   * @param {About} about
   * @param {boolean} inside
   */
  drawPush({ push }, inside) {
    show(byId("notify"), inside && push !== "unsupported");
    write(byId("notify"), w.PUSH[push] ?? "");
    set(byId("notify"), "aria-pressed", push === "blocked" ? null : String(push === "on"));
    byId("notify", HTMLButtonElement).disabled = push === "blocked" || push === "working";
    byId("call-me", HTMLButtonElement).disabled = push === "working";
  }

  /**
   * @param {State} state
   * @param {Wire.DriverView} driver
   * @param {About} about
   * @param {Moment} now
   */
  drawDuty(state, driver, about, now) {
    const shown = shownState(driver);
    const sign = this.offline ? "unreachable" : state.clock === null ? "connecting" : shown;
    const [title, body] = w.STATES[sign];
    const reason = sign !== shown || shown === "available" || shown === "busy" ? null : foreignReason(driver);
    const until = sign === "on_break" && driver.availabilityUntil ? Date.parse(driver.availabilityUntil) : null;
    set(byId("sign"), "data-state", sign);
    write(byId("duty-title"), title);
    const endless = sign === "on_break" && until === null;
    const unplaced = sign === "available" && !about.place.known;
    const says = unplaced ? text("You get no offers without your position.") : body;
    write(byId("duty-text"), [reason && text("Reason: {reason}.", { reason: w.reasonOf(reason) }), endless ? null : says].filter(Boolean).join(" "));
    show(byId("duty-time"), until !== null);
    if (until !== null) write(byId("duty-time"), countdown(until - serverNow(state, now)));
    show(byId("call-me"), about.push === "unasked" && shown !== "shift_ended" && !this.offline);
    show(byId("hush"), shown === "available" && about.sound);
    set(byId("hush"), "data-done", about.audible ? "" : null);
    const [rest, pauses, resume] = CONTROLS[shown];
    // A break can be longer; whoever is not on one can pause.
    const resting = shown === "on_break";
    set(byId("do-pause"), "data-action", resting ? "extend" : "pause");
    const pause = resting && !canBeLonger(driver.availabilityUntil, serverNow(state, now)) ? null : pauses;
    /** @type {[id: string, label: string | null][]} */
    const presses = [["do-break", rest], ["do-pause", pause], ["do-resume", resume], ["do-leave", rest && text("End shift")]];
    for (const [id, label] of presses) {
      const press = byId(id, HTMLButtonElement);
      show(press, Boolean(label));
      if (label) write(press, label);
      press.disabled = about.connection !== "online";
      set(press, "aria-busy", about.busyWith.has(press.dataset.action ?? "") ? "true" : null);
    }
    show(byId("controls"), rest !== null);
    // With a delivery in hand its steps have their place.
    const [controls, into] = [byId("controls"), work(state).length > 0 ? within(document, ".menu-body") : byId("app")];
    if (controls.parentElement !== into) into.append(controls);
  }

  /**
   * All stops of all deliveries: what is next is on the first card.
   * @param {Wire.RunStopView[]} stops
   */
  drawRun(stops) {
    show(byId("run"), stops.length > 0);
    const list = within(byId("run"), "ol");
    while (list.children.length > stops.length) list.lastElementChild?.remove();
    stops.forEach((stop, place) => {
      const line = childrenOf(list)[place] ?? list.appendChild(document.createElement("li"));
      write(line, w.runStop(stop));
      line.classList.toggle("done", stop.doneAt !== undefined);
    });
  }

  /** @param {DriverNumbers | null} numbers */
  drawNumbers(numbers) {
    show(byId("numbers"), numbers !== null);
    if (!numbers) return;
    for (const name of /** @type {const} */ (["today", "week"])) {
      write(within(byId("numbers"), `[data-period="${name}"] dd`), w.period(numbers[name]));
    }
    const { withoutPay } = numbers.week;
    show(byId("numbers-without"), withoutPay > 0);
    write(byId("numbers-without"), w.withoutPay(withoutPay));
  }

  /**
   * @param {Wire.DrivenAssignmentView[]} assignments
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  drawWork(assignments, state, about, now) {
    const list = byId("jobs");
    const wanted = new Map(assignments.map((assignment) => [assignment.id, assignment]));
    for (const article of childrenOf(list)) {
      if (wanted.has(article.dataset.id ?? "")) continue;
      if (article.contains(document.activeElement)) byId("main").focus({ preventScroll: true });
      article.remove();
    }
    assignments.forEach((assignment, place) => {
      let article = childrenOf(list).find((child) => child.dataset.id === assignment.id);
      if (!article) {
        const copy = document.importNode(byId("job", HTMLTemplateElement).content, true);
        article = within(copy, "article");
        article.dataset.id = assignment.id;
        for (const press of article.querySelectorAll("button")) {
          press.addEventListener("click", () => this.act(press.dataset.action ?? "", assignment.id));
        }
      }
      if (list.children[place] !== article) {
        const focused = article.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
        list.insertBefore(article, list.children[place] ?? null);
        focused?.focus({ preventScroll: true });
      }
      this.drawJob(article, assignment, state, about, now);
    });
  }

  /**
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} received
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  drawJob(article, received, state, about, now) {
    const assignment = about.actions.seen(received);
    const picked = assignment.pickedUpAt !== null;
    const done = about.actions.standing(assignment.driverId, assignment.id, now);
    const returning = assignment.deliveryStatus === "RETURNING";
    write(within(article, ".stage"), w.stage(picked, returning, done));
    const given = within(article, ".given");
    write(given, w.GIVEN[assignment.source] ?? "");
    show(given, assignment.source in w.GIVEN);
    const refusal = within(article, ".refusal");
    const refused = about.refusals.of(assignment.id);
    write(refusal, refused ?? "");
    show(refusal, refused !== null);
    this.drawStops(article, assignment, done !== null);
    this.drawFacts(article, assignment, state, now);
    this.drawProofs(article, assignment, about);
    this.drawSteps(article, assignment, picked, done, about);
    this.drawMore(article, assignment, picked, done, about);
  }

  /**
   * The top of a delivery's card is in view.
   * @param {string} assignmentId
   */
  showJob(assignmentId) {
    childrenOf(byId("jobs")).find((article) => article.dataset.id === assignmentId)?.scrollIntoView({ block: "start" });
  }

  /**
   * Where to go now, large and with what helps there; the other stops in one line each.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {boolean} over
   */
  drawStops(article, assignment, over) {
    const { storeName: store } = assignment;
    const stops = stopsOf(assignment);
    const here = nextStop(stops);
    const list = within(article, ".stops");
    const lines = childrenOf(list);
    stops.forEach((stop, place) => {
      const line = lines[place] ?? list.appendChild(newLine("stop"));
      const [name, map, call] = w.STOPS[stop.kind];
      set(line, "data-stop", stop.kind);
      show(line, stop !== here && !(here?.kind === "return" && stop.kind === "pickup")); // the store, where it goes back to, is not done with
      line.classList.toggle("done", stop.done || over);
      write(within(line, "b"), name);
      write(within(line, "span"), [w.nameOf(stop), stop.place.address].filter(Boolean).join(", "));
      link(within(line, ".map"), stop.place, text(map, { store }));
      callLink(within(line, ".call"), stop.place.phone, call);
    });
    lines.slice(stops.length).forEach((line) => line.remove());
    if (!here) return;
    const [, map, call] = w.STOPS[here.kind];
    set(article, "data-at", here.kind);
    write(within(article, "h2"), w.nameOf(here));
    const inside = here.kind === "dropoff" ? null : here.place.name;
    write(within(article, ".where"), [inside === store ? null : inside, addressOf(here.place)].filter(Boolean).join(", "));
    link(within(article, '[data-way="map"]'), here.place, text(map, { store }));
    const phone = within(article, '[data-way="call"]');
    callLink(phone, here.place.phone, call);
    write(within(phone, "span"), call);
    const note = within(article, ".note");
    show(note, here.notes !== null);
    write(within(note, "p"), here.notes ?? "");
  }

  /**
   * The number to say at the counter, when it is due, what it pays.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {State} state
   * @param {Moment} now
   */
  drawFacts(article, assignment, state, now) {
    write(within(article, ".number b"), assignment.sellerOrderId);
    for (const stop of stopsOf(assignment)) {
      const cell = article.querySelector(`[data-fact="${stop.kind}"]`);
      if (!(cell instanceof HTMLElement)) continue; // nobody waits for what comes back
      const due = stop.done ? null : w.due(stop, serverNow(state, now));
      show(cell, due !== null);
      if (!due) continue;
      set(cell, "data-late", due.late ? "" : null);
      write(within(cell, "dt"), due.label);
      write(within(cell, "dd"), due.time);
    }
    const pay = payOf(assignment, state.earnings);
    const cell = within(article, '[data-fact="pay"]');
    show(cell, pay !== null);
    if (pay) write(within(cell, "dd"), w.money(pay.cents, pay.currency));
  }

  /**
   * What the handover needs, so that nobody learns it at the door, and how far it is.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {About} about
   */
  drawProofs(article, { id, driverId, proofRequired = [], deliveryStatus }, { actions, proofs, connection }) {
    const line = within(article, ".proofs");
    show(line, proofRequired.length > 0 && deliveryStatus !== "RETURNING");
    const kinds = proofRequired.map((kind) => {
      const saved = kind !== "pin" && actions.proving(driverId, id, kind);
      return w.proof(kind, saved, kind !== "pin" && proofs.has(id, kind), connection === "online");
    });
    write(within(line, "span"), kinds.join(", "));
  }

  /**
   * What else can happen at a stop: nothing of it takes a step's place.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {boolean} picked
   * @param {Standing | null} done
   * @param {About} about
   */
  drawMore(article, { id, driverId, arrivedAt, deliveryStatus }, picked, done, about) {
    const arrived = within(article, '[data-action="arrived"]', HTMLButtonElement);
    const trouble = within(article, '[data-action="trouble"]', HTMLButtonElement);
    const where = picked ? "dropoff" : "pickup";
    // A node of the previous release does not send it.
    const at = arrivedAt?.[where] ?? null;
    const saved = about.actions.arriving(driverId, id, where);
    const possible = done === null && deliveryStatus !== "RETURNING";
    show(within(article, ".more"), possible);
    show(arrived, possible);
    arrived.disabled = at !== null || saved;
    write(arrived, w.arrived(picked, at, saved, about.connection === "online"));
    within(article, ".arrival").classList.toggle("turned", picked);
    write(trouble, picked ? text("Could not deliver") : text("Give back"));
  }

  /**
   * Two steps side by side, each step in the other column than the one before, so that no step's button is where the last
   * one was: *Picked up* left, *Delivered* right, *Returned to the store* left. What is done says so in its place.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {boolean} picked
   * @param {Standing | null} done
   * @param {About} about
   */
  drawSteps(article, { id, driverId, storeName, pickedUpAt, deliveryStatus }, picked, done, about) {
    const left = within(article, ".steps > div:first-child");
    const right = within(article, ".steps > div:last-child");
    const pickUp = within(left, '[data-action="picked_up"]', HTMLButtonElement);
    const bringBack = within(left, '[data-action="returned"]', HTMLButtonElement);
    const deliver = within(right, '[data-action="completed"]', HTMLButtonElement);
    const returning = deliveryStatus === "RETURNING";
    const [here, beside] = returning ? [left, right] : [right, left];
    const mayUndo = done !== null && !done.tried && done.type === "completed";
    const undos = [left, right].map((cell) => within(cell, '[data-action="undo"]', HTMLButtonElement));
    const presses = [...undos, deliver, bringBack, pickUp];
    const focused = presses.find((press) => press === document.activeElement);
    show(pickUp, !picked && !done);
    show(deliver, picked && !done && !returning);
    show(bringBack, returning && !done);
    for (const undo of undos) {
      show(undo, mayUndo && beside.contains(undo));
      set(undo, "aria-label", text("Undo: not delivered, {store}", { store: storeName }));
    }
    const doneText = within(here, "p");
    const besideText = within(beside, "p");
    show(doneText, done !== null || !picked);
    write(doneText, done ? w.delivered(done, about.connection === "online", returning) : text("Then deliver"));
    show(besideText, picked && !mayUndo);
    const sent = !about.actions.waiting(driverId, id, returning ? "failed" : "picked_up");
    write(besideText, w.stepDone(pickedUpAt, returning, sent, about.connection === "online"));
    here.classList.toggle("waiting", done !== null);
    beside.classList.remove("waiting");
    if (done) here.style.setProperty("--gone", String(1 - done.left / UNDO_MS));
    if (focused?.hidden) {
      const next = presses.find((press) => !press.hidden) ?? byId("main");
      next.focus({ preventScroll: true });
    }
  }

  /**
   * Deliveries that are kept on this phone and have no card here that says so.
   * @param {State} state
   * @param {About} about
   * @param {boolean} inside
   */
  drawSaved(state, about, inside) {
    const hidden = about.saved.filter(({ assignmentId }) => !inside || !state.assignments[assignmentId]);
    show(byId("saved"), hidden.length > 0);
    write(byId("saved"), hidden.length ? w.saved(hidden, about.phase) : "");
  }

  /**
   * For those who listen: what eyes see on the buttons. It stays as long as it may be true.
   * @param {string} said
   */
  whisper(said) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => write(byId("said"), ""), UNDO_MS);
    const again = byId("said").textContent === said;
    write(byId("said"), again ? `${said}\u00a0` : said); // the same words twice would be no news
  }

  /**
   * @param {OpenOffer | null} entry
   * @param {About} about
   * @param {Moment} now
   */
  drawOffer(entry, about, now) {
    const box = byId("offer");
    if (!entry) {
      if (this.offerShown !== null) {
        this.offerShown = null;
        show(box, false);
        delete box.dataset.id;
        this.coverApp(false);
        byId("main").focus({ preventScroll: true });
      }
      return;
    }
    const { offer } = entry;
    const left = remaining(entry, now);
    if (this.offerShown !== offer.id) {
      this.offerShown = offer.id;
      for (const dialog of document.querySelectorAll("dialog")) if (dialog.open) dialog.close(MADE_WAY);
      this.fillOffer(offer);
      box.dataset.id = offer.id;
      show(box, true);
      this.coverApp(true);
      this.askWhy(this.unwanted === offer.id);
      this.rejected = null;
      box.scrollTop = 0;
    }
    write(byId("offer-left"), String(Math.ceil(left / 1000)));
    byId("ring", SVGElement).style.strokeDashoffset = String(1 - left / allotted(entry));
    set(within(box, ".ring"), "data-short", left < SHORT_MS ? "" : null);
    const busy = about.busyWith.has(`accept ${offer.id}`);
    const rejecting = about.busyWith.has(`reject ${offer.id}`);
    for (const press of box.querySelectorAll("button")) {
      if (press.closest("#answer, #reasons")) press.disabled = busy || rejecting;
    }
    write(byId("accept"), busy ? text("Accepting…") : text("Accept"));
    // Who has pressed *Reject* has answered, also without a reason when the time is over or the phone is put away.
    const saysNo = !byId("reasons").hidden && (left < UNEXPLAINED_MS || document.visibilityState === "hidden");
    if (saysNo && !rejecting && this.rejected !== offer.id) {
      this.rejected = offer.id;
      this.answer("reject");
    }
  }

  /**
   * What was delivered just before an offer came can be undone over it too. A line stays as long as the offer does: what
   * moves under a finger loses the tap.
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  drawUndo({ driver, assignments }, { actions, connection }, now) {
    const list = byId("offer-undo");
    if (this.offerShown === null || !driver) return list.replaceChildren();
    for (const { assignmentId, storeName, type } of actions.of(driver.id)) {
      if (type !== "completed" || childrenOf(list).some((line) => line.dataset.id === assignmentId)) continue;
      list.append(this.undoLine(assignmentId, storeName));
    }
    for (const line of childrenOf(list)) {
      const id = line.dataset.id ?? "";
      const done = actions.standing(driver.id, id, now);
      const press = within(line, "button");
      const focused = press === document.activeElement;
      const what = done ? w.delivered(done, connection === "online", assignments[id]?.deliveryStatus === "RETURNING") : id in assignments ? text("Not delivered yet") : text("Delivered");
      write(within(line, "span"), what);
      show(press, done !== null && !done.tried && done.type === "completed");
      if (focused && press.hidden) byId("offer-title").focus({ preventScroll: true });
    }
  }

  /**
   * @param {string} assignmentId
   * @param {string} storeName
   */
  undoLine(assignmentId, storeName) {
    const line = document.createElement("li");
    line.dataset.id = assignmentId;
    const words = document.createElement("p");
    const store = document.createElement("b");
    store.textContent = storeName;
    words.append(store, document.createElement("span"));
    const press = document.createElement("button");
    press.type = "button";
    press.dataset.action = "undo";
    press.textContent = text("Undo");
    press.setAttribute("aria-label", text("Undo: not delivered, {store}", { store: storeName }));
    press.addEventListener("click", () => this.act("undo", assignmentId));
    line.append(words, press);
    return line;
  }

  /** @param {boolean} yes */
  coverApp(yes) {
    for (const part of childrenOf(byId("app"))) part.inert = yes;
  }

  /**
   * @param {Wire.OfferView} offer
   */
  fillOffer({ payload }) {
    write(byId("offer-title"), payload.pickupStoreName);
    write(byId("offer-pay"), w.money(payload.estimatedEarningCents, payload.currency));
    write(byId("offer-km"), w.km(payload.estimatedDistanceKm));
    write(byId("offer-trip"), w.trip(payload.estimatedTripKm));
    write(byId("offer-min"), w.minutes(payload.estimatedPickupTimeMin));
    const { addOn } = payload;
    show(byId("offer-addon"), addOn !== undefined);
    if (addOn) write(byId("offer-addon"), w.addOn(addOn));
    write(byId("offer-by"), w.clock(payload.estimatedDeliveryTime));
    write(byId("offer-from"), addressOf(payload.pickupLocation));
    write(byId("offer-to"), addressOf(payload.dropoffLocation));
    link(byId("offer-from-map"), payload.pickupLocation, text("Map to the pickup"));
    link(byId("offer-to-map"), payload.dropoffLocation, text("Map to the drop-off"));
  }

  /** @param {boolean} yes */
  refuse(yes) {
    this.unwanted = yes ? this.offerShown : null;
    this.askWhy(yes);
  }

  /** @param {boolean} yes */
  askWhy(yes) {
    show(byId("reasons"), yes);
    show(byId("answer"), !yes);
    byId(yes ? "reasons-title" : "offer-title").focus({ preventScroll: true });
  }

  /**
   * Messages of dispatch that the driver has not seen, oldest first.
   * @param {Wire.ChatMessageView[]} messages
   * @param {About} about
   */
  drawMessages(messages, about) {
    const list = byId("messages");
    show(list, messages.length > 0);
    const wanted = new Set(messages.map((message) => message.id));
    for (const element of childrenOf(list)) {
      if (wanted.has(element.dataset.id ?? "")) continue;
      if (element.contains(document.activeElement)) byId("main").focus({ preventScroll: true });
      element.remove();
    }
    for (const message of messages) {
      const shown = childrenOf(list).find((child) => child.dataset.id === message.id);
      const element = shown ?? this.messageOf(message);
      if (!shown) {
        list.append(element);
        scrollTo(0, 0);
      }
      within(element, "button", HTMLButtonElement).disabled = about.connection !== "online" || about.busyWith.has(`seen ${message.id}`);
    }
  }

  /** @param {Wire.ChatMessageView} message */
  messageOf(message) {
    const element = document.createElement("article");
    element.className = "message";
    element.dataset.id = message.id;
    const words = document.createElement("div");
    const line = document.createElement("p");
    line.textContent = message.text;
    const by = document.createElement("span");
    by.textContent = text("{name} at {time}", { name: message.from, time: w.clock(message.at) });
    words.append(line, by);
    element.append(words);
    chip(element, text("Seen"), () => this.act("seen", message.id));
    return element;
  }

  /** @param {Notice[]} notices */
  drawNotices(notices) {
    const list = byId("notices");
    const wanted = new Set(notices.map((notice) => String(notice.id)));
    for (const element of childrenOf(list)) {
      if (!wanted.has(element.dataset.id ?? "")) element.remove();
    }
    for (const notice of notices) {
      if (childrenOf(list).some((element) => element.dataset.id === String(notice.id))) continue;
      const element = document.createElement("div");
      element.className = "notice";
      element.dataset.id = String(notice.id);
      element.dataset.kind = notice.kind;
      const line = document.createElement("p");
      line.textContent = w.notice(notice);
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "×";
      gone.setAttribute("aria-label", text("Dismiss"));
      gone.addEventListener("click", () => this.act("dismiss", String(notice.id)));
      element.append(line);
      const dispatch = document.querySelector("#call-dispatch");
      if (notice.kind === "urgent" && dispatch) {
        const call = /** @type {Element} */ (dispatch.cloneNode(true));
        call.removeAttribute("id");
        call.className = "call";
        element.append(call);
      }
      element.append(gone);
      list.append(element);
      if (TO_READ.has(notice.kind)) scrollTo(0, 0);
    }
  }
}

/**
 * @param {Element} into
 * @param {string} label
 * @param {() => void} press
 */
export const chip = (into, label, press) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", press);
  into.append(button);
  return button;
};

/**
 * The HTML elements in it; there are no others.
 * @param {Element} list
 */
const childrenOf = (list) => /** @type {HTMLElement[]} */ ([...list.children]);

/**
 * @param {Element} anchor
 * @param {Wire.Place} point
 * @param {string} label
 */
const link = (anchor, point, label) => {
  const href = directionsTo(point, navigator.userAgent);
  set(anchor, "href", href);
  set(anchor, "target", href.startsWith("http") ? "_blank" : null); // a new page of a phone's app would stay empty
  set(anchor, "aria-label", label);
};

/**
 * @param {HTMLElement} anchor
 * @param {string | null | undefined} phone
 * @param {string} label
 */
const callLink = (anchor, phone, label) => {
  const href = callTo(phone);
  show(anchor, href !== null);
  set(anchor, "href", href);
  set(anchor, "aria-label", label);
};

/**
 * A copy of a template's only element.
 * @param {string} id
 */
const newLine = (id) => /** @type {HTMLElement} */ (document.importNode(byId(id, HTMLTemplateElement).content, true).firstElementChild);
