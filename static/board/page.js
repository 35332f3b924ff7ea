// The page of one delivery or one driver: read again when the stream says that it changed.
import { tickWithin } from "./clock.js";
import { readAgain } from "./live.js";

const GATHER_MS = 150;

export const startPage = () => {
  const htmx = globalThis.htmx;
  const page = document.getElementById("page");
  const target = document.getElementById("now");
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
};
