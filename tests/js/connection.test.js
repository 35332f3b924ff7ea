// The socket of a driver's app, and what is sent over it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverClient } from "../../static/driver/client.js";
import { Connection } from "../../static/driver/connection.js";
import { Time } from "./time.js";

const HELLO = { type: "hello", serverTime: "2026-02-01T10:00:00.000Z", seq: 1, driver: { id: "d1" }, offers: [], assignments: [], missed: [] };

/** A phone, the sockets that it opened, and what was sent over them. */
const phoneOfTest = () => {
  /** @type {string[]} */
  const sent = [];
  /** @type {any[]} */
  const sockets = [];
  class WebSocket {
    constructor() {
      this.readyState = 1;
      this.onmessage = this.onclose = null;
      sockets.push(this);
    }
    /** @param {string} text */
    send(text) {
      sent.push(text);
    }
    close() {}
  }
  /** @type {import("../../static/driver/connection.js").Phone} */
  const phone = { WebSocket: /** @type {any} */ (WebSocket), isOnline: () => true, isVisible: () => true, watch: () => () => {} };
  return { phone, sockets, sent };
};

/** @param {import("../../static/driver/connection.js").Phone} phone */
const opened = (phone) => {
  const connection = new Connection({
    phone,
    url: "wss://dispatch.example/ws/driver",
    token: "t",
    lastSeq: () => null,
    heard: () => {},
    changed: () => {},
    pingEvery: () => 60_000,
  });
  connection.open();
  return connection;
};

/** What needs no time and no network is done. */
const allIsDone = () => new Promise((resolve) => setImmediate(resolve));

test("a socket that is closing takes nothing, and whoever asks hears at once that it is offline", { timeout: 5_000 }, async () => {
  const { phone, sockets, sent } = phoneOfTest();
  const connection = opened(phone);
  sockets[0].onmessage({ data: '{"type": "hello"}' });
  assert.equal(connection.tell({ type: "ping" }), true);
  sockets[0].readyState = 2;
  assert.equal(connection.tell({ type: "ping" }), false);
  await assert.rejects(connection.ask({ type: "pause" }), { code: "offline" });
  assert.deepEqual(sent, ['{"type":"ping"}']);
  connection.close();
});

test("a socket that never ends to close is given up, and another one is opened", async (t) => {
  const time = new Time(t);
  const { phone, sockets } = phoneOfTest();
  const connection = opened(phone);
  sockets[0].onmessage({ data: '{"type": "hello"}' });
  sockets[0].readyState = 2;
  await time.pass(60_000);
  assert.equal(connection.state, "online");
  await time.pass(4_000);
  assert.equal(connection.state, "offline");
  await time.pass(400);
  assert.equal(sockets.length, 2);
  connection.close();
});

test("what is reported while a socket closes is not tried again and again, and goes over the next one", async (t) => {
  const { phone, sockets, sent } = phoneOfTest();
  let changes = 0;
  const queued = () => assert.ok(++changes < 100, "it is tried again and again");
  const client = new DriverClient({ base: "https://dispatch.example", phone, queued });
  t.after(() => client.close());
  client.connect("t");
  const hello = { data: JSON.stringify(HELLO) };
  sockets[0].onmessage(hello);
  sockets[0].readyState = 2;
  await client.report({ driverId: "d1", type: "picked_up", assignmentId: "a1", storeName: "Store" });
  await allIsDone();
  assert.deepEqual([sent, client.actions.all.map(({ tried }) => tried)], [[], [false]]);
  client.connection?.reopen();
  sockets[1].onmessage(hello);
  await allIsDone();
  assert.deepEqual(sent.map((text) => JSON.parse(text).type), ["picked_up"]);
});
