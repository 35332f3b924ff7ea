// Messages of dispatch and notices of this page, as the driver sees them.

import * as w from "./words.js";
import { byId, within } from "../elements.js";
import { chip, childrenOf, show } from "./paint.js";
import { text } from "./text.js";

/** @import {About, Act} from "./page.js" */
/** @import {Notice} from "./state.js" */

/** @type {ReadonlySet<Notice["kind"]>} what came in while the driver reads further down is brought into view, like a message */
const TO_READ = new Set(["work", "bad", "urgent"]);

export class Inbox {
  /** @param {Act} act */
  constructor(act) {
    this._act = act;
  }

  /**
   * Messages of dispatch that the driver has not seen, oldest first.
   * @param {Wire.ChatMessageView[]} messages
   * @param {About} about
   */
  drawMessages(messages, about) {
    const list = byId("messages");
    show(list, messages.length > 0);
    const wanted = new Set(messages.map((message) => message.id));
    for (const element of childrenOf(list)) {
      if (wanted.has(element.dataset.id ?? "")) continue;
      if (element.contains(document.activeElement)) byId("main").focus({ preventScroll: true });
      element.remove();
    }
    for (const message of messages) {
      const shown = childrenOf(list).find((child) => child.dataset.id === message.id);
      const element = shown ?? this._messageOf(message);
      if (!shown) {
        list.append(element);
        scrollTo(0, 0);
      }
      within(element, "button", HTMLButtonElement).disabled = about.connection !== "online" || about.busyWith.has(`seen ${message.id}`);
    }
  }

  /** @param {Wire.ChatMessageView} message */
  _messageOf(message) {
    const element = document.createElement("article");
    element.className = "message";
    element.dataset.id = message.id;
    const words = document.createElement("div");
    const line = document.createElement("p");
    line.textContent = message.text;
    const by = document.createElement("span");
    by.textContent = text("{name} at {time}", { name: message.from, time: w.clock(message.at) });
    words.append(line, by);
    element.append(words);
    chip(element, text("Seen"), () => this._act("seen", message.id));
    return element;
  }

  /** @param {Notice[]} notices */
  drawNotices(notices) {
    const list = byId("notices");
    const wanted = new Set(notices.map((notice) => String(notice.id)));
    for (const element of childrenOf(list)) {
      if (!wanted.has(element.dataset.id ?? "")) element.remove();
    }
    for (const notice of notices) {
      if (childrenOf(list).some((element) => element.dataset.id === String(notice.id))) continue;
      const element = document.createElement("div");
      element.className = "notice";
      element.dataset.id = String(notice.id);
      element.dataset.kind = notice.kind;
      const line = document.createElement("p");
      line.textContent = w.notice(notice);
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "×";
      gone.setAttribute("aria-label", text("Dismiss"));
      gone.addEventListener("click", () => this._act("dismiss", String(notice.id)));
      element.append(line);
      const dispatch = document.querySelector("#call-dispatch");
      if (notice.kind === "urgent" && dispatch) {
        const call = /** @type {Element} */ (dispatch.cloneNode(true));
        call.removeAttribute("id");
        call.className = "call";
        element.append(call);
      }
      element.append(gone);
      list.append(element);
      if (TO_READ.has(notice.kind)) scrollTo(0, 0);
    }
  }
}
