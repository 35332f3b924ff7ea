// The package of clients/typescript, packed and used against a real server.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";

const WITHIN_MS = 60_000;
/** @param {() => boolean} happened */
const eventually = async (happened) => {
  const started = performance.now();
  while (!happened()) {
    assert.ok(performance.now() - started < WITHIN_MS, `not within ${WITHIN_MS} ms: ${happened}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const ROOT = new URL("../..", import.meta.url).pathname;
const SECRET = "a secret of this test that is long enough to sign with";
const folder = mkdtempSync(join(tmpdir(), "callboard-client-"));
const packed = join(folder, "package");
/** @type {typeof import("../../clients/typescript/index.js")} */
let kit;
/** @type {import("node:child_process").ChildProcess} */
let server;
let base = "";

/** @param {object} part */
const base64 = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
const service = () => {
  const at = Math.floor(Date.now() / 1000);
  const claims = `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ sub: "shop", role: "service", iat: at, exp: at + 3600 })}`;
  return `${claims}.${createHmac("sha256", SECRET).update(claims).digest("base64url")}`;
};

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 */
const call = async (method, path, body) => {
  const headers = { Authorization: `Bearer ${service()}`, "Content-Type": "application/json" };
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
};

const skip = Number(process.versions.node.split(".")[0]) < 20 && "the package needs Node.js 20";

before(async () => {
  if (skip) return;
  execFileSync("node", [join(ROOT, "clients/typescript/pack.js"), packed]);
  kit = await import(join(packed, "index.js"));
  const settings = { CALLBOARD_SECRET: SECRET, CALLBOARD_DATA: join(folder, "data"), CALLBOARD_LOG_LEVEL: "warning" };
  const python = process.env["PYTHON"] ?? join(ROOT, ".venv/bin/python");
  const serve = ["-m", "server.cli", "serve", "--port", "0"];
  server = spawn(python, serve, { cwd: ROOT, env: { ...process.env, ...settings }, stdio: ["ignore", "ignore", "pipe"] });
  base = await new Promise((resolve, reject) => {
    let said = "";
    server.stderr?.on("data", (data) => {
      said += data;
      const [, found] = /Callboard is ready: (\S+)/.exec(said) ?? [];
      if (found) resolve(found);
    });
    server.on("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
  });
});

after(async () => {
  if (skip) return;
  const ended = new Promise((resolve) => server.on("exit", resolve));
  server.kill("SIGTERM");
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

test("a driver signs in, takes an offer, and what they do without a network is sent once and in order", { skip }, async (t) => {
  const { id: driverId } = await call("POST", "/drivers", { name: "Dan" });
  const { code } = await call("POST", `/drivers/${driverId}/invitation`);
  const answer = await kit.exchangeCode(base, { code, actionId: kit.newId() });
  assert.equal(answer.outcome, "in");
  assert.deepEqual(await kit.exchangeCode(base, { code, actionId: kit.newId() }), { outcome: "refused" });

  let hasNetwork = true;
  let look = () => {};
  /** @type {import("../../clients/typescript/index.js").Phone} */
  const phone = {
    WebSocket: /** @type {any} */ (WebSocket),
    isOnline: () => hasNetwork,
    isVisible: () => true,
    watch: (changed) => {
      look = changed;
      return () => {};
    },
  };
  /** @type {string[]} */
  const states = [];
  const driver = new kit.DriverClient({ base, phone, changed: (state) => states.push(state) });
  t.after(() => driver.close());
  driver.connect(answer.signedIn.token);
  await eventually(() => driver.state.driver?.availability === "available");
  driver.tell({ type: "location", lat: 52.519, lon: 13.404 });
  const { id: deliveryId } = await call("POST", "/deliveries", {
    sellerOrderId: "A-1",
    storeName: "Trattoria da Enzo",
    pickup: { lat: 52.52, lon: 13.405 },
    dropoff: { lat: 52.53, lon: 13.41 },
  });
  await eventually(() => Object.keys(driver.state.offers).length === 1);
  const [offerId = ""] = Object.keys(driver.state.offers);
  await driver.ask({ type: "accept", offerId });
  await eventually(() => Object.keys(driver.state.assignments).length === 1);
  const [assignmentId = ""] = Object.keys(driver.state.assignments);
  await assert.rejects(driver.ask({ type: "accept", offerId: kit.newId() }), { code: "not_found" });

  hasNetwork = false;
  look();
  assert.equal(driver.connection?.state, "offline");
  const own = { driverId, assignmentId, storeName: "Trattoria da Enzo" };
  await driver.report({ ...own, type: "arrived", where: "pickup" });
  await driver.report({ ...own, type: "picked_up" });
  await driver.report({ ...own, type: "failed", reason: "refused", then: "return" });
  assert.deepEqual(driver.actions.of(driverId).map(({ type }) => type), ["arrived", "picked_up", "failed"]);
  assert.equal((await call("GET", `/deliveries/${deliveryId}`)).status, "ASSIGNED");
  hasNetwork = true;
  look();
  await eventually(() => driver.actions.of(driverId).length === 0);
  assert.equal((await call("GET", `/deliveries/${deliveryId}`)).status, "RETURNING");
  const { items } = await call("GET", `/deliveries/${deliveryId}/timeline`);
  const done = items.map((/** @type {{type: string}} */ { type }) => type).filter((/** @type {string} */ type) => /arrived|picked_up|returning/.test(type));
  assert.deepEqual(done, ["delivery.arrived", "delivery.picked_up", "delivery.returning"]);
  assert.deepEqual(states, ["online", "offline", "connecting", "online"]);

  const renewed = await kit.exchangeDevice(base, { deviceToken: answer.signedIn.deviceToken, actionId: kit.newId() });
  assert.equal(renewed.outcome, "in");
  driver.connect(renewed.signedIn.token);
  await eventually(() => driver.state.assignments[assignmentId]?.deliveryStatus === "RETURNING");
});

test("a phone asks before it takes over from another one, says whose work it is, and checks a PIN", { skip }, async (t) => {
  const { id: driverId } = await call("POST", "/drivers", { name: "Dora" });
  /** @param {string} name */
  const signedIn = async (name) => {
    const { code } = await call("POST", `/drivers/${driverId}/invitation`);
    const answer = await kit.exchangeCode(base, { code, actionId: kit.newId(), name });
    assert.equal(answer.outcome, "in");
    return answer.signedIn.token;
  };
  /** @type {(() => void)[]} */
  const looks = [];
  let hasNetwork = true;
  let handedIn = 0;
  const phones = ["old", "new"].map(() => new kit.DriverClient({
    base,
    handedIn: () => (handedIn += 1),
    phone: {
      WebSocket: /** @type {any} */ (WebSocket),
      isOnline: () => hasNetwork,
      isVisible: () => true,
      watch: (changed) => {
        looks.push(changed);
        return () => {};
      },
    },
  }));
  const [old, young] = /** @type {[import("../../clients/typescript/index.js").DriverClient, import("../../clients/typescript/index.js").DriverClient]} */ (phones);
  t.after(() => phones.forEach((phone) => phone.close()));
  const [first, second] = [await signedIn("Dora's old phone"), await signedIn("Dora's new phone")];
  old.connect(first);
  await eventually(() => old.connection?.state === "online");
  old.tell({ type: "location", lat: 53.55, lon: 10 });
  const { id: deliveryId } = await call("POST", "/deliveries", {
    sellerOrderId: "H-1", storeName: "Fischbude", proofRequired: ["pin"], pin: "0417",
    pickup: { lat: 53.55, lon: 10 }, dropoff: { lat: 53.56, lon: 10 },
  });
  await eventually(() => Object.keys(old.state.offers).length === 1);
  await old.ask({ type: "accept", offerId: Object.keys(old.state.offers)[0] ?? "" });

  const offered = await kit.sessionOf(driverId, second, base);
  assert.ok(typeof offered === "object");
  assert.deepEqual([offered.driver.name, offered.assignments.map((one) => one.deliveryId)], ["Dora", [deliveryId]]);
  assert.equal(offered.otherDevice?.name, "Dora's old phone");
  young.connect(second, {}, { takeOver: false });
  await eventually(() => young.connection?.state === "other_device");
  assert.equal(old.connection?.state, "online");

  hasNetwork = false;
  looks[0]?.();
  assert.equal(old.connection?.state, "offline");
  const [kept = ""] = Object.keys(old.state.assignments);
  await old.report({ type: "arrived", where: "pickup", driverId, assignmentId: kept, storeName: "Fischbude" });
  await old.report({ type: "picked_up", driverId, assignmentId: kept, storeName: "Fischbude" });
  hasNetwork = true;
  young.connect(second);
  await eventually(() => young.connection?.state === "online");
  looks[0]?.();
  await eventually(() => old.connection?.state === "other_device");
  assert.equal(young.connection?.state, "online", "the phone that comes back asks");
  await eventually(() => young.state.assignments[kept]?.deliveryStatus === "PICKED_UP");
  await eventually(() => handedIn === 1);
  assert.deepEqual([old.connection?.state, young.connection?.state], ["other_device", "online"]);
  assert.deepEqual(old.actions.of(driverId), []);
  const own = await kit.sessionOf(driverId, second, base);
  assert.ok(typeof own === "object");
  assert.equal(own.otherDevice, null);

  const [assignmentId = ""] = Object.keys(young.state.assignments);
  assert.equal(await young.checkPin(assignmentId, "9999"), "wrong");
  assert.equal(await young.checkPin(assignmentId, "0417"), "right");
  assert.equal(await young.checkPin(kit.newId(), "0417"), "unknown");
  for (let tries = 1; tries < 5; tries++) assert.equal(await young.checkPin(assignmentId, "9999"), "wrong");
  assert.equal(await young.checkPin(assignmentId, "0417"), "locked");
});

test("a device that wrongly says that it has no network is connected all the same, if later", { skip }, async (t) => {
  const { id: driverId } = await call("POST", "/drivers", { name: "Nora" });
  const { code } = await call("POST", `/drivers/${driverId}/invitation`);
  const answer = await kit.exchangeCode(base, { code, actionId: kit.newId() });
  assert.equal(answer.outcome, "in");
  let look = () => {};
  let says = true;
  /** @type {import("../../clients/typescript/index.js").Phone} */
  const phone = {
    WebSocket: /** @type {any} */ (WebSocket),
    isOnline: () => says,
    isVisible: () => true,
    watch: (changed) => {
      look = changed;
      return () => {};
    },
  };
  /** @type {string[]} */
  const states = [];
  const driver = new kit.DriverClient({ base, phone, changed: (state) => states.push(state) });
  t.after(() => driver.close());
  driver.connect(answer.signedIn.token);
  await eventually(() => driver.connection?.state === "online");
  says = false;
  const { setTimeout } = globalThis;
  /** @type {[again: () => void, pause: number][]} */
  const pauses = [];
  // @ts-expect-error: as much of it as is needed
  globalThis.setTimeout = (/** @type {() => void} */ again, /** @type {number} */ pause) => pauses.push([again, pause]);
  look();
  globalThis.setTimeout = setTimeout;
  assert.equal(driver.connection?.state, "offline", "most of them are right");
  const [again, pause] = pauses.at(-1) ?? [look, 0]; // before it, the socket of Node.js has one for its end
  assert.ok(pause >= 10_000 && pause <= 20_000, `it waits longer, and not for ever: ${pause}`);
  again();
  await eventually(() => driver.connection?.state === "online");
  look();
  assert.equal(driver.connection?.state, "online", "this one is wrong");
  assert.deepEqual(states, ["online", "offline", "connecting", "online"]);
});

test("what is queued goes without a connection, makes nobody present, and a token that is over says so", { skip }, async (t) => {
  const { id: driverId } = await call("POST", "/drivers", { name: "Max" });
  const { code } = await call("POST", `/drivers/${driverId}/invitation`);
  const answer = await kit.exchangeCode(base, { code, actionId: kit.newId() });
  assert.equal(answer.outcome, "in");
  /** @type {string[]} */
  const said = [];
  const driver = new kit.DriverClient({ base, changed: (state) => said.push(state), refused: ({ type }, { code: why }) => said.push(`${type} ${why}`) });
  t.after(() => driver.close());
  const own = { driverId, assignmentId: kit.newId(), storeName: "Roma" };
  await driver.report({ ...own, type: "picked_up" });
  await driver.report({ ...own, type: "proof", kind: "photo", picture: new Blob([Buffer.from("iVBORw0KGgo=", "base64")]) });
  driver.handIn(answer.signedIn.token);
  await eventually(() => driver.actions.all.length === 0);
  assert.deepEqual(said.sort(), ["picked_up not_found", "proof not_found"]);
  assert.equal((await call("GET", `/drivers/${driverId}`)).availability, "offline");

  await kit.endDevice(base, { deviceToken: answer.signedIn.deviceToken });
  await driver.report({ ...own, type: "arrived", where: "pickup" });
  await eventually(() => said.includes("refused"));
  assert.deepEqual(driver.actions.of(driverId).map(({ type }) => type), ["arrived"], "it is kept");
});

test("a TypeScript app with the package passes the compiler's strict checks", { skip }, () => {
  const app = `
    import { DriverClient, type Phone, type State } from "./package/index.js";
    const phone: Phone = { WebSocket, isOnline: () => true, isVisible: () => true, watch: () => () => {} };
    const driver = new DriverClient({ base: "https://dispatch.example", phone, heard: (message) => {
      if (message.type === "offer") { const ms: number = message.offer.remainingMs; void ms; }
    } });
    const state: State = driver.state;
    void state.assignments["x"]?.dropoff.lat;
    // @ts-expect-error: there is no such report
    void driver.report({ type: "eaten", driverId: "d", assignmentId: "a", storeName: "s" });
  `;
  const [, example = ""] = /```js\n(.*?)```/s.exec(readFileSync(join(packed, "README.md"), "utf8")) ?? [];
  assert.match(example, /driver\.connect\(token\)/);
  writeFileSync(join(folder, "app.ts"), app);
  writeFileSync(join(folder, "example.ts"), `declare const code: string;\n${example.replace("callboard-driver", "./package/index.js")}`);
  const compiler = join(ROOT, "tests/js/node_modules/.bin/tsc");
  const options = ["--strict", "--noEmit", "--target", "es2023", "--module", "esnext", "--moduleResolution", "bundler"];
  execFileSync(compiler, [...options, "--lib", "es2023,dom", "--types", "", join(folder, "app.ts"), join(folder, "example.ts")], { stdio: "pipe", encoding: "utf8" });
});

test("the package has the version and the licence of Callboard", { skip }, () => {
  const { version, license } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"));
  assert.match(readFileSync(join(ROOT, "server/__init__.py"), "utf8"), new RegExp(`__version__ = "${version}"`));
  assert.equal(license, "Apache-2.0");
  assert.equal(readFileSync(join(packed, "LICENSE"), "utf8"), readFileSync(join(ROOT, "LICENSE"), "utf8"));
});
