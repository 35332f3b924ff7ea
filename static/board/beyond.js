// Rows that a table does not show because there are so many: found by the server while somebody looks for a zone or for
// words, and found again every few seconds, since no message of the stream brings them.
import { counted, text } from "../driver/text.js";
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

/** @param {string} words */
const say = (words) => {
  const said = byId("beyond");
  if (said.textContent !== words) said.textContent = words;
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
  let html = "";
  try {
    const response = await fetch(`/board/beyond?${query}`, { headers: { "HX-Request": "true" } });
    if (response.status === 401) return callboard.toLogin();
    if (!response.ok) throw new Error(String(response.status));
    html = await response.text();
  } catch {
    if (mine === asked) say(text("The server does not answer. Only the rows shown were searched."));
    return;
  }
  if (mine !== asked) return;
  const bodies = new DOMParser().parseFromString(html, "text/html").querySelectorAll("tbody");
  /** @type {Map<ListName, Row[]>} */
  const found = new Map();
  for (const { dataset, rows } of bodies) if (isList(dataset.list)) found.set(dataset.list, [...rows]);
  const counts = [...found.values()].map((rows) => rows.length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const summary = total ? counted("{count} more found.", "{count} more found.", total) : text("No more found.");
  const isMore = counts.some((count) => count >= LIMIT);
  say(isMore ? `${summary} ${text("Search for more words to see all.")}` : summary);
  adopt(found);
};

/** @param {Adopt} adopt */
export const lookBeyondSoon = (adopt) => {
  asked += 1; // an answer that is under way is to another question
  clearTimeout(timer);
  timer = setTimeout(look, 300, adopt);
};
