// Makes the package in a folder: `node clients/typescript/pack.js FOLDER`, then `npm publish FOLDER`. It copies the
// modules of the driver page, and TypeScript writes the declarations out of their JSDoc.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const folder = resolve(process.argv[2] ?? join(here, "dist"));
const FROM = /(from|import\()( ?)"(?:\.\.\/)+static\/driver\//g;
const IMPORTS = /(?:from |import\()"\.\/([\w-]+\.js)"/g;
const WIRE = '/// <reference path="./wire.d.ts" />\n';

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

/** @type {Set<string>} */
const modules = new Set();
/**
 * Copies a module and those that it imports.
 * @param {string} name
 * @param {string} text
 */
const copy = (name, text) => {
  modules.add(name);
  writeFileSync(join(folder, name), text);
  for (const [, next = ""] of text.matchAll(IMPORTS)) {
    if (!modules.has(next)) copy(next, readFileSync(join(root, "static/driver", next), "utf8"));
  }
};
copy("index.js", readFileSync(join(here, "index.js"), "utf8").replace(FROM, '$1$2"./'));

cpSync(join(root, "tests/js/types/wire.d.ts"), join(folder, "wire.d.ts"));
const compiler = join(root, "tests/js/node_modules/.bin/tsc");
const options = "--allowJs --declaration --emitDeclarationOnly --strict --target es2023 --module esnext --moduleResolution bundler --skipLibCheck --types".split(" ");
const files = [...modules, "wire.d.ts"].map((name) => join(folder, name));
execFileSync(compiler, [...options, "", "--lib", "es2023,dom,dom.iterable", "--outDir", folder, ...files], { stdio: "inherit" });
for (const name of modules) {
  const declarations = join(folder, name.replace(/\.js$/, ".d.ts"));
  writeFileSync(declarations, WIRE + readFileSync(declarations, "utf8"));
}

for (const name of ["package.json", "README.md"]) cpSync(join(here, name), join(folder, name));
cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
