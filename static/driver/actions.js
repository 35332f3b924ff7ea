// What the driver has done and the server has not answered yet. It is kept on this phone, each with its driver and its
// time, until the server has taken or refused it: over reloads, without a network, and when another driver signs in meanwhile.

import { Refused } from "./connection.js";
import { newId } from "./ids.js";

/** @import {PictureKind} from "./upload.js" */
/** @import {Moment} from "./state.js" */

/**
 * @typedef {object} Action
 * @property {string} actionId
 * @property {string} driverId
 * @property {"arrived" | "completed" | "failed" | "picked_up" | "proof" | "release"} type
 * @property {string} assignmentId
 * @property {string} storeName
 * @property {string} [sellerOrderId] the order's number
 * @property {"dropoff" | "pickup"} [where] of an arrival
 * @property {string} [reason] of a release or a failure
 * @property {string | null} [note]
 * @property {"end" | "return"} [then] of a failure
 * @property {string} [pin] of a handover that needs one
 * @property {string} [name] who took the goods
 * @property {PictureKind} [kind] of a proof
 * @property {Blob} [picture] of a proof
 * @property {number} at when it was done, in Unix milliseconds
 * @property {number} due when it may be sent, in Unix milliseconds
 * @property {boolean} tried whether it may have reached the server
 */

/** @typedef {Omit<Action, "actionId" | "at" | "due" | "tried">} Deed */
/** @typedef {{left: number, tried: boolean, type: Action["type"]}} Standing `left` in ms, 0 when it is to be sent */
/** @typedef {"picture" | "message"} Way */
/** @typedef {{action: Action, at: Moment, left: number}} Entry what was left of the time to undo it at the moment `at` */
/** @typedef {(message: Wire.FromDriver) => Promise<unknown>} Ask the connection of the driver whose action it is */

/**
 * Where actions are kept: `change` replaces one by what `next` makes of it (null: none), and gives the new one. After
 * `leave` somebody else may change them, until `all` is asked for again.
 * @typedef {object} ActionStore
 * @property {() => Promise<Action[]>} all
 * @property {(actionId: string, next: (kept: Action | undefined) => Action | null | undefined) => Promise<Action | null>} change
 * @property {() => void} [leave]
 */

export const UNDO_MS = 8_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const GONE = new Set(["assignment_not_active", "not_found"]); // the server records what is reported all the same
const UNANSWERED = new Set(["offline", "no_answer"]); // sent again with the next connection
const ALSO = new Set(["arrived", "proof"]); // reported beside the steps, which they do not change
const LATER = new Set(["try_again", "too_many_requests", "unauthorized"]); // a token that has expired is renewed

export class Actions {
  /**
   * `changed` is called when there is something else to see, `refused` for what the server did not accept. `upload` sends
   * a proof, and throws Refused like the connection.
   * @param {{store: ActionStore, changed: () => void, refused: (action: Action, error: Refused) => void, upload: (action: Action) => Promise<unknown>}} options
   */
  constructor({ store, changed, refused, upload }) {
    this._options = { changed, refused, upload };
    this._store = store;
    /** @type {Entry[]} */
    this._entries = [];
    /** @type {Promise<void>} */
    this._turn = Promise.resolve();
    /** @type {Map<Way, Action>} what is on its way: a picture holds up no message of another assignment */
    this._sending = new Map();
    /** @type {Map<string, {pauseMs: number, until: number}>} the assignments that the server has no time for */
    this._later = new Map();
    /** @type {Set<string>} what this page has ended, by id: a row that is read while it is deleted does not come back */
    this._ended = new Set();
  }

  /**
   * What is kept, another tab's too.
   * @param {Moment} now
   */
  load(now) {
    return this._inTurn(async () => {
      const known = new Map(this._entries.map((entry) => [entry.action.actionId, entry]));
      this._entries = (await this._store.all())
        .filter(({ actionId }) => !this._ended.has(actionId))
        .sort((a, b) => a.at - b.at)
        .map((action) => ({ ...(known.get(action.actionId) ?? entered(action, now)), action }));
    });
  }

  // Another tab has the queue from now on, until this one loads it again.
  leave() {
    return this._inTurn(async () => {
      this._store.leave?.();
      this._entries = [];
    });
  }

  // Everybody's, oldest first.
  get all() {
    return this._entries.map(({ action }) => action);
  }

  /**
   * Those of this driver, oldest first.
   * @param {string} driverId
   */
  of(driverId) {
    return this.all.filter((action) => action.driverId === driverId);
  }

  /**
   * The state of this driver's action that ends an assignment, or null.
   * @param {string} driverId
   * @param {string} assignmentId
   * @param {Moment} now
   * @returns {Standing | null}
   */
  standing(driverId, assignmentId, now) {
    const entry = this._entries.find(({ action }) => action.driverId === driverId && action.assignmentId === assignmentId && ends(action));
    return entry ? { left: left(entry, now), tried: entry.action.tried, type: entry.action.type } : null;
  }

