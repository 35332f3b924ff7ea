// What the driver asks of the server, and waits for: answers to offers, availability, messages.

import { Refused } from "./connection.js";
import { askWords, sent } from "./dialogs.js";
import { newId } from "./ids.js";
import { say } from "./state.js";
import { refused } from "./words.js";

/** @import {Page} from "./page.js" */

export class Requests {
  /** @param {{page: Page}} parts */
  constructor({ page }) {
    this._page = page;
    /** @type {{words: string, actionId: string} | null} what the driver wrote and the server has not confirmed */
    this._unsent = null;
  }

  /**
   * Sends what the driver did, once at a time. Whether the server accepted it.
   * @param {string} what
   * @param {Wire.FromDriver} message
   * @returns {Promise<boolean>}
   */
  async ask(what, message) {
    const { busyWith, client, draw } = this._page;
    if (busyWith.has(what)) return false;
    busyWith.add(what);
    draw();
    try {
      await client.ask(message);
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // The next `hello` shows the outcome of a message whose answer was lost.
      if (error.code === "offer_no_longer_open" && "offerId" in message) this._forgetOffer(message.offerId);
      else this.failed(refused(error));
      return false;
    } finally {
      busyWith.delete(what);
      draw();
    }
  }

  // The same words again, after an error, are the same message.
  async write() {
    const { busyWith, client, draw } = this._page;
    const words = await askWords();
    if (words === null || busyWith.has("say")) return;
    if (this._unsent?.words !== words) this._unsent = { words, actionId: newId() };
    busyWith.add("say");
    try {
      await client.ask({ type: "say", text: words, actionId: this._unsent.actionId });
      this._unsent = null;
      sent();
      client.adopt(say(client.state, "good", "Your dispatcher has your message."));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.failed(refused(error));
    } finally {
      busyWith.delete("say");
      draw();
    }
  }

  /**
   * What went wrong, in the words of the page.
   * @param {string} words
   */
  failed(words) {
    const { client } = this._page;
    client.adopt(say(client.state, "bad", words));
  }

  /** @param {string} offerId */
  _forgetOffer(offerId) {
    const { client } = this._page;
    const { [offerId]: closed, ...offers } = client.state.offers;
    const next = { ...client.state, offers };
    client.adopt(say(next, "info", "This offer is closed."));
  }
}
