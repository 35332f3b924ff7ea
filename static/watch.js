// The screens of alerts, notices and webhooks: they read themselves again when the stream says so, count up and down,
// and work by keyboard. Everything that is done on them is a plain form, which htmx posts in place where it can.
import { startClock, tickWithin } from "./board/clock.js";
import { readAgain, startLive } from "./board/live.js";
import { announce } from "./board/notices.js";
import { startPage } from "./board/page.js";
import { isTyping } from "./board/typing.js";

// What a clock has written, and what somebody has unfolded, survives a morph.
globalThis.htmx.config.morphIgnore.push("open", "aria-current");
globalThis.htmx.config.morphSkipChildren = "time[data-since], time[data-deadline]";

const now = document.getElementById("now");
const keys = document.getElementById("keys");

const rows = () => [...now.querySelectorAll("[data-row]")];
const rowAt = () => document.activeElement?.closest?.("[data-row]") ?? null;

const step = (by) => {
  const all = rows();
  const at = all.indexOf(rowAt());
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
};

const ACTIONS = {
  j: () => step(1),
  k: () => step(-1),
  x: () => rowAt()?.querySelector("summary")?.click(),
  c: () => {
    const hand = rowAt()?.querySelector("[data-hand]");
    if (hand?.offsetParent) hand.click();
  },
  "/": () => document.querySelector("#page [data-first], #page select, #page details.add summary")?.focus(),
  "?": () => keys.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "Enter") {
    if (event.target.matches?.("[data-row]")) event.target.querySelector("a[href]")?.click();
    return;
  }
  const act = ACTIONS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// What is unfolded to be filled in is ready for it.
document.addEventListener("toggle", ({ target }) => target.open && target.querySelector("input:not([type=hidden])")?.focus(), true);

// A filter is chosen: look at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-auto]")) event.target.form.requestSubmit();
});

// "Everything" and single types exclude one another.
document.addEventListener("change", ({ target }) => {
  if (target.name !== "events" || !target.checked) return;
  for (const box of target.form.querySelectorAll('[name="events"]')) {
    if (box !== target && (target.value === "*" || box.value === "*")) box.checked = false;
  }
});

const sentence = (text) => new DOMParser().parseFromString(text, "text/html").body.textContent.trim();

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const form = ctx.sourceElement?.closest?.("form");
  if (form) delete form.dataset.sent;
  if (ctx.response.status === 401) globalThis.callboard.toLogin();
  else if (form && ctx.response.status >= 400) announce(sentence(ctx.text ?? "") || "That did not work. Try again.");
});
document.addEventListener("htmx:error", (event) => {
  const form = event.detail.ctx?.sourceElement?.closest?.("form");
  if (!form) return;
  delete form.dataset.sent;
  announce("No answer from the server. Try again.");
});
document.addEventListener("board:done", async (event) => {
  if (event.detail.said) announce(event.detail.said);
  for (const work of readAgain) await work();
});

startClock();
startPage();
if (document.getElementById("stream")) startLive();
tickWithin(now);
