// The socket of a driver's app, and what is sent over it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Connection } from "../../static/driver/connection.js";

test("a socket that is closing takes nothing, and whoever asks hears at once that it is offline", { timeout: 5_000 }, async () => {
  /** @type {string[]} */
  const sent = [];
  const socket = { readyState: 1, onmessage: null, onclose: null, send: (/** @type {string} */ text) => sent.push(text), close: () => {} };
  /** @type {import("../../static/driver/connection.js").Phone} */
  const phone = {
    WebSocket: /** @type {any} */ (
      class {
        constructor() {
          return socket;
        }
      }
    ),
    isOnline: () => true,
    isVisible: () => true,
    watch: () => () => {},
  };
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
  /** @type {any} */ (socket).onmessage({ data: '{"type": "hello"}' });
  assert.equal(connection.tell({ type: "ping" }), true);
  socket.readyState = 2;
  assert.equal(connection.tell({ type: "ping" }), false);
  await assert.rejects(connection.ask({ type: "pause" }), { code: "offline" });
  assert.deepEqual(sent, ['{"type":"ping"}']);
  connection.close();
});
