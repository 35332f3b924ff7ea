// How people write a word with and without the marks on its letters: José is Jose, Müller is Muller or Mueller. The search
// of the server has the same spellings (server/contract/spellings.py).

/** @type {Record<string, string>} */
const WITHOUT_MARK = { ß: "ss", æ: "ae", œ: "oe", þ: "th", ø: "o", ł: "l", đ: "d", ð: "d", ı: "i" };
/** @type {Record<string, string>} */
const AS_TWO = { ä: "ae", ö: "oe", ü: "ue", å: "aa", ø: "oe" };

/** @param {string} text */
const withoutMarks = (text) =>
  text
    .replace(/[ßæœþøłđðı]/g, (letter) => WITHOUT_MARK[letter] ?? letter)
    .normalize("NFD")
    .replace(/[\u0300-\u036f]+/g, "")
    .normalize("NFC");

/**
 * A text in small letters as it is, and without marks in both ways; each once.
 * @param {string} text
 */
export const spellings = (text) => {
  const small = text.normalize("NFC").toLowerCase();
  const asTwo = small.replace(/[äöüåø]/g, (letter) => AS_TWO[letter] ?? letter);
  return [...new Set([small, withoutMarks(small), withoutMarks(asTwo)])];
};

/**
 * Whether a text has every word of a search, in any spelling.
 * @param {string} spelled all spellings of the text
 * @param {string} search
 */
export const hasWords = (spelled, search) =>
  search
    .split(/\s+/)
    .filter(Boolean)
    .every((word) => spellings(word).some((one) => spelled.includes(one)));
