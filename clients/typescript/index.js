// What the package exports: the modules of the driver page that need no page. `pack.js` copies them beside this file.

export { DriverClient } from "../../static/driver/client.js";
export { Connection, Refused } from "../../static/driver/connection.js";
export { Actions, UNDO_MS } from "../../static/driver/actions.js";
export { KeptActions } from "../../static/driver/action-store.js";
export { Gap, fold, openOffer, remaining, serverNow, start, work } from "../../static/driver/state.js";
export { nextStop, payOf, stopsOf } from "../../static/driver/stops.js";
export { lastingState, pauseMs } from "../../static/driver/reconnect.js";
export { endDevice, exchangeCode, exchangeDevice } from "../../static/driver/sign-in.js";
export { checkPin } from "../../static/driver/pin.js";
export { sessionOf } from "../../static/driver/session.js";
export { upload } from "../../static/driver/upload.js";
export { newId, whose } from "../../static/driver/ids.js";

/** @typedef {import("../../static/driver/actions.js").Action} Action */
/** @typedef {import("../../static/driver/actions.js").ActionStore} ActionStore */
/** @typedef {import("../../static/driver/actions.js").Deed} Deed */
/** @typedef {import("../../static/driver/client.js").ClientOptions} ClientOptions */
/** @typedef {import("../../static/driver/client.js").ClientState} ClientState */
/** @typedef {import("../../static/driver/connection.js").ConnectionState} ConnectionState */
/** @typedef {import("../../static/driver/connection.js").Phone} Phone */
/** @typedef {import("../../static/driver/pin.js").PinAnswer} PinAnswer */
/** @typedef {import("../../static/driver/reconnect.js").LastingState} LastingState */
/** @typedef {import("../../static/driver/session.js").OtherDevice} OtherDevice */
/** @typedef {import("../../static/driver/session.js").Session} Session */
/** @typedef {import("../../static/driver/sign-in.js").SignedIn} SignedIn */
/** @typedef {import("../../static/driver/state.js").State} State */
