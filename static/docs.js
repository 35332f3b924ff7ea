// Shows /openapi.json on /docs, in the theme of the system, and with what Swagger UI lacks for everybody to read it.
const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followTheme);
followTheme();

/** @typedef {{React: {createElement: (...parts: unknown[]) => unknown}}} System */

const readable = () => ({
  wrapComponents: {
    // A link inside the button of an operation: nobody could tell what a press does.
    DeepLink:
      (/** @type {unknown} */ _, /** @type {System} */ { React }) =>
      (/** @type {{text: unknown}} */ { text }) =>
        React.createElement("span", null, text),
    // There is one server, this one.
    ServersContainer: () => () => null,
  },
});

// Headings one below the other, and a name for what stands above the operations.
/** @type {[selector: string, level: string][]} */
const HEADINGS = [["h3.opblock-tag, section.models > h4", "2"], [".opblock h4", "3"], [".opblock h5, .models h5", "4"]];
/** @type {[selector: string, name: string][]} */
const REGIONS = [[".information-container", "About"], [".scheme-container", "Access"]];
const mark = () => {
  for (const [selector, level] of HEADINGS) {
    for (const heading of document.querySelectorAll(selector)) {
      heading.setAttribute("role", "heading");
      heading.setAttribute("aria-level", level);
    }
  }
  for (const example of document.querySelectorAll("#api pre")) example.setAttribute("tabindex", "0");
  for (const [selector, name] of REGIONS) {
    for (const region of document.querySelectorAll(selector)) {
      region.setAttribute("role", "region");
      region.setAttribute("aria-label", name);
    }
  }
};
new MutationObserver(mark).observe(document.documentElement, { childList: true, subtree: true });

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  syntaxHighlight: { activated: false },
  plugins: [readable],
});
