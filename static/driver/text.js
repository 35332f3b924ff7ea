// The texts of this page in its language. The translations come with the page.

import { localeFor, textsIn } from "./catalogue.js";

/** @import {Words} from "./catalogue.js" */

const given = document.getElementById("texts");
/** @type {Record<string, Words>} */
const catalogue = given instanceof HTMLTemplateElement ? JSON.parse(given.content.textContent ?? "{}") : {};
const language = document.documentElement.lang;

export const locale = localeFor(language, navigator.languages);
export const { text, counted } = textsIn(catalogue, language, locale);
