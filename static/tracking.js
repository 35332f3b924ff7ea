// Keeps a customer's tracking page up to date: by a stream, or by looking again if there is none.

/** @type {HTMLElement} */
const page = /** @type {HTMLElement} */ (document.getElementById("now"));
const said = document.getElementById("said");
const again = Number(page.dataset.again) * 1000;

const isOver = () => page.querySelector("[data-over]") !== null;
const heading = () => page.querySelector("h1")?.textContent?.trim() ?? "";

/** @param {string} html from our own server, which escapes what it shows */
const show = (html) => {
  const before = heading();
  page.innerHTML = html;
  if (said && heading() !== before) said.textContent = heading();
};

/** Load the page itself again and take over what changes. */
const look = async () => {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.status >= 500) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("now");
    if (fresh) show(fresh.innerHTML);
  } catch {
    // no network: the next look may have one
  }
};

/** @type {number | undefined} */
let timer;
const lookNowAndThen = () => {
  timer ??= setInterval(() => {
    if (isOver()) clearInterval(timer);
    else if (!document.hidden) void look();
  }, again);
};

/** @type {EventSource | null} */
let stream = null;
const follow = () => {
  if (stream !== null || isOver()) return;
  stream = new EventSource(location.href);
  stream.onmessage = (message) => {
    show(message.data);
    if (isOver()) stop();
  };
  stream.addEventListener("gone", () => {
    stop();
    void look();
  });
  stream.onerror = () => {
    if (stream?.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
    stream = null;
    lookNowAndThen();
  };
};
const stop = () => {
  stream?.close();
  stream = null;
};

follow();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop();
  else if (timer === undefined) void look().then(follow);
});
