// Import of a file: the first time it is sent for a preview, the second time for its rows to be written.
import { byId, targetOf } from "./elements.js";

const EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

const form = byId("import-form", HTMLFormElement);
const input = byId("file", HTMLInputElement);
const dates = byId("dates", HTMLSelectElement);
const status = byId("import-status");
const results = byId("import-results");
let busy = false;

/** @param {boolean} preview */
const send = async (preview) => {
  const file = input.files?.[0];
  if (!file || busy) return;
  busy = true;
  status.textContent = status.dataset.busy ?? "";
  const query = new URLSearchParams({ dryRun: preview ? "1" : "0", dates: dates.value });
  try {
    const response = await fetch(`?${query}`, {
      method: "POST",
      body: file,
      headers: {
        "Content-Type": file.name.toLowerCase().endsWith(".xlsx") ? EXCEL : "text/csv",
        "X-CSRF-Token": callboard.csrfToken(),
        "HX-Request": "true",
      },
    });
    if (response.status === 401) callboard.toLogin();
    if (!(response.headers.get("content-type") ?? "").startsWith("text/html")) throw new Error(`${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    results.replaceChildren(...page.body.childNodes);
    status.textContent = "";
    document.getElementById("results-title")?.focus();
  } catch {
    results.replaceChildren();
    status.textContent = status.dataset.away ?? "";
  } finally {
    busy = false;
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void send(true);
});
results.addEventListener("click", (event) => {
  if (targetOf(event)?.closest("[data-import]")) void send(false);
});
for (const field of [input, dates]) field.addEventListener("change", () => results.replaceChildren());
byId("preview", HTMLButtonElement).disabled = false; // before, it would send the form without the file