  /**
   * The assignment as it is for its driver, who goes on before the server has answered.
   * @param {Wire.DrivenAssignmentView} assignment
   * @returns {Wire.DrivenAssignmentView}
   */
  seen(assignment) {
    let { pickedUpAt, deliveryStatus } = assignment;
    for (const action of this.of(assignment.driverId)) {
      if (action.assignmentId !== assignment.id || ends(action) || ALSO.has(action.type)) continue;
      pickedUpAt ??= new Date(action.at).toISOString();
      deliveryStatus = action.type === "failed" ? "RETURNING" : deliveryStatus === "ASSIGNED" ? "PICKED_UP" : deliveryStatus;
    }
    return { ...assignment, pickedUpAt, deliveryStatus };
  }

  /**
   * Whether this driver's report of this kind is not answered yet.
   * @param {string} driverId
   * @param {string} assignmentId
   * @param {Action["type"]} type
   */
  waiting(driverId, assignmentId, type) {
    return this.of(driverId).some((one) => one.type === type && one.assignmentId === assignmentId);
  }

  /**
   * Whether this driver's arrival is not answered yet.
   * @param {string} driverId
   * @param {string} assignmentId
   * @param {"dropoff" | "pickup"} where
   */
  arriving(driverId, assignmentId, where) {
    return this.of(driverId).some((one) => one.type === "arrived" && one.assignmentId === assignmentId && one.where === where);
  }

  /**
   * Whether a picture of this kind is kept and not sent yet.
   * @param {string} driverId
   * @param {string} assignmentId
   * @param {PictureKind} kind
   */
  proving(driverId, assignmentId, kind) {
    return this.of(driverId).some((one) => one.type === "proof" && one.assignmentId === assignmentId && one.kind === kind);
  }

  /**
   * @param {Deed} deed
   * @param {Moment} now
   */
  add(deed, now) {
    const { driverId, assignmentId, type, where = "pickup" } = deed;
    return this._inTurn(async () => {
      const again = type === "arrived" ? this.arriving(driverId, assignmentId, where) : this.waiting(driverId, assignmentId, type);
      if ((again && type !== "proof") || (!ALSO.has(type) && this.standing(driverId, assignmentId, now))) return;
      const due = now.wall + (type === "completed" ? UNDO_MS : 0); // a question comes before the others, or they end nothing
      /** @type {Action} */
      const action = { actionId: newId(), ...deed, at: now.wall, due, tried: false };
      await this._store.change(action.actionId, () => action);
      this._entries.push(entered(action, now));
    });
  }

  /**
   * Whether it could be taken back: not once it may have reached the server.
   * @param {string} driverId
   * @param {string} assignmentId
   * @returns {Promise<boolean>}
   */
  async undo(driverId, assignmentId) {
    const action = this.of(driverId).find((one) => one.assignmentId === assignmentId && one.type === "completed");
    if (!action) return false;
    const rest = await this._store.change(action.actionId, (kept) => (kept?.tried ? kept : null));
    if (rest === null) this._forget(action);
    else this._mark(rest);
    return rest === null;
  }

  /**
   * The server has said that the assignment is completed: nothing is left to send, but what proves it. Resolves once
   * nothing of it is kept.
   * @param {string} assignmentId
   */
  async completed(assignmentId) {
    const done = this.all.filter((action) => action.assignmentId === assignmentId && action.type !== "proof");
    await Promise.all(done.map((action) => this._drop(action)));
  }

  /**
   * Send this driver's oldest action that is due: of each assignment one at a time, in order.
   * @param {string} driverId
   * @param {Ask} ask
   * @param {() => Moment} clock
   */
  async settle(driverId, ask, clock) {
    const action = this._next(driverId, clock());
    if (!action) return;
    this._sending.set(wayOf(action), action);
    try {
      await this._send(action, ask, clock);
    } finally {
      this._sending.delete(wayOf(action));
      this._options.changed();
    }
  }

  /**
   * @param {string} driverId
   * @param {Moment} now
   */
  _next(driverId, now) {
    const waiting = new Set([...this._sending.values()].map(({ assignmentId }) => assignmentId));
    for (const entry of this._entries) {
      const { action } = entry;
      const { assignmentId } = action;
      if (action.driverId !== driverId || left(entry, now) > 0 || waiting.has(assignmentId)) continue;
      if (!this._sending.has(wayOf(action)) && now.mono >= (this._later.get(assignmentId)?.until ?? 0)) return action;
      waiting.add(assignmentId);
    }
    return null;
  }

