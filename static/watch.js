// The screens of alerts, notices and webhooks: they read themselves again when the stream says so, count up and down,
// and work by keyboard. Everything that is done on them is a plain form, which htmx posts in place where it can.
import { text } from "./driver/text.js";
import { byId, targetOf } from "./elements.js";
import { startClock, tickWithin } from "./board/clock.js";
import { readAgain, startLive } from "./board/live.js";
import { announce, detailOf } from "./board/notices.js";
import { startPage } from "./board/page.js";
import { isTyping } from "./board/typing.js";

// What a clock has written, and what somebody has unfolded, survives a morph.
htmx.config.morphIgnore.push("open", "aria-current");
htmx.config.morphSkipChildren = "time[data-since], time[data-deadline]";

const now = byId("now");
const keys = byId("keys", HTMLDialogElement);

/** @returns {HTMLElement[]} */
const rows = () => [...now.querySelectorAll("[data-row]")].filter((row) => row instanceof HTMLElement);
/** @returns {HTMLElement | null} */
const rowAt = () => document.activeElement?.closest("[data-row]") ?? null;

/** @param {1 | -1} by */
const step = (by) => {
  const all = rows();
  const row = rowAt();
  const at = row ? all.indexOf(row) : -1;
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
};

/** @type {Record<string, () => void>} by the key */
const ACTIONS = {
  j: () => step(1),
  k: () => step(-1),
  x: () => rowAt()?.querySelector("summary")?.click(),
  c: () => {
    /** @type {HTMLElement | null | undefined} */
    const hand = rowAt()?.querySelector("[data-hand]");
    if (hand?.offsetParent) hand.click();
  },
  "?": () => keys.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector("dialog[open]")) return;
  const at = targetOf(event);
  if (isTyping(at)) {
    if (event.key === "Escape" && at instanceof HTMLElement) at.blur();
    return;
  }
  if (event.key === "Enter") {
    /** @type {HTMLElement | null | undefined} */
    const link = at?.matches("[data-row]") ? at.querySelector("a[href]") : null;
    link?.click();
    return;
  }
  const act = ACTIONS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// What is unfolded to be filled in is ready for it.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!(target instanceof HTMLDetailsElement) || !target.open) return;
    /** @type {HTMLInputElement | null} */
    const first = target.querySelector("input:not([type=hidden])");
    first?.focus();
  },
  true,
);

// A filter is chosen: look at once.
document.addEventListener("change", ({ target }) => {
  if (target instanceof HTMLSelectElement && target.matches("[data-auto]")) target.form?.requestSubmit();
});

// "Everything" and single types exclude one another.
document.addEventListener("change", ({ target }) => {
  if (!(target instanceof HTMLInputElement) || target.name !== "events" || !target.checked || !target.form) return;
  /** @type {NodeListOf<HTMLInputElement>} */
  const boxes = target.form.querySelectorAll('[name="events"]');
  for (const box of boxes) {
    if (box !== target && (target.value === "*" || box.value === "*")) box.checked = false;
  }
});

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const form = ctx.sourceElement?.closest("form");
  if (form) delete form.dataset.sent;
  const status = ctx.response?.status ?? 0;
  if (status === 401) callboard.toLogin();
  else if (form && status >= 400) announce(detailOf(ctx.text ?? "") || text("That did not work. Try again."));
});
document.addEventListener("htmx:error", (event) => {
  const form = event.detail.ctx?.sourceElement?.closest("form");
  if (!form) return;
  delete form.dataset.sent;
  announce(text("The server does not answer. Try again."));
});
document.addEventListener("board:done", async (event) => {
  if (event.detail.said) announce(event.detail.said);
  for (const work of readAgain) await work();
});

startClock();
startPage();
if (document.getElementById("stream")) startLive();
tickWithin(now);
