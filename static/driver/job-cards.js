// The cards of the deliveries in hand: where to go now, what to say there, and the steps.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { UNDO_MS } from "./actions.js";
import { addressOf } from "./amounts.js";
import { callLink, childrenOf, link, newLine, set, show, write } from "./paint.js";
import { serverNow } from "./state.js";
import { nextStop, payOf, stopsOf } from "./stops.js";
import { text } from "./text.js";

/** @import {Standing} from "./actions.js" */
/** @import {About, Act} from "./page.js" */
/** @import {Moment, State} from "./state.js" */

export class JobCards {
  /** @param {Act} act */
  constructor(act) {
    this._act = act;
  }

  /**
   * @param {Wire.DrivenAssignmentView[]} assignments
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  draw(assignments, state, about, now) {
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
          press.addEventListener("click", () => this._act(press.dataset.action ?? "", assignment.id));
        }
      }
      if (list.children[place] !== article) {
        const focused = article.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
        list.insertBefore(article, list.children[place] ?? null);
        focused?.focus({ preventScroll: true });
      }
      this._drawJob(article, assignment, state, about, now);
    });
  }

  /**
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} received
   * @param {State} state
   * @param {About} about
   * @param {Moment} now
   */
  _drawJob(article, received, state, about, now) {
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
    this._drawStops(article, assignment, done !== null);
    this._drawFacts(article, assignment, state, now);
    this._drawProofs(article, assignment, about);
    this._drawSteps(article, assignment, picked, done, about);
    this._drawMore(article, assignment, picked, done, about);
  }

  /**
   * The top of a delivery's card is in view.
   * @param {string} assignmentId
   */
  show(assignmentId) {
    childrenOf(byId("jobs")).find((article) => article.dataset.id === assignmentId)?.scrollIntoView({ block: "start" });
  }

  /**
   * Where to go now, large and with what helps there; the other stops in one line each.
   * @param {HTMLElement} article
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {boolean} over
   */
  _drawStops(article, assignment, over) {
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
  _drawFacts(article, assignment, state, now) {
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
  _drawProofs(article, { id, driverId, proofRequired = [], deliveryStatus }, { actions, proofs, connection }) {
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
  _drawMore(article, { id, driverId, arrivedAt, deliveryStatus }, picked, done, about) {
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
  _drawSteps(article, { id, driverId, storeName, pickedUpAt, deliveryStatus }, picked, done, about) {
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
}