  /**
   * The claim is made in one transaction: what another tab took back or had answered is not sent.
   * @param {Action} action
   * @param {Ask} ask
   * @param {() => Moment} clock
   */
  async _send({ actionId }, ask, clock) {
    const action = await this._store.change(actionId, (kept) => kept && { ...kept, tried: true });
    if (!action) {
      this._forget({ actionId });
      return;
    }
    this._mark(action);
    this._options.changed();
    try {
      await this._ask(action, ask, clock());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (UNANSWERED.has(error.code)) return;
      if (LATER.has(error.code)) {
        const pauseMs = this._later.get(action.assignmentId)?.pauseMs ?? FIRST_PAUSE_MS;
        const until = clock().mono + pauseMs; // a picture takes its time
        this._later.set(action.assignmentId, { pauseMs: Math.min(pauseMs * 2, LONGEST_PAUSE_MS), until });
        return;
      }
      this._options.refused(action, error);
      if (action.type === "failed" && !GONE.has(error.code)) await this._dropReturn(action);
    }
    this._later.delete(action.assignmentId);
    await this._drop(action);
  }

  /**
   * A node of the previous release does not know what an action is: it gets the message as it was.
   * @param {Action} action
   * @param {Ask} ask
   * @param {Moment} now
   */
  async _ask(action, ask, now) {
    const { type: what } = action;
    if (what === "proof") return this._options.upload(action);
    const message = messageOf({ ...action, type: what }, now);
    try {
      return await ask(message);
    } catch (error) {
      const { type } = message;
      if (!(error instanceof Refused) || error.code !== "invalid" || (type !== "completed" && type !== "picked_up")) throw error;
      return ask({ type, assignmentId: action.assignmentId });
    }
  }

  /**
   * Without its failure, the end of a return would be a delivery.
   * @param {Action} failure
   */
  async _dropReturn({ driverId, assignmentId }) {
    for (const action of this.of(driverId)) {
      if (action.assignmentId === assignmentId && action.type === "completed") await this._drop(action);
    }
  }

  /** @param {Action} action */
  _drop(action) {
    this._forget(action);
    return this._store.change(action.actionId, () => null);
  }

  /** @param {Pick<Action, "actionId">} action */
  _forget({ actionId }) {
    this._ended.add(actionId);
    this._entries = this._entries.filter((entry) => entry.action.actionId !== actionId);
    this._options.changed();
  }

  /** @param {Action} action */
  _mark(action) {
    for (const entry of this._entries) if (entry.action.actionId === action.actionId) entry.action = action;
  }

  /**
   * One after the other. One that fails does not keep the next from its turn.
   * @param {() => Promise<void>} work
   */
  _inTurn(work) {
    const done = this._turn.then(work).then(this._options.changed);
    this._turn = done.catch(() => {});
    return done;
  }
}

/**
 * @param {Action & {type: Exclude<Action["type"], "proof">}} action
 * @param {Moment} now
 * @returns {Wire.FromDriver}
 */
const messageOf = ({ type, assignmentId, actionId, at, where = "pickup", reason = "other", note = null, then = "return", pin, name }, now) => {
  const own = { assignmentId, actionId, at: instant(at), sentAt: instant(now.wall) };
  if (type === "arrived") return { type, where, ...own };
  if (type === "picked_up") return { type, ...own };
  if (type === "completed") {
    const proof = { ...(pin === undefined ? {} : { pin }), ...(name === undefined ? {} : { name }) };
    return { type, ...own, ...(Object.keys(proof).length === 0 ? {} : { proof }) };
  }
  return type === "release" ? { type, reason, note, ...own } : { type, reason, note, then, ...own };
};

/**
 * @param {Action} action
 * @returns {Way}
 */
const wayOf = ({ type }) => (type === "proof" ? "picture" : "message");

/**
 * Whether nothing can follow on it. What comes back has still to arrive at the store.
 * @param {Action} action
 */
const ends = ({ type, then }) => type === "completed" || type === "release" || (type === "failed" && then === "end");

const YEAR_10000_MS = 253_402_300_800_000;
/**
 * Null if this phone's calendar is in a year that no server reads.
 * @param {number} ms in Unix milliseconds
 */
const instant = (ms) => (ms >= 0 && ms < YEAR_10000_MS ? new Date(ms).toISOString() : null);

/**
 * People set the calendar: whatever it says, nobody waits longer than the whole time.
 * @param {Action} action
 * @param {Moment} now
 * @returns {Entry}
 */
const entered = (action, now) => ({ action, at: now, left: Math.min(Math.max(action.due - now.wall, 0), UNDO_MS) });
/**
 * What is left of the time to undo it, in ms.
 * @param {Entry} entry
 * @param {Moment} now
 */
const left = (entry, now) => Math.max(0, entry.left - Math.max(now.mono - entry.at.mono, now.wall - entry.at.wall, 0));
