"""The policy's tunables in people's words: labels, units, ranges, how a value is written, what differs between two."""

import re
from typing import Any, Final

import msgspec
from babel import Locale
from msgspec import Struct, inspect

from server.board.formats import span
from server.contract.words import LEVEL_ACTIONS, lower_first
from server.dispatch.policy import Policy
from server.texts.languages import LANGUAGES
from server.texts.speech import later, said, spoken

SHOWN_DIGITS: Final = ".10g"
NUMBER = re.compile(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?")
WHOLE = re.compile(r"[0-9]{1,9}")

EXPIRY: Final = {
    "auto_accept": later("It is auto-accepted, if the driver’s phone showed it"),
    "next_driver": later("The next driver gets an offer"),
}


YES_OR_NO: Final = {
    "true": later("Until the driver must leave, if the order has a preparation time"),
    "false": later("Never"),
}


LANGUAGE: Final = {"": later("Each phone’s own")} | {
    of: (Locale.parse(of).display_name or of).capitalize() for of in LANGUAGES
}
"""Each language by its own name."""


TOGETHER: Final = {
    "false": later("Of all stores"),
    "true": later("Of one store only"),
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
            return said("Choose a value.")
        if self.range is None:
            return said("Three capital letters, like EUR.")
        bounds = {"least": self._plain(self.range.least), "largest": self._plain(self.range.largest)}
        match self.range.whole, self.optional:
            case True, False:
                return said("A whole number from {least} to {largest}.", **bounds)
            case True, True:
                return said("Empty, or a whole number from {least} to {largest}.", **bounds)
            case _, False:
                return said("A number from {least} to {largest}.", **bounds)
            case _:
                return said("Empty, or a number from {least} to {largest}.", **bounds)

    def _plain(self, number: float) -> str:
        return f"{number:{SHOWN_DIGITS}}"

    @property
    def bounds(self) -> str:
        """The range, short."""
        if self.range is None:
            return ""
        return said(
            "{least} to {largest}", least=self._plain(self.range.least), largest=self._plain(self.range.largest)
        )

    def written(self, value: object) -> str:
        """A value of the document as the form shows it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return ""
        if not isinstance(value, int | float):
            return str(value)
        return f"{round(value * 100, 8) if self.percent else value:{SHOWN_DIGITS}}"

    def sentence(self, value: object) -> str:
        """A value in a sentence, with its unit."""
        written = self.written(value)
        if self.choices is not None:
            return said(self.choices.get(written, written))
        if value is None:
            return said("never")
        return f"{written}%" if self.percent else f"{written} {said(self.unit)}".rstrip()

    def read(self, text: str) -> object:
        """What was written as the document has it. Raises ValueError."""
        found = self.range
        if self.choices is not None and text not in self.choices:
            raise ValueError(self.wanted)
        if self.choices in (YES_OR_NO, TOGETHER):
            return text == "true"
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
        later("Offers"),
        later("An open offer keeps its deadline."),
        (
            Field("offerTimeoutSeconds", later("Offer timeout"), later("s")),
            Field("expiryPolicy", later("When an offer expires without an answer"), choices=EXPIRY),
            Field(
                "reofferCooldownSeconds",
                later("Wait before asking the same driver again"),
                later("s"),
                later("when an offer expired"),
            ),
            Field("pauseAfterExpiries", later("Pause a driver after unanswered offers in a row"), later("offers")),
            Field(
                "matchWindowMs",
                later("Wait for more orders before matching"),
                later("ms"),
                later("0: Callboard matches each order at once"),
            ),
        ),
    ),
    FieldGroup(
        "search",
        later("Search"),
        later("How far from the pickup Callboard looks for drivers."),
        (
            Field("searchRadiusKm", later("Search radius"), later("km")),
            Field(
                "wideSearchRadiusKm",
                later("Wide search radius"),
                later("km"),
                later("when a level of the ladder widens the search"),
            ),
            Field("positionFreshSeconds", later("A position is valid for"), later("s")),
        ),
    ),
    FieldGroup(
        "presence",
        later("Presence"),
        later("When a driver counts as gone."),
        (
            Field("presenceLapseSeconds", later("After the connection is lost"), later("s")),
            Field("callPresenceSeconds", later("After the last call, without a connection"), later("s")),
        ),
    ),
    FieldGroup(
        "travel",
        later("Travel"),
        later("How Callboard estimates distances and times."),
        (
            Field("averageSpeedKmh", later("Average speed"), later("km/h")),
            Field("detourFactor", later("Road distance to straight line"), later("times")),
            Field("handoverSeconds", later("Handing over at the customer"), later("s")),
            Field(
                "maxTripKm",
                later("Longest trip"),
                later("km"),
                later("an order with a longer trip waits until somebody checks its address"),
            ),
        ),
    ),
    FieldGroup(
        "pay",
        later("Pay"),
        later("What an offer shows as pay if the order does not say."),
        (
            Field("basePayCents", later("Per order"), later("cents")),
            Field("perKmPayCents", later("Per kilometre"), later("cents")),
            Field("currency", later("Currency")),
        ),
    ),
    FieldGroup(
        "watch",
        later("Orders under way"),
        later("When an order that has a driver is at risk."),
        (
            Field(
                "watch.goneSeconds",
                later("A driver is gone after"),
                later("s"),
                later("without a connection or a call"),
            ),
            Field("watch.lateMinutes", later("Late after"), later("min"), later("past the promised time")),
            Field(
                "watch.stalledMinutes", later("Stalled after"), later("min"), later("without moving, away from a stop")
            ),
            Field(
                "watch.releaseGoneSeconds",
                later("Take back an order before pickup after"),
                later("s"),
                later("when the driver is gone; if empty: never"),
                optional=True,
            ),
        ),
    ),
    FieldGroup(
        "planning",
        later("Planning"),
        later("When orders are held, and what a driver with other orders may get. A driver's capacity says how many."),
        (
            Field("planning.hold", later("Orders are held"), choices=YES_OR_NO),
            Field(
                "planning.holdSlackMinutes", later("A held order is offered before its driver must leave"), later("min")
            ),
            Field("planning.nextJobs", later("Extra orders for a driver at capacity"), later("orders")),
            Field("planning.maxExtraMinutes", later("An extra order delays the others by at most"), later("min")),
            Field("planning.maxMinutesInBag", later("An order is with the driver for at most"), later("min")),
            Field("planning.sameStoreOnly", later("Orders that a driver carries together"), choices=TOGETHER),
        ),
    ),
    FieldGroup(
        "drivers",
        later("Driver page"),
        later("What drivers read: their page, its notifications and the text of an invitation."),
        (Field("language", later("Language"), choices=LANGUAGE),),
    ),
    FieldGroup(
        "alerts",
        later("Alerts"),
        later("When Callboard raises an alert for a zone."),
        (
            Field("alerts.windowMinutes", later("Time window"), later("min")),
            Field("alerts.minimumSample", later("At least this many answered offers"), later("offers")),
            Field("alerts.rejectedShare", later("Alert if more offers are rejected than"), later("%")),
            Field("alerts.unassignedCount", later("Alert if more orders are unassigned than"), later("orders")),
        ),
    ),
)
FIELDS: Final = {field.name: field for group in GROUPS for field in group.fields}
LEVEL: Final = Field("escalation[].level", later("Level"))
AFTER: Final = Field("escalation[].afterSeconds", later("Unassigned for"), later("s"))


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


def document_of(policy: Policy) -> dict[str, object]:
    """Its values by their place on the wire, but for the ladder."""
    whole: dict[str, Any] = msgspec.to_builtins(policy)
    flat = {name: value for name, value in whole.items() if name not in ("version", "escalation", *SECTIONS)}
    for section in SECTIONS:
        flat |= {f"{section}.{name}": value for name, value in whole[section].items()}
    return flat


SECTIONS: Final = ("alerts", "watch", "planning")
"""The parts of the document that have their own fields."""


def differences(before: Policy, after: Policy) -> list[Difference]:
    """What a change from one to the other changes, in the order of the form."""
    old, new = document_of(before), document_of(after)
    found = [
        Difference(said(field.label), field.sentence(old[name]), field.sentence(new[name]))
        for name, field in FIELDS.items()
        if old[name] != new[name]
    ]
    rungs_before, rungs_after = _rungs(before), _rungs(after)
    for level in sorted(rungs_before.keys() | rungs_after.keys()):
        was, becomes = rungs_before.get(level, said("none")), rungs_after.get(level, said("none"))
        if was != becomes:
            found.append(Difference(said("Escalation level {level}", level=level), was, becomes))
    return found


def _rungs(policy: Policy) -> dict[int, str]:
    return {
        rung.level: said(
            "after {duration}: {actions}",
            duration=span(rung.after_seconds, spoken()),
            actions=", ".join(lower_first(said(LEVEL_ACTIONS[action])) for action in rung.actions) or said("nothing"),
        )
        for rung in policy.escalation
    }
