// Keys of every screen: `/` searches, `n` is a new order. Off while somebody types, in dialogs, and with Ctrl, Alt or Meta.
import { isTyping } from "./board/typing.js";
import { targetOf } from "./elements.js";

const field = () => document.getElementById("q");

const search = () => {
  const q = field();
  if (q) q.focus();
  else location.assign(callboard.at("/orders#q"));
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector("dialog[open]") || isTyping(targetOf(event))) return;
  if (event.key === "/") search();
  else if (event.key === "n" && !document.body.matches(".role-viewer")) location.assign(callboard.at("/orders/new"));
  else return;
  event.preventDefault();
});

if (location.hash === "#q") field()?.focus();
