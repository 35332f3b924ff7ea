// The calls that sign a device in, renew its token, and sign it out. `base` is the address of the server, "" on its own
// pages. All of them can be sent again.

const ANSWER_MS = 8_000; // then a request counts as lost

/** @typedef {{driverId: string, token: string, expiresAt: string, deviceToken: string}} SignedIn */
/** @typedef {"in" | "refused" | "limited" | "unreachable"} SignInOutcome "unreachable" if no answer came */
/** @typedef {{outcome: "in", signedIn: SignedIn} | {outcome: Exclude<SignInOutcome, "in">}} SignInAnswer */

/**
 * @param {string} address
 * @param {RequestInit} options
 */
export const call = (address, options) => fetch(address, { ...options, signal: AbortSignal.timeout?.(ANSWER_MS) });

/**
 * @param {{ok: boolean, status: number}} answer
 * @returns {SignInOutcome}
 */
export const outcomeOf = ({ ok, status }) => (ok ? "in" : status === 429 ? "limited" : status >= 500 ? "unreachable" : "refused");

/**
 * @param {string} address
 * @param {object} body
 */
const post = (address, body) =>
  call(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/**
 * @param {string} address
 * @param {object} body
 * @returns {Promise<SignInAnswer>}
 */
const exchanged = async (address, body) => {
  try {
    const answer = await post(address, body);
    const outcome = outcomeOf(answer);
    return outcome === "in" ? { outcome, signedIn: await answer.json() } : { outcome };
  } catch {
    return { outcome: "unreachable" };
  }
};

/**
 * Exchange the code of an invitation. The same `actionId` repeats the same sign-in, if its answer was lost.
 * @param {string} base
 * @param {{code: string, actionId: string, name?: string}} body
 */
export const exchangeCode = (base, body) => exchanged(`${base}/driver/sign-in`, body);

/**
 * Exchange a device token. It is used once: the same `actionId` repeats the same renewal.
 * @param {string} base
 * @param {{deviceToken: string, actionId: string}} body
 */
export const exchangeDevice = (base, body) => exchanged(`${base}/driver/renew`, body);

/**
 * End a device. Its tokens are invalid even if this is not answered: delete them.
 * @param {string} base
 * @param {{deviceToken: string}} body
 */
export const endDevice = async (base, body) => {
  await post(`${base}/driver/sign-out`, body).catch(() => {});
};
