"""The templates of all screens: one environment a time zone and language, with the words and times as filters."""

from datetime import datetime
from functools import cache, partial
from typing import Final

from jinja2 import FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from server.board import formats as f
from server.board.constant_texts import TextFolder
from server.contract import words as w
from server.contract.views import instant
from server.dispatch.escalation import next_level_at
from server.dispatch.model import Point
from server.dispatch.phones import dialled
from server.dispatch.policy import Policy
from server.dispatch.travel import road_km
from server.paths import TEMPLATES
from server.settings import time_zone_of
from server.store.reads.board import AlertShown, BoardDelivery
from server.texts.catalogues import SCREENS, page_texts, translations
from server.texts.languages import SOURCE
from server.texts.speech import Speech, later, speech

WORDS: Final = {
    "failure": w.FAILURES,
    "not_taken": w.NOT_TAKEN,
    "state": w.STATES,
    "source": w.SOURCES,
    "status": w.STATUSES,
    "offer_status": w.OFFERS,
    "alert": w.ALERTS,
    "risk": w.RISKS,
    "reason": w.REASONS,
    "event": w.EVENTS,
    "level_action": w.LEVEL_ACTIONS,
    "outcome_of": {
        "received": later("received"),
        "sent": later("sent"),
        "pending": later("pending"),
        "failed": later("failed"),
    },
    "severity": {
        "info": later("info"),
        "normal": later("normal"),
        "warning": later("warning"),
        "high": later("high"),
        "critical": later("critical"),
    },
}
"""The filters that show a code in words."""


def milliseconds(at: datetime) -> int:
    """Unix milliseconds, for the script that counts up and down."""
    return round(at.timestamp() * 1000)


@cache
def environment(zone_name: str, language: str = SOURCE, domain: str = SCREENS, root: str = "") -> TextFolder:
    """The templates of every screen with their words and times as filters, and their texts in a language out of one of
    its catalogues. `zone_name` is the organisation's, `root` the path of the public URL.

    Nodes of one process share an environment, so nobody changes it: a filter takes what belongs to a node.
    """
    zone, tongue = time_zone_of(zone_name), speech(language)
    env = TextFolder(
        translations(language, domain),
        root,
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    env.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    env.filters.update(
        ms=milliseconds,
        instant=instant,
        clock=partial(f.clock, zone=zone),
        clock_seconds=partial(f.clock, zone=zone, seconds=True),
        day_and_clock=partial(f.day_and_clock, zone=zone, speech=tongue),
        day_and_clock_seconds=partial(f.day_and_clock, zone=zone, seconds=True, speech=tongue),
        lately=partial(f.lately, zone=zone, speech=tongue),
        span=partial(f.span, speech=tongue),
        seconds=partial(f.seconds, speech=tongue),
        percent=partial(f.percent, speech=tongue),
        number=tongue.number,
        decimal=tongue.decimal,
        said=tongue.said,
        lower_first=w.lower_first,
        dialled=dialled,
        money=partial(f.money, speech=tongue),
        shape=f.shape,
        next_level_at=next_level_at,
        alert_value=partial(alert_value, tongue),
        outcome=partial(outcome, tongue),
        filled=filled,
        trip_km=trip_km,
        trip=lambda delivery, policy: tongue.decimal(trip_km(delivery, policy)),
    )
    env.globals.update(
        time_zone=zone_name,
        reasons=f,
        language=language,
        direction=tongue.direction,
    )
    if domain == SCREENS:
        env.filters.update({name: partial(w.words, tongue.table(table)) for name, table in WORDS.items()})
        env.globals["texts"] = page_texts(language, domain)
    return env


def alert_value(speech: Speech, alert: AlertShown) -> str:
    """The number now, the one that raised it and its threshold: a share in percent, a count as it is."""

    def written(value: float) -> str:
        return f.percent(value, speech) if alert.kind.endswith("share") else speech.number(value)

    value, threshold = written(alert.value), written(alert.threshold)
    if alert.now is None or alert.resolved_at is not None:
        return speech.said("{value} (threshold {threshold})", value=value, threshold=threshold)
    return speech.said(
        "{now} now · {value} when raised (threshold {threshold})",
        now=written(alert.now),
        value=value,
        threshold=threshold,
    )


def outcome(speech: Speech, delivery: BoardDelivery) -> str:
    """What became of a delivery that leaves its table, with a place for its driver if it was assigned."""
    if delivery.status != "ASSIGNED":
        return w.lower_first(speech.said(w.words(w.STATUSES, delivery.status)))
    match delivery.source:
        case "auto_accepted":
            return speech.said("auto-accepted for {driver}")
        case "manual":
            return speech.said("assigned manually to {driver}")
        case _:
            return speech.said("accepted by {driver}")


def filled(text: str, **values: object) -> Markup:
    """A text with HTML in its places, such as a link in the place of `{driver}`. Other values are escaped."""
    return Markup(escape(text)).format(**values)  # noqa: S704


def trip_km(delivery: BoardDelivery, policy: Policy) -> float:
    """The kilometres by road from the store to the customer."""
    pickup, dropoff = Point(delivery.lat, delivery.lon), Point(delivery.dropoff_lat, delivery.dropoff_lon)
    return round(road_km(pickup, dropoff, policy), 1)
