// The policy's form after it was sent: the focus goes to what needs a correction; a server that does not answer is named.
(() => {
  "use strict";

  document.addEventListener("htmx:after:swap", () => {
    const form = document.getElementById("policy-form");
    /** @type {HTMLElement | null | undefined} */
    const wrong = form?.querySelector('[aria-invalid="true"]') ?? form?.querySelector("#policy-message [role=alert]");
    /** @type {HTMLElement | null | undefined} */
    const next = wrong ?? form?.querySelector("[autofocus]");
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "center" });
  });

  /** @param {string} words */
  const say = (words) => {
    const line = document.createElement("p");
    line.className = "message bad";
    line.setAttribute("role", "alert");
    const message = document.getElementById("policy-message");
    line.textContent = words;
    message?.replaceChildren(line);
    line.scrollIntoView({ block: "center" });
  };
  const away = () => say(document.getElementById("policy-message")?.dataset.away ?? "");
  document.addEventListener("htmx:error", away);
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail.ctx?.response?.status ?? 0;
    if (status === 401) callboard.toLogin();
    else if (status >= 500) away();
    else if (status === 403) say(JSON.parse(event.detail.ctx?.text ?? "{}").detail);
  });
})();
