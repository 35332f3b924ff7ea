// Amounts of money, distances, times and countdowns as people write them. Pure: the locale is an argument.

/**
 * "Cents" are minor units of ISO 4217, of which a currency has its own number.
 * @param {number} cents
 * @param {string} currency
 * @param {Record<string, number>} minorUnits the digits of currencies that have not two
 * @param {string} locale
 * @returns {string}
 */
export const moneyOf = (cents, currency, minorUnits, locale) => {
  const digits = minorUnits[currency] ?? 2;
  const amount = cents / 10 ** digits;
  try {
    /** @type {Intl.NumberFormatOptions} */
    const options = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(locale, options).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`; // not a code of three letters
  }
};

/**
 * One decimal below 10 km, none above.
 * @param {number} distance in km
 * @param {string} locale
 * @returns {string}
 */
export const kmOf = (distance, locale) => {
  const digits = distance < 10 ? 1 : 0;
  const written = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${written.format(distance)} km`;
};

/**
 * The time of day of an instant, as the phone has it; with the name of its time zone if the company's clocks show another
 * time.
 * @param {string} locale
 * @param {string | undefined} company the company's time zone
 * @param {string} [phone] its own if it is left out
 * @returns {(instant: string | number) => string}
 */
export const clockIn = (locale, company, phone) => {
  const own = phone === undefined ? {} : { timeZone: phone };
  const plain = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", ...own });
  const named = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", timeZoneName: "short", ...own });
  /** @param {object} zone */
  const walls = (zone) => new Intl.DateTimeFormat("en", { dateStyle: "short", timeStyle: "short", ...zone });
  const here = walls(own);
  let there = here;
  try {
    if (company) there = walls({ timeZone: company });
  } catch {
    // a zone that this phone does not know
  }
  return (instant) => {
    const at = new Date(instant);
    return (here.format(at) === there.format(at) ? plain : named).format(at);
  };
};

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/**
 * 75000 ms as 1:15, hours in front if there are any. Rounded up: 0:00 is the end.
 * @param {number} ms
 * @returns {string}
 */
export const countdown = (ms) => {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};

/**
 * Without an address its coordinates, which are read from left to right in every language.
 * @param {Wire.Place} point
 * @returns {string}
 */
export const addressOf = (point) => point.address || `\u2066${point.lat.toFixed(4)}, ${point.lon.toFixed(4)}\u2069`;
