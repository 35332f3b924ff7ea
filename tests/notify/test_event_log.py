"""What dispatch writes to the log: the names and fields of the contract."""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from structlog.testing import capture_logs

from server.contract.commit import Committed
from server.dispatch import events as e
from server.dispatch.model import SYSTEM, Actor
from server.notify import event_log

AT = datetime(2026, 2, 1, 10, tzinfo=UTC)
DAN = Actor("driver", "dan")
IDS = {"delivery_id": "d1", "driver_id": "dan", "offer_id": "o1"}
SUBJECT = {"deliveryId": "d1", "driverId": "dan", "offerId": "o1"}
BY_DAN = {"actor": "driver", "actorId": "dan"}


def commit(*events: e.Event) -> Committed:
    return Committed(AT, list(events), [], [], [], None)


def test_every_event_has_a_line() -> None:
    assert set(event_log.LINES) == set(e.KINDS)


def test_answers_of_drivers_are_logged_with_their_time_and_reason() -> None:
    rejected = e.OfferRejected(at=AT, actor=DAN, **IDS, response_ms=1200, reason="too far")
    assert event_log.line_of(rejected) == (
        "info", "offer_rejected", SUBJECT | {"responseTimeMs": 1200, "reason": "too far", "note": None} | BY_DAN,
    )  # fmt: skip
    accepted = e.OfferAccepted(at=AT, actor=DAN, **IDS, response_ms=7)
    assert event_log.line_of(accepted) == ("info", "offer_accepted", SUBJECT | {"responseTimeMs": 7} | BY_DAN)
    expired = e.OfferExpired(at=AT, actor=SYSTEM, **IDS, auto_accepted=True)
    assert event_log.line_of(expired) == ("info", "offer_expired", SUBJECT | {"autoAccepted": True})


def test_a_change_of_availability_is_logged_with_its_duration() -> None:
    until = AT + timedelta(minutes=15)
    changed = e.AvailabilityChanged(
        at=AT, actor=DAN, driver_id="dan", from_="available", to="on_break", reason="lunch", until=until
    )
    level, name, fields = event_log.line_of(changed)
    assert (level, name) == ("info", "availability_changed")
    shown = {"driverId": "dan", "from": "available", "to": "on_break", "reason": "lunch", "durationSeconds": 900}
    assert fields == shown | BY_DAN


def test_an_escalation_is_as_loud_as_what_it_does() -> None:
    def line(level: int, *actions: str) -> tuple[str, str, Any]:
        escalated = e.DeliveryEscalated(
            at=AT, actor=SYSTEM, delivery_id="d1", level=level, actions=actions, minutes_since_creation=5
        )
        return event_log.line_of(escalated)

    fields = {"deliveryId": "d1", "level": 1, "minutesSinceCreation": 5}
    assert line(1, "ticket", "notify_ops") == ("warning", "unassigned_order_5min", fields)
    assert line(2, "widen_search")[:2] == ("warning", "unassigned_order_wide_search")
    assert line(3, "notify_critical")[:2] == ("error", "unassigned_order_30min")
    assert line(4, "cancel")[:2] == ("error", "unassigned_order_30min")


def test_a_commit_writes_a_line_for_each_event() -> None:
    withdrawn = e.OfferWithdrawn(at=AT, actor=SYSTEM, **IDS, reason="cancelled")
    cancelled = e.DeliveryCancelled(at=AT, actor=SYSTEM, delivery_id="d1", reason="sold out")
    with capture_logs() as lines:
        event_log.log_commit(commit(withdrawn, cancelled))
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("offer_withdrawn", "cancelled"),
        ("delivery_cancelled", "sold out"),
    ]


def test_a_quiet_log_still_tells_of_forgotten_orders() -> None:
    escalated = e.DeliveryEscalated(
        at=AT, actor=SYSTEM, delivery_id="d1", level=1, actions=("ticket",), minutes_since_creation=5
    )
    cancelled = e.DeliveryCancelled(at=AT, actor=SYSTEM, delivery_id="d1", reason="sold out")
    before = structlog.get_config()
    try:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
        with capture_logs() as lines:
            event_log.log_commit(commit(cancelled, escalated))
    finally:
        structlog.configure(**before)
    assert [line["event"] for line in lines] == ["unassigned_order_5min"]
