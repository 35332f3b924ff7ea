"""The timeline for people: a line for each event, with names instead of ids."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from server.board import formats as f
from server.contract import words as w
from server.dispatch.model import Actor
from server.store.connections import Pool
from server.store.reads.deliveries import TimelineEvent
from server.store.reads.drivers import read_names
from server.store.reads.notices import Notice
from server.texts.speech import said, spoken

SEEN_AFTER: Final = timedelta(seconds=2)
"""A report that arrived so much later than what it is about has both times. The facts of an order have the first."""
OFFER_OVER: Final = ("offer.accepted", "offer.rejected", "offer.expired", "offer.withdrawn")


TONES: Final = {
    "offer.accepted": "good",
    "delivery.assigned": "good",
    "delivery.delivered": "good",
    "offer.rejected": "bad",
    "offer.expired": "bad",
    "delivery.cancelled": "bad",
    "delivery.escalated": "warn",
    "delivery.reassigned": "warn",
    "ticket.created": "warn",
    "delivery.search_failed": "warn",
    "delivery.released": "warn",
    "delivery.failed": "bad",
    "delivery.at_risk": "warn",
    "delivery.risk_escalated": "warn",
    "delivery.recovered": "good",
    "delivery.acknowledged": "hand",
    "delivery.risk_acknowledged": "hand",
}


class StoryLine(Struct, frozen=True):
    """One line of a timeline: `what` happened, `more` about it, who did it; `tone` for the eye, and the notices that
    were made of it. `what` may have a place for the driver, `{driver}`, which the template fills with a link; without
    one, `driver` is shown beside it, if there is any. `received` is when it was reported, if that was later than `at`,
    when it happened; the lines are in the order of the reports.
    """

    at: Any
    what: str
    more: str
    by: str
    tone: str
    driver_id: str | None
    driver: str | None
    kind: str
    notices: list[Notice]
    received: datetime | None


async def tell(pool: Pool, events: Sequence[TimelineEvent], notices: Iterable[Notice] = ()) -> list[StoryLine]:
    """The events as lines, in the same order, each with the notices made of it. Raises DatabaseAway."""
    ids = {event.driver_id for event in events if event.driver_id is not None}
    ids |= {event.actor.id for event in events if event.actor.type == "driver" and event.actor.id is not None}
    names = await read_names(pool, ids | set(_nearest_in(events)))
    lines = [_line(event, names) for event in events]
    for notice in notices:
        place = _made_of(notice, events)
        if place is not None:
            lines[place].notices.append(notice)
    return lines


def _nearest_in(events: Iterable[TimelineEvent]) -> Iterator[str]:
    for event in events:
        if event.type == "delivery.search_failed":
            data = msgspec.json.decode(event.data)
            if data.get("nearest"):
                yield data["nearest"]["driverId"]


def _made_of(notice: Notice, events: Sequence[TimelineEvent]) -> int | None:
    """Which event a notice was made of: the one of its offer, else of its kind (and driver) the nearest in time."""
    kinds = OFFER_OVER if notice.kind == "offer.closed" else (notice.kind,)
    of_kind = [
        place
        for place, event in enumerate(events)
        if event.type in kinds
        and (notice.source != "offer" or event.offer_id == notice.id)
        and notice.driver_id in (None, event.driver_id)
    ]
    return min(of_kind, key=lambda place: abs(events[place].at - notice.at), default=None)


def _line(event: TimelineEvent, names: Mapping[str, str]) -> StoryLine:
    data: dict[str, Any] = msgspec.json.decode(event.data)
    driver = names.get(event.driver_id or "")
    happened = datetime.fromisoformat(data["happenedAt"]) if data.get("happenedAt") else event.at
    return StoryLine(
        happened,
        _what(event, driver),
        " · ".join(part for part in _more(event.type, data, names) if part),
        by(event.actor, names),
        TONES.get(event.type, ""),
        event.driver_id,
        driver,
        event.type,
        [],
        event.at if event.at - happened >= SEEN_AFTER else None,
    )


def _what(event: TimelineEvent, driver: str | None) -> str:
    if event.type == "delivery.released" and driver is not None and event.actor.type == "system":
        return said("Taken back from {driver}")
    sentence = w.EVENTS_OF_DRIVER.get(event.type) if driver is not None else None
    return said(sentence or w.words(w.EVENTS, event.type))


def by(actor: Actor, names: Mapping[str, str]) -> str:
    match actor.type:
        case "system":
            return "Callboard"
        case "driver":
            return names.get(actor.id or "") or said("the driver")
        case "service":
            return f"{actor.id or said('order source')} ({said('order source')})"
        case _:
            return f"{actor.id or actor.type} ({said(actor.type)})"


def _nearest(nearest: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    if nearest is None:
        return ""
    return said(
        "nearest is {driver}, {km} km away, {why}",
        driver=names.get(nearest["driverId"]) or said("a driver"),
        km=spoken().decimal(nearest["distanceKm"]),
        why=said(w.words(w.NOT_TAKEN, nearest["reason"])),
    )


def _more(kind: str, data: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """The rest of the story, from what the event carries."""
    match kind:
        case "delivery.created":
            return [data.get("storeName", ""), said("zone {zone}", zone=data.get("zone", ""))]
        case "delivery.ready":
            return [said("dispatched early on request")] if data.get("early") else []
        case "delivery.held":
            return [_before_ready(data)]
        case "delivery.hold_ended":
            return [said("early")] if data.get("early") else []
        case "delivery.search_failed":
            return [said(w.words(w.FAILURES, data.get("reason"))), _nearest(data.get("nearest"), names)]
        case "offer.created":
            return [
                said("offer {number}", number=data.get("attempt")),
                *_offer(data.get("payload") or {}),
                data.get("reason") or "",
            ]
        case "offer.accepted":
            return [_after(data)]
        case "offer.rejected":
            return [_after(data), _why(data) or said(w.REASONS["none_given"])]
        case "offer.expired":
            return [said("auto-accepted") if data.get("autoAccepted") else said("no answer")]
        case "delivery.assigned":
            return [w.lower_first(said(w.words(w.SOURCES, data.get("source")))), data.get("reason") or ""]
        case "delivery.reassigned":
            return [_why(data), said("after pickup") if data.get("forced") else ""]
        case "delivery.escalated":
            return _level(data)
        case "delivery.at_risk" | "delivery.recovered":
            return [said(w.words(w.RISKS, data.get("risk")))]
        case "delivery.risk_escalated":
            return [said(w.words(w.RISKS, data.get("risk"))), *_level(data)]
        case "delivery.arrived":
            return [said("at the pickup") if data.get("where") == "pickup" else said("at the drop-off")]
        case "delivery.late_report":
            return [said(w.words(w.EVENTS, data.get("what"))), _why(data)]
        case "delivery.changed":
            return [", ".join(map(_field, data.get("fields", []))), _why(data)]
        case "ticket.created":
            return [data.get("title") or "", said("priority {priority}", priority=said(data.get("priority", "")))]
        case "driver.availability_changed":
            return [said(w.words(w.STATES, data.get("to"))), said(w.words(w.REASONS, data.get("reason")))]
        case _:
            return [_why(data)]


def _level(data: Mapping[str, Any]) -> list[str]:
    actions = ", ".join(said(w.words(w.LEVEL_ACTIONS, action)) for action in data.get("actions", []))
    return [said("level {level}", level=data.get("level")), actions]


def _field(name: str) -> str:
    """A field of the contract as words: `promisedAt` is "promised at"."""
    return said(re.sub(r"(?=[A-Z])", " ", name).lower())


def _why(data: Mapping[str, Any]) -> str:
    """A reason in words: what its code means, unless that says nothing beside a note."""
    reason, note = data.get("reason"), data.get("note")
    if note and reason in (None, "other"):
        return str(note)
    text = said(w.words(w.REASONS, reason))
    return f"{text}: {note}" if note else text


def _before_ready(data: Mapping[str, Any]) -> str:
    """How long before the goods are ready a held order is offered."""
    until, ready = (datetime.fromisoformat(data[name]) for name in ("until", "readyAt"))
    duration = f.span((ready - until).total_seconds(), spoken())
    return said("will be offered {duration} before the goods are ready", duration=duration)


def _after(data: Mapping[str, Any]) -> str:
    milliseconds = data.get("responseTimeMs")
    if milliseconds is None:
        return ""
    return said("after {duration}", duration=f.seconds(milliseconds / 1000, spoken()))


def _offer(payload: Mapping[str, Any]) -> list[str]:
    if not payload:
        return []
    earning = f.money(payload.get("estimatedEarningCents"), payload.get("currency", ""), spoken())
    return [said("{km} km to the pickup", km=spoken().decimal(payload.get("estimatedDistanceKm", 0))), earning]
