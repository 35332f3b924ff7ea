"""Positions as people write and copy them: two numbers in many forms, or the link of a map."""

import re
from typing import Final
from urllib.parse import unquote

_DEGREES: Final = r"[+-]?\d{1,3}(?:\.\d+)?"
_PAIR: Final = rf"(?P<lat>{_DEGREES})(?:,|, |/)\+?(?P<lon>{_DEGREES})"
_LINKS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"!3d(?P<lat>{_DEGREES})!4d(?P<lon>{_DEGREES})",  # the place of Google Maps; @ is the middle of what it shows
        rf"[?&]mlat=(?P<lat>{_DEGREES})&mlon=(?P<lon>{_DEGREES})",
        rf"[?&](?:q|query|ll|daddr|destination|center|coordinate)=(?:loc:)?{_PAIR}",
        rf"^geo:{_PAIR}",
        rf"/@{_PAIR}",
        rf"#map=\d+(?:\.\d+)?/(?P<lat>{_DEGREES})/(?P<lon>{_DEGREES})",
    )
)
"""What map programs have in their links, the most exact first."""
_TEXTS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<lat>{_DEGREES})(?:\s*[,;/]\s*|\s+)(?P<lon>{_DEGREES})",
        r"(?P<lat>[+-]?\d{1,3}(?:,\d+)?)(?:\s*[;/]\s*|\s*,\s+|\s+)(?P<lon>[+-]?\d{1,3}(?:,\d+)?)",
        r"(?P<lat>[+-]?\d{1,3},\d+),(?P<lon>[+-]?\d{1,3},\d+)",
    )
)
_ANGLE: Final = (
    r"(?P<degrees>\d{1,3}(?:[.,]\d+)?)\s*°?\s*(?:(?P<minutes>\d{1,2}(?:[.,]\d+)?)\s*['′’]\s*)?"
    r"(?:(?P<seconds>\d{1,2}(?:[.,]\d+)?)\s*(?:[\"″”]|\'\')\s*)?"
)
_SIDES: Final = tuple(
    re.compile(rf"{form}\s*[,;]?\s*", re.IGNORECASE)
    for form in (rf"{_ANGLE}(?P<side>[NSEW])", rf"(?P<side>[NSEW])\s*{_ANGLE}")
)
"""A number with the letter of its side, as in 52.53° N, 52°31'12.3"N or N 52.53."""
SIZES: Final = {"degrees": 1, "minutes": 60, "seconds": 3600}
"""How many of them are a degree."""


def position_in(text: str) -> tuple[float, float] | None:
    """Latitude and longitude, not checked against their limits; None if the text can be read in no way or in two."""
    text = text.strip()
    if "://" in text or text.startswith("geo:"):
        link = unquote(text)
        found = next((one for pattern in _LINKS if (one := pattern.search(link))), None)
    else:
        text = text.strip("()[] ").replace("\u2212", "-")
        if re.search("[NSEW]", text, re.IGNORECASE):
            return _with_sides(text)
        text = text.replace("°", "")
        found = next((one for pattern in _TEXTS if (one := pattern.fullmatch(text))), None)
    return (_number(found["lat"]), _number(found["lon"])) if found is not None else None


def _with_sides(text: str) -> tuple[float, float] | None:
    """Of two numbers with letters: N or S, and E or W, in any order. German O and French O are opposites: refused."""
    for side in _SIDES:
        first = side.match(text)
        second = side.fullmatch(text, first.end()) if first is not None else None
        if first is None or second is None:
            continue
        found: dict[str, float] = {}
        for one in (first, second):
            letter = one["side"].upper()
            degrees = sum(_number(one[part] or "0") / size for part, size in SIZES.items())
            found["lat" if letter in "NS" else "lon"] = -degrees if letter in "SW" else degrees
        return (found["lat"], found["lon"]) if len(found) == 2 else None
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))
