"""Cells of a file as the values of a request: numbers, dates and lists as people and spreadsheets write them."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Final, Literal

import msgspec.inspect as inspection
from msgspec import Struct

from server.contract.csv_files import has_mark, unmarked
from server.dispatch.phones import dialled
from server.spreadsheets.cells import SheetCell, SpecialCell
from server.texts.speech import later
from server.web.api.positions import position_in

DateOrder = Literal["dmy", "mdy", "ymd"]
ValueKind = Literal["text", "whole", "number", "instant", "list", "amount", "position", "phone"]
Value = str | int | float | Decimal | list[str] | tuple[float, float] | None

_BLANKS: Final = "\u00a0\u202f\u2009\ufeff"
_KEPT_AS_TEXT: Final = re.compile(r'="([^"]*)"')
"""How some programs keep the zeros at the beginning of a number."""
_SHORTENED: Final = re.compile(r"\d([.,]\d+)?E\+\d+")
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}([.,])\d{3}(\1\d{3})*")
_WHOLE: Final = re.compile(r"[+-]?\d{1,18}([.,]0*)?")
_GERMAN: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+")
_ENGLISH: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+")
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}([.,]\d+)?([eE][+-]?\d{1,2})?")
_RFC_3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_DATE: Final = re.compile(r"(\d{1,4})([./-])\s?(\d{1,2})\2\s?(\d{1,4})")
_TIME: Final = re.compile(
    r"[T\s,]*(\d{1,2})(?::|[hH]|\.)(\d{2})?(?::(\d{2})(?:[.,]\d+)?)?\s*(?:Uhr)?\s*([ap]\.?m\.?)?\s*"
    r"(Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_PHONE: Final = re.compile(r"(tel\.?:?)?[\s\d()./\u2010-\u2015\u00a0\u202f,;:*#+-]+((ext|x)\.?\s*\d+)?", re.IGNORECASE)
_CLOCK: Final = re.compile(r"\d{1,2}(:\d{2}|h\b|h\d{2})", re.IGNORECASE)
_CURRENCY: Final = re.compile(r"^[^\d\s+.,%\u2212-]{1,4}\.?\s*(?=[\d+.,-])|(?<=\d)\s*[^\d\s.,%]{1,4}\.?$")
_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
_SHOWN: Final = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}


FEWEST_DIGITS: Final = 3


class BadCell(Exception):
    """What is wrong with a cell."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def columns_in(request: type[Struct]) -> dict[str, ValueKind]:
    """The columns of a request by their names on the wire; those of a place are `pickup.lat`."""
    return dict(_columns(inspection.type_info(request), ""))


def _columns(kind: inspection.Type, at: str) -> Iterator[tuple[str, ValueKind]]:
    assert isinstance(kind, inspection.StructType)
    for field in kind.fields:
        plain = _plain(field.type)
        if isinstance(plain, inspection.StructType):
            yield from _columns(plain, f"{at}{field.encode_name}.")
        else:
            yield f"{at}{field.encode_name}", "phone" if field.encode_name == "phone" else _kind_of(plain)


def _plain(kind: inspection.Type) -> inspection.Type:
    """The type without null and what describes it."""
    if isinstance(kind, inspection.Metadata):
        return _plain(kind.type)
    if isinstance(kind, inspection.UnionType):
        return _plain(next(one for one in kind.types if not isinstance(one, inspection.NoneType)))
    return kind


def _kind_of(plain: inspection.Type) -> ValueKind:
    match plain:
        case inspection.IntType():
            return "whole"
        case inspection.FloatType():
            return "number"
        case inspection.DateTimeType():
            return "instant"
        case inspection.VarTupleType():
            return "list"
        case _:
            return "text"


SPREADSHEET_DIGITS: Final = 15
"""So many digits of a number spreadsheet programs keep. The others become zeros."""


def value_of(
    cell: SheetCell, kind: ValueKind, dates: DateOrder | None, zone: tzinfo, today: date | None = None
) -> Value:
    """The value of a cell, or None for an empty one. A time without a zone is in `zone`, and one without a day is of
    `today`. Raises BadCell.
    """
    if isinstance(cell, SpecialCell):
        if cell.kind == "formula":
            raise BadCell(later("must not be a formula"))
        if cell.kind == "error":
            raise BadCell(f"is the error {cell.text} of the spreadsheet")
        if kind != "instant":
            raise BadCell(later("is a date in the spreadsheet: write it as text"))
        return _in_zone(datetime.fromisoformat(cell.text), zone)
    if cell is None:
        return None
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return _of_number(cell, kind)
    text = _text(str(cell))
    if not text:
        return None
    match kind:
        case "whole":
            return _whole(text)
        case "number":
            return _number(text)
        case "instant":
            return _instant(text, dates, zone, today)
        case "list":
            return _list(text)
        case "amount":
            return _amount(text)
        case "position":
            return _position(text)
        case "phone" if not _SHORTENED.fullmatch(text):
            return _phone(text)
        case _:
            if _SHORTENED.fullmatch(text):
                raise BadCell(later("was shortened by the spreadsheet program: write it as text"))
            return text


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split("|") if part.strip()]


def _text(text: str) -> str:
    """Without the blanks around it and the marks that keep a spreadsheet from running it. Raises BadCell."""
    text = text.strip().strip(_BLANKS).strip()
    if has_mark(text):
        return unmarked(text).strip()
    if kept := _KEPT_AS_TEXT.fullmatch(text):
        return kept.group(1).strip()
    if text.startswith("="):
        raise BadCell(later("must not be a formula"))
    if "\x00" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadCell(later("has a character that cannot be stored"))
    return unmarked(text)


