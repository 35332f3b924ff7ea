"""The templates of all screens: one environment a time zone and language, with the words and times as filters."""

from datetime import datetime
from functools import cache, partial

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.board import formats as f
from server.contract import words as w
from server.contract.views import instant
from server.dispatch.escalation import next_level_at
from server.dispatch.model import Point
from server.dispatch.policy import Policy
from server.dispatch.travel import road_km
from server.paths import TEMPLATES
from server.settings import time_zone_of
from server.store.reads.board import AlertShown, BoardDelivery
from server.texts.catalogues import translations
from server.texts.languages import SOURCE


def milliseconds(at: datetime) -> int:
    """Unix milliseconds, for the script that counts up and down."""
    return round(at.timestamp() * 1000)


@cache
def environment(zone_name: str, language: str = SOURCE) -> Environment:
    """The templates of every screen with their words and times as filters, and their texts in a language. `zone_name`
    is the organisation's.

    Nodes of one process share an environment, so nobody changes it: a filter takes what belongs to a node.
    """
    zone = time_zone_of(zone_name)
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    env.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}
    env.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    env.filters.update(
        ms=milliseconds,
        instant=instant,
        clock=partial(f.clock, zone=zone),
        clock_seconds=partial(f.clock, zone=zone, seconds=True),
        day_and_clock=partial(f.day_and_clock, zone=zone),
        day_and_clock_seconds=partial(f.day_and_clock, zone=zone, seconds=True),
        lately=partial(f.lately, zone=zone),
        span=f.span,
        seconds=f.seconds,
        percent=f.percent,
        counted=f.counted,
        lower_first=w.lower_first,
        money=f.money,
        shape=f.shape,
        next_level_at=next_level_at,
        alert_value=alert_value,
        outcome=outcome,
        trip_km=trip_km,
        **{
            name: partial(w.words, table)
            for name, table in {
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
            }.items()
        },
    )
    env.globals.update(time_zone=zone_name, reasons=f)
    return env


def alert_value(alert: AlertShown) -> str:
    """The number now, the one that raised it and its threshold: a share in percent, a count as it is."""

    def written(value: float) -> str:
        return f.percent(value) if alert.kind.endswith("share") else f"{value:g}"

    if alert.now is None or alert.resolved_at is not None:
        return f"{written(alert.value)} (threshold {written(alert.threshold)})"
    return f"{written(alert.now)} now · {written(alert.value)} when raised (threshold {written(alert.threshold)})"


def outcome(delivery: BoardDelivery) -> str:
    """What became of a delivery that leaves its table."""
    if delivery.status == "ASSIGNED":
        return {"auto_accepted": "auto-accepted for", "manual": "assigned manually to"}.get(
            delivery.source or "", "accepted by"
        )
    return w.lower_first(w.words(w.STATUSES, delivery.status))


def trip_km(delivery: BoardDelivery, policy: Policy) -> str:
    """The kilometres by road from the store to the customer."""
    pickup, dropoff = Point(delivery.lat, delivery.lon), Point(delivery.dropoff_lat, delivery.dropoff_lon)
    return f"{road_km(pickup, dropoff, policy):.1f}"
