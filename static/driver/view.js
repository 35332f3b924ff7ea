// What is seen, as a function of what is known. It changes elements only where they differ; it decides nothing.

import * as w from "./words.js";
import { allotted, foreignReason, openOffer, remaining, serverNow, work } from "./state.js";

const $ = (id) => document.getElementById(id);
const SHORT_MS = 10_000;
const OFFLINE_AFTER_MS = 1_500;

const text = (element, value) => {
  if (element.textContent !== value) element.textContent = value;
};
const show = (element, yes) => {
  if (element.hidden === yes) element.hidden = !yes;
};
const set = (element, name, value) => {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};

// The state that the driver sees: availability, or what keeps offers away.
export const shownState = (driver) => (driver.availability === "available" && driver.busy ? "busy" : driver.availability);

// What the buttons below do in a state: [label, action, kind].
const CONTROLS = {
  available: [["Take a break", "break"], ["Pause", "pause"], ["End shift", "leave"]],
  busy: [["No more after this", "pause"], ["Take a break", "break"], ["End shift", "leave"]],
  on_break: [["Back to work", "resume", "primary"], ["Other length", "break"], ["End shift", "leave"]],
  paused: [["Resume", "resume", "primary"], ["Take a break", "break"], ["End shift", "leave"]],
  shift_ended: [["Start shift", "resume", "primary"]],
  offline: [["Start shift", "resume", "primary"]],
};

