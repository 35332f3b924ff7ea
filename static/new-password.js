// The link to set a new password has its code in the fragment, which browsers do not send: it goes into the form.
import { byId } from "./elements.js";

const code = byId("code", HTMLInputElement);
const given = location.hash.slice(1);
if (given) {
  code.value = given;
  history.replaceState(null, "", location.pathname);
}
byId("code-field").hidden = code.value !== "";
byId(code.value ? "password" : "code", HTMLInputElement).focus();
