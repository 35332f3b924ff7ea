// The board and the pages of one delivery or driver. The server renders; this listens, counts up and down, filters,
// sorts, and hands over what a person wants done.
import { startClock } from "./board/clock.js";
import { startDialogs } from "./board/dialogs.js";
import { startKeys } from "./board/keys.js";
import { startLists } from "./board/lists.js";
import { startLive } from "./board/live.js";
import { startMap } from "./board/map.js";
import { startNotices } from "./board/notices.js";
import { startPage } from "./board/page.js";

// What the script puts on elements that the server knows nothing of survives a morph; so does what a clock has written.
htmx.config.morphIgnore.push("hidden", "style", "aria-current", "data-over");
htmx.config.morphSkipChildren = "time[data-since], time[data-deadline]";

startClock();
startDialogs();
startKeys();
if (document.getElementById("board")) {
  startLists();
  startNotices();
} else {
  startPage();
}
startMap();
startLive();
