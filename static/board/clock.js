// One timer a page. Instants are in the page as Unix milliseconds of the server: `data-since` counts up,
// `data-deadline` counts down. The server says its time with every pulse.

let ahead = 0;
const times = document.getElementsByTagName("time");
const fuses = document.getElementsByClassName("fuse");
const everySecond = [];

export const now = () => Date.now() + ahead;

export const learnTime = (serverNow) => {
  const heard = serverNow - Date.now();
  // The quickest message tells the time best; a clock that was set tells itself.
  if (ahead === 0 || heard > ahead || ahead - heard > 2000) ahead = heard;
};

export const onTick = (work) => everySecond.push(work);

const two = (n) => String(n).padStart(2, "0");

// 4:05, 1:04:05
const exact = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  const h = Math.floor(s / 3600);
  const m = Math.floor((s % 3600) / 60);
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
};

// 0 s, 15 s, 12 min, 3 h 5 min, 2 d: changes seldom, for what nobody watches by the second
export const coarse = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${Math.floor(s / 15) * 15} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
};

const isCoarse = (time) => {
  time.coarse ??= !time.closest(".exact") && Boolean(time.closest('[data-list="drivers"], [data-list="active"], .alerts, .facts, .timeline, .work, .coarse'));
  return time.coarse;
};

const write = (time, at) => {
  const { since, deadline } = time.dataset;
  if (!since && !deadline) return;
  let text;
  if (since) text = isCoarse(time) ? coarse(at - Number(since)) : exact(at - Number(since));
  else {
    const left = Number(deadline) - at;
    // Rounded up, so that 0:00 is shown at the deadline and not a second before.
    text = exact(left + 999);
    if ((left <= 0) !== (time.dataset.over !== undefined)) {
      if (left <= 0) time.dataset.over = "";
      else delete time.dataset.over;
    }
  }
  if (time.textContent !== text) time.textContent = text;
};

export const tickWithin = (element) => {
  const at = now();
  for (const time of element.getElementsByTagName("time")) write(time, at);
  for (const fuse of element.getElementsByClassName("fuse")) burn(fuse, at);
};

const burn = (fuse, at) => {
  const { from, deadline } = fuse.dataset;
  const left = Math.min(1, Math.max(0, (Number(deadline) - at) / (Number(deadline) - Number(from))));
  fuse.style.setProperty("--left", left.toFixed(3));
};

const tick = () => {
  const at = now();
  for (const time of times) write(time, at);
  for (const fuse of fuses) burn(fuse, at);
  for (const work of everySecond) work(at);
  // At the server's full seconds, so that all boards on a wall count together.
  setTimeout(tick, 1000 - (now() % 1000) + 5);
};

export const startClock = () => tick();
