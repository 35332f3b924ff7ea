// Dialogs: fetched when wanted, posted by htmx, closed when the server says that it is done. A refusal is shown in
// the dialog, and what was typed stays.
import { text } from "../driver/text.js";
import { byId, targetOf, within } from "../elements.js";
import { announce, detailOf } from "./notices.js";
import { dropPicks } from "./picks.js";

const dialog = byId("dialog", HTMLDialogElement);
const body = byId("dialog-body");

/** @type {Record<string, (id: string) => string>} */
const PATHS = {
  search: (id) => `/board/deliveries/${id}/search`,
  assign: (id) => `/board/deliveries/${id}/assign`,
  reassign: (id) => `/board/deliveries/${id}/reassign`,
  cancel: (id) => `/board/deliveries/${id}/cancel`,
  acknowledge: (id) => `/board/deliveries/${id}/acknowledge`,
  ...Object.fromEntries(
    ["ready", "delay", "restore", "retry", "pickup", "complete", "failed", "release"].map((name) => [
      name,
      /** @param {string} id */
      (id) => `/board/deliveries/${id}/steps/${name}`,
    ]),
  ),
  availability: (id) => `/board/drivers/${id}/availability`,
  message: (id) => `/board/drivers/${id}/message`,
};

const may = () => ["role-ops", "role-admin"].some((role) => document.body.classList.contains(role));

/** @param {string} path of what it shows */
export const openDialog = async (path) => {
  body.textContent = "";
  await htmx.ajax("GET", path, { source: dialog, target: body, swap: "innerHTML" });
  if (!body.childElementCount) return;
  if (!dialog.open) dialog.showModal();
  focusFirst(body.querySelector("[autofocus]") ?? body.querySelector("input, button") ?? dialog);
};

/** @param {Element | null | undefined} element */
const focusFirst = (element) => {
  if (element instanceof HTMLElement) element.focus();
};

/**
 * @param {string} path
 * @param {Element} source
 */
const post = (path, source) => htmx.ajax("POST", path, { source, swap: "none" });

/**
 * Does something with an order or a driver, or asks for what it takes.
 * @param {string} action
 * @param {string} id
 * @param {Element} source
 */
export const act = (action, id, source) => {
  if (!may()) return;
  // What is scheduled for later is dispatched only after a question.
  const asks = document.querySelector(`[data-id="${id}"] [data-do="search"][data-asks]`);
  if (action === "search" && !asks) post(`/board/deliveries/${id}/search`, source);
  else if (action === "move-all") {
    /** @type {NodeListOf<HTMLElement>} */
    const rows = document.querySelectorAll(".work [data-delivery]");
    openDialog(bulkPath("reassign", [...rows].map((row) => row.dataset.delivery ?? "")));
  } else {
    const path = PATHS[action]?.(id);
    if (path) openDialog(path);
  }
};

/**
 * @param {string} action
 * @param {string[]} ids
 */
export const bulkPath = (action, ids) =>
  `/board/bulk/${action}?${new URLSearchParams(ids.map((id) => ["id", id]))}`;

/** @param {string} words */
const sayInDialog = (words) => {
  const place = document.getElementById("dialog-error");
  if (!dialog.open || !place) return announce(words);
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = words;
  place.replaceChildren(line);
};

export const startDialogs = () => {
  document.addEventListener("click", (event) => {
    const button = targetOf(event)?.closest("button");
    if (!button) return;
    if (button.dataset.close !== undefined) return dialog.close();
    if (button.dataset.do === "alert") return post(`/board/alerts/${button.dataset.alert}/acknowledge`, button);
    /** @type {HTMLElement | null} */
    const thing = button.closest("[data-id]");
    if (button.dataset.do && thing?.dataset.id) act(button.dataset.do, thing.dataset.id, button);
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
    within(result, "[data-close]").focus();
  });
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (!ctx.response || ctx.response.status < 400) return;
    if (ctx.response.status === 401) return callboard.toLogin();
    const type = ctx.response.headers.get("Content-Type") ?? "";
    const detail = detailOf(ctx.text ?? "");
    if (type.includes("json")) {
      const line = document.createElement("p");
      line.className = "error";
      line.textContent = detail;
      ctx.text = line.outerHTML;
    }
    if (!dialog.contains(ctx.sourceElement)) announce(detail);
  });
  // The button was disabled while it was sent, and lost the focus by that.
  dialog.addEventListener("htmx:finally:request", () => {
    requestAnimationFrame(() => {
      if (!dialog.open || document.activeElement !== document.body) return;
      focusFirst(dialog.querySelector("#dialog-result [data-close]") ?? dialog.querySelector("[type=submit]"));
    });
  });
  document.addEventListener("htmx:error", (event) => {
    const source = event.detail.ctx?.sourceElement;
    if (source && (dialog.contains(source) || source.hasAttribute("data-do"))) {
      sayInDialog(text("The server does not answer. Try again."));
    };
  });
  // Somebody with an open offer can only be assigned, not asked.
  dialog.addEventListener("change", (event) => {
    const chosen = event.target;
    if (!(chosen instanceof HTMLInputElement) || chosen.name !== "driver") return;
    /** @type {HTMLInputElement | null} */
    const offer = dialog.querySelector('[name="mode"][value="offer"]');
    if (!offer) return;
    offer.disabled = chosen.dataset.directOnly !== undefined;
    if (offer.disabled) within(dialog, '[name="mode"][value="assign"]', HTMLInputElement).checked = true;
  });
  // A driver who cannot go on gets no next offer, unless the dispatcher says otherwise.
  dialog.addEventListener("change", (event) => {
    const changed = event.target;
    if (!(changed instanceof HTMLInputElement)) return;
    if (changed.name === "pause_driver") changed.dataset.byHand = "";
    /** @type {HTMLInputElement | null} */
    const pause = dialog.querySelector('[name="pause_driver"]:not([data-by-hand])');
    if (pause && changed.name === "reason") pause.checked = changed.dataset.pauses !== undefined;
  });
  dialog.addEventListener("input", (event) => {
    const typed = event.target;
    if (!(typed instanceof HTMLInputElement) || typed.name !== "own_reason" || !typed.value) return;
    /** @type {HTMLInputElement | null} */
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
