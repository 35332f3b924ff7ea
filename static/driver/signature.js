// A pad to sign on with a finger or a pen.

/** @typedef {{x: number, y: number}} Dot in pixels of the pad */

const INK_PX = 60; // less is a slip of the finger
const LINE_PX = 3;
const EDGE = 1024; // the server's

/**
 * Whether enough is drawn for a signature.
 * @param {Dot[][]} strokes
 */
export const isSigned = (strokes) => {
  let length = 0;
  for (const stroke of strokes) {
    stroke.slice(1).forEach(({ x, y }, place) => {
      const before = stroke[place];
      if (before) length += Math.hypot(x - before.x, y - before.y);
    });
  }
  return length >= INK_PX;
};

export class SignaturePad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} changed
   */
  constructor(canvas, changed) {
    this._canvas = canvas;
    this._changed = changed;
    /** @type {Dot[][]} */
    this._strokes = [];
    this._size = { width: 0, height: 0 }; // as it was last shown: a dialog that is closed has none
    /** @type {number | null} the finger that draws */
    this._finger = null;
    canvas.addEventListener("pointerdown", (event) => this._begin(event));
    canvas.addEventListener("pointermove", (event) => this._go(event));
    for (const kind of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(kind, () => {
        this._finger = null;
      });
    }
    new ResizeObserver(() => this._draw()).observe(canvas);
  }

  get signed() {
    return isSigned(this._strokes);
  }

  clear() {
    this.strokes = [];
  }

  // What is drawn, to be shown again later.
  get strokes() {
    return this._strokes;
  }

  set strokes(strokes) {
    this._strokes = strokes;
    this._draw();
    this._changed();
  }

  /**
   * Black on white, whatever the page's colours.
   * @returns {Promise<Blob>}
   */
  picture() {
    const { width, height } = this._size;
    const paper = document.createElement("canvas");
    const scale = Math.min(2, EDGE / width);
    paper.width = Math.round(width * scale);
    paper.height = Math.round(height * scale);
    const pen = /** @type {CanvasRenderingContext2D} */ (paper.getContext("2d"));
    pen.fillStyle = "white";
    pen.fillRect(0, 0, paper.width, paper.height);
    this._ink(pen, scale, "black");
    return new Promise((resolve, reject) => {
      paper.toBlob((made) => (made ? resolve(made) : reject(new Error())), "image/png");
    });
  }

  /** @param {PointerEvent} event */
  _begin(event) {
    if (this._finger !== null) return; // the hand that lies on the screen draws nothing
    this._finger = event.pointerId;
    this._canvas.setPointerCapture(event.pointerId);
    this._strokes.push([]);
    this._go(event);
  }

  /** @param {PointerEvent} event */
  _go(event) {
    const stroke = this._strokes[this._strokes.length - 1];
    if (event.pointerId !== this._finger || !stroke) return;
    const { left, top } = this._canvas.getBoundingClientRect();
    const dots = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of dots.length > 0 ? dots : [event]) stroke.push({ x: clientX - left, y: clientY - top });
    this._draw();
    this._changed();
  }

  _draw() {
    const { width, height } = this._canvas.getBoundingClientRect();
    if (width === 0) return;
    this._size = { width, height };
    const scale = globalThis.devicePixelRatio || 1;
    this._canvas.width = Math.round(width * scale); // this also clears it
    this._canvas.height = Math.round(height * scale);
    const pen = this._canvas.getContext("2d");
    if (pen) this._ink(pen, scale, getComputedStyle(this._canvas).color);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} scale
   * @param {string} colour
   */
  _ink(pen, scale, colour) {
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.lineWidth = LINE_PX;
    pen.lineCap = pen.lineJoin = "round";
    pen.strokeStyle = colour;
    for (const stroke of this._strokes) {
      pen.beginPath();
      stroke.forEach(({ x, y }, place) => (place === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y)));
      pen.stroke();
    }
  }
}
