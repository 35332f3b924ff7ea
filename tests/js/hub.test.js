import assert from "node:assert/strict";
import { test } from "node:test";

import { Hub } from "../../static/board/hub.js";
import { subscribed } from "../../static/board/subscription.js";
import { Time, settled } from "./time.js";

/** @import {Subscription, ToPage} from "../../static/board/hub.js" */
/** @import {Way} from "../../static/board/subscription.js" */

const GATHER_MS = 30;

/** The server's end of one stream. */
class Stream {
  url;
  from;
  open = true;
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #controller;
  body;

  /**
   * @param {string} url
   * @param {RequestInit} options
   */
  constructor(url, options) {
    this.url = url;
    this.from = new Headers(options.headers).get("Last-Event-ID");
    this.body = new ReadableStream({ start: (controller) => (this.#controller = controller) });
    options.signal?.addEventListener("abort", () => {
      this.open = false;
      this.#controller?.error(new DOMException("aborted", "AbortError"));
    });
  }

  /** @param {string} text */
  async send(text) {
    this.#controller?.enqueue(new TextEncoder().encode(text));
    await settled();
  }

  async end() {
    this.open = false;
    this.#controller?.close();
    await settled();
  }
}

/** The server as the hub knows it: what `fetch` of `/board/stream` answers. */
class Server {
  status = 200;
  session = "s1";
  /** @type {Stream[]} */
  asked = [];

  /**
   * @param {string} url
   * @param {RequestInit} options
   */
  fetch = async (url, options) => {
    const stream = new Stream(url, options);
    this.asked.push(stream);
    const headers = { "X-Session": this.session };
    return new Response(this.status === 200 ? stream.body : null, { status: this.status, headers });
  };

  get streams() {
    return this.asked.filter(({ open }) => open);
  }

  /** The one stream that is open. */
  get stream() {
    const [stream, ...others] = this.streams;
    assert.equal(others.length, 0);
    assert.ok(stream);
    return stream;
  }
}

/** A page that has asked the hub, and what it heard. */
class Page {
  /** @type {ToPage[]} */
  heard = [];
  #hub;

  /**
   * @param {Hub} hub
   * @param {Partial<Subscription>} wants
   */
  constructor(hub, wants) {
    this.#hub = hub;
    hub.hear(this, { subscribe: { board: false, about: "", after: "", session: "s1", ...wants } });
  }

  /** @param {ToPage} message */
  postMessage(message) {
    this.heard.push(message);
  }

  /** @param {number} count */
  ack(count) {
    this.#hub.hear(this, { ack: count });
  }

  leave() {
    this.#hub.hear(this, { bye: true });
  }

  get isOpen() {
    return this.heard.some(({ open, status }) => open && status === 200);
  }

  get isEnded() {
    return this.heard.some(({ end }) => end);
  }

  /** The messages of the stream that it got, without the empty line at the end. */
  get chunks() {
    return this.heard.flatMap(({ chunk }) => (chunk === undefined ? [] : [chunk.trimEnd()]));
  }
}

/** @param {import("node:test").TestContext} t */
const start = (t) => {
  const time = new Time(t);
  const server = new Server();
  return { time, server, hub: new Hub(server.fetch) };
};

/** @param {number} number */
const row = (number, epoch = "e") => `id: ${epoch}-${number}\nevent: row\ndata: <tr>`;
const PULSE = 'event: pulse\ndata: {"now":1}';

test("pages that are opened together share one stream for all that they want", async (t) => {
  const { time, server, hub } = start(t);
  const board = new Page(hub, { board: true, after: "e-4" });
  const pages = ["delivery:2", "delivery:1", "delivery:2"].map((about) => new Page(hub, { about }));
  assert.deepEqual(board.heard, [{ heard: true }], "at once, before the server answers");
  await time.pass(GATHER_MS);
  assert.equal(server.stream.url, "/board/stream?about=delivery%3A1%2Cdelivery%3A2&board=1");
  assert.equal(server.stream.from, "e-4");
  for (const page of [board, ...pages]) assert.ok(page.isOpen);
});

test("each page hears its part of the stream", async (t) => {
  const { time, server, hub } = start(t);
  const board = new Page(hub, { board: true, after: "e-4" });
  const one = new Page(hub, { about: "delivery:1" });
  const two = new Page(hub, { about: "delivery:2" });
  await time.pass(GATHER_MS);
  const changed = "event: changed\ndata: delivery:1 driver:7";
  await server.stream.send(`${row(5)}\n\n${changed}\n\n${PULSE}\n\n: comment\n\n`);
  assert.deepEqual(board.chunks, [row(5), PULSE, ": comment"]);
  assert.deepEqual(one.chunks, [changed, PULSE, ": comment"]);
  assert.deepEqual(two.chunks, [PULSE, ": comment"]);
});

test("a message that comes in pieces is handed on when it is whole", async (t) => {
  const { time, server, hub } = start(t);
  const board = new Page(hub, { board: true, after: "e-4" });
  await time.pass(GATHER_MS);
  await server.stream.send(row(5).slice(0, 9));
  await server.stream.send(`${row(5).slice(9)}\n`);
  assert.deepEqual(board.chunks, []);
  await server.stream.send("\n");
  assert.deepEqual(board.chunks, [row(5)]);
});

test("a board that comes as far as the stream is joins it", async (t) => {
  const { time, server, hub } = start(t);
  const first = new Page(hub, { board: true, after: "e-4" });
  await time.pass(GATHER_MS);
  await server.stream.send(`${row(5)}\n\n`);
  const second = new Page(hub, { board: true, after: "e-5" });
  const ahead = new Page(hub, { board: true, after: "e-6" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 1);
  await server.stream.send(`${row(6)}\n\n${row(7)}\n\n`);
  assert.deepEqual(first.chunks, [row(5), row(6), row(7)]);
  assert.deepEqual(second.chunks, [row(6), row(7)]);
  assert.deepEqual(ahead.chunks, [row(7)], "it was rendered with the sixth");
});

test("for a board that is late the stream starts again where it is, and nobody hears a message twice", async (t) => {
  const { time, server, hub } = start(t);
  const first = new Page(hub, { board: true, after: "e-4" });
  await time.pass(GATHER_MS);
  await server.stream.send(`${row(5)}\n\n${row(6)}\n\n`);
  const late = new Page(hub, { board: true, after: "e-5" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 2);
  assert.equal(server.stream.from, "e-5");
  assert.ok(late.isOpen);
  await server.stream.send(`${row(6)}\n\n${row(7)}\n\n`);
  assert.deepEqual(first.chunks, [row(5), row(6), row(7)]);
  assert.deepEqual(late.chunks, [row(6), row(7)]);
});

test("numbers of a position are compared as numbers", async (t) => {
  const { time, server, hub } = start(t);
  const first = new Page(hub, { board: true, after: "e-9" });
  await time.pass(GATHER_MS);
  await server.stream.send(`${row(10)}\n\n`);
  assert.deepEqual(first.chunks, [row(10)]);
  const late = new Page(hub, { board: true, after: "e-9" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 2);
  assert.equal(server.stream.from, "e-9");
  await server.stream.send(`${row(10)}\n\n`);
  assert.deepEqual(late.chunks, [row(10)]);
  assert.deepEqual(first.chunks, [row(10)]);
});

test("boards of two epochs that come together start from the first one's", async (t) => {
  const { time, server, hub } = start(t);
  new Page(hub, { board: true, after: "e-12" });
  new Page(hub, { board: true, after: "other-2" });
  new Page(hub, { board: true, after: "e-9" });
  await time.pass(GATHER_MS);
  assert.equal(server.stream.from, "e-9");
});

test("a page that wants something new gets a stream that has it", async (t) => {
  const { time, server, hub } = start(t);
  const one = new Page(hub, { about: "delivery:1" });
  await time.pass(GATHER_MS);
  const two = new Page(hub, { about: "delivery:2" });
  await time.pass(GATHER_MS);
  assert.equal(server.stream.url, "/board/stream?about=delivery%3A1%2Cdelivery%3A2");
  await server.stream.send("event: changed\ndata: delivery:2\n\n");
  assert.deepEqual([one.chunks.length, two.chunks.length], [0, 1]);
});

test("a page of what another page shows already is read again, in case it changed before the page was here", async (t) => {
  const { time, server, hub } = start(t);
  const one = new Page(hub, { about: "delivery:1" });
  await time.pass(GATHER_MS);
  const two = new Page(hub, { about: "delivery:1" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 1);
  assert.deepEqual([one.chunks, two.chunks], [[], ["event: changed\ndata: delivery:1"]]);
});

test("a board of another epoch reads everything again, and is then where the stream is", async (t) => {
  const { time, server, hub } = start(t);
  const first = new Page(hub, { board: true, after: "e-4" });
  await time.pass(GATHER_MS);
  await server.stream.send(`${row(5)}\n\n`);
  const strange = new Page(hub, { board: true, after: "other-99" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 1);
  assert.deepEqual(strange.chunks, ["id: e-5\nevent: resync\ndata:"]);
  await server.stream.send(`${row(6)}\n\n`);
  assert.deepEqual(strange.chunks.slice(1), [row(6)]);
  assert.deepEqual(first.chunks, [row(5), row(6)]);
});

test("everybody goes on after a resync, from its position", async (t) => {
  const { time, server, hub } = start(t);
  const board = new Page(hub, { board: true, after: "e-40" });
  await time.pass(GATHER_MS);
  const resync = "id: f-2\nevent: resync\ndata: 1";
  await server.stream.send(`${resync}\n\n${row(3, "f")}\n\n`);
  assert.deepEqual(board.chunks, [resync, row(3, "f")]);
});

test("what no page wants any more stays in the request, except the board", async (t) => {
  const { time, server, hub } = start(t);
  const board = new Page(hub, { board: true, after: "e-4" });
  const one = new Page(hub, { about: "delivery:1" });
  const two = new Page(hub, { about: "delivery:2" });
  await time.pass(GATHER_MS);
  two.leave();
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 1);
  board.leave();
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 2);
  assert.equal(server.stream.url, "/board/stream?about=delivery%3A1");
  assert.ok(!one.isEnded);
});

test("the last page that leaves ends the stream", async (t) => {
  const { time, server, hub } = start(t);
  const pages = [new Page(hub, { about: "a" }), new Page(hub, { about: "b" })];
  await time.pass(GATHER_MS);
  for (const page of pages) page.leave();
  await time.pass(GATHER_MS);
  assert.deepEqual(server.streams, []);
});

test("a stream that is silent for 12 s ends for every page", async (t) => {
  const { time, server, hub } = start(t);
  const page = new Page(hub, { about: "a" });
  await time.pass(GATHER_MS);
  await time.pass(11_000);
  await server.stream.send(`${PULSE}\n\n`);
  await time.pass(11_000);
  assert.ok(!page.isEnded);
  await time.pass(4_000);
  assert.ok(page.isEnded);
  assert.deepEqual(server.streams, []);
});

test("a stream that the server ends, ends for every page", async (t) => {
  const { time, server, hub } = start(t);
  const page = new Page(hub, { about: "a" });
  await time.pass(GATHER_MS);
  await server.stream.end();
  assert.ok(page.isEnded);
  const again = new Page(hub, { about: "a" });
  await time.pass(GATHER_MS);
  assert.ok(again.isOpen);
});

test("a server that does not answer within 8 s, or refuses, is a failure for every page", async (t) => {
  const { time, server, hub } = start(t);
  server.status = 401;
  const refused = new Page(hub, { about: "a" });
  await time.pass(GATHER_MS);
  assert.deepEqual(refused.heard.at(-1), { open: true, status: 401, session: null });
  server.fetch = (_, { signal }) =>
    new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  const waiting = new Page(new Hub(server.fetch), { about: "a" });
  await time.pass(GATHER_MS + 7_999);
  assert.deepEqual(waiting.heard, [{ heard: true }]);
  await time.pass(1);
  assert.deepEqual(waiting.heard.at(-1), { open: true, status: 503, session: null });
});

test("a page that acknowledges nothing for 30 s is dropped, others stay", async (t) => {
  const { time, server, hub } = start(t);
  const dead = new Page(hub, { about: "a" });
  const alive = new Page(hub, { about: "b" });
  await time.pass(GATHER_MS);
  for (let seconds = 0; seconds < 35; seconds += 5) {
    await server.stream.send(`${PULSE}\n\n`);
    alive.ack(1);
    await time.pass(5_000);
  }
  assert.ok(dead.isEnded);
  assert.ok(!alive.isEnded);
  assert.equal(hub.pages.size, 1);
});

test("a page with more than 1 MiB that it did not acknowledge is dropped", async (t) => {
  const { time, server, hub } = start(t);
  const slow = new Page(hub, { board: true, after: "e-0" });
  const quick = new Page(hub, { board: true, after: "e-0" });
  await time.pass(GATHER_MS);
  const much = "x".repeat(400_000);
  for (let number = 1; number <= 3; number++) {
    await server.stream.send(`${row(number)}${much}\n\n`);
    quick.ack(1);
  }
  assert.ok(slow.isEnded);
  assert.equal(slow.chunks.length, 2);
  assert.ok(!quick.isEnded);
  assert.equal(quick.chunks.length, 3);
});

test("after another login there is a new stream, and pages of the user before ask again", async (t) => {
  const { time, server, hub } = start(t);
  const before = new Page(hub, { about: "a", session: "s1" });
  await time.pass(GATHER_MS);
  server.session = "s2";
  const page = new Page(hub, { about: "a", session: "s2" });
  await time.pass(GATHER_MS);
  assert.equal(server.asked.length, 2);
  assert.equal(page.heard.at(-1)?.session, "s2");
  assert.ok(before.isEnded);
});

// The page's side

/**
 * A way to the hub as a shared worker is one.
 * @param {Hub} hub
 * @returns {Way}
 */
const wayTo = (hub) => (heard) => {
  const port = { postMessage: heard };
  return { send: (message) => hub.hear(port, message), close: () => hub.hear(port, { bye: true }) };
};

/** @type {Subscription} */
const BOARD = { board: true, about: "", after: "e-4", session: "s1" };

/**
 * A page with its response, and what htmx has read of it.
 * @param {Hub} hub
 * @param {Partial<Subscription>} [wants]
 */
const opened = (hub, wants = {}) => {
  const page = new EventTarget();
  /** @type {boolean[]} */
  const noticed = [];
  const abort = new AbortController();
  const options = { signal: abort.signal, page, noticed: (/** @type {boolean} */ answers) => noticed.push(answers) };
  const response = subscribed(wayTo(hub), { ...BOARD, ...wants }, options);
  const read = { text: "", ended: false };
  const reading = response.then(async ({ body }) => {
    const decoder = new TextDecoder();
    const reader = body?.getReader();
    for (;;) {
      const part = await reader?.read();
      if (!part || part.done) break;
      read.text += decoder.decode(part.value);
    }
    read.ended = true;
  });
  reading.catch(() => {});
  return { page, noticed, abort, response, read };
};

test("a page reads its part of the shared stream as if the server had sent it", async (t) => {
  const { time, server, hub } = start(t);
  const { response, read, noticed } = opened(hub);
  await time.pass(GATHER_MS);
  assert.equal((await response).status, 200);
  assert.equal((await response).headers.get("Content-Type"), "text/event-stream");
  assert.deepEqual(noticed, [true]);
  await server.stream.send(`${row(5)}\n\n${PULSE}\n\n`);
  assert.equal(read.text, `${row(5)}\n\n${PULSE}\n\n`);
  const [page] = hub.pages.values();
  assert.equal(page?.size, 0, "what was read is acknowledged");
});

test("a page that is left and comes back from the back/forward cache hears what it missed, once", async (t) => {
  const { time, server, hub } = start(t);
  const other = opened(hub);
  const left = opened(hub);
  await time.pass(GATHER_MS);
  await server.stream.send(`${row(5)}\n\n`);
  left.page.dispatchEvent(new Event("pagehide"));
  await time.pass(GATHER_MS);
  assert.ok(left.read.ended, "its stream ends, so that htmx connects again");
  assert.equal(hub.pages.size, 1);
  await server.stream.send(`${row(6)}\n\n`);
  assert.equal(left.read.text, `${row(5)}\n\n`);
  const back = opened(hub, { after: "e-5" });
  await time.pass(GATHER_MS);
  assert.equal(server.stream.from, "e-5");
  await server.stream.send(`${row(6)}\n\n${row(7)}\n\n`);
  assert.equal(back.read.text, `${row(6)}\n\n${row(7)}\n\n`);
  assert.equal(other.read.text, `${row(5)}\n\n${row(6)}\n\n${row(7)}\n\n`);
});

test("a page that is left before the server answers is no failure of it", async (t) => {
  const { time, hub } = start(t);
  const { page, response } = opened(hub);
  let outcome = "";
  response.then(() => (outcome = "answered"), () => (outcome = "failed"));
  page.dispatchEvent(new Event("pagehide"));
  await time.pass(60_000);
  assert.equal(outcome, "");
  assert.equal(hub.pages.size, 0);
});

test("a page that stops reading leaves the hub", async (t) => {
  const { time, server, hub } = start(t);
  const { abort, read } = opened(hub);
  await time.pass(GATHER_MS);
  abort.abort();
  await time.pass(GATHER_MS);
  assert.ok(read.ended);
  assert.deepEqual(server.streams, []);
});

test("a stream of somebody else's session is refused", async (t) => {
  const { time, server, hub } = start(t);
  server.session = "s2";
  const { response } = opened(hub);
  await time.pass(GATHER_MS);
  assert.equal((await response).status, 401);
  assert.equal(hub.pages.size, 0);
});

test("a hub that does not answer within 6 s is noticed, a slow server within 20 s", async (t) => {
  const { time } = start(t);
  /** @type {boolean[]} */
  const noticed = [];
  const options = { page: new EventTarget(), noticed: (/** @type {boolean} */ answers) => noticed.push(answers) };
  const silent = subscribed(() => ({ send: () => {}, close: () => {} }), BOARD, options);
  const slow = subscribed((heard) => ({ send: () => heard({ heard: true }), close: () => {} }), BOARD, options);
  const [first, second] = [silent, slow].map((asked) => assert.rejects(asked, { name: "AbortError" }));
  await time.pass(6_000);
  await first;
  assert.deepEqual(noticed, [true, false]);
  await time.pass(14_000);
  await second;
  assert.deepEqual(noticed, [true, false], "the hub was there");
});

test("a page whose hub moved to another tab before it answered asks there", async (t) => {
  const { time, hub } = start(t);
  let sent = 0;
  /** @type {(message: ToPage) => void} */
  let say = () => {};
  /** @type {Way} */
  const moving = (heard) => {
    const later = wayTo(hub)(heard);
    say = heard;
    return { ...later, send: (message) => (++sent === 1 ? undefined : later.send(message)) };
  };
  const response = subscribed(moving, BOARD, { page: new EventTarget(), noticed: () => {} });
  say({ end: true });
  await time.pass(GATHER_MS);
  assert.equal((await response).status, 200);
});