export class View {
  // `act(action, detail)` is called for what the driver does.
  constructor(act) {
    this.act = act;
    this.offerShown = null;
    for (const id of ["do-main", "do-second", "do-third"]) {
      $(id).addEventListener("click", (event) => act(event.currentTarget.dataset.action));
    }
    $("accept").addEventListener("click", () => act("accept", this.offerShown));
    $("reject").addEventListener("click", () => this.askWhy(true));
    $("back").addEventListener("click", () => this.askWhy(false));
    for (const reason of w.REJECTIONS) {
      chip($("reasons").querySelector(".chips"), reason, () => act("reject", this.offerShown, reason));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !$("offer").hidden) this.askWhy(false);
    });
  }

  // `about` is what is not in the state: {connection, since, place, busyWith, sound, audible, phase}.
  draw(state, about, now) {
    set(document.body, "data-view", about.phase);
    this.offline = about.phase === "inside" && about.connection !== "online" && now.mono - about.since > OFFLINE_AFTER_MS;
    show($("gate"), about.phase === "gate");
    const lasting = w.LASTING[about.phase];
    show($("over"), Boolean(lasting));
    if (lasting) this.drawLasting(about.phase, lasting);
    const inside = about.phase === "inside" && state.driver !== null;
    show($("duty"), inside);
    show($("controls"), inside);
    show($("forget"), about.phase !== "gate");
    show($("line"), about.phase === "inside");
    text($("name"), state.driver?.name ?? "Callboard");
    this.drawLine(about, now);
    this.drawPlace(about, inside);
    this.drawPush(about, inside);
    this.drawWork(inside ? work(state) : [], about);
    if (inside) this.drawDuty(state, about, now);
    this.drawOffer(inside && about.connection === "online" ? openOffer(state, now) : null, about, now);
    this.drawNotices(state.notices);
  }

  drawLasting(phase, [title, told, button]) {
    text($("over-title"), title);
    text($("over-text"), told);
    text($("over-do"), button);
    $("over-do").onclick = () => this.act(`over-${phase}`);
  }

  drawLine({ connection, since }, now) {
    const { offline } = this;
    set($("line"), "data-state", offline ? "offline" : connection === "online" ? "online" : "connecting");
    text($("line").querySelector("span"), offline ? "Offline" : connection === "online" ? "Online" : "Connecting");
    show($("offline"), offline);
    if (offline) {
      const seconds = Math.floor((now.mono - since) / 1000);
      text($("offline-since"), seconds < 10 ? "" : seconds < 90 ? `For ${seconds - (seconds % 10)} seconds.` : `For ${Math.round(seconds / 60)} minutes.`);
    }
  }

  drawPlace({ place }, inside) {
    const told = {
      off: "No offers come without your position.",
      asking: "Finding out where you are…",
      refused: "Your position is not shared: allow it for this page in the browser’s settings.",
      unavailable: "This device does not say where it is. No offers come without a position.",
    }[place.state];
    show($("whereabouts"), inside && !place.known && Boolean(told));
    text($("whereabouts-text"), told ?? "");
    show($("locate"), place.state !== "asking");
    text($("locate"), place.state === "off" ? "Share it" : "Set by hand");
    show($("by-hand"), inside && ["refused", "unavailable", "by_hand"].includes(place.state));
  }

  drawPush({ push }, inside) {
    show($("notify"), inside && push !== "unsupported");
    text($("notify"), w.PUSH[push] ?? "");
    set($("notify"), "aria-pressed", push === "blocked" ? null : String(push === "on"));
    $("notify").disabled = push === "blocked" || push === "working";
    $("call-me").disabled = push === "working";
  }

  drawDuty(state, about, now) {
    const { driver } = state;
    const shown = shownState(driver);
    const [title, told] = w.STATES[this.offline ? "unreachable" : shown];
    const reason = this.offline || shown === "available" || shown === "busy" ? null : foreignReason(driver);
    const until = shown === "on_break" && driver.availabilityUntil && !this.offline ? Date.parse(driver.availabilityUntil) : null;
    set($("sign"), "data-state", this.offline ? "unreachable" : shown);
    text($("duty-title"), title);
    const endless = shown === "on_break" && until === null && !this.offline;
    text($("duty-text"), [reason && `Reason: ${reason}.`, endless ? null : told].filter(Boolean).join(" "));
    show($("duty-time"), until !== null);
    if (until !== null) text($("duty-time"), w.countdown(until - serverNow(state, now)));
    show($("call-me"), about.push === "unasked" && shown !== "shift_ended" && !this.offline);
    show($("hush"), shown === "available" && about.sound);
    set($("hush"), "data-done", about.audible ? "" : null);
    const buttons = CONTROLS[shown];
    ["do-main", "do-second", "do-third"].forEach((id, place) => {
      const [label, action, kind] = buttons[place] ?? [];
      show($(id), Boolean(label));
      text($(id), label ?? "");
      set($(id), "data-action", action ?? null);
      $(id).classList.toggle("primary", kind === "primary");
      $(id).disabled = about.connection !== "online";
      set($(id), "aria-busy", about.busyWith.has(action) ? "true" : null);
    });
    show($("do-second").parentElement, buttons.length > 1);
  }

  drawWork(assignments, about) {
    const list = $("jobs");
    const wanted = new Map(assignments.map((assignment) => [assignment.id, assignment]));
    for (const article of [...list.children]) {
      if (!wanted.has(article.dataset.id)) article.remove();
    }
    assignments.forEach((assignment, place) => {
      let article = [...list.children].find((child) => child.dataset.id === assignment.id);
      if (!article) {
        article = $("job").content.firstElementChild.cloneNode(true);
        article.dataset.id = assignment.id;
        const press = article.querySelector("button");
        press.addEventListener("click", () => this.act(press.dataset.action, assignment.id));
        list.insertBefore(article, list.children[place] ?? null);
      }
      this.drawJob(article, assignment, about);
    });
  }

  drawJob(article, assignment, about) {
    const picked = assignment.pickedUpAt !== null;
    text(article.querySelector("h2"), assignment.storeName);
    text(article.querySelector(".stage"), picked ? "On the way to the customer" : "On the way to the pickup");
    const given = article.querySelector(".given");
    text(given, w.GIVEN[assignment.source] ?? "");
    show(given, assignment.source in w.GIVEN);
    const [pickup, dropoff] = article.querySelectorAll("li");
    drawStop(pickup, assignment.pickup, `Map to the pickup at ${assignment.storeName}`);
    drawStop(dropoff, assignment.dropoff, `Map to the drop-off from ${assignment.storeName}`);
    pickup.classList.toggle("done", picked);
    const press = article.querySelector("button");
    const action = picked ? "completed" : "picked_up";
    set(press, "data-action", action);
    text(press, picked ? "Delivered" : "Picked up");
    press.disabled = about.connection !== "online" || about.busyWith.has(`${action} ${assignment.id}`);
  }

  drawOffer(entry, about, now) {
    const box = $("offer");
    if (!entry) {
      if (this.offerShown !== null) {
        this.offerShown = null;
        show(box, false);
        $("app").inert = false;
        $("main").focus({ preventScroll: true });
      }
      return;
    }
    const { offer } = entry;
    const left = remaining(entry, now);
    if (this.offerShown !== offer.id) {
      this.offerShown = offer.id;
      for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close("");
      this.fillOffer(offer);
      show(box, true);
      $("app").inert = true;
      this.askWhy(false);
      box.scrollTop = 0;
    }
    text($("offer-left"), String(Math.ceil(left / 1000)));
    $("ring").style.strokeDashoffset = String(1 - left / allotted(entry));
    set(box.querySelector(".ring"), "data-short", left < SHORT_MS ? "" : null);
    const busy = about.busyWith.has(`accept ${offer.id}`);
    const rejecting = about.busyWith.has(`reject ${offer.id}`);
    for (const press of box.querySelectorAll("button")) press.disabled = busy || rejecting;
    text($("accept"), busy ? "Accepting…" : "Accept");
  }

  fillOffer({ payload }) {
    text($("offer-title"), payload.pickupStoreName);
    text($("offer-pay"), w.money(payload.estimatedEarningCents, payload.currency));
    text($("offer-km"), w.km(payload.estimatedDistanceKm));
    text($("offer-min"), `${payload.estimatedPickupTimeMin} min`);
    text($("offer-by"), w.clock(payload.estimatedDeliveryTime));
    text($("offer-from"), w.address(payload.pickupLocation));
    text($("offer-to"), w.address(payload.dropoffLocation));
    link($("offer-from-map"), payload.pickupLocation, "Map to the pickup");
    link($("offer-to-map"), payload.dropoffLocation, "Map to the drop-off");
  }

  askWhy(yes) {
    show($("reasons"), yes);
    show($("answer"), !yes);
    $(yes ? "reasons-title" : "offer-title").focus({ preventScroll: true });
  }

  drawNotices(notices) {
    const list = $("notices");
    const wanted = new Set(notices.map((notice) => String(notice.id)));
    for (const element of [...list.children]) {
      if (!wanted.has(element.dataset.id)) element.remove();
    }
    for (const notice of notices) {
      if ([...list.children].some((element) => element.dataset.id === String(notice.id))) continue;
      const element = document.createElement("div");
      element.className = "notice";
      element.dataset.id = notice.id;
      element.dataset.kind = notice.kind;
      const told = document.createElement("p");
      told.textContent = notice.text;
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "×";
      gone.setAttribute("aria-label", "Dismiss");
      gone.addEventListener("click", () => this.act("dismiss", notice.id));
      element.append(told, gone);
      list.append(element);
    }
    if (notices.length) {
      const top = this.offerShown === null ? $("main").getBoundingClientRect().top : 0;
      list.style.top = `${Math.max(top, 0) + 8}px`;
    }
  }
}

export const chip = (into, label, press) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", press);
  into.append(button);
  return button;
};

const link = (anchor, point, label) => {
  set(anchor, "href", w.mapLink(point));
  set(anchor, "aria-label", label);
};

const drawStop = (item, point, label) => {
  text(item.querySelector("span"), w.address(point));
  link(item.querySelector("a"), point, label);
};
