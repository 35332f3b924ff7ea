// Rows that a table does not show because there are so many: found by the server while somebody looks for a zone or for
// words, and found again every few seconds, since no message of the stream brings them.
import { state } from "./address.js";

const AGAIN_MS = 5000;
const LIMIT = 200; // the server's, a table

const said = document.getElementById("beyond");
let asked = 0;
let timer = null;

const isCut = () => document.querySelector(".cut[data-total]") !== null;

const say = (text) => {
  if (said.textContent !== text) said.textContent = text;
};

const look = async (adopt) => {
  clearTimeout(timer);
  const mine = ++asked;
  if (!(state.zone || state.q) || !isCut()) {
    say("");
    return adopt(new Map());
  }
  timer = setTimeout(look, AGAIN_MS, adopt);
  if (document.hidden) return;
  const query = new URLSearchParams({ zone: state.zone, q: state.q });
  let text;
  try {
    const response = await fetch(`/board/beyond?${query}`, { headers: { "HX-Request": "true" } });
    if (response.status === 401) return globalThis.callboard.toLogin();
    if (!response.ok) throw new Error(String(response.status));
    text = await response.text();
  } catch {
    if (mine === asked) say("The server does not answer. Only the rows shown were searched.");
    return;
  }
  if (mine !== asked) return;
  const bodies = new DOMParser().parseFromString(text, "text/html").querySelectorAll("tbody");
  const found = new Map([...bodies].map((body) => [body.dataset.list, [...body.rows]]));
  const counts = [...found.values()].map((rows) => rows.length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const more = counts.some((count) => count >= LIMIT) ? " Search for more words to see all." : "";
  say(total ? `${total} more found.${more}` : "No more found.");
  adopt(found);
};

// `adopt` takes the rows by table; what it had before and is not among them leaves.
export const lookBeyondSoon = (adopt) => {
  clearTimeout(timer);
  timer = setTimeout(look, 300, adopt);
};
