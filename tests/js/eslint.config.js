// The linter's rules for the scripts in static/ and for the tests beside this file.
import js from "@eslint/js";

const RULES = {
  ...js.configs.recommended.rules,
  eqeqeq: "error",
  "no-else-return": "error",
  "no-implicit-globals": "error",
  "no-shadow": "error",
  "no-undef": "off", // the compiler reports names that do not exist
  "no-unused-vars": ["error", { ignoreRestSiblings: true }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
};

export default [
  { ignores: ["static/vendor/**", "**/node_modules/**"] },
  {
    files: ["static/**/*.js", "clients/**/*.js", "tests/js/**/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: { ecmaVersion: 2024, sourceType: "module" },
    rules: RULES,
  },
  {
    // Not modules: the page or the browser loads them as scripts.
    files: ["static/app.js", "static/docs.js", "static/driver/sw.js", "static/insights.js", "static/policy.js"],
    languageOptions: { sourceType: "script" },
  },
];
