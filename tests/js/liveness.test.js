import assert from "node:assert/strict";
import { test } from "node:test";

import { Liveness, announcement } from "../../static/board/liveness.js";

/** @param {number} at */
const live = (at) => {
  const life = new Liveness(0);
  life.connected(at);
  life.heard(at);
  return life;
};

test("a new page connects for five seconds before it says that it cannot", () => {
  const life = new Liveness(1_000);
  assert.deepEqual(life.badge(5_999), ["connecting", ""]);
  assert.deepEqual(life.badge(6_000), ["reconnecting", ""]);
  assert.deepEqual(life.badge(61_001), ["stale", ""]);
});

test("a page that hears the server is live until it has been silent for 12 s", () => {
  const life = live(1_000);
  assert.deepEqual(life.badge(13_000), ["live", ""]);
  assert.ok(!life.isSilent(13_000));
  assert.deepEqual(life.badge(31_001), ["stale", "30 s old"]);
  assert.ok(life.isSilent(13_001));
  assert.ok(!life.open);
});

test("a server that reads an old database is out of date although it speaks", () => {
  const life = live(1_000);
  life.pulse(6_001);
  assert.deepEqual(life.badge(1_000), ["stale", "0 s old"]);
  life.pulse(6_000);
  assert.deepEqual(life.badge(1_000), ["live", ""]);
});

test("a short loss is not shown, a long one is out of date", () => {
  const life = live(1_000);
  life.lost(2_000);
  assert.equal(life.badge(3_499), null);
  assert.deepEqual(life.badge(20_000), ["reconnecting", "last update 15 s ago"]);
  assert.deepEqual(life.badge(62_001), ["stale", "last update 1 min ago"]);
  life.lost(60_000);
  assert.deepEqual(life.badge(62_001), ["stale", "last update 1 min ago"], "it was lost once");
  assert.ok(!life.isLost(5_000));
  assert.ok(life.isLost(5_001));
});

test("attempts to connect are three seconds apart", () => {
  const life = new Liveness(0);
  assert.ok(!life.mayConnect(2_999));
  assert.ok(life.mayConnect(3_000));
  assert.ok(!life.mayConnect(5_999));
  life.networkIsBack();
  assert.ok(life.mayConnect(5_999));
});

test("nothing connects after a logout, or while the page rests", () => {
  const life = live(0);
  life.resting = true;
  assert.ok(!life.mayConnect(10_000));
  life.resting = false;
  life.over = true;
  assert.ok(!life.mayConnect(10_000));
  assert.deepEqual(life.badge(10_000), ["over", ""]);
});

test("a page from the back/forward cache connects at once: its stream ended when it was left", () => {
  const life = live(10_000);
  life.connected(10_000);
  life.restored(10_100);
  assert.ok(!life.open);
  assert.ok(life.mayConnect(10_100));
});

test("a page that is seen again trusts what it heard within 7 s", () => {
  const life = live(10_000);
  assert.ok(!life.seen(17_000));
  assert.ok(life.open);
  assert.ok(life.seen(17_001));
  assert.ok(!life.open);
  assert.ok(life.mayConnect(17_001));
});

test("changes of the badge are announced, the first connection is not", () => {
  assert.equal(announcement("connecting", "live"), "");
  assert.equal(announcement("reconnecting", "live"), "Live again.");
  assert.equal(announcement("live", "live"), "");
  assert.equal(announcement("live", "reconnecting"), "Connection lost. Reconnecting.");
  assert.equal(announcement("live", "stale"), "This page is out of date.");
  assert.equal(announcement("live", "over"), "");
});
