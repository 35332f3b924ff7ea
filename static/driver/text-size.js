// How large this phone makes texts: `--text` is 1 where it leaves them alone. The places of buttons
// are set with it, and what is only for looks leaves room for texts that are `data-large`.

import { byId } from "../elements.js";

const RULER_PX = 100; // the height of the ruler's line in driver.css
const LARGE = 1.3;
const LARGEST = 2;

/** @param {HTMLElement} ruler */
const measure = (ruler) => {
  const scale = Math.min(Math.max(ruler.offsetHeight / RULER_PX, 1), LARGEST);
  document.documentElement.style.setProperty("--text", String(scale));
  document.documentElement.toggleAttribute("data-large", scale > LARGE);
};

export const watchTextSize = () => {
  const ruler = byId("ruler");
  measure(ruler);
  new ResizeObserver(() => measure(ruler)).observe(ruler);
};
