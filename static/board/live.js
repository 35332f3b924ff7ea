// The stream: how alive it is, and what to do when it is not. htmx reads it and swaps its rows; a message is not
// swapped before everything that came before it was, nor before a full read that was called for.
import { text } from "../driver/text.js";
import { byId, within } from "../elements.js";
import { learnTime, now, onTick } from "./clock.js";
import { Liveness, announcement } from "./liveness.js";
import { announce } from "./notices.js";
import { alone, remember, shareStream } from "./shared.js";

/** @import {Shown} from "./liveness.js" */

/** @type {Record<Shown, string>} */
const WORDS = {
  connecting: text("Connecting"),
  live: text("Live"),
  reconnecting: text("Reconnecting"),
  stale: text("Out of date"),
  over: text("Logged out"),
};

/** @type {((position?: string) => Promise<void>)[]} what reads the page again, up to a position of the stream */
export const readAgain = [];

/** @param {string} position */
const full = async (position) => {
  for (const work of readAgain) await work(position);
};

export const startLive = () => {
  const stream = byId("stream");
  const badge = byId("badge");
  const title = within(badge, ":scope > :nth-child(2)");
  const more = within(badge, ":scope > :nth-child(3)");
  const life = new Liveness(performance.now());
  /** @type {HtmxConnection | null} */
  let connection = null;
  /** @type {Shown} */
  let shown = "connecting";

  const refresh = () => {
    const badged = life.badge(performance.now());
    if (!badged) return;
    const [next, words] = badged;
    if (badge.dataset.state !== next) badge.dataset.state = next;
    if (title.textContent !== WORDS[next]) title.textContent = WORDS[next];
    if (more.textContent !== words) more.textContent = words;
    if (next === shown) return;
    const said = announcement(shown, next);
    if (said) announce(said);
    shown = next;
    document.body.dataset.live = next;
  };

  // End what hangs: htmx connects again by itself, or is asked to.
  const connectAgain = () => {
    if (!life.mayConnect(performance.now())) return;
    if (connection?.delayCanceller) connection.delayCanceller();
    else if (connection?.reader) void connection.reader.cancel();
    else if (!stream._htmx?.sse) htmx.trigger(stream, "board:connect");
  };

  // Where no stream is shared, a tab that nobody sees leaves the connection to others.
  const rest = () => {
    life.resting = document.hidden && alone();
    if (life.resting && life.open) {
      life.lost(performance.now());
      void connection?.reader?.cancel();
    }
  };

  shareStream();
  stream.addEventListener("htmx:sse:before:connection", (event) => {
    connection = event.detail.connection;
    if (life.resting) event.preventDefault();
  });
  stream.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    life.connected(performance.now());
  });
  stream.addEventListener("htmx:sse:error", (event) => {
    life.lost(performance.now());
    if (event.detail.status === 401 || event.detail.status === 403) {
      life.over = true;
      refresh();
      callboard.toLogin();
    }
  });
  stream.addEventListener("htmx:sse:close", () => life.lost(performance.now()));
  stream.addEventListener("htmx:sse:before:message", (event) => {
    const { message, waitUntil } = event.detail;
    const wasOpen = life.open;
    life.heard(performance.now());
    if (!wasOpen) refresh();
    if (message.id) remember(message.id);
    if (message.event === "pulse") {
      /** @type {{now: number, age: number}} */
      const pulse = JSON.parse(message.data);
      learnTime(pulse.now);
      life.pulse(pulse.age);
      refresh();
    } else if (message.event === "resync") waitUntil(full(message.id));
  });
  // A first connection that failed is an ordinary failed request: no stream yet, nobody tries again but us.
  stream.addEventListener("htmx:response:error", (event) => {
    if (event.detail.ctx?.response?.status === 401) callboard.toLogin();
  });
  document.addEventListener("visibilitychange", () => {
    rest();
    if (document.hidden) return;
    if (life.seen(performance.now())) connectAgain();
    refresh();
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    life.restored(performance.now());
    connectAgain();
    refresh();
  });
  addEventListener("online", () => {
    life.networkIsBack();
    if (!life.open) connectAgain();
  });
  onTick(() => {
    const at = performance.now();
    if (life.isSilent(at)) connectAgain();
    else if (life.isLost(at) && !stream._htmx?.sse) connectAgain();
    refresh();
  });
  refresh();
  const connect = () => {
    rest();
    if (!life.resting) htmx.trigger(stream, "board:connect");
  };
  // htmx knows the stream once the page is read.
  if (document.readyState === "complete") connect();
  else document.addEventListener("DOMContentLoaded", connect);
  document.body.dataset.started = String(now());
};
