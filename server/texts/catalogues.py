"""The catalogues of the driver page's texts: GNU gettext files in `server/locales`, read when they are first needed.

English is the source: an English text is the key of its translations. Nothing is compiled beforehand, so nothing can go
stale; `python -m tests.texts` brings the catalogues up to date with the page.
"""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from server.texts.languages import LANGUAGES, LOCALES, SOURCE

DOMAIN: Final = "driver"
WORKER: Final = "static/driver/sw.js"
PLURAL_SAMPLES: Final = (*range(1001), 1_000_000)

ScriptText = str | dict[str, str]
"""A text as a script gets it: one, or by the plural categories of CLDR, as `Intl.PluralRules` names them."""


def path_of(language: str) -> Path:
    """Where the catalogue of a language is kept."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


@cache
def catalogue(language: str) -> Catalog:
    """The catalogue of a language other than the source."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


@cache
def translations(language: str) -> NullTranslations:
    """What templates take their texts from."""
    if language == SOURCE:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language))
    compiled.seek(0)
    return Translations(compiled, domain=DOMAIN)


def direction(language: str) -> str:
    """`ltr` or `rtl`."""
    return Locale.parse(language).text_direction


@cache
def page_texts(language: str) -> dict[str, ScriptText]:
    """The texts of the page's scripts by their English ones; none for the source itself."""
    return _texts(language, lambda files: any(file.startswith("static/") and file != WORKER for file in files))


@cache
def worker_texts() -> dict[str, dict[str, ScriptText]]:
    """The texts of the service worker, by language."""
    return {language: _texts(language, lambda files: WORKER in files) for language in LANGUAGES if language != SOURCE}


def _texts(language: str, is_wanted: Callable[[list[str]], bool]) -> dict[str, ScriptText]:
    if language == SOURCE:
        return {}
    found = catalogue(language)
    return {
        key_of(message): _written(message, found)
        for message in found
        if message.id and is_wanted([file for file, _ in message.locations])
    }


def key_of(message: Message) -> str:
    """The English text by which a message is found; of a plural the singular one."""
    return message.id if isinstance(message.id, str) else message.id[0]


def _written(message: Message, found: Catalog) -> ScriptText:
    if isinstance(message.string, str):
        return message.string
    assert message.string is not None
    return {category: message.string[index] for category, index in _forms(found).items()}


def _forms(found: Catalog) -> dict[str, int]:
    """Which plural form of gettext each plural category of CLDR is, as far as whole numbers show it."""
    assert found.locale is not None
    compiled = translations(str(found.locale))
    forms = {found.locale.plural_form(n): compiled.plural(n) for n in PLURAL_SAMPLES}
    return {"other": max(forms.values()), **forms}
