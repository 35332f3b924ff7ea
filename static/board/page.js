// The page of one delivery or one driver: read again when the stream says that it changed.
import { tickWithin } from "./clock.js";
import { readAgain } from "./live.js";
import { byId } from "../elements.js";

const GATHER_MS = 150;
const EXPECTED_MS = 30_000; // what is expected changes with the clock and with every position, which is no change

export const startPage = () => {
  const page = byId("page");
  const target = byId("now");
  /** @type {ReturnType<typeof setTimeout> | null} */
  let waiting = null;

  const read = async () => {
    try {
      await htmx.ajax("GET", page.dataset.now, { source: page, target, swap: "innerMorph" });
    } finally {
      tickWithin(target);
      document.dispatchEvent(new CustomEvent("board:places"));
    }
  };

  const soon = () => {
    waiting ??= setTimeout(() => {
      waiting = null;
      read();
    }, GATHER_MS);
  };

  document.getElementById("stream")?.addEventListener("changed", soon);
  readAgain.push(read);
  setInterval(() => {
    if (!document.hidden && target.querySelector("[data-expected]")) soon();
  }, EXPECTED_MS);
};
