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

  const away = () => {
    const line = document.createElement("p");
    line.className = "message bad";
    line.setAttribute("role", "alert");
    const message = document.getElementById("policy-message");
    line.textContent = message?.dataset.away ?? "";
    message?.replaceChildren(line);
    line.scrollIntoView({ block: "center" });
  };
  document.addEventListener("htmx:error", away);
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail.ctx?.response?.status ?? 0;
    if (status === 401) callboard.toLogin();
    else if (status >= 500) away();
  });
})();
