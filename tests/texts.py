"""Brings the catalogues of the driver page's texts up to date with the page (`make texts`).

New texts come in without a translation, texts that the page no longer has are removed; translations stay. A language is
added by an empty folder `server/locales/<language>/LC_MESSAGES`.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_javascript, extract_python
from babel.messages.pofile import write_po
from jinja2.ext import babel_extract

from server.paths import ROOT
from server.texts.catalogues import DOMAIN, catalogue, path_of
from server.texts.languages import LANGUAGES, SOURCE

TEMPLATE = "templates/driver.html"
SCRIPTS = "static/driver"
MODULE = "server/web/screens/driver_page.py"
IN_SCRIPTS: dict[str, Any] = {"text": (1,), "counted": (1, 2), "say": (3,)}
"""The functions that take a text, and at which place; of two, the second is the plural."""
IN_MODULE: dict[str, Any] = {"said": None}
IN_TEMPLATES: dict[str, Any] = {"_": None, "ngettext": (1, 2)}
WIDTH = 120


def used() -> Catalog:
    """Every text of the page, with the files that use it."""
    catalog = Catalog(domain=DOMAIN)
    for file, messages in _messages():
        for message in messages:
            catalog.add(_both(message), locations=[(file, 0)])
    return catalog


def _messages() -> Iterator[tuple[str, list[Any]]]:
    yield TEMPLATE, [message for _, _, message, _ in _of_template()]
    with (ROOT / MODULE).open("rb") as module:
        yield MODULE, [message for _, _, message, _ in extract_python(module, IN_MODULE, [], {})]
    for path in sorted((ROOT / SCRIPTS).glob("*.js")):
        with path.open("rb") as file:
            found = extract_javascript(file, IN_SCRIPTS, [], {})
            messages = [_wanted(str(name), message) for _, name, message, _ in found]
        yield f"{SCRIPTS}/{path.name}", [message for message in messages if message]


def _of_template() -> Iterator[Any]:
    source = io.BytesIO((ROOT / TEMPLATE).read_bytes())
    return babel_extract(source, list(IN_TEMPLATES), (), {"trim_blocks": "true", "silent": "false"})


def _wanted(name: str, message: Any) -> Any:
    """The arguments of a call that are texts."""
    arguments = message if isinstance(message, tuple) else (message,)
    places = IN_SCRIPTS[name]
    if len(arguments) < max(places):
        return None
    found = tuple(arguments[place - 1] for place in places)
    return found if all(found) else None


def _both(message: Any) -> Any:
    if isinstance(message, tuple) and len(message) == 1:
        return message[0]
    return message


def updated(language: str) -> str:
    """The catalogue as it should be kept: in the order of the page, without what it no longer uses."""
    kept = catalogue(language) if path_of(language).exists() else Catalog(locale=language, domain=DOMAIN)
    fresh = Catalog(locale=language, domain=DOMAIN, project="Callboard", fuzzy=False)
    for message in used():
        if not message.id:
            continue
        before = kept.get(message.id)
        string = before.string if before is not None else None
        fresh.add(message.id, string, locations=sorted(set(message.locations)))
    written = io.BytesIO()
    write_po(written, fresh, width=WIDTH, include_lineno=False, omit_header=True)
    forms = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Plural-Forms: {fresh.plural_forms}\\n"\n'
    return forms + '"Content-Type: text/plain; charset=utf-8\\n"\n\n' + written.getvalue().decode().strip() + "\n"


def main() -> None:
    """Write every catalogue, and say what is left to translate."""
    for language in LANGUAGES:
        if language == SOURCE:
            continue
        text = updated(language)
        Path(path_of(language)).write_text(text)
        catalogue.cache_clear()
        missing = [message.id for message in catalogue(language) if message.id and not _is_complete(message.string)]
        print(f"{language}: {len(missing)} texts to translate")


def _is_complete(string: Any) -> bool:
    return all(string) if isinstance(string, (tuple, list)) else bool(string)


if __name__ == "__main__":
    main()
