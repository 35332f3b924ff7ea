// The driver page without a network: its shell comes from the cache, its data never. BUILD and FILES stand above.

const CACHE = `callboard-driver-${BUILD}`;
const PAGE = "/driver";
const NETWORK_WITHIN_MS = 3_000;

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

const page = async (request) => {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(NETWORK_WITHIN_MS) });
    if (response.ok) return response;
  } catch {
    // no network, or too slow a one
  }
  return (await cache.match(PAGE)) ?? Response.error();
};

const file = async (request) => (await (await caches.open(CACHE)).match(request)) ?? fetch(request);

addEventListener("notificationclick", (event) => {
  event.notification.close();
  const show = async () => {
    const open = await clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = open.find((client) => new URL(client.url).pathname === PAGE);
    return page ? page.focus() : clients.openWindow(PAGE);
  };
  event.waitUntil(show());
});
