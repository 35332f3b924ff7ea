"""The policy's tunables in people's words: labels, units, ranges, how a value is written, what differs between two."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

from server.board.words import LEVEL_ACTIONS, span
from server.dispatch.policy import Policy

SHOWN_DIGITS: Final = ".10g"
NUMBER = re.compile(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?")
WHOLE = re.compile(r"[0-9]{1,9}")

EXPIRY: Final = {
    "auto_accept": "It is assigned to them, if their phone has shown it",
    "next_driver": "The next driver is asked",
}


YES_OR_NO: Final = {
    "true": "Until their driver must leave, if they have a preparation time",
    "false": "Never",
}


class Range(Struct, frozen=True):
    """The least and the largest number a tunable may be."""

    least: float
    largest: float
    whole: bool


class Field(Struct, frozen=True):
    """One tunable. `name` is its place in the document on the wire; percent ones are shares there."""

    name: str
    label: str
    unit: str = ""
    hint: str = ""
    choices: dict[str, str] | None = None
    optional: bool = False

    @property
    def percent(self) -> bool:
        """Whether people read it in hundredths."""
        return self.unit == "%"

    @property
    def range(self) -> Range | None:
        """As people write it; None for what is no number."""
        found = RANGES.get(self.name)
        if found is None or not self.percent:
            return found
        return Range(found.least * 100, found.largest * 100, found.whole)

    @property
    def wanted(self) -> str:
        """What may be written here, in a sentence."""
        if self.choices is not None:
            return "Choose one."
        if self.range is None:
            return "Three capital letters, like EUR."
        kind = "A whole number" if self.range.whole else "A number"
        kind = f"Nothing, or {kind.lower()}" if self.optional else kind
        return f"{kind} from {self.range.least:{SHOWN_DIGITS}} to {self.range.largest:{SHOWN_DIGITS}}."

    @property
    def bounds(self) -> str:
        """The range, short."""
        if self.range is None:
            return ""
        return f"{self.range.least:{SHOWN_DIGITS}} to {self.range.largest:{SHOWN_DIGITS}}"

    def written(self, value: Any) -> str:
        """A value of the document as it stands in the form."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        return f"{round(value * 100, 8) if self.percent else value:{SHOWN_DIGITS}}"

    def told(self, value: Any) -> str:
        """A value in a sentence, with its unit."""
        written = self.written(value)
        if self.choices is not None:
            return self.choices[written]
        if value is None:
            return "never"
        return f"{written} {self.unit}" if self.unit else written

    def read(self, text: str) -> Any:
        """What was written as the document has it. Raises ValueError."""
        found = self.range
        if self.choices is YES_OR_NO:
            return {"true": True, "false": False}.get(text, text)
        if found is None:
            return text
        if self.optional and not text:
            return None
        if not (WHOLE if found.whole else NUMBER).fullmatch(text):
            raise ValueError(self.wanted)
        if found.whole:
            return int(text)
        number = float(text.replace(",", "."))
        return round(number / 100, 10) if self.percent else number


class Group(Struct, frozen=True):
    """Tunables that belong together."""

    key: str
    title: str
    about: str
    fields: tuple[Field, ...]


