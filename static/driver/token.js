// The driver's token, and the device token that renews it. Both are stored on this device. A link has a code or a token in
// its fragment, which browsers never send.

import { newId, whose } from "./ids.js";
import { call, endDevice, exchangeCode, exchangeDevice, outcomeOf } from "./sign-in.js";
import { read, write } from "./storage.js";

/** @import {SignedIn, SignInOutcome} from "./sign-in.js" */

const KEY = "callboard.driver.token";
const DEVICE = "callboard.driver.device";
const SIGNING_IN = "callboard.driver.signingIn";
const LOCK = "callboard-device";

/** @typedef {{token: string | null, code: string | null}} Brought what a link has in its fragment */
/** @typedef {{code: string, actionId: string}} SigningIn */
/** @typedef {{token: string, actionId?: string}} Device with an id while its renewal has no answer yet */

export const kept = () => read(KEY);

/**
 * Store a token from a back end, or none. Both replace the device token of an earlier sign-in.
 * @param {string | null} token
 */
export const keep = (token) => {
  write(KEY, token);
  write(DEVICE, null);
};

/**
 * The token in a link, or alone. Null if there is none.
 * @param {string} text
 * @returns {string | null}
 */
export const tokenIn = (text) => {
  const found = /(?:[#&]token=|^)([\w-]+\.[\w-]+\.[\w-]+)\s*$/.exec(text.trim());
  return found?.[1] ?? null;
};

/**
 * The code of an invitation in its link, or alone. Null if there is none.
 * @param {string} text
 * @returns {string | null}
 */
export const codeIn = (text) => {
  const found = /(?:[#&]code=|^)([\w-]{22})\s*$/.exec(text.trim());
  return found?.[1] ?? null;
};

/**
 * Read what a link brings and remove it from the address, so that it is in no history and no screenshot.
 * @returns {Brought}
 */
export const takeFromAddress = () => {
  const brought = { token: tokenIn(location.hash), code: codeIn(location.hash) };
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return brought;
};

// Without https a browser has no locks. This is enough for trials.
/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
const alone = (work) => (globalThis.navigator?.locks ? navigator.locks.request(LOCK, work) : work());

/** @param {SignedIn} signedIn */
const adopt = ({ token, deviceToken }) => {
  write(KEY, token);
  write(DEVICE, JSON.stringify({ token: deviceToken }));
};

/** @returns {Device | null} */
const device = () => JSON.parse(read(DEVICE) ?? "null");

/**
 * Sign out of an earlier sign-in on this phone and store another one, but not while a tab renews the token.
 * @param {() => void} store
 */
const replace = (store) =>
  alone(async () => {
    void signOut();
    store();
  });

/**
 * A sign-in without an answer yet: a page that is opened again goes on with it. The code works only once.
 * @returns {SigningIn | null}
 */
export const signingIn = () => JSON.parse(read(SIGNING_IN) ?? "null");

/**
 * Sign in with an invitation. The same `actionId` repeats the same sign-in, if its answer was lost.
 * @param {string} code
 * @param {string} actionId
 * @returns {Promise<SignInOutcome>}
 */
export const signIn = async (code, actionId) => {
  write(SIGNING_IN, JSON.stringify({ code, actionId }));
  const answer = await exchangeCode("", { code, actionId });
  if (answer.outcome === "in") await replace(() => adopt(answer.signedIn));
  if (answer.outcome === "in" || answer.outcome === "refused") write(SIGNING_IN, null);
  return answer.outcome;
};

/**
 * Replace the stored token by one from a back end, if the server accepts it.
 * @param {string} token
 * @returns {Promise<SignInOutcome>}
 */
export const replaceBy = async (token) => {
  const driverId = whose(token);
  if (driverId === null) return "refused";
  try {
    const answer = await call(`/drivers/${encodeURIComponent(driverId)}`, { headers: { Authorization: `Bearer ${token}` } });
    if (answer.ok) await replace(() => keep(token));
    return outcomeOf(answer);
  } catch {
    return "unreachable";
  }
};

/**
 * Replace the token `old`: "none" without a device token, "unreachable" if no answer came. Only one tab of this phone
 * asks at a time, and the others use its new token: a device token that is used twice ends the device.
 * @param {string | null} old
 * @returns {Promise<"renewed" | "refused" | "none" | "unreachable">}
 */
export const renew = (old) =>
  alone(async () => {
    if (kept() !== old) return "renewed";
    const held = device();
    if (held === null) return "none";
    const asked = { ...held, actionId: held.actionId ?? newId() };
    write(DEVICE, JSON.stringify(asked));
    const answer = await exchangeDevice("", { deviceToken: asked.token, actionId: asked.actionId });
    const now = device()?.token; // the new one already, if another tab renewed and this one learned of it late
    if (answer.outcome === "in" && now !== asked.token && now !== answer.signedIn.deviceToken) {
      await endDevice("", { deviceToken: answer.signedIn.deviceToken }); // the driver signed out meanwhile
      return "none";
    }
    if (answer.outcome === "in") adopt(answer.signedIn);
    return answer.outcome === "in" ? "renewed" : answer.outcome === "refused" ? "refused" : "unreachable";
  });

// Sign out. The device deletes its tokens even if the server is unreachable.
export const signOut = async () => {
  const held = device();
  keep(null);
  if (held !== null) await endDevice("", { deviceToken: held.token });
};
