// Dialogs: fetched when wanted, posted by htmx, closed when the server says that it is done. A refusal is shown in
// the dialog, and what was typed stays.
import { announce } from "./notices.js";
import { dropPicks } from "./picks.js";

const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");

const PATHS = {
  search: (id) => `/board/deliveries/${id}/search`,
  assign: (id) => `/board/deliveries/${id}/assign`,
  reassign: (id) => `/board/deliveries/${id}/reassign`,
  cancel: (id) => `/board/deliveries/${id}/cancel`,
  acknowledge: (id) => `/board/deliveries/${id}/acknowledge`,
  availability: (id) => `/board/drivers/${id}/availability`,
};

const may = () => ["role-ops", "role-admin"].some((role) => document.body.classList.contains(role));

export const openDialog = async (path) => {
  body.textContent = "";
  await globalThis.htmx.ajax("GET", path, { source: dialog, target: body, swap: "innerHTML" });
  if (!body.childElementCount) return;
  if (!dialog.open) dialog.showModal();
  (body.querySelector("[autofocus]") ?? body.querySelector("input, button") ?? dialog).focus();
};

const post = (path, source) => globalThis.htmx.ajax("POST", path, { source, swap: "none" });

export const act = (action, id, source) => {
  if (!may()) return;
  // What is scheduled for later is dispatched only after a question.
  const asks = document.querySelector(`[data-id="${id}"] [data-do="search"][data-asks]`);
  if (action === "search" && !asks) post(`/board/deliveries/${id}/search`, source);
  else if (action === "move-all") {
    const ids = [...document.querySelectorAll(".work [data-delivery]")].map((row) => row.dataset.delivery);
    openDialog(bulkPath("reassign", ids));
  } else openDialog(PATHS[action](id));
};

export const bulkPath = (action, ids) =>
  `/board/bulk/${action}?${new URLSearchParams(ids.map((id) => ["id", id]))}`;

const sayInDialog = (text) => {
  const place = document.getElementById("dialog-error");
  if (!dialog.open || !place) return announce(text);
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = text;
  place.replaceChildren(line);
};

// The API's errors are problems in JSON: their detail is for people.
const detailOf = (text) => {
  try {
    return JSON.parse(text).detail;
  } catch {
    return new DOMParser().parseFromString(text, "text/html").body.textContent.trim();
  }
};

export const startDialogs = () => {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.dataset.close !== undefined) return dialog.close();
    if (button.dataset.do === "alert") return post(`/board/alerts/${button.dataset.alert}/acknowledge`, button);
    if (button.dataset.do) act(button.dataset.do, button.closest("[data-id]").dataset.id, button);
  });
  document.addEventListener("board:done", (event) => {
    if (dialog.open) dialog.close();
    if (event.detail.said) announce(event.detail.said);
  });
  // Of many: the form gives way to a line for each; what was done is selected no more.
  document.addEventListener("board:result", (event) => {
    dropPicks(event.detail.done);
    announce(event.detail.said);
  });
  dialog.addEventListener("htmx:after:swap", () => {
    const result = document.getElementById("dialog-result");
    if (!result?.childElementCount) return;
    for (const form of dialog.querySelectorAll("form")) form.hidden = true;
    result.querySelector("[data-close]").focus();
  });
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status < 400) return;
    if (ctx.response.status === 401) return globalThis.callboard.toLogin();
    const type = ctx.response.headers.get("Content-Type") ?? "";
    const text = detailOf(ctx.text ?? "");
    if (type.includes("json")) {
      const line = document.createElement("p");
      line.className = "error";
      line.textContent = text;
      ctx.text = line.outerHTML;
    }
    if (!dialog.contains(ctx.sourceElement)) announce(text);
  });
  // The button was disabled while it was sent, and lost the focus by that.
  dialog.addEventListener("htmx:finally:request", () => {
    requestAnimationFrame(() => {
      if (dialog.open && document.activeElement === document.body) (dialog.querySelector("#dialog-result [data-close]") ?? dialog.querySelector("[type=submit]"))?.focus();
    });
  });
  document.addEventListener("htmx:error", (event) => {
    const source = event.detail.ctx?.sourceElement;
    if (source && (dialog.contains(source) || source.dataset.do)) sayInDialog("No answer from the server. Try again.");
  });
  // Somebody with an open offer can only be assigned, not asked.
  dialog.addEventListener("change", (event) => {
    const { name, dataset } = event.target;
    if (name !== "driver") return;
    const offer = dialog.querySelector('[name="mode"][value="offer"]');
    const direct = dialog.querySelector('[name="mode"][value="assign"]');
    if (!offer) return;
    offer.disabled = dataset.directOnly !== undefined;
    if (offer.disabled) direct.checked = true;
  });
  dialog.addEventListener("input", (event) => {
    if (event.target.name !== "own_reason" || !event.target.value) return;
    const other = dialog.querySelector('[name="reason"][value="other"]');
    if (other && !dialog.querySelector('[name="reason"]:checked')) other.checked = true;
  });
  dialog.addEventListener("close", () => {
    body.textContent = "";
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
};
