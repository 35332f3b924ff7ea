// What the page is about now, which its parts share: its phase, what it knows without a connection, what is being sent.

import { start } from "./state.js";

/** @import {Action, Actions} from "./actions.js" */
/** @import {ClientState, DriverClient} from "./client.js" */
/** @import {ConnectionState} from "./connection.js" */
/** @import {LastSeen} from "./last-seen.js" */
/** @import {DriverNumbers} from "./numbers.js" */
/** @import {Place} from "./place.js" */
/** @import {Sent} from "./proofs.js" */
/** @import {PushState} from "./push.js" */
/** @import {OtherDevice} from "./session.js" */
/** @import {State} from "./state.js" */

/**
 * Called for what the driver does: the name of the action, of what (an id), and a detail.
 * @typedef {(action: string, id?: string, detail?: string) => void} Act
 */

/** @typedef {"start" | "gate" | "ready" | "inside" | "signed_out" | "another_phone" | ClientState} Phase */

/**
 * What is shown beside the state.
 * @typedef {object} About
 * @property {ConnectionState | undefined} connection
 * @property {number} since since when the page is online, or is not, on the monotonic clock in ms
 * @property {boolean} reachable whether the phone has a network, as far as it knows
 * @property {OtherDevice | null} other the other phone that is in use
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
 * @property {LastSeen | null} seen what was known when the page was last connected
 * @property {Sent} proofs the pictures that the server has
 */

export class Page {
  /**
   * `draw` shows what has changed.
   * @param {{client: DriverClient, draw: () => void}} parts
   */
  constructor({ client, draw }) {
    this.client = client;
    this.draw = draw;
    /** @type {Phase} what is shown */
    this.phase = "start";
    /** @type {State} what is known before the page connects, or after another one did */
    this.known = start();
    /** @type {OtherDevice | null} the other phone that is in use */
    this.other = null;
    /** @type {Set<string>} what is being sent */
    this.busyWith = new Set();
  }

  // What the driver sees, whether there is a connection or not.
  get state() {
    const { state } = this.client;
    return this.phase === "inside" ? state : { ...this.known, notices: state.notices };
  }

  get hasWork() {
    return Object.keys(this.state.assignments).length > 0;
  }

  // Not on shift: from here on the driver starts one.
  get isOff() {
    return this.phase === "ready" || ["shift_ended", "offline"].includes(this.client.state.driver?.availability ?? "");
  }
}
