"""The catalogues of all texts: GNU gettext files in `server/locales`, read when they are first needed.

There are two for each language: that of the driver page, and that of the screens, which may be missing. English is the
source: an English text is the key of its translations. Nothing is compiled beforehand, so nothing can go stale;
`python -m tests.texts` brings the catalogues up to date with the texts.
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

DRIVER: Final = "driver"
"""The catalogue of the driver page."""
SCREENS: Final = "screens"
"""The catalogue of all other screens."""
WORKER: Final = "static/driver/sw.js"
PLURAL_SAMPLES: Final = (*range(1001), 1_000_000)

ScriptText = str | dict[str, str]
"""A text as a script gets it: one, or by the plural categories of CLDR, as `Intl.PluralRules` names them."""


def path_of(language: str, domain: str = DRIVER) -> Path:
    """Where a catalogue of a language is kept."""
    return LOCALES / language / "LC_MESSAGES" / f"{domain}.po"


@cache
def catalogue(language: str, domain: str = DRIVER) -> Catalog:
    with path_of(language, domain).open("rb") as file:
        return read_po(file, locale=language, domain=domain)


@cache
def translations(language: str, domain: str = DRIVER) -> NullTranslations:
    """What templates take their texts from."""
    if language == SOURCE:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language, domain))
    compiled.seek(0)
    return Translations(compiled, domain=domain)


@cache
def is_complete(language: str, domain: str) -> bool:
    """Whether there is a catalogue, and no text in it is without a translation."""
    if language == SOURCE:
        return True
    if not path_of(language, domain).exists():
        return False
    return all(is_translated(message) for message in catalogue(language, domain) if message.id)


def is_translated(message: Message) -> bool:
    """Whether the message has all its forms."""
    return all(message.string) if isinstance(message.string, (tuple, list)) else bool(message.string)


def direction(language: str) -> str:
    return Locale.parse(language).text_direction


@cache
def page_texts(language: str, domain: str = DRIVER) -> dict[str, ScriptText]:
    """The texts of the scripts by the `short_key` of their English ones; none for the source itself."""
    texts = _texts(language, domain, lambda files: any(file.startswith("static/") and file != WORKER for file in files))
    return {short_key(english): text for english, text in texts.items()}


def short_key(english: str) -> str:
    """The key of an English text in a page: a hash (FNV-1a, 24 bits, base 36), as `keyOf` in catalogue.js makes it."""
    value = 0x811C9DC5
    for unit in memoryview(english.encode("utf-16-le")).cast("H"):
        value = (value ^ unit) * 0x01000193 & 0xFFFFFFFF
    value &= 0xFFFFFF
    digits = ""
    while value or not digits:
        value, digit = divmod(value, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


@cache
def worker_texts() -> dict[str, dict[str, ScriptText]]:
    """The texts of the service worker, by language."""
    others = [language for language in LANGUAGES if language != SOURCE]
    return {language: _texts(language, DRIVER, lambda files: WORKER in files) for language in others}


def _texts(language: str, domain: str, is_wanted: Callable[[list[str]], bool]) -> dict[str, ScriptText]:
    if language == SOURCE:
        return {}
    found = catalogue(language, domain)
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
    assert found.domain is not None
    compiled = translations(str(found.locale), found.domain)
    forms = {found.locale.plural_form(n): compiled.plural(n) for n in PLURAL_SAMPLES}
    return {"other": max(forms.values()), **forms}
