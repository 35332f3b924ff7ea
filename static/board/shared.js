// One stream a browser: HTTP/1.1 allows six connections to a host, and a stream keeps one as long as its tab is open.
// What htmx fetches as `/board/stream` is this page's part of a stream that all tabs share: held by a shared worker, or
// where there is none by one tab for the others; where there is neither by the page itself, as long as it is seen.
import { Hub } from "./hub.js";

const PATH = "/board/stream";
const HEARD_MS = 6000; // for the hub to say that it is there
const OPEN_MS = 20_000; // for the server's answer, whatever becomes of it
const CHANNEL = `callboard.stream ${import.meta.url}`; // another build has another
const direct = globalThis.fetch.bind(globalThis);
const encoder = new TextEncoder();
const mine = document.querySelector('meta[name="session-mark"]')?.content ?? null;
let silent = 0; // how often in a row there was no hub

// A way to the hub: `send`, and `close`.
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
    navigator.locks.request(CHANNEL, () => {
      const channel = new BroadcastChannel(CHANNEL);
      const hub = new Hub(direct);
      const ports = new Map();
      channel.addEventListener("message", ({ data: { from, message } }) => {
        if (!from) return;
        if (!ports.has(from)) ports.set(from, { postMessage: (answer) => channel.postMessage({ to: from, message: answer }) });
        hub.hear(ports.get(from), message);
        if (message.bye) ports.delete(from);
      });
      channel.postMessage({ to: "all", message: { end: true } });
      return new Promise(() => {});
    });
  };
})();

const toTab = (heard) => {
  held();
  const channel = new BroadcastChannel(CHANNEL);
  const from = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
  channel.addEventListener("message", ({ data: { to, message } }) => (to === from || to === "all") && heard(message));
  return {
    send: (message) => channel.postMessage({ from, message }),
    close: () => {
      channel.postMessage({ from, message: { bye: true } });
      channel.close();
    },
  };
};

const way = () => {
  if (globalThis.SharedWorker) return toWorker;
  if (navigator.locks && globalThis.BroadcastChannel) return toTab;
  return null;
};

// Stands for a stream that the server would send to this page alone.
const shared = (url, options, way) => {
  const asked = new URL(url, location.href).searchParams;
  const about = asked.get("about") ?? "";
  const after = options.headers["Last-Event-ID"] ?? asked.get("after") ?? "";
  const subscription = { board: !about, about, after, session: mine };
  return new Promise((resolve, reject) => {
    let controller;
    let hub;
    let answered = false;
    let given = 0;
    const close = () => {
      clearTimeout(waiting);
      removeEventListener("pagehide", close);
      hub.close();
      try {
        controller.close();
      } catch {
        // it is closed
      }
    };
    const leave = () => {
      close();
      if (!answered) reject(new DOMException("No stream", "AbortError"));
    };
    const body = new ReadableStream({
      start: (its) => {
        controller = its;
      },
      // What was given has been taken.
      pull: () => {
        if (given) hub.send({ ack: given });
        given = 0;
      },
      cancel: close,
    });
    let waiting = setTimeout(() => {
      silent += 1;
      leave();
    }, HEARD_MS);
    hub = way((message) => {
      if (message.chunk) {
        given += 1;
        try {
          controller.enqueue(encoder.encode(message.chunk));
        } catch {
          // it is closed
        }
      } else if (message.heard && !answered) {
        // A server that does not answer is no reason to ask it over a connection of one's own.
        silent = 0;
        clearTimeout(waiting);
        waiting = setTimeout(leave, OPEN_MS);
      } else if (message.open && !answered) {
        answered = true;
        clearTimeout(waiting);
        // Somebody else has logged in meanwhile: the page is not theirs.
        const status = message.status === 200 && message.session !== mine ? 401 : message.status;
        if (status !== 200) close();
        resolve(new Response(status === 200 ? body : null, { status, headers: { "Content-Type": "text/event-stream" } }));
      } else if (message.end && !answered) hub.send({ subscribe: subscription }); // another tab has the hub now
      else if (message.end) leave();
    });
    options.signal?.addEventListener("abort", leave);
    addEventListener("pagehide", close); // the page is leaving: a failure concerns nobody
    hub.send({ subscribe: subscription });
  });
};

// Whether this page has its stream for itself: the browser knows no way to share, or nobody answers.
export const alone = () => way() === null || silent > 1;

let position = "";

// The stream goes on after this message.
export const remember = (id) => {
  position = id;
};

export const shareStream = () => {
  globalThis.fetch = (url, options = {}) => {
    if (typeof url !== "string" || !url.startsWith(PATH)) return direct(url, options);
    const headers = position ? { ...options.headers, "Last-Event-ID": position } : { ...options.headers };
    const asked = { ...options, headers };
    return alone() ? direct(url, asked) : shared(url, asked, way());
  };
};
