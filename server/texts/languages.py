"""The languages of the driver page, and which of them a phone gets."""

from pathlib import Path
from typing import Final

LOCALES: Final = Path(__file__).resolve().parent.parent / "locales"
SOURCE: Final = "en"
LANGUAGES: Final = (SOURCE, *sorted(path.name for path in LOCALES.iterdir() if path.is_dir()))


def language_for(accepted: str, chosen: str) -> str:
    """The language that the policy chooses, else the best that the phone accepts (`Accept-Language`, RFC 9110), else
    English. The region does not matter: a phone in de-AT gets German. A language without a catalogue is not chosen.
    """
    if chosen in LANGUAGES:
        return chosen
    return _preferred(accepted) or SOURCE


def customers_language(accepted: str, chosen: str) -> str:
    """The best that the customer's browser accepts, else the language that the policy chooses, else English."""
    return _preferred(accepted) or (chosen if chosen in LANGUAGES else SOURCE)


def _preferred(accepted: str) -> str | None:
    languages = (tag.partition("-")[0] for tag in tags_by_preference(accepted))
    return next((language for language in languages if language in LANGUAGES), None)


def tags_by_preference(accepted: str) -> list[str]:
    """The languages that a browser accepts, in lower case with their regions, the best first."""
    weighted = []
    for part in accepted.split(","):
        tag, _, parameter = part.partition(";")
        quality = _quality(parameter.strip())
        if quality > 0:
            weighted.append((quality, tag.strip().lower()))
    return [tag for _, tag in sorted(weighted, key=lambda pair: -pair[0])]


def _quality(parameter: str) -> float:
    if not parameter.startswith("q="):
        return 1.0
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
