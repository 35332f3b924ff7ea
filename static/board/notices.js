// What is said: one polite status region; an alert, a sound and a desktop notice for those who want them, by level.

const said = document.getElementById("said");
const critical = document.getElementById("critical");
const KEYS = { sound: "callboard.sound", notices: "callboard.notices" };
let hush;

export const announce = (text) => {
  said.textContent = text;
  said.dataset.shown = "";
  clearTimeout(hush);
  hush = setTimeout(() => delete said.dataset.shown, 6000);
};

const keep = (key, value) => {
  try {
    localStorage.setItem(key, value);
  } catch {
    // storage is forbidden: the choice lasts as long as the page
  }
};

const kept = (key) => {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
};

const wanted = (choice, level, top) => choice !== "" && (choice === "top" ? top : level >= Number(choice));

let audio;
const beep = (top) => {
  try {
    audio ??= new AudioContext();
    const at = audio.currentTime;
    for (const [index, pitch] of (top ? [880, 660, 880] : [660, 880]).entries()) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0.0001, at + index * 0.18);
      volume.gain.exponentialRampToValueAtTime(0.2, at + index * 0.18 + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, at + index * 0.18 + 0.16);
      tone.connect(volume).connect(audio.destination);
      tone.start(at + index * 0.18);
      tone.stop(at + index * 0.18 + 0.17);
    }
  } catch {
    // no sound device
  }
};

export const escalated = (row) => {
  const level = Number(row.dataset.level);
  const top = row.querySelector('[data-shape="top"]') !== null;
  const order = row.querySelector(".ref")?.textContent ?? "";
  const text = `Level ${level}: ${row.dataset.store} ${order} has no driver.`;
  if (top) critical.textContent = text;
  if (wanted(document.getElementById("sound").value, level, top)) beep(top);
  const notices = document.getElementById("notices").value;
  if (wanted(notices, level, top) && globalThis.Notification?.permission === "granted") {
    new Notification("Callboard", { body: text, tag: row.id });
  }
};

export const startNotices = () => {
  const sound = document.getElementById("sound");
  const notices = document.getElementById("notices");
  sound.value = kept(KEYS.sound);
  notices.value = globalThis.Notification?.permission === "granted" ? kept(KEYS.notices) : "";
  sound.addEventListener("change", () => {
    keep(KEYS.sound, sound.value);
    if (sound.value) beep(false);
  });
  notices.addEventListener("change", async () => {
    if (notices.value && (await globalThis.Notification?.requestPermission()) !== "granted") {
      notices.value = "";
      announce("The browser blocks notifications.");
    }
    keep(KEYS.notices, notices.value);
  });
};
