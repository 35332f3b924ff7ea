// What is seen, as a function of what is known. It changes elements only where they differ; it decides nothing.

import * as w from "./words.js";
import { UNDO_MS } from "./actions.js";
import { allotted, foreignReason, openOffer, remaining, serverNow, work } from "./state.js";
import { text } from "./text.js";

const $ = (id) => document.getElementById(id);
const SHORT_MS = 10_000;
const OFFLINE_AFTER_MS = 1_500;

const write = (element, value) => {
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

// What the driver can do in a state, each in a place of its own: [break, pause, resume]; and to end the shift.
const CONTROLS = {
  available: [text("Take a break"), text("Pause"), null],
  busy: [text("Take a break"), text("No more after this"), null],
  on_break: [text("Change length"), null, text("Back to work")],
  paused: [text("Take a break"), null, text("Resume")],
  shift_ended: [null, null, text("Start shift")],
  offline: [null, null, text("Start shift")],
};

export class View {
  // `act(action, detail)` is called for what the driver does.
  constructor(act) {
    this.act = act;
    this.offerShown = null;
    for (const id of ["do-break", "do-pause", "do-resume", "do-leave"]) {
      $(id).addEventListener("click", (event) => act(event.currentTarget.dataset.action));
    }
    $("accept").addEventListener("click", () => act("accept", this.offerShown));
    $("reject").addEventListener("click", () => this.askWhy(true));
    $("back").addEventListener("click", () => this.askWhy(false));
    for (const [reason, words] of w.REJECTIONS) {
      chip($("reasons").querySelector(".chips"), words, () => act("reject", this.offerShown, reason));
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !$("offer").hidden) this.askWhy(false);
    });
  }

  // `about` is what is not in the state: {connection, since, place, busyWith, sound, audible, phase, actions}.
  draw(state, about, now) {
    set(document.body, "data-view", about.phase);
    this.offline = about.phase === "inside" && about.connection !== "online" && now.mono - about.since > OFFLINE_AFTER_MS;
    show($("gate"), about.phase === "gate");
    const lasting = w.LASTING[about.phase];
    show($("over"), Boolean(lasting));
    if (lasting) this.drawLasting(about.phase, lasting);
    const inside = about.phase === "inside" && state.driver !== null;
    show($("duty"), inside);
    if (!inside) show($("controls"), false);
    show($("forget"), about.phase !== "gate");
    show($("line"), about.phase === "inside");
    write($("name"), state.driver?.name ?? "Callboard");
    this.drawLine(about, now);
    this.drawPlace(about, inside);
    this.drawPush(about, inside);
    this.drawWork(inside ? work(state) : [], about, now);
    this.drawSaved(state, about, inside);
    if (inside) this.drawDuty(state, about, now);
    this.drawOffer(inside && about.connection === "online" ? openOffer(state, now) : null, about, now);
    this.drawUndo(state, about, now);
    this.drawNotices(state.notices);
  }

  drawLasting(phase, [title, body, button]) {
    write($("over-title"), title);
    write($("over-text"), body);
    write($("over-do"), button);
    $("over-do").onclick = () => this.act(`over-${phase}`);
  }

  drawLine({ connection, since }, now) {
    const { offline } = this;
    set($("line"), "data-state", offline ? "offline" : connection === "online" ? "online" : "connecting");
    write($("line").querySelector("span"), offline ? text("Offline") : connection === "online" ? text("Online") : text("Connecting"));
    show($("offline"), offline);
    if (offline) {
      const seconds = Math.floor((now.mono - since) / 1000);
      write($("offline-since"), w.offlineFor(seconds));
    }
  }

  drawPlace({ place }, inside) {
    const words = {
      off: text("You get no offers without your position."),
      asking: text("Finding your position…"),
      refused: text("Your position is not shared. Allow it for this page in the settings of the browser."),
      unavailable: text("This device does not give its position. You get no offers without it."),
    }[place.state];
    show($("whereabouts"), inside && !place.known && Boolean(words));
    write($("whereabouts-text"), words ?? "");
    show($("locate"), place.state !== "asking");
    write($("locate"), place.state === "off" ? text("Share position") : text("Set position"));
    show($("by-hand"), inside && ["refused", "unavailable", "by_hand"].includes(place.state));
  }

  drawPush({ push }, inside) {
    show($("notify"), inside && push !== "unsupported");
    write($("notify"), w.PUSH[push] ?? "");
    set($("notify"), "aria-pressed", push === "blocked" ? null : String(push === "on"));
    $("notify").disabled = push === "blocked" || push === "working";
    $("call-me").disabled = push === "working";
  }

  drawDuty(state, about, now) {
    const { driver } = state;
    const shown = shownState(driver);
    const [title, body] = w.STATES[this.offline ? "unreachable" : shown];
    const reason = this.offline || shown === "available" || shown === "busy" ? null : foreignReason(driver);
    const until = shown === "on_break" && driver.availabilityUntil && !this.offline ? Date.parse(driver.availabilityUntil) : null;
    set($("sign"), "data-state", this.offline ? "unreachable" : shown);
    write($("duty-title"), title);
    const endless = shown === "on_break" && until === null && !this.offline;
    write($("duty-text"), [reason && text("Reason: {reason}.", { reason }), endless ? null : body].filter(Boolean).join(" "));
    show($("duty-time"), until !== null);
    if (until !== null) write($("duty-time"), w.countdown(until - serverNow(state, now)));
    show($("call-me"), about.push === "unasked" && shown !== "shift_ended" && !this.offline);
    show($("hush"), shown === "available" && about.sound);
    set($("hush"), "data-done", about.audible ? "" : null);
    const [rest, pause, resume] = CONTROLS[shown];
    for (const [id, label] of [["do-break", rest], ["do-pause", pause], ["do-resume", resume], ["do-leave", rest && text("End shift")]]) {
      const press = $(id);
      show(press, Boolean(label));
      if (label) write(press, label);
      press.disabled = about.connection !== "online";
      set(press, "aria-busy", about.busyWith.has(press.dataset.action) ? "true" : null);
    }
    show($("controls"), rest !== null);
  }

  drawWork(assignments, about, now) {
    const list = $("jobs");
    const wanted = new Map(assignments.map((assignment) => [assignment.id, assignment]));
    for (const article of [...list.children]) {
      if (wanted.has(article.dataset.id)) continue;
      if (article.contains(document.activeElement)) $("main").focus({ preventScroll: true });
      article.remove();
    }
    assignments.forEach((assignment, place) => {
      let article = [...list.children].find((child) => child.dataset.id === assignment.id);
      if (!article) {
        article = $("job").content.firstElementChild.cloneNode(true);
        article.dataset.id = assignment.id;
        for (const press of article.querySelectorAll("button")) {
          press.addEventListener("click", () => this.act(press.dataset.action, assignment.id));
        }
        list.insertBefore(article, list.children[place] ?? null);
      }
      this.drawJob(article, assignment, about, now);
    });
  }

  drawJob(article, assignment, about, now) {
    const picked = assignment.pickedUpAt !== null;
    const done = about.actions.standing(assignment.driverId, assignment.id, now);
    write(article.querySelector("h2"), assignment.storeName);
    write(article.querySelector(".stage"), done ? text("Delivered") : picked ? text("On the way to the customer") : text("On the way to the pickup"));
    const given = article.querySelector(".given");
    write(given, w.GIVEN[assignment.source] ?? "");
    show(given, assignment.source in w.GIVEN);
    const [pickup, dropoff] = article.querySelectorAll("li");
    drawStop(pickup, assignment.pickup, text("Map to the pickup at {store}", { store: assignment.storeName }));
    drawStop(dropoff, assignment.dropoff, text("Map to the drop-off from {store}", { store: assignment.storeName }));
    pickup.classList.toggle("done", picked);
    dropoff.classList.toggle("done", done !== null);
    this.drawSteps(article, assignment, picked, done, about);
  }

  // Two steps side by side, so that no step's button is where another's was. What is done says so in its place.
  drawSteps(article, { id, storeName, pickedUpAt }, picked, done, about) {
    const [first, second] = article.querySelectorAll(".steps > div");
    const [pickUp, undo] = first.querySelectorAll("button");
    const deliver = second.querySelector("button");
    const mayUndo = done !== null && !done.tried;
    const focused = [pickUp, undo, deliver].find((press) => press === document.activeElement);
    show(pickUp, !picked);
    pickUp.disabled = about.connection !== "online";
    set(pickUp, "aria-busy", about.busyWith.has(`picked_up ${id}`) ? "true" : null);
    show(undo, mayUndo);
    set(undo, "aria-label", text("Undo: not delivered, {store}", { store: storeName }));
    show(deliver, picked && !done);
    const [pickedText, doneText] = [first, second].map((step) => step.querySelector("p"));
    show(pickedText, picked && !mayUndo);
    write(pickedText, picked ? text("Picked up at {time}", { time: w.clock(pickedUpAt) }) : "");
    show(doneText, !picked || done !== null);
    write(doneText, done ? w.delivered(done, about.connection === "online") : text("Then deliver"));
    second.classList.toggle("waiting", Boolean(done));
    if (done) second.style.setProperty("--gone", String(1 - done.left / UNDO_MS));
    if (focused?.hidden) {
      const next = [undo, deliver, pickUp].find((press) => !press.hidden) ?? $("main");
      next.focus({ preventScroll: true });
    }
  }

  // Deliveries that are kept on this phone and have no card here that says so.
  drawSaved(state, about, inside) {
    const hidden = about.saved.filter(({ assignmentId }) => !inside || !state.assignments[assignmentId]);
    const asked = about.phase !== "inside";
    show($("saved"), hidden.length > 0);
    write($("saved"), hidden.length ? w.saved(hidden, asked) : "");
  }

  // For those who listen: what eyes see on the buttons.
  whisper(said) {
    const again = $("said").textContent === said;
    write($("said"), again ? `${said}\u00a0` : said); // the same words twice would be no news
  }

  drawOffer(entry, about, now) {
    const box = $("offer");
    if (!entry) {
      if (this.offerShown !== null) {
        this.offerShown = null;
        show(box, false);
        delete box.dataset.id;
        this.coverApp(false);
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
      box.dataset.id = offer.id;
      show(box, true);
      this.coverApp(true);
      this.askWhy(false);
      box.scrollTop = 0;
    }
    write($("offer-left"), String(Math.ceil(left / 1000)));
    $("ring").style.strokeDashoffset = String(1 - left / allotted(entry));
    set(box.querySelector(".ring"), "data-short", left < SHORT_MS ? "" : null);
    const busy = about.busyWith.has(`accept ${offer.id}`);
    const rejecting = about.busyWith.has(`reject ${offer.id}`);
    for (const press of box.querySelectorAll("#answer button, #reasons button")) press.disabled = busy || rejecting;
    write($("accept"), busy ? text("Accepting…") : text("Accept"));
  }

  // What was delivered just before an offer came can be undone over it too. A line stays as long as the offer does: what
  // moves under a finger loses the tap.
  drawUndo({ driver, assignments }, { actions, connection }, now) {
    const list = $("offer-undo");
    if (this.offerShown === null) return list.replaceChildren();
    for (const { assignmentId, storeName } of actions.of(driver.id)) {
      if ([...list.children].some((line) => line.dataset.id === assignmentId)) continue;
      list.append(this.undoLine(assignmentId, storeName));
    }
    for (const line of list.children) {
      const done = actions.standing(driver.id, line.dataset.id, now);
      const [words, press] = line.children;
      const focused = press === document.activeElement;
      const what = done ? w.delivered(done, connection === "online") : line.dataset.id in assignments ? text("Not delivered yet") : text("Delivered");
      write(words.lastChild, what);
      show(press, done !== null && !done.tried);
      if (focused && press.hidden) $("offer-title").focus({ preventScroll: true });
    }
  }

  undoLine(assignmentId, storeName) {
    const line = document.createElement("li");
    line.dataset.id = assignmentId;
    const words = document.createElement("p");
    const store = document.createElement("b");
    store.textContent = storeName;
    words.append(store, document.createElement("span"));
    const press = document.createElement("button");
    press.type = "button";
    press.dataset.action = "undo";
    press.textContent = text("Undo");
    press.setAttribute("aria-label", text("Undo: not delivered, {store}", { store: storeName }));
    press.addEventListener("click", () => this.act("undo", assignmentId));
    line.append(words, press);
    return line;
  }

  // All but the notices, which come to those who look at an offer too.
  coverApp(yes) {
    for (const part of $("app").children) part.inert = yes && part.id !== "notices";
  }

  fillOffer({ payload }) {
    write($("offer-title"), payload.pickupStoreName);
    write($("offer-pay"), w.money(payload.estimatedEarningCents, payload.currency));
    write($("offer-km"), w.km(payload.estimatedDistanceKm));
    write($("offer-min"), w.minutes(payload.estimatedPickupTimeMin));
    write($("offer-by"), w.clock(payload.estimatedDeliveryTime));
    write($("offer-from"), w.address(payload.pickupLocation));
    write($("offer-to"), w.address(payload.dropoffLocation));
    link($("offer-from-map"), payload.pickupLocation, text("Map to the pickup"));
    link($("offer-to-map"), payload.dropoffLocation, text("Map to the drop-off"));
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
      const line = document.createElement("p");
      line.textContent = w.notice(notice);
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "×";
      gone.setAttribute("aria-label", text("Dismiss"));
      gone.addEventListener("click", () => this.act("dismiss", notice.id));
      element.append(line, gone);
      list.append(element);
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
  write(item.querySelector("span"), w.address(point));
  link(item.querySelector("a"), point, label);
};
