// Where a driver goes, in order. Pure: one delivery gives its stops, and the first that is not done is the next.

/**
 * @typedef {object} Stop
 * @property {"pickup" | "dropoff" | "return"} kind a return leads back to the store
 * @property {Wire.Place} place
 * @property {string | null} name who is there, if that is known
 * @property {string | null} notes of the order and of this place
 * @property {string | null} dueAt when the goods are ready, or have to be there
 * @property {boolean} done
 */

/**
 * The stops of a delivery, as its driver sees it.
 * @param {Wire.DrivenAssignmentView} assignment
 * @returns {Stop[]}
 */
export const stopsOf = ({ storeName, pickup, dropoff, notes, readyAt, promisedAt, pickedUpAt, deliveryStatus }) => {
  const returning = deliveryStatus === "RETURNING";
  const at = (/** @type {Wire.Place} */ place) => [notes, place.notes].filter(Boolean).join("\n") || null;
  /** @type {Stop[]} */
  const stops = [
    { kind: "pickup", place: pickup, name: storeName, notes: at(pickup), dueAt: readyAt, done: pickedUpAt !== null },
    { kind: "dropoff", place: dropoff, name: dropoff.name ?? null, notes: at(dropoff), dueAt: promisedAt, done: returning },
  ];
  if (returning) stops.push({ kind: "return", place: pickup, name: storeName, notes: at(pickup), dueAt: null, done: false });
  return stops;
};

/**
 * The stop to go to. The last one if all are done: its driver is still there.
 * @param {Stop[]} stops
 * @returns {Stop | undefined}
 */
export const nextStop = (stops) => stops.find((stop) => !stop.done) ?? stops[stops.length - 1];

/**
 * What the driver gets for a delivery, with the tip: what the order says, else what the offer named.
 * @param {Wire.DrivenAssignmentView} assignment
 * @param {Record<string, import("./state.js").Earning>} earnings
 * @returns {import("./state.js").Earning | null}
 */
export const payOf = ({ deliveryId, driverPayCents, tipCents, currency }, earnings) =>
  typeof driverPayCents === "number" && currency !== undefined
    ? { cents: driverPayCents + (tipCents ?? 0), currency }
    : (earnings[deliveryId] ?? null);
