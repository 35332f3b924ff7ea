// Sound, vibration and notifications for an offer. Browsers allow sound only after the driver touched the page.

const PATTERN = [180, 90, 180, 90, 360];
const EVERY_MS = 2_600;
/** @type {[frequency: number, at: number][]} in Hz and seconds */
const NOTES = [
  [880, 0],
  [1174.7, 0.16],
  [1568, 0.32],
];

export class Alarm {
  constructor() {
    this.wanted = true;
    /** @type {AudioContext | null} */
    this._context = null;
    /** @type {ReturnType<typeof setInterval> | null} */
    this._timer = null;
    const unlock = () => this._unlock();
    addEventListener("pointerup", unlock, { passive: true }); // not before: what is redrawn under a finger loses its tap
    addEventListener("keydown", unlock);
  }

  // Whether a sound would be heard.
  get audible() {
    return this.wanted && this._context?.state === "running";
  }

  start() {
    if (this._timer !== null) return;
    this._once();
    this._timer = setInterval(() => this._once(), EVERY_MS);
  }

  stop() {
    if (this._timer === null) return;
    clearInterval(this._timer);
    this._timer = null;
    navigator.vibrate?.(0);
  }

  // A short sign that something changed.
  nudge() {
    if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(120);
    this._note(660, 0, 0.08);
  }

  _once() {
    // Without a touch before, browsers refuse to vibrate and complain in the console.
    if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(PATTERN);
    for (const [frequency, at] of NOTES) this._note(frequency, at, 0.22);
  }

  _unlock() {
    if (!this.wanted || typeof AudioContext === "undefined") return;
    this._context ??= new AudioContext();
    if (this._context.state === "suspended") this._context.resume();
  }

  /**
   * @param {number} frequency in Hz
   * @param {number} at seconds from now
   * @param {number} seconds
   */
  _note(frequency, at, seconds) {
    const context = this._context;
    if (!context || !this.audible) return;
    const begin = context.currentTime + at;
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.type = "triangle";
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0, begin);
    volume.gain.linearRampToValueAtTime(0.25, begin + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.001, begin + seconds);
    tone.connect(volume).connect(context.destination);
    tone.start(begin);
    tone.stop(begin + seconds);
  }
}
