"""Alerts: raised once, over only well below the threshold, acknowledged by name."""

from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.alerts import Measured, ZoneNumbers, evaluate, measure
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Alert
from server.dispatch.policy import AlertPolicy
from server.dispatch.world import World
from tests.builders import ALICE, NOW, a_world, id_of, minutes
from tests.dispatch.cases import Case, check, happens, name_of

OPEN, NEW = id_of("alert"), id_of("new alert")
POLICY = AlertPolicy()


def an_alert(**changes: Any) -> Alert:
    """Eleven orders of the default zone have nobody, since five minutes ago."""
    row: dict[str, Any] = {
        "id": OPEN,
        "kind": "unassigned_count",
        "zone": "default",
        "value": 11.0,
        "threshold": 10.0,
        "raised_at": NOW - minutes(5),
    }
    return Alert(**row | changes)


def alerted(**changes: Any) -> World:
    world = a_world()
    alert = an_alert(**changes)
    world.alerts[alert.id] = alert
    return world


def too_many(**changes: Any) -> c.RaiseAlert:
    row: dict[str, Any] = {
        "new_alert_id": NEW,
        "kind": "unassigned_count",
        "zone": "default",
        "value": 12.0,
        "threshold": 10.0,
    }
    return c.RaiseAlert(**row | changes)


def only(world: World, alert_id: str) -> Alert:
    assert set(world.new_alerts) | set(world.changed_alerts) == {alert_id}
    return world.alerts[alert_id]


ALERTING = [
    Case(
        "a number over its threshold raises an alert",
        given=a_world,
        command=too_many(),
        then=[happens(e.AlertRaised, alert=Alert(NEW, "unassigned_count", "default", 12.0, 10.0, NOW))],
        afterwards=lambda world: only(world, NEW).resolved_at is None,
    ),
    Case("an open alert is not raised again", given=alerted, command=too_many(), then=[]),
    Case(
        "one is open in another zone",
        given=lambda: alerted(zone="north"),
        command=too_many(),
        then=[happens(e.AlertRaised)],
    ),
    Case(
        "one of another kind is open",
        given=lambda: alerted(kind="rejected_share"),
        command=too_many(),
        then=[happens(e.AlertRaised)],
    ),
    Case(
        "a resolved one does not prevent a new one",
        given=lambda: alerted(resolved_at=NOW - minutes(1)),
        command=too_many(),
        then=[happens(e.AlertRaised)],
    ),
    Case(
        "a number that is back resolves the alert",
        given=alerted,
        command=c.ResolveAlert(OPEN, 7.0),
        then=[happens(e.AlertResolved, value=7.0)],
        afterwards=lambda world: (only(world, OPEN).resolved_at, world.alerts[OPEN].value) == (NOW, 7.0),
    ),
    Case(
        "an alert is resolved once",
        given=lambda: alerted(resolved_at=NOW - minutes(1)),
        command=c.ResolveAlert(OPEN, 7.0),
        then="alert_over",
    ),
    Case("an alert that never was", given=a_world, command=c.ResolveAlert(OPEN, 7.0), then="alert_over"),
    Case(
        "somebody has acknowledged it",
        given=alerted,
        command=c.AcknowledgeAlert(OPEN, ALICE),
        then=[happens(e.AlertAcknowledged, actor=ALICE)],
        afterwards=lambda world: (
            (only(world, OPEN).acknowledged_by, world.alerts[OPEN].acknowledged_at) == ("alice", NOW)
        ),
    ),
    Case(
        "the first to say so keeps it",
        given=lambda: alerted(acknowledged_by="bob", acknowledged_at=NOW - minutes(1)),
        command=c.AcknowledgeAlert(OPEN, ALICE),
        then=[],
    ),
    Case(
        "a resolved alert cannot be acknowledged",
        given=lambda: alerted(resolved_at=NOW - minutes(1)),
        command=c.AcknowledgeAlert(OPEN, ALICE),
        then="alert_over",
    ),
]


@pytest.mark.parametrize("case", ALERTING, ids=name_of)
def test_alerting(case: Case) -> None:
    check(case)


def test_an_alert_raised_and_over_in_one_batch_is_one_new_row() -> None:
    world = a_world()
    for command in (too_many(), c.ResolveAlert(NEW, 0.0)):
        do(world, command)
    assert world.changed_alerts == {}
    assert world.new_alerts[NEW].resolved_at == NOW


def do(world: World, command: c.Command) -> None:
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    for event in decided.events:
        apply(world, event)


def test_what_alerts_tell() -> None:
    raised = e.AlertRaised(at=NOW, actor=ALICE, alert=an_alert())
    shown = {"alertId": OPEN, "kind": "unassigned_count", "zone": "default", "value": 11.0, "threshold": 10.0}
    assert raised.data() == shown
    resolved = e.AlertResolved(at=NOW, actor=ALICE, alert=an_alert(), value=3.0)
    assert resolved.data() == shown | {"value": 3.0, "raisedAt": "2026-02-01T17:55:00.000Z"}
    acknowledged = e.AlertAcknowledged(at=NOW, actor=ALICE, alert=an_alert())
    assert acknowledged.data() == {"alertId": OPEN, "kind": "unassigned_count", "zone": "default"}


def share(value: float, sample: int) -> Measured:
    return Measured("rejected_share", "default", value, 0.2, sample, 20)


def count(value: int, threshold: int = 10) -> Measured:
    return Measured("unassigned_count", "default", value, threshold)


@pytest.mark.parametrize(
    ("measured", "is_open", "expected"),
    [
        (count(10), False, None),
        (count(11), False, "raise"),
        (count(11), True, None),
        (count(9), True, None),
        (count(8), True, None),
        (count(7), True, "resolve"),
        (count(1, threshold=0), False, "raise"),
        (count(0, threshold=0), False, None),
        (count(1, threshold=0), True, None),
        (count(0, threshold=0), True, "resolve"),
        (share(0.2, 20), False, None),
        (share(0.21, 20), False, "raise"),
        (share(1.0, 19), False, None),
        (share(0.18, 100), True, None),
        (share(0.15, 100), True, "resolve"),
        (share(0.5, 16), True, None),
        (share(0.5, 15), True, "resolve"),
    ],
)
def test_one_that_wavers_is_not_raised_again_and_again(measured: Measured, is_open: bool, expected: str | None) -> None:
    assert evaluate(measured, is_open=is_open) == expected


def test_numbers_beside_their_thresholds() -> None:
    rejected, unassigned = measure(ZoneNumbers("north", unassigned=3, rejected=5, answered=20), POLICY)
    assert rejected == Measured("rejected_share", "north", 0.25, 0.2, 20, 20)
    assert unassigned == Measured("unassigned_count", "north", 3, 10)
    assert measure(ZoneNumbers("north"), POLICY)[0].value == 0.0
