// The link to set a new password has its code in the fragment, which browsers do not send: it goes into the form. Whether
// the link still works is asked at once, before anybody thinks of a password.
import { byId } from "./elements.js";

const code = byId("code", HTMLInputElement);
const over = byId("link-over");
const form = byId("link-form");

const showOver = () => {
  form.hidden = true;
  over.hidden = false;
  over.focus();
};

/** Without an answer the form stays: it says the same when it is sent. */
const check = async () => {
  const answer = await fetch(callboard.at("/new-password/check"), {
    method: "POST",
    body: new URLSearchParams({ code: code.value }),
    credentials: "same-origin",
  });
  if (answer.ok && !(await answer.json()).works) showOver();
};

const given = location.hash.slice(1);
if (given) {
  code.value = given;
  history.replaceState(null, "", location.pathname);
}
byId("code-field").hidden = code.value !== "";
if (!over.hidden) over.focus();
else byId(code.value ? "password" : "code", HTMLInputElement).focus();
if (given && over.hidden) check().catch(() => {});
