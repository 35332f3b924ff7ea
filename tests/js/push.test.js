import assert from "node:assert/strict";
import { test } from "node:test";

import { Push } from "../../static/driver/push.js";

/**
 * A browser with push, and a server: what was asked, in order. `subscribing` ends when the push service answers.
 * @param {import("node:test").TestContext} t
 * @param {() => void} [keeping] called before the pass is kept
 */
const phone = (t, keeping = () => {}) => {
  t.mock.method(globalThis, "setTimeout", () => 0); // the push service has twenty seconds
  /** @type {string[]} */
  const asked = [];
  /** @type {() => void} */
  let answer = () => {};
  const subscribing = new Promise((resolve) => (answer = () => resolve(subscription)));
  const subscription = {
    options: { applicationServerKey: null },
    unsubscribe: async () => asked.push("unsubscribe"),
  };
  /** @type {unknown} */
  let subscribed = null;
  const pushManager = {
    getSubscription: async () => subscribed,
    subscribe: async () => {
      asked.push("subscribe");
      subscribed = await subscribing;
      return subscribed;
    },
  };
  const globals = {
    PushManager: {},
    Notification: { permission: "granted", requestPermission: async () => "granted" },
    caches: {
      open: async () => ({
        put: async () => {
          keeping();
          asked.push("pass kept");
        },
      }),
      delete: async () => asked.push("pass deleted"),
    },
    /** @param {string} path @param {RequestInit} options */
    fetch: async (path, options) => {
      asked.push(`${options.method} ${path}`);
      return path.endsWith("push-key") ? Response.json({ key: "" }) : Response.json({ id: "s1" });
    },
  };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    t.after(() => Object.defineProperty(globalThis, name, before ?? { value: undefined, configurable: true }));
  }
  const push = new Push({ changed: () => {}, failed: () => asked.push("failed") });
  push.entered("token", "d1");
  push.registered(/** @type {ServiceWorkerRegistration} */ (/** @type {unknown} */ ({ pushManager })));
  return { push, asked, answer };
};

const until = async (/** @type {() => boolean} */ condition) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

test("a phone that subscribes tells the server", async (t) => {
  const { push, asked, answer } = phone(t);
  answer();
  await push.turnOn();
  assert.deepEqual(asked, ["GET /drivers/push-key", "subscribe", "POST /drivers/d1/push-subscriptions", "pass kept"]);
  assert.equal(push.state, "on");
});

for (const forget of [false, true]) {
  test(`turned off while it subscribes, it gets nothing${forget ? ", nor does who left" : ""}`, async (t) => {
    const { push, asked, answer } = phone(t);
    const on = push.turnOn();
    await until(() => asked.includes("subscribe"));
    await push.turnOff({ forget });
    answer();
    await on;
    assert.deepEqual(asked.slice(2), [
      "pass deleted",
      "POST /drivers/d1/push-subscriptions",
      "DELETE /drivers/d1/push-subscriptions/s1",
      "unsubscribe",
    ]);
    assert.notEqual(push.state, "on");
  });
}

test("who leaves while the pass is kept leaves none behind", async (t) => {
  /** @type {Promise<void> | undefined} */
  let leaving;
  const one = phone(t, () => {
    leaving = one.push.turnOff({ forget: true });
  });
  one.answer();
  await one.push.turnOn();
  await leaving;
  assert.equal(one.asked.lastIndexOf("pass deleted") > one.asked.indexOf("pass kept"), true);
  assert.notEqual(one.push.state, "on");
});
