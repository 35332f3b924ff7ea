// The texts of this page in its language. English is the source: an English text is the key of its translations, which
// come with the page. `{name}` in a text is the place of a value.

const given = document.getElementById("texts");
const catalogue = given ? JSON.parse(given.content.textContent) : {};
const language = document.documentElement.lang;
const rules = new Intl.PluralRules(language);

// How this phone writes numbers and times in the language of the page: "de-AT" for a page in "de".
export const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;

const filled = (words, values) => words.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

export const text = (key, values = {}) => filled(catalogue[key] ?? key, values);

// One text for each plural form of the language; `{count}` is the number.
export const counted = (one, many, count, values = {}) => {
  const forms = catalogue[one] ?? { one, other: many };
  return filled(forms[rules.select(count)] ?? forms.other, { count: new Intl.NumberFormat(locale).format(count), ...values });
};