GROUPS: Final = (
    Group(
        "offers",
        "Offers",
        "A running offer keeps the deadline it was made with.",
        (
            Field("offerTimeoutSeconds", "Time to answer an offer", "s"),
            Field("expiryPolicy", "When an offer runs out unanswered", choices=EXPIRY),
            Field("reofferCooldownSeconds", "Until the same driver is asked again", "s", "after an offer ran out"),
            Field("pauseAfterExpiries", "Unanswered offers in a row that pause a driver", "offers"),
            Field("matchWindowMs", "Wait for more orders before matching", "ms", "0 matches at once"),
        ),
    ),
    Group(
        "search",
        "Search",
        "How far from the pickup drivers are looked for.",
        (
            Field("searchRadiusKm", "Search radius", "km"),
            Field("wideSearchRadiusKm", "Wide search radius", "km", "once the ladder widens the search"),
            Field("positionFreshSeconds", "A position counts for", "s"),
        ),
    ),
    Group(
        "presence",
        "Presence",
        "When a driver counts as gone.",
        (
            Field("presenceLapseSeconds", "After the connection is lost", "s"),
            Field("callPresenceSeconds", "After the last call, without a connection", "s"),
        ),
    ),
    Group(
        "travel",
        "Travel",
        "What distances and times in offers are made from.",
        (
            Field("averageSpeedKmh", "Average speed", "km/h"),
            Field("detourFactor", "Road against straight line", "times"),
            Field("handoverSeconds", "Handing over at the customer", "s"),
            Field("maxTripKm", "Longest trip", "km", "a longer one waits for somebody to look at its address"),
        ),
    ),
    Group(
        "pay",
        "Pay",
        "What an offer shows as earnings when the order names none.",
        (
            Field("basePayCents", "For a delivery", "cents"),
            Field("perKmPayCents", "For a kilometre", "cents"),
            Field("currency", "Currency"),
        ),
    ),
    Group(
        "watch",
        "Orders under way",
        "When an order that has a driver is at risk.",
        (
            Field("watch.goneSeconds", "A driver is gone after", "s", "without a connection or a call"),
            Field("watch.lateMinutes", "Late after", "min", "past what was promised or agreed to"),
            Field("watch.stalledMinutes", "Stalled after", "min", "without having moved, away from a stop"),
            Field("watch.releaseGoneSeconds", "Take back what was not picked up after", "s", "gone", optional=True),
        ),
    ),
    Group(
        "planning",
        "Planning",
        "When orders are offered, and to whom.",
        (
            Field("planning.hold", "Orders are held", choices=YES_OR_NO),
            Field("planning.nextJobs", "Jobs a driver may have beyond capacity", "jobs"),
        ),
    ),
    Group(
        "alerts",
        "Alerts",
        "When a zone's numbers wake somebody.",
        (
            Field("alerts.windowMinutes", "Look back over", "min"),
            Field("alerts.minimumSample", "Only from this many answered offers", "offers"),
            Field("alerts.rejectedShare", "Alert above rejected offers of", "%"),
            Field("alerts.unassignedCount", "Alert above unassigned deliveries of", "deliveries"),
        ),
    ),
)
FIELDS: Final = {field.name: field for group in GROUPS for field in group.fields}
LEVEL: Final = Field("escalation[].level", "Level")
AFTER: Final = Field("escalation[].afterSeconds", "Unassigned for", "s")


def _ranges(kind: type, at: str = "") -> dict[str, Range]:
    """Every bounded number of a struct and of the structs in it, by its place on the wire."""
    found: dict[str, Range] = {}
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        place, inner = f"{at}{field.encode_name}", field.type
        if isinstance(inner, inspect.VarTupleType):
            place, inner = f"{place}[]", inner.item_type
        if isinstance(inner, inspect.UnionType):
            inner = next(kind for kind in inner.types if not isinstance(kind, inspect.NoneType))
        if isinstance(inner, inspect.StructType):
            found |= _ranges(inner.cls, f"{place}.")
        elif isinstance(inner, (inspect.IntType, inspect.FloatType)) and inner.le is not None:
            assert inner.ge is not None
            found[place] = Range(inner.ge, inner.le, isinstance(inner, inspect.IntType))
    return found


RANGES: Final = _ranges(Policy)


class Difference(Struct, frozen=True):
    """One tunable that is not the same in two documents."""

    label: str
    before: str
    after: str


def document_of(policy: Policy) -> dict[str, Any]:
    """Its values by their place on the wire, but for the ladder."""
    whole: dict[str, Any] = msgspec.to_builtins(policy)
    flat = {name: value for name, value in whole.items() if name not in ("version", "escalation", *SECTIONS)}
    for section in SECTIONS:
        flat |= {f"{section}.{name}": value for name, value in whole[section].items()}
    return flat


SECTIONS: Final = ("alerts", "watch", "planning")
"""The parts of the document that hold tunables of their own."""


def differences(before: Policy, after: Policy) -> list[Difference]:
    """What a change from one to the other changes, in the order of the form."""
    old, new = document_of(before), document_of(after)
    found = [
        Difference(field.label, field.told(old[name]), field.told(new[name]))
        for name, field in FIELDS.items()
        if old[name] != new[name]
    ]
    rungs_before, rungs_after = _rungs(before), _rungs(after)
    for level in sorted(rungs_before.keys() | rungs_after.keys()):
        was, becomes = rungs_before.get(level, "none"), rungs_after.get(level, "none")
        if was != becomes:
            found.append(Difference(f"Escalation level {level}", was, becomes))
    return found


def _rungs(policy: Policy) -> dict[int, str]:
    return {
        rung.level: f"after {span(rung.after_seconds)}: "
        + (", ".join(LEVEL_ACTIONS[action] for action in rung.actions) or "nothing more")
        for rung in policy.escalation
    }
