// Rows that a table does not show because there are so many: found by the server while somebody looks for a zone or for
// words, and found again every few seconds, since no message of the stream brings them.
import { byId } from "../elements.js";
import { isList, state } from "./address.js";

/** @import {ListName, Row} from "./address.js" */
/** @typedef {(found: Map<ListName, Row[]>) => void} Adopt gets the rows by table; earlier ones that are not among them leave */

const AGAIN_MS = 5000;
const LIMIT = 200; // the server's, a table

let asked = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

const isCut = () => document.querySelector(".cut[data-total]") !== null;

/** @param {string} text */
const say = (text) => {
  const said = byId("beyond");
  if (said.textContent !== text) said.textContent = text;
};

/** @param {Adopt} adopt */
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
  let text = "";
  try {
    const response = await fetch(`/board/beyond?${query}`, { headers: { "HX-Request": "true" } });
    if (response.status === 401) return callboard.toLogin();
    if (!response.ok) throw new Error(String(response.status));
    text = await response.text();
  } catch {
    if (mine === asked) say("The server does not answer. Only the rows shown were searched.");
    return;
  }
  if (mine !== asked) return;
  const bodies = new DOMParser().parseFromString(text, "text/html").querySelectorAll("tbody");
  /** @type {Map<ListName, Row[]>} */
  const found = new Map();
  for (const { dataset, rows } of bodies) if (isList(dataset.list)) found.set(dataset.list, [...rows]);
  const counts = [...found.values()].map((rows) => rows.length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const more = counts.some((count) => count >= LIMIT) ? " Search for more words to see all." : "";
  say(total ? `${total} more found.${more}` : "No more found.");
  adopt(found);
};

/** @param {Adopt} adopt */
export const lookBeyondSoon = (adopt) => {
  clearTimeout(timer);
  timer = setTimeout(look, 300, adopt);
};
