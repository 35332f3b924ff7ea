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
 * The key of an English text in a catalogue that comes with a page: a hash (FNV-1a, 24 bits), since all the English texts
 * would be half of what a phone loads first.
 * @param {string} english
 */
export const keyOf = (english) => {
  let hash = 0x811c9dc5;
  for (let place = 0; place < english.length; place++) hash = Math.imul(hash ^ english.charCodeAt(place), 0x01000193);
  return (hash & 0xffffff).toString(36);
};

/**
 * `text` and `counted` of a language. `locale` says how numbers are written.
 * @param {Record<string, Words>} catalogue translations by `keyOf` their English text; empty for English
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
    const words = catalogue[keyOf(key)];
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
    const words = catalogue[keyOf(one)];
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
