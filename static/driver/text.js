// The texts of this page in its language, on the driver page and on the screens. The translations come with the page.

import { localeFor, textsIn } from "./catalogue.js";

/** @import {Words} from "./catalogue.js" */

/** @type {Document | undefined} */
const page = globalThis.document; // a unit test has none, and is in English
const given = page?.getElementById("texts");
/** @type {Record<string, Words>} */
const catalogue = page && given instanceof HTMLTemplateElement ? JSON.parse(given.content.textContent ?? "{}") : {};
const language = page?.documentElement.lang || "en";

export const locale = localeFor(language, globalThis.navigator?.languages ?? []);
/** How many there are, without a thousands separator in English. */
export const numbers = new Intl.NumberFormat(locale, { useGrouping: language !== "en" });
export const { text, counted } = textsIn(catalogue, language, locale);
