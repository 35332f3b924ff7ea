// The stream: how alive it is, and what to do when it is not. htmx reads it and swaps its rows; a message is not
// swapped before everything that came before it was, nor before a full read that was called for.
import { coarse, learnTime, now, onTick } from "./clock.js";
import { announce } from "./notices.js";
import { alone, remember, shareStream } from "./shared.js";

const SILENT_MS = 12_000; // the server says something every 5 s
const STALE_READ_MS = 6_000;
const SHOW_RECONNECTING_MS = 1_500;

const stream = document.getElementById("stream");
const badge = document.getElementById("badge");
let connection = null;
let open = false;
let over = false;
let heardAt = 0;
let lostAt = performance.now();
let readAge = 0;
let triedAt = performance.now();
let shown = "connecting";
let resting = false;

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  stale: "Out of date",
  over: "Logged out",
};

const show = (state, word) => {
  if (badge.dataset.state !== state) badge.dataset.state = state;
  const [, title, more] = badge.children;
  if (title.textContent !== WORDS[state]) title.textContent = WORDS[state];
  if (more.textContent !== word) more.textContent = word;
  if (state === shown) return;
  if (state === "live" && shown !== "connecting") announce("Live again.");
  if (state === "reconnecting") announce("Connection lost. Reconnecting.");
  if (state === "stale") announce("This page is out of date.");
  shown = state;
  document.body.dataset.live = state;
};

const refresh = () => {
  if (over) return show("over", "");
  const at = performance.now();
  const age = heardAt ? at - heardAt : 0;
  if (open) {
    const stale = age + readAge;
    return stale > STALE_READ_MS + 6_000 || readAge > STALE_READ_MS
      ? show("stale", `${coarse(stale)} old`)
      : show("live", "");
  }
  if (!heardAt && at - lostAt < 5_000) return show("connecting", "");
  if (at - lostAt < SHOW_RECONNECTING_MS) return;
  return show(at - lostAt > 60_000 ? "stale" : "reconnecting", heardAt ? `last update ${coarse(age)} ago` : "");
};

const heard = () => {
  heardAt = performance.now();
  if (!open) {
    open = true;
    refresh();
  }
};

const lost = () => {
  if (!open) return;
  open = false;
  lostAt = performance.now();
};

// End what hangs: htmx connects again by itself, or is asked to.
const connectAgain = () => {
  const at = performance.now();
  if (over || resting || at - triedAt < 3_000) return;
  triedAt = at;
  if (connection?.delayCanceller) connection.delayCanceller();
  else if (connection?.reader) connection.reader.cancel();
  else if (!stream._htmx?.sse) globalThis.htmx.trigger(stream, "board:connect");
};

// Where no stream is shared, a tab that nobody sees leaves the connection to others.
const rest = () => {
  resting = document.hidden && alone();
  if (resting && open) {
    lost();
    connection?.reader?.cancel();
  }
};

const watch = () => {
  const silent = performance.now() - (heardAt || lostAt);
  if (open && silent > SILENT_MS) {
    lost();
    connectAgain();
  } else if (!open && performance.now() - lostAt > 3_000) {
    if (!stream._htmx?.sse) connectAgain();
  }
  refresh();
};

export const readAgain = [];

const full = async (position) => {
  for (const work of readAgain) await work(position);
};

export const startLive = () => {
  shareStream();
  stream.addEventListener("htmx:sse:before:connection", (event) => {
    connection = event.detail.connection;
    if (resting) event.preventDefault();
  });
  stream.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    triedAt = performance.now();
  });
  stream.addEventListener("htmx:sse:error", (event) => {
    lost();
    if (event.detail.status === 401 || event.detail.status === 403) {
      over = true;
      refresh();
      globalThis.callboard.toLogin();
    }
  });
  stream.addEventListener("htmx:sse:close", lost);
  stream.addEventListener("htmx:sse:before:message", (event) => {
    const { message, waitUntil } = event.detail;
    heard();
    if (message.id) remember(message.id);
    if (message.event === "pulse") {
      const pulse = JSON.parse(message.data);
      learnTime(pulse.now);
      readAge = pulse.age;
      refresh();
    } else if (message.event === "resync") waitUntil(full(message.id));
  });
  // A first connection that failed is an ordinary failed request: no stream yet, nobody tries again but us.
  stream.addEventListener("htmx:response:error", (event) => {
    if (event.detail.ctx.response.status === 401) globalThis.callboard.toLogin();
  });
  document.addEventListener("visibilitychange", () => {
    rest();
    if (document.hidden) return;
    const silent = performance.now() - heardAt;
    if (!open || silent > 7_000) {
      triedAt = 0;
      if (open) lost();
      connectAgain();
    }
    refresh();
  });
  // Back from where the browser keeps pages that were left: what it held is gone.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    triedAt = 0;
    if (open) lost();
    connectAgain();
    refresh();
  });
  addEventListener("online", () => {
    triedAt = 0;
    if (!open) connectAgain();
  });
  onTick(watch);
  refresh();
  const connect = () => {
    rest();
    if (!resting) globalThis.htmx.trigger(stream, "board:connect");
  };
  // htmx knows the stream once the page is read.
  if (document.readyState === "complete") connect();
  else document.addEventListener("DOMContentLoaded", connect);
  document.body.dataset.started = String(now());
};
