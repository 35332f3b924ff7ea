"""Brings the catalogues up to date with the texts of the driver page and of the screens (`make texts`).

New texts come in without a translation, texts that are no longer used are removed; translations stay. A language of the
driver page is added by an empty folder `server/locales/<language>/LC_MESSAGES`, and of the screens by an empty file
`screens.po` in it.
"""

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_javascript
from babel.messages.pofile import write_po
from jinja2.ext import babel_extract

from server.contract import words
from server.dispatch import refusals
from server.dispatch.commands import ChangeDelivery
from server.dispatch.refusals import Refusal
from server.paths import ROOT, TEMPLATES
from server.texts.catalogues import DRIVER, SCREENS, catalogue, is_translated, path_of
from server.texts.languages import LANGUAGES, SOURCE

SERVER = ROOT / "server"
SCRIPTS = "static/driver"
DRIVER_TEMPLATES = (TEMPLATES / "driver.html", TEMPLATES / "tracking.html", TEMPLATES / "tracking_now.html")
"""The pages in their reader's own language: the driver page, and the customer's."""
DRIVER_MODULE = SERVER / "web/screens/driver_page.py"
IN_SCRIPTS: dict[str, Any] = {"text": (1,), "counted": (1, 2)}
"""The functions that take a text, and at which place; of two, the second is the plural."""
IN_DRIVER_SCRIPTS = IN_SCRIPTS | {"say": (3,)}
IN_MODULES = {"said": 1, "later": 1, "counted": 2}
"""The functions that take a text, and how many."""
IN_TEMPLATES = {"_": 1, "ngettext": 2}
TABLES = (*(name for name in vars(words) if name.isupper() and isinstance(getattr(words, name), dict)),)
"""The tables of the contract in words; notices and driver messages take the English ones."""
CHANGED = (*ChangeDelivery.__struct_fields__, "ready_at", "warnings")
"""What of an order can change; the timeline says it in words."""
ROLES = ("viewer", "ops", "admin", "service", "driver")
FIELDS = ("Minutes", "Version")
"""The fields of the board's forms that are numbers."""
WIDTH = 120

Texts = tuple[str, ...]
"""A text, or the singular and the plural."""


def used(domain: str = DRIVER) -> Catalog:
    """Every text of the driver page, or of the screens, with the files that use it."""
    catalog = Catalog(domain=domain)
    for path, texts in _of_driver_page() if domain == DRIVER else _of_screens():
        for text in texts:
            catalog.add(text if len(text) > 1 else text[0], locations=[(path.relative_to(ROOT).as_posix(), 0)])
    return catalog


def _of_driver_page() -> Iterator[tuple[Path, list[Texts]]]:
    for template in DRIVER_TEMPLATES:
        yield template, in_template(template)
    yield DRIVER_MODULE, in_module(DRIVER_MODULE)
    for path in sorted((ROOT / SCRIPTS).glob("*.js")):
        yield path, in_script(path, IN_DRIVER_SCRIPTS)


def _of_screens() -> Iterator[tuple[Path, list[Texts]]]:
    for path in screens_templates():
        yield path, in_template(path)
    for path in sorted(SERVER.rglob("*.py")):
        if path != DRIVER_MODULE:
            yield path, in_module(path)
    yield SERVER / "contract/words.py", [(text,) for name in TABLES for text in getattr(words, name).values()]
    yield SERVER / "dispatch/refusals.py", [(v.message,) for v in vars(refusals).values() if isinstance(v, Refusal)]
    yield SERVER / "dispatch/commands.py", [(name.replace("_", " "),) for name in CHANGED]
    yield SERVER / "web/access/tokens.py", [(role,) for role in ROLES]
    yield SERVER / "web/screens/board_form.py", [(name,) for name in FIELDS]
    for path in screens_scripts():
        yield path, in_script(path, IN_SCRIPTS)


def screens_templates() -> list[Path]:
    """The templates of all screens but the driver page and the customer's."""
    return sorted(path for path in TEMPLATES.rglob("*.html") if path not in DRIVER_TEMPLATES)


def screens_scripts() -> list[Path]:
    """The scripts of all screens but the driver page."""
    return [*sorted((ROOT / "static").glob("*.js")), *sorted((ROOT / "static/board").glob("*.js"))]


def in_template(path: Path) -> list[Texts]:
    """The texts of a template."""
    source = io.BytesIO(path.read_bytes())
    found = babel_extract(source, list(IN_TEMPLATES), (), {"trim_blocks": "true", "silent": "false"})
    return [_first(IN_TEMPLATES[name], message) for _, name, message, _ in found]


def _first(count: int, message: Any) -> Texts:
    texts = tuple(text for text in (message if isinstance(message, tuple) else (message,)) if text is not None)
    return texts[:count]


def in_module(path: Path) -> list[Texts]:
    """The texts of a module: the first arguments of the functions that take texts, where they are written there."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            count = IN_MODULES.get(getattr(node.func, "id", getattr(node.func, "attr", "")), 0)
            texts = tuple(
                of.value for of in node.args[:count] if isinstance(of, ast.Constant) and isinstance(of.value, str)
            )
            if texts:
                found.append(texts)
    return found


def in_script(path: Path, functions: dict[str, Any]) -> list[Texts]:
    """The texts of a script, which these functions take."""
    with path.open("rb") as file:
        found = extract_javascript(file, functions, [], {})
        return [texts for _, name, message, _ in found if (texts := _wanted(functions[str(name)], message))]


def _wanted(places: tuple[int, ...], message: Any) -> Texts:
    """The arguments of a call that are texts."""
    arguments = message if isinstance(message, tuple) else (message,)
    if len(arguments) < max(places):
        return ()
    found = tuple(arguments[place - 1] for place in places)
    return found if all(found) else ()


def updated(language: str, domain: str = DRIVER) -> str:
    """The catalogue as it should be kept: in the order of the page, without what it no longer uses."""
    exists = path_of(language, domain).exists()
    kept = catalogue(language, domain) if exists else Catalog(locale=language, domain=domain)
    fresh = Catalog(locale=language, domain=domain, project="Callboard", fuzzy=False)
    for message in used(domain):
        if not message.id:
            continue
        before = kept.get(message.id)
        string = before.string if before is not None else None
        fresh.add(message.id, string, locations=sorted(set(message.locations)))
    return written(fresh, language)


def written(catalog: Catalog, language: str) -> str:
    """A catalogue as its file."""
    file = io.BytesIO()
    write_po(file, catalog, width=WIDTH, include_lineno=False, omit_header=True)
    forms = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Plural-Forms: {catalog.plural_forms}\\n"\n'
    return forms + '"Content-Type: text/plain; charset=utf-8\\n"\n\n' + file.getvalue().decode().strip() + "\n"


def kept() -> list[tuple[str, str]]:
    """Every language with every catalogue that it has, or begins to have."""
    others = [language for language in LANGUAGES if language != SOURCE]
    return [(of, DRIVER) for of in others] + [(of, SCREENS) for of in others if path_of(of, SCREENS).exists()]


def main() -> None:
    """Write every catalogue, and say what is left to translate."""
    for language, domain in kept():
        text = updated(language, domain)
        path_of(language, domain).write_text(text)
        catalogue.cache_clear()
        missing = [message.id for message in catalogue(language, domain) if message.id and not is_translated(message)]
        print(f"{language}, {domain}: {len(missing)} texts to translate")
    print(f"{sum(bool(message.id) for message in used(SCREENS))} texts of the screens")


if __name__ == "__main__":
    main()
