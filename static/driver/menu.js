// The buttons that have nothing to do with an order: position, sound, notifications, a message, installing, signing out.

import { byId } from "../elements.js";
import { now } from "./client.js";
import { askPlace, askSignOut } from "./dialogs.js";
import { text } from "./text.js";

/** @import {Alarm} from "./alarm.js" */
/** @import {Page} from "./page.js" */
/** @import {Place} from "./place.js" */
/** @import {Push} from "./push.js" */
/** @import {Requests} from "./requests.js" */

/**
 * Brings the buttons to life. `forget` makes the phone forget the driver.
 * @param {{page: Page, alarm: Alarm, place: Place, push: Push, requests: Requests, forget: () => void}} parts
 */
export const openMenu = ({ page, alarm, place, push, requests, forget }) => {
  const byHand = async () => {
    const chosen = await askPlace(place.here, page.client.state, now());
    if (chosen) place.put(chosen.lat, chosen.lon);
  };
  byId("locate").addEventListener("click", () => (place.state === "off" ? place.watch() : void byHand()));
  byId("by-hand").addEventListener("click", () => void byHand());

  const sound = byId("sound");
  sound.addEventListener("click", () => {
    alarm.wanted = !alarm.wanted;
    if (!alarm.wanted) alarm.stop();
    sound.setAttribute("aria-pressed", String(alarm.wanted));
    sound.textContent = alarm.wanted ? text("Sound is on") : text("Sound is off");
    page.draw();
  });
  byId("notify").addEventListener("click", () => void (push.state === "on" ? push.turnOff() : push.turnOn()));
  byId("call-me").addEventListener("click", () => void push.turnOn());

  byId("do-write").addEventListener("click", () => void requests.write());
  byId("forget").addEventListener("click", async () => {
    if (await askSignOut(page.hasWork)) forget();
  });

  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    const install = byId("install");
    install.hidden = false;
    install.onclick = () => {
      install.hidden = true;
      void event.prompt();
    };
  });
};
