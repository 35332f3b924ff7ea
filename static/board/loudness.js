// Which escalations make a sound or show a notice.

/**
 * Whether an order at this level is wanted.
 * @param {string} choice empty: never; "top": the highest level only; else from this level on
 * @param {number} level
 * @param {boolean} top whether it is the highest level of the policy
 * @returns {boolean}
 */
export const isLoudEnough = (choice, level, top) =>
  choice !== "" && (choice === "top" ? top : level >= Number(choice));