def _of_number(number: float, kind: ValueKind) -> Value:
    if kind in ("list", "text", "phone") and abs(number) >= 10**SPREADSHEET_DIGITS:
        raise BadCell(later("was shortened by the spreadsheet program: write it as text"))
    match kind:
        case "whole":
            if not isinstance(number, int):
                raise BadCell(later("must be a whole number"))
            return number
        case "number":
            return float(number)
        case "instant":
            raise BadCell(later("is a number in the spreadsheet, not a date"))
        case "list":
            return [f"{number}"]
        case "amount":
            return Decimal(str(number))
        case "position":
            return _position(f"{number}")
        case _:
            return f"{number}"


def _unspaced(text: str) -> str:
    return re.sub(rf"[\s{_BLANKS}'’]", "", text).replace("\u2212", "-")


def _whole(text: str) -> int:
    digits = _unspaced(text)
    if _GROUPED.fullmatch(digits):
        return int(digits.replace(",", "").replace(".", ""))
    if not _WHOLE.fullmatch(digits):
        raise BadCell(later("must be a whole number"))
    return int(re.split(r"[.,]", digits)[0])


def _number(text: str) -> float:
    digits = _unspaced(text)
    if _GERMAN.fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif _ENGLISH.fullmatch(digits):
        digits = digits.replace(",", "")
    elif not _NUMBER.fullmatch(digits):
        raise BadCell(later("must be a number"))
    return float(digits.replace(",", "."))


def _amount(text: str) -> Decimal:
    """An amount in units of a currency, with or without its sign."""
    plain = _unspaced(_CURRENCY.sub("", text))
    if _GROUPED.fullmatch(plain):
        if len(re.findall("[.,]", plain)) == 1:
            raise BadCell(later("can be read in two ways: write 1500 or 1.50"))
        return Decimal(re.sub("[.,]", "", plain))
    try:
        return Decimal(str(_number(plain)))
    except BadCell:
        raise BadCell(later("must be an amount such as 24.90")) from None


def _position(text: str) -> tuple[float, float]:
    position = position_in(text)
    if position is None:
        raise BadCell(later("must be latitude and longitude, such as 59.437, 24.754"))
    return position


def _phone(text: str) -> str:
    """A phone number that a phone can call: `0049 (0)171 5556677` is +49 171 5556677."""
    if sum(sign.isdecimal() for sign in text) < FEWEST_DIGITS or not _PHONE.fullmatch(text):
        raise BadCell(later("must be a phone number"))
    return dialled(text)


def _instant(text: str, dates: DateOrder | None, zone: tzinfo, today: date | None = None) -> str:
    """A day with a time, the beginning of the day, or a time of today."""
    if _RFC_3339.fullmatch(text):
        return text
    if today is not None and _CLOCK.match(text):
        text = f"{today.isoformat()} {text}"
    found = _DATE.match(text)
    if found is None:
        raise BadCell(later("must be a date with a time, such as 2026-02-01 18:30"))
    day = _day(found.group(1), found.group(3), found.group(4), dates)
    rest = text[found.end() :].strip()
    if not rest:
        return _in_zone(datetime.combine(day, time()), zone)
    clock = _TIME.fullmatch(rest)
    if clock is None:
        raise BadCell(later("must have a time such as 18:30"))
    hour, minute, second, half, offset = clock.groups()
    hours = int(hour)
    if half is not None:
        if not 1 <= hours <= 12:
            raise BadCell(later("must have a time such as 18:30"))
        hours = hours % 12 + (12 if half.lower().startswith("p") else 0)
    try:
        at = datetime.combine(day, time(hours, int(minute or 0), int(second or 0)))
    except ValueError:
        raise BadCell(later("must have a time such as 18:30")) from None
    if offset is None:
        return _in_zone(at, zone)
    return f"{at.isoformat()}{'Z' if offset in 'zZ' else offset if ':' in offset else f'{offset[:3]}:{offset[3:]}'}"


def _day(first: str, second: str, third: str, dates: DateOrder | None) -> date:
    """The day of three numbers, if there is one way to read it. A year in front is always year, month, day."""
    orders = ("ymd",) if len(first) > 2 else _ORDERS if dates is None else (dates,)
    days = {day for order in orders if (day := _read(order, first, second, third)) is not None}
    if len(days) > 1:
        raise BadCell(later("can be read in two ways: say how dates are written"))
    if not days:
        how = f", written as {_SHOWN[dates]}" if dates is not None and len(first) <= 2 else ""
        raise BadCell(f"must be a day of the calendar{how}")
    return days.pop()


def _read(order: DateOrder, first: str, second: str, third: str) -> date | None:
    parts = dict(zip(order, (first, second, third), strict=True))
    year = parts["y"]
    if len(year) not in (2, 4) or len(parts["d"]) > 2 or len(parts["m"]) > 2:
        return None
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), int(parts["m"]), int(parts["d"]))
    except ValueError:
        return None


def _in_zone(at: datetime, zone: tzinfo) -> str:
    """The time in the zone as RFC 3339. Raises BadCell if the clock skips it or shows it twice."""
    early, late = at.replace(tzinfo=zone, fold=0), at.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        raise BadCell(later("is in the hour in which the clocks change: add the offset, such as +01:00"))
    return early.isoformat()
