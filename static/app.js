// What every screen needs: the theme, the CSRF token on requests, the way to the login when a session has ended.
// Loaded before the page is drawn, so that the chosen theme is there from the first frame.
(() => {
  "use strict";

  // Where Callboard has a path on its host, all its addresses begin with it: scripts write them from Callboard's own
  // root, as "/board".
  const script = document.currentScript;
  const path = script instanceof HTMLScriptElement ? new URL(script.src).pathname.replace(/\/static\/.*/, "") : "";

  /** @param {string} address */
  const at = (address) => path + address;

  if (path) {
    const plain = globalThis.fetch.bind(globalThis);
    globalThis.fetch = (input, options) =>
      plain(typeof input === "string" && input.startsWith("/") ? at(input) : input, options);
  }

  const KEY = "callboard.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is forbidden: the system's theme, and the choice lasts as long as the page
    }
  };

  /** @param {string | null} theme */
  const apply = (theme) => {
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  /** @param {string | null} chosen `light`, `dark`, or null for the system's */
  const chooseTheme = (chosen) => {
    apply(chosen);
    try {
      if (chosen) localStorage.setItem(KEY, chosen);
      else localStorage.removeItem(KEY);
    } catch {
      // as above
    }
    document.dispatchEvent(new CustomEvent("callboard:theme", { detail: { dark: isDark() } }));
  };

  const toggle = () => {
    const next = isDark() ? "light" : "dark";
    chooseTheme((next === "dark") === system.matches ? null : next);
  };

  apply(kept());
  addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });

  const csrfToken = () => {
    /** @type {HTMLMetaElement | null} */
    const meta = document.querySelector('meta[name="csrf-token"]');
    return meta?.content ?? "";
  };

  const toLogin = () => {
    location.assign(at(`/login?next=${encodeURIComponent(location.pathname + location.search)}`));
  };

  // A page that is older than a restart with another secret gets a new CSRF token; what was typed stays.
  const renewToken = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    /** @type {HTMLMetaElement | null} */
    const given = fresh.querySelector('meta[name="csrf-token"]');
    if (!given) return false;
    /** @type {NodeListOf<HTMLMetaElement>} */
    const metas = document.querySelectorAll('meta[name="csrf-token"]');
    for (const meta of metas) meta.content = given.content;
    /** @type {NodeListOf<HTMLInputElement>} */
    const inputs = document.querySelectorAll('input[name="csrf_token"]');
    for (const input of inputs) input.value = given.content;
    return true;
  };

  /** @param {string} answer */
  const isAged = (answer) => {
    try {
      return JSON.parse(answer).code === "csrf_failed";
    } catch {
      return false;
    }
  };

  /**
   * A refusal of an old token is shown once the page has the new one: whoever presses again then sends it.
   * @param {RequestInfo | URL} url
   * @param {RequestInit} [options]
   */
  const fetchAged = async (url, options) => {
    const response = await fetch(url, options);
    if (response.status === 403 && isAged(await response.clone().text())) await renewToken().catch(() => false);
    return response;
  };

  /**
   * JSON to and from the server. A session that has ended leads to the login.
   * @param {string} method
   * @param {string} url
   * @param {unknown} [body]
   * @param {boolean} [renewed] whether the page has just got a new token
   * @returns {Promise<Answer>}
   */
  const send = async (method, url, body, renewed = false) => {
    const response = await fetch(url, {
      method,
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrfToken(), Accept: "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
    if (response.status === 401) toLogin();
    const text = await response.text();
    if (!renewed && response.status === 403 && isAged(text) && (await renewToken())) return send(method, url, body, true);
    let answer = null;
    try {
      answer = text ? JSON.parse(text) : null;
    } catch {
      // no JSON: the status says enough
    }
    return { ok: response.ok, status: response.status, body: answer };
  };

  /**
   * Copies what a field holds; without the right to, it is selected for the person to copy.
   * @param {HTMLElement} button its data-copy is the selector of the field
   */
  const copyFrom = async (button) => {
    const field = document.querySelector(button.dataset.copy ?? "");
    if (!(field instanceof HTMLInputElement) && !(field instanceof HTMLTextAreaElement)) return;
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      const label = button.textContent;
      const { copied = label } = button.dataset;
      if (label === copied) return; // it says so still
      button.textContent = copied;
      setTimeout(() => {
        button.textContent = label;
      }, 2000);
    } catch {
      field.focus();
    }
  };

  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (["GET", "HEAD"].includes(ctx.request.method.toUpperCase())) return;
    ctx.request.headers["X-CSRF-Token"] = csrfToken();
    ctx.fetch = fetchAged;
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("[data-theme-toggle]")) toggle();
    /** @type {HTMLElement | null | undefined} */
    const copy = target?.closest("[data-copy]");
    if (copy) void copyFrom(copy);
    if (target?.closest("[data-print]")) print();
    /** @type {NodeListOf<HTMLDetailsElement>} */
    const menus = document.querySelectorAll("details.menu[open]");
    for (const menu of menus) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    /** @type {HTMLDetailsElement | null} */
    const menu = document.querySelector("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });

  // A form that asks first says what for in data-confirm, and is sent once only.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement)) return;
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) {
      event.preventDefault();
      return;
    }
    if (form.dataset.once === undefined) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  addEventListener("pageshow", () => {
    /** @type {NodeListOf<HTMLFormElement>} */
    const forms = document.querySelectorAll("form[data-sent]");
    for (const form of forms) delete form.dataset.sent;
  });

  globalThis.callboard = { at, csrfToken, send, toLogin, isDark, chooseTheme };
})();
