// The theme of this browser: that of the system, or a chosen one.
import { within } from "./elements.js";

const show = () => {
  const chosen = document.documentElement.dataset.theme ?? "";
  within(document, `[name="theme"][value="${chosen}"]`, HTMLInputElement).checked = true;
};

document.addEventListener("change", (event) => {
  const input = event.target;
  if (input instanceof HTMLInputElement && input.name === "theme") callboard.chooseTheme(input.value || null);
});
document.addEventListener("callboard:theme", show);
show();
