// What the driver does with a delivery in hand: it is kept on this phone until the server has answered.

import { UNDO_MS } from "./actions.js";
import { now } from "./client.js";
import { askFar, askTrouble } from "./dialogs.js";
import { askHandover, forgetDraft } from "./handover.js";
import { named, say } from "./state.js";
import { text } from "./text.js";
import { km, reportRefused } from "./words.js";

/** @import {Action, Deed} from "./actions.js" */
/** @import {Refused} from "./connection.js" */
/** @import {Handover} from "./handover.js" */
/** @import {Page} from "./page.js" */
/** @import {Place} from "./place.js" */
/** @import {Sent} from "./proofs.js" */
/** @import {Refusals} from "./told.js" */
/** @import {PictureKind} from "./upload.js" */
/** @import {View} from "./view.js" */

export class Deeds {
  /**
   * `nudge` makes the driver look.
   * @param {{page: Page, place: Place, proofs: Sent, refusals: Refusals, view: View, nudge: () => void}} parts
   */
  constructor({ page, place, proofs, refusals, view, nudge }) {
    this._page = page;
    this._place = place;
    this._proofs = proofs;
    this._refusals = refusals;
    this._view = view;
    this._nudge = nudge;
  }

  /** @param {string} assignmentId */
  async arrived(assignmentId) {
    const assignment = this._assignmentOf(assignmentId);
    if (!assignment) return;
    const where = assignment.pickedUpAt === null ? "pickup" : "dropoff";
    await this._report(assignment, { type: "arrived", where });
    this._page.draw();
  }

  /** @param {string} assignmentId */
  async pickedUp(assignmentId) {
    const assignment = this._assignmentOf(assignmentId);
    if (!assignment || !(await this._isHere(assignmentId, assignment.pickup, farFromStore))) return;
    await this._report(assignment, { type: "picked_up" });
    this._page.draw();
    this._view.showJob(assignmentId);
  }

  /**
   * What a handover needs is asked for first. It is sent in order: pictures, then the delivery.
   * @param {string} assignmentId
   */
  async complete(assignmentId) {
    const { busyWith, draw } = this._page;
    const assignment = this._assignmentOf(assignmentId);
    if (!assignment || busyWith.has(`completed ${assignmentId}`)) return;
    const returning = assignment.deliveryStatus === "RETURNING";
    if (!returning && !(await this._isHere(assignmentId, assignment.dropoff, farFromCustomer))) return;
    const given = await this._handover(assignment, returning ? [] : (assignment.proofRequired ?? []));
    if (!given) return;
    busyWith.add(`completed ${assignmentId}`);
    const { storeName } = assignment;
    if (given.signature) await this._keepProof(assignment, "signature", given.signature);
    const proof = { ...(given.pin === null ? {} : { pin: given.pin }), ...(given.name === null ? {} : { name: given.name }) };
    await this._report(assignment, { type: "completed", ...proof });
    forgetDraft();
    busyWith.delete(`completed ${assignmentId}`);
    draw();
    const seconds = UNDO_MS / 1000;
    this._view.whisper(
      returning
        ? text("Returned to the store: {store}. You can undo it for {seconds} seconds.", { store: storeName, seconds })
        : text("Delivered: {store}. You can undo it for {seconds} seconds.", { store: storeName, seconds }),
    );
  }

  /** @param {string} assignmentId */
  async undo(assignmentId) {
    const { client, draw } = this._page;
    if (!client.state.driver) return;
    const undone = await client.actions.undo(client.state.driver.id, assignmentId);
    draw();
    this._view.whisper(undone ? text("Undone. The order is not delivered.") : text("Too late to undo: it is being sent."));
  }

  /**
   * Given back, or not delivered.
   * @param {string} assignmentId
   */
  async trouble(assignmentId) {
    const assignment = this._assignmentOf(assignmentId);
    if (!assignment) return;
    const answer = await askTrouble(assignment, assignment.pickedUpAt !== null);
    if (!answer) return;
    const { reason, note, how } = answer;
    await this._report(assignment, how === "release" ? { type: "release", reason, note } : { type: "failed", reason, note, then: how });
    this._page.draw();
    this._view.showJob(assignmentId);
  }

  /**
   * What the server did not accept is said where the driver goes on: at the delivery, or above everything once that is not
   * theirs any more.
   * @param {Action} action
   * @param {Refused} error
   */
  refused(action, error) {
    const { client, draw } = this._page;
    const { assignmentId } = action;
    const words = reportRefused(named(action), error);
    if (!(assignmentId in client.state.assignments) || error.code === "assignment_not_active" || error.code === "not_found") {
      client.adopt(say(client.state, "urgent", words));
      return;
    }
    this._refusals.set(assignmentId, words);
    this._nudge();
    draw();
    this._view.showJob(assignmentId);
  }

  /**
   * The assignment as its driver sees it.
   * @param {string} assignmentId
   */
  _assignmentOf(assignmentId) {
    const { client } = this._page;
    const assignment = client.state.assignments[assignmentId];
    return assignment && client.actions.seen(assignment);
  }

  /**
   * Keep what the driver did until the server has answered. What it refused before is answered with it.
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {Omit<Deed, "driverId" | "assignmentId" | "storeName" | "sellerOrderId">} deed
   */
  async _report({ driverId, id: assignmentId, storeName, sellerOrderId }, deed) {
    this._refusals.set(assignmentId, null);
    await this._page.client.actions.add({ driverId, assignmentId, storeName, sellerOrderId, ...deed }, now());
  }

  /**
   * Keep a picture until it is sent, before the delivery that needs it.
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {PictureKind} kind
   * @param {Blob} picture
   */
  async _keepProof(assignment, kind, picture) {
    await this._report(assignment, { type: "proof", kind, picture });
    this._page.draw();
  }

  /**
   * What the customer gives for the handover, or null if the driver went back.
   * @param {Wire.DrivenAssignmentView} assignment
   * @param {("photo" | "pin" | "signature")[]} required
   * @returns {Promise<Handover | null>}
   */
  async _handover(assignment, required) {
    if (required.length === 0) return { signature: null, name: null, pin: null };
    const { client } = this._page;
    const { id: assignmentId, driverId, dropoff } = assignment;
    return askHandover({
      assignmentId,
      online: client.connection?.state === "online",
      check: (pin) => (client.connection?.state === "online" ? client.checkPin(assignmentId, pin) : null),
      recipient: dropoff.name ?? dropoff.address ?? "",
      required,
      has: (kind) => this._proofs.has(assignmentId, kind) || client.actions.proving(driverId, assignmentId, kind),
      keep: (picture) => this._keepProof(assignment, "photo", picture),
    });
  }

  /**
   * Whether the driver is where this happens, as far as the phone knows, or says that it happened all the same.
   * @param {string} assignmentId
   * @param {Wire.Place} where
   * @param {(distance: string) => string} question
   */
  async _isHere(assignmentId, where, question) {
    const away = this._place.farFrom(where, now());
    const { client } = this._page;
    return away === null || (await askFar(question(km(away)), assignmentId, () => assignmentId in client.state.assignments));
  }
}

/** @param {string} distance */
const farFromStore = (distance) => text("You are {distance} away from the store. Picked up anyway?", { distance });
/** @param {string} distance */
const farFromCustomer = (distance) => text("You are {distance} away from the customer. Delivered anyway?", { distance });
