// The gate: a link, or the code of an invitation, lets a driver in.

import { byId } from "../elements.js";
import { newId } from "./ids.js";
import { say } from "./state.js";
import { text } from "./text.js";
import { codeIn, keep, kept, replaceBy, signIn, tokenIn } from "./token.js";
import { GATE } from "./words.js";

/** @import {Entry} from "./entry.js" */
/** @import {Page} from "./page.js" */
/** @import {Brought} from "./token.js" */
/** @import {GateMessage} from "./words.js" */

const TRY_AGAIN_MS = 3_000;
const STILL_IN = text("This link was used or has expired. You are still signed in.");

export class Gate {
  /** @param {{page: Page, entry: Entry}} parts */
  constructor({ page, entry }) {
    this._page = page;
    this._entry = entry;
    this._opened = 0;
    const link = byId("link", HTMLInputElement);
    byId("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      const brought = { token: tokenIn(link.value), code: codeIn(link.value) };
      if (brought.token === null && brought.code === null) {
        this._say("unknown");
        return;
      }
      link.value = "";
      void this.bringIn(brought);
    });
  }

  /**
   * Enter with the token or the code of a link, or without one with the stored token. Any page can open a link, so a phone
   * that is signed in stays signed in until the server accepts the link.
   * @param {Brought & {actionId?: string}} brought
   */
  async bringIn({ token, code, actionId = newId() }) {
    const mine = ++this._opened;
    if (token !== null && kept() === null) keep(token);
    const held = kept();
    if (code === null && (token === null || token === held)) return this._entry.enter();
    if (held === null) {
      this._entry.enter();
      this._say("signing");
    }
    const attempt = async () => {
      if (code !== null) return signIn(code, actionId);
      return token === null ? "refused" : replaceBy(token);
    };
    let outcome = await attempt();
    if (outcome !== "in" && held !== null) this._entry.enter();
    while (outcome === "unreachable" && mine === this._opened) {
      if (held === null) this._say(outcome);
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
      outcome = await attempt();
    }
    if (outcome === "in") this._entry.enter({ takeOver: held !== null }); // its connection with the token before is not another phone's
    else if (mine === this._opened && held === null) this._say(outcome);
    else if (mine === this._opened) this._stayIn(outcome === "refused" ? STILL_IN : GATE[outcome]);
  }

  // The driver leaves this phone: no link that is still on its way counts any more.
  leave() {
    this._opened++;
    byId("gate-goods").hidden = !this._page.hasWork;
  }

  /** @param {string} why */
  _stayIn(why) {
    const { client } = this._page;
    client.adopt(say(client.state, "info", why));
  }

  /** @param {GateMessage} why */
  _say(why) {
    byId("enter-error").textContent = GATE[why];
    byId("enter-error").hidden = false;
  }
}
