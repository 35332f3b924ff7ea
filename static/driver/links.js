// Links that leave the page: to the phone's own navigation, and to its dialler. Pure.

const APPLE = /iPhone|iPad|iPod|Macintosh/;
const ANDROID = /Android/;

/**
 * Opens directions: Apple's maps on its devices, the app that the driver chose on Android, a web page elsewhere.
 * @param {Pick<Wire.Place, "lat" | "lon">} place
 * @param {string} userAgent
 * @returns {string}
 */
export const directionsTo = ({ lat, lon }, userAgent) => {
  const point = `${lat},${lon}`;
  if (APPLE.test(userAgent)) return `https://maps.apple.com/?daddr=${point}`;
  if (ANDROID.test(userAgent)) return `geo:${point}?q=${point}`;
  return `https://www.google.com/maps/dir/?api=1&destination=${point}`;
};

/**
 * Calls a number as people write it. Null if there is none in it.
 * @param {string | null | undefined} phone
 * @returns {string | null}
 */
export const callTo = (phone) => {
  const number = (phone ?? "").replace(/\(0\)/g, "").replace(/[^\d+*#,;]/g, "");
  return /\d/.test(number) ? `tel:${number.replaceAll("#", "%23")}` : null;
};
