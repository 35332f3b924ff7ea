// The driver page without a network: its shell comes from the cache, its data never. Above this file the server puts
// BUILD, FILES, LANGUAGE (empty: the phone's own), MINOR_UNITS of currencies, ROOT, the path that all addresses begin with,
// and TEXTS, what is shown here by language.

const CACHE = `callboard-driver-${BUILD}`;
const PAGE = `${ROOT}/driver`;
const NETWORK_WITHIN_MS = 3_000;

/** @typedef {{offerId: string, driverId: string, pushId: string}} PushMessage */
/** @typedef {{messageId: string, driverId: string, pushId: string, text: string}} PushedText */
/** @typedef {PushMessage & {storeName: string, distanceKm: number, earningCents: number, currency: string, expiresAt: string}} PushedOffer */

addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...FILES])));
  skipWaiting();
});

addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("callboard-driver-") && name !== CACHE) await caches.delete(name);
    }
    await clients.claim();
  };
  event.waitUntil(tidy());
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate" && url.pathname === PAGE) event.respondWith(page(request));
  else if (FILES.includes(url.pathname)) event.respondWith(file(request));
});

/** @param {Request} request */
const page = async (request) => {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(NETWORK_WITHIN_MS) });
    if (response.ok) return response;
  } catch {
    // no network, or too slow a one
  }
  return (await cache.match(PAGE, { ignoreVary: true })) ?? Response.error();
};

/** @param {Request} request */
const file = async (request) => (await (await caches.open(CACHE)).match(request)) ?? fetch(request);

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const show = async () => {
    const open = await clients.matchAll({ type: "window", includeUncontrolled: true });
    const shownPage = open.find((client) => new URL(client.url).pathname === PAGE);
    return shownPage ? shownPage.focus() : clients.openWindow(PAGE);
  };
  event.waitUntil(show());
});

// Offers that come while no page has a socket. A notification is closed when its offer ends; TAG is the page's too.

const TAG = "offer";
const PASS = "callboard-pass";
const PASS_KEY = "/driver/pass";
const ANSWER_WITHIN_MS = 10_000;
const LONGEST_WATCH_MS = 240_000; // browsers end what takes longer

addEventListener("push", (event) => {
  const message = event.data?.json();
  if (message?.type === "offer") event.waitUntil(offered(message));
  if (message?.type === "offer_closed") event.waitUntil(closed(message));
  if (message?.type === "message") event.waitUntil(written(message));
});

/** @param {PushedOffer} offer */
const offered = async (offer) => {
  const token = await pass();
  // Clocks of phones may be wrong: if ours says that it has expired, ask the server.
  const left = Date.parse(offer.expiresAt) - Date.now();
  const remaining = left > 0 ? left : await remainingOf(offer, token);
  if (remaining <= 0) return over(offer.offerId);
  const options = {
    body: text("{distance} · {pay} · answer by {time}", {
      distance: km(offer.distanceKm),
      pay: money(offer),
      time: clock(Date.now() + remaining),
    }),
    icon: `${ROOT}/static/icons/callboard-192.png`,
    tag: TAG,
    renotify: true,
    requireInteraction: true,
    data: { offerId: offer.offerId },
  };
  await alone(() => registration.showNotification(text("New offer: {store}", { store: offer.storeName }), options));
  void navigator.setAppBadge?.(1).catch(() => {}); // not installed
  const ends = new Promise((resolve) => setTimeout(resolve, Math.min(remaining, LONGEST_WATCH_MS)));
  await Promise.all([shown(offer, token), ends.then(() => over(offer.offerId))]);
};

/** @param {PushMessage} end */
const closed = async (end) => {
  await over(end.offerId);
  await shown(end, await pass());
};

/** @param {PushedText} message */
const written = async (message) => {
  const options = { body: message.text, icon: `${ROOT}/static/icons/callboard-192.png`, tag: message.messageId };
  await alone(() => registration.showNotification(text("New message from your dispatcher.", {}), options));
  await shown(message, await pass());
};

/**
 * What a phone shows in a pocket nobody has seen: only the page says that the offer was received.
 * @param {{driverId: string, pushId: string}} message
 * @param {string | undefined} token
 */
const shown = (message, token) => ask(token, "POST", `/drivers/${message.driverId}/pushes/${message.pushId}/shown`);

/** @param {string} offerId */
const over = (offerId) =>
  alone(async () => {
    for (const notification of await registration.getNotifications({ tag: TAG })) {
      if (notification.data?.offerId === offerId) notification.close();
    }
    void navigator.clearAppBadge?.().catch(() => {});
  });

/**
 * Chromium forgets what is shown while its list is read: it stays on the screen, and nothing could close it.
 * @param {() => Promise<void>} work
 */
const alone = (work) => navigator.locks.request(TAG, work);

/**
 * @param {PushedOffer} offer
 * @param {string | undefined} token
 * @returns {Promise<number>}
 */
const remainingOf = async (offer, token) => {
  /** @type {{offers: Wire.OfferView[]} | null} */
  const state = await ask(token, "GET", `/drivers/${offer.driverId}/state`);
  return state?.offers.find((open) => open.id === offer.offerId)?.remainingMs ?? 0;
};

// The browser changed where it is reached.
addEventListener("pushsubscriptionchange", (event) => {
  const again = async () => {
    const token = await pass();
    const { applicationServerKey } = event.oldSubscription?.options ?? {};
    if (!token || !applicationServerKey) return;
    const wanted = { userVisibleOnly: true, applicationServerKey };
    const subscription = event.newSubscription ?? (await registration.pushManager.subscribe(wanted));
    const { sub } = JSON.parse(atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/")));
    await ask(token, "POST", `/drivers/${sub}/push-subscriptions`, subscription);
  };
  event.waitUntil(again());
});

// The token, if a page has left one.
const pass = async () => (await (await caches.open(PASS)).match(PASS_KEY))?.text();

/**
 * The answer, or null: nothing here waits for it to succeed.
 * @param {string | undefined} token
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
const ask = async (token, method, path, body) => {
  if (!token) return null;
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  try {
    const signal = AbortSignal.timeout?.(ANSWER_WITHIN_MS) ?? null;
    const response = await fetch(ROOT + path, { method, headers, body: body && JSON.stringify(body), signal });
    return response.ok && response.status !== 204 ? await response.json() : null;
  } catch {
    return null;
  }
};

// As the page does it (text.js, words.js), which cannot be imported here.

/** @param {string} tag */
const languageOf = (tag) => tag.split("-")[0] ?? "";
const locale =
  navigator.languages?.find((tag) => (LANGUAGE ? languageOf(tag) === LANGUAGE : languageOf(tag) in TEXTS)) ??
  (LANGUAGE || "en");
const texts = TEXTS[languageOf(locale)] ?? {};
/**
 * @param {string} key
 * @param {Record<string, string>} values
 */
const text = (key, values) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
/** @param {number} digits */
const number = (digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
/** @param {number} distance */
const km = (distance) => `${number(distance < 10 ? 1 : 0).format(distance)} km`;
/** @param {number} at */
const clock = (at) => new Date(at).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
/** @param {PushedOffer} offer */
const money = ({ earningCents, currency }) => {
  const digits = MINOR_UNITS[currency] ?? 2;
  const amount = earningCents / 10 ** digits;
  try {
    /** @type {Intl.NumberFormatOptions} */
    const options = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(locale, options).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`;
  }
};
