// A page's part of the stream that all tabs share, as a response that looks as if the server had sent it to this page.

/** @import {FromPage, Subscription, ToPage} from "./hub.js" */

/**
 * A way to the hub.
 * @typedef {(heard: (message: ToPage) => void) => {send: (message: FromPage) => void, close: () => void}} Way
 */

/**
 * @typedef {object} Options
 * @property {AbortSignal | null} [signal]
 * @property {EventTarget} page where `pagehide` is dispatched when the page is left
 * @property {(answers: boolean) => void} noticed gets whether there is a hub that answers
 */

const HEARD_MS = 6000; // for the hub to say that it is there
const OPEN_MS = 20_000; // for the server's answer, whatever becomes of it
const encoder = new TextEncoder();

/**
 * Subscribes at the hub. Rejects with an AbortError if there is no stream.
 * @param {Way} way
 * @param {Subscription} subscription
 * @param {Options} options
 * @returns {Promise<Response>}
 */
export const subscribed = (way, subscription, { signal, page, noticed }) =>
  new Promise((resolve, reject) => {
    /** @type {ReadableStreamDefaultController<Uint8Array>} */
    let controller;
    let answered = false;
    let given = 0;
    const close = () => {
      clearTimeout(waiting);
      page.removeEventListener("pagehide", close);
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
      noticed(false);
      leave();
    }, HEARD_MS);
    const hub = way((message) => {
      if (message.chunk) {
        given += 1;
        try {
          controller.enqueue(encoder.encode(message.chunk));
        } catch {
          // it is closed
        }
      } else if (message.heard && !answered) {
        // A server that does not answer is no reason to ask it over a connection of one's own.
        noticed(true);
        clearTimeout(waiting);
        waiting = setTimeout(leave, OPEN_MS);
      } else if (message.open && !answered) {
        answered = true;
        clearTimeout(waiting);
        // Somebody else has logged in meanwhile: the page is not theirs.
        const isOthers = message.status === 200 && message.session !== subscription.session;
        const status = isOthers ? 401 : (message.status ?? 503);
        if (status !== 200) close();
        const headers = { "Content-Type": "text/event-stream" };
        resolve(new Response(status === 200 ? body : null, { status, headers }));
      } else if (message.end && !answered) hub.send({ subscribe: subscription }); // another tab has the hub now
      else if (message.end) leave();
    });
    signal?.addEventListener("abort", leave);
    page.addEventListener("pagehide", close); // the page is leaving: a failure concerns nobody
    hub.send({ subscribe: subscription });
  });
