"""The policy's tunables in people's words: labels, units, ranges, how a value is written, what differs between two."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

from server.board.formats import span
from server.contract.words import LEVEL_ACTIONS, lower_first
from server.dispatch.policy import Policy

SHOWN_DIGITS: Final = ".10g"
NUMBER = re.compile(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?")
WHOLE = re.compile(r"[0-9]{1,9}")

EXPIRY: Final = {
    "auto_accept": "It is auto-accepted, if the driver’s phone showed it",
    "next_driver": "The next driver gets an offer",
}


YES_OR_NO: Final = {
    "true": "Until the driver must leave, if the order has a preparation time",
    "false": "Never",
}


TOGETHER: Final = {
    "false": "Of all stores",
    "true": "Of one store only",
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
            return "Choose a value."
        if self.range is None:
            return "Three capital letters, like EUR."
        kind = "A whole number" if self.range.whole else "A number"
        kind = f"Empty, or {kind.lower()}" if self.optional else kind
        return f"{kind} from {self.range.least:{SHOWN_DIGITS}} to {self.range.largest:{SHOWN_DIGITS}}."

    @property
    def bounds(self) -> str:
        """The range, short."""
        if self.range is None:
            return ""
        return f"{self.range.least:{SHOWN_DIGITS}} to {self.range.largest:{SHOWN_DIGITS}}"

    def written(self, value: Any) -> str:
        """A value of the document as the form shows it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        return f"{round(value * 100, 8) if self.percent else value:{SHOWN_DIGITS}}"

    def sentence(self, value: Any) -> str:
        """A value in a sentence, with its unit."""
        written = self.written(value)
        if self.choices is not None:
            return self.choices[written]
        if value is None:
            return "never"
        return f"{written}%" if self.percent else f"{written} {self.unit}".rstrip()

    def read(self, text: str) -> Any:
        """What was written as the document has it. Raises ValueError."""
        found = self.range
        if self.choices in (YES_OR_NO, TOGETHER):
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


class FieldGroup(Struct, frozen=True):
    """Tunables that belong together."""

    key: str
    title: str
    about: str
    fields: tuple[Field, ...]


GROUPS: Final = (
    FieldGroup(
        "offers",
        "Offers",
        "An open offer keeps its deadline.",
        (
            Field("offerTimeoutSeconds", "Offer timeout", "s"),
            Field("expiryPolicy", "When an offer expires without an answer", choices=EXPIRY),
            Field("reofferCooldownSeconds", "Wait before asking the same driver again", "s", "when an offer expired"),
            Field("pauseAfterExpiries", "Pause a driver after unanswered offers in a row", "offers"),
            Field("matchWindowMs", "Wait for more orders before matching", "ms", "0 matches at once"),
        ),
    ),
    FieldGroup(
        "search",
        "Search",
        "How far from the pickup Callboard looks for drivers.",
        (
            Field("searchRadiusKm", "Search radius", "km"),
            Field("wideSearchRadiusKm", "Wide search radius", "km", "when a level of the ladder widens the search"),
            Field("positionFreshSeconds", "A position is valid for", "s"),
        ),
    ),
    FieldGroup(
        "presence",
        "Presence",
        "When a driver counts as gone.",
        (
            Field("presenceLapseSeconds", "After the connection is lost", "s"),
            Field("callPresenceSeconds", "After the last call, without a connection", "s"),
        ),
    ),
    FieldGroup(
        "travel",
        "Travel",
        "How Callboard estimates distances and times.",
        (
            Field("averageSpeedKmh", "Average speed", "km/h"),
            Field("detourFactor", "Road distance to straight line", "times"),
            Field("handoverSeconds", "Handing over at the customer", "s"),
            Field("maxTripKm", "Longest trip", "km", "the order of a longer one waits for a check of its address"),
        ),
    ),
    FieldGroup(
        "pay",
        "Pay",
        "What an offer shows as pay if the order does not say.",
        (
            Field("basePayCents", "Per delivery", "cents"),
            Field("perKmPayCents", "Per kilometre", "cents"),
            Field("currency", "Currency"),
        ),
    ),
    FieldGroup(
        "watch",
        "Orders under way",
        "When an order that has a driver is at risk.",
        (
            Field("watch.goneSeconds", "A driver is gone after", "s", "without a connection or a call"),
            Field("watch.lateMinutes", "Late after", "min", "past the promised time"),
            Field("watch.stalledMinutes", "Stalled after", "min", "without moving, away from a stop"),
            Field(
                "watch.releaseGoneSeconds",
                "Take back an order before pickup after",
                "s",
                "once the driver is gone; empty: never",
                optional=True,
            ),
        ),
    ),
    FieldGroup(
        "planning",
        "Planning",
        "When orders are offered, and to which drivers.",
        (
            Field("planning.hold", "Orders are held", choices=YES_OR_NO),
            Field("planning.holdSlackSeconds", "A held order is offered before its driver must leave", "s"),
            Field("planning.nextJobs", "Extra orders for a driver at capacity", "orders"),
            Field("planning.maxExtraMinutes", "An extra order delays the others by at most", "min"),
            Field("planning.maxMinutesInBag", "An order is on board for at most", "min"),
            Field("planning.sameStoreOnly", "Orders on board together", choices=TOGETHER),
        ),
    ),
    FieldGroup(
        "alerts",
        "Alerts",
        "When Callboard raises an alert for a zone.",
        (
            Field("alerts.windowMinutes", "Time window", "min"),
            Field("alerts.minimumSample", "At least this many answered offers", "offers"),
            Field("alerts.rejectedShare", "Alert if more offers are rejected than", "%"),
            Field("alerts.unassignedCount", "Alert if more deliveries are unassigned than", "deliveries"),
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
        Difference(field.label, field.sentence(old[name]), field.sentence(new[name]))
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
        + (", ".join(lower_first(LEVEL_ACTIONS[action]) for action in rung.actions) or "nothing")
        for rung in policy.escalation
    }
