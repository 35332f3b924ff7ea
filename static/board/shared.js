// One stream a browser: HTTP/1.1 allows six connections to a host, and a stream keeps one as long as its tab is open.
// What htmx fetches as `/board/stream` is this page's part of a stream that all tabs share: held by a shared worker, or
// where there is none by one tab for the others; where there is neither by the page itself, as long as it is seen.
import { Hub } from "./hub.js";
import { subscribed } from "./subscription.js";

/** @import {FromPage, Port, ToPage} from "./hub.js" */
/** @import {Way} from "./subscription.js" */

const PATH = "/board/stream";
const CHANNEL = `callboard.stream ${import.meta.url}`; // another build has another
const direct = globalThis.fetch.bind(globalThis);
/** @type {HTMLMetaElement | null} */
const mark = document.querySelector('meta[name="session-mark"]');
const mine = mark?.content ?? null;
let silent = 0; // how often in a row there was no hub

/** @type {Way} */
const toWorker = (heard) => {
  const worker = new SharedWorker(new URL("./stream-worker.js", import.meta.url), { type: "module", name: "callboard" });
  const { port } = worker;
  port.addEventListener("message", ({ data }) => heard(data));
  port.start();
  return { send: (message) => port.postMessage(message), close: () => port.postMessage({ bye: true }) };
};

// One tab holds a lock, and with it the hub; when it is closed, the next one gets both.
const held = (() => {
  let started = false;
  return () => {
    if (started) return;
    started = true;
    void navigator.locks.request(CHANNEL, () => {
      const channel = new BroadcastChannel(CHANNEL);
      const hub = new Hub(direct);
      /** @type {Map<string, Port>} */
      const ports = new Map();
      channel.addEventListener("message", ({ data: { from, message } }) => {
        if (!from) return;
        const port = ports.get(from) ?? { postMessage: (answer) => channel.postMessage({ to: from, message: answer }) };
        ports.set(from, port);
        hub.hear(port, message);
        if (message.bye) ports.delete(from);
      });
      channel.postMessage({ to: "all", message: { end: true } });
      return new Promise(() => {});
    });
  };
})();

/** @type {Way} */
const toTab = (heard) => {
  held();
  const channel = new BroadcastChannel(CHANNEL);
  const from = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
  channel.addEventListener("message", ({ data: { to, message } }) => {
    if (to === from || to === "all") heard(message);
  });
  return {
    send: (message) => channel.postMessage({ from, message }),
    close: () => {
      channel.postMessage({ from, message: { bye: true } });
      channel.close();
    },
  };
};

/** @returns {Way | null} */
const way = () => {
  if (globalThis.SharedWorker) return toWorker;
  if ("locks" in navigator && navigator.locks && globalThis.BroadcastChannel) return toTab;
  return null;
};

// Whether this page has its stream for itself: the browser knows no way to share, or nobody answers.
export const alone = () => way() === null || silent > 1;

let position = "";

/**
 * The stream goes on after this message.
 * @param {string} id
 */
export const remember = (id) => {
  position = id;
};

export const shareStream = () => {
  globalThis.fetch = (input, options = {}) => {
    if (typeof input !== "string" || !input.startsWith(PATH)) return direct(input, options);
    const headers = new Headers(options.headers);
    if (position) headers.set("Last-Event-ID", position);
    const how = way();
    if (!how || silent > 1) return direct(input, { ...options, headers });
    const asked = new URL(input, location.href).searchParams;
    const about = asked.get("about") ?? "";
    const after = headers.get("Last-Event-ID") ?? asked.get("after") ?? "";
    return subscribed(how, { board: !about, about, after, session: mine }, {
      signal: options.signal,
      page: globalThis,
      noticed: (answers) => {
        silent = answers ? 0 : silent + 1;
      },
    });
  };
};
