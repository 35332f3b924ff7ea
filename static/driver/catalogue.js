// Texts in one language. English is the source: an English text is the key of its translations. `{name}` in a text is
// the place of a value.

/** @typedef {string | Record<string, string>} Words a text, or one for each plural form */
/** @typedef {Record<string, string | number>} Values what is put into a text, by name */

/**
 * @param {string} words
 * @param {Values} values
 * @returns {string}
 */
const filled = (words, values) => words.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));

/**
 * `text` and `counted` of a language. `locale` says how numbers are written.
 * @param {Record<string, Words>} catalogue translations by their English text; empty for English
 * @param {string} language
 * @param {string} locale
 */
export const textsIn = (catalogue, language, locale) => {
  const rules = new Intl.PluralRules(language);
  const numbers = new Intl.NumberFormat(locale);
  /**
   * @param {string} key
   * @param {Values} [values]
   * @returns {string}
   */
  const text = (key, values = {}) => {
    const words = catalogue[key];
    return filled(typeof words === "string" ? words : key, values);
  };
  /**
   * One text for each plural form of the language; `{count}` is the number.
   * @param {string} one
   * @param {string} many
   * @param {number} count
   * @param {Values} [values]
   * @returns {string}
   */
  const counted = (one, many, count, values = {}) => {
    const words = catalogue[one];
    const forms = typeof words === "object" ? words : { one, other: many };
    return filled(forms[rules.select(count)] ?? forms.other ?? many, { count: numbers.format(count), ...values });
  };
  return { text, counted };
};

/**
 * How a phone writes numbers and times in this language: "de-AT" for a page in "de".
 * @param {string} language
 * @param {readonly string[]} preferred the phone's languages
 * @returns {string}
 */
export const localeFor = (language, preferred) => preferred.find((tag) => tag.split("-")[0] === language) ?? language;
