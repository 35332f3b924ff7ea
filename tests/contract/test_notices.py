"""Who gets a notice of an event, and with which text."""

from typing import Any

import pytest

from server.contract.notices import OpsNotice, driver_notice, is_for_ops, ops_notice
from server.dispatch import events as e
from server.dispatch.model import SYSTEM, Actor
from server.dispatch.world import World
from tests.builders import ADA, ALICE, DAN, NOW, SOUP, a_delivery, a_driver, a_world, an_assignment, by, id_of
from tests.dispatch.test_alerts import an_alert

ALERT = id_of("alert")
NO_DRIVER = "Order A-soup of Green Bowl (zone default) has no driver 7 min after it was created (level 2)"

ONE_ORDER = "Zone default: 1 order is without a driver (threshold 10)."
AT_RISK = "Order A-soup of Green Bowl (zone default) is at risk: driver gone"


def the_world() -> World:
    return a_world(a_delivery(), a_driver())


def escalated(*actions: str) -> e.Event:
    return e.DeliveryEscalated(
        at=NOW, actor=SYSTEM, delivery_id=SOUP, level=2, actions=actions, minutes_since_creation=7
    )


def at_risk(*actions: str) -> e.Event:
    return e.RiskEscalated(at=NOW, actor=SYSTEM, delivery_id=SOUP, risk="driver_gone", level=1, actions=actions)


def pin_wrong(tries: int) -> e.Event:
    return e.PinWrong(at=NOW, actor=by(DAN), delivery_id=SOUP, driver_id=DAN, tries=tries)


def late(what: str, now_with: Any) -> e.Event:
    return e.LateReport(at=NOW, actor=by(DAN), delivery_id=SOUP, driver_id=DAN, what=what, now_with=now_with)


ORDER = "Order A-soup of Green Bowl"
OPS: list[tuple[e.Event, OpsNotice | None]] = [
    (escalated("notify_ops"), OpsNotice("warning", "default", f"{NO_DRIVER}.", SOUP)),
    (escalated("widen_search", "notify_critical"), OpsNotice("critical", "default", f"{NO_DRIVER}.", SOUP)),
    (
        escalated("notify_critical", "cancel"),
        OpsNotice("critical", "default", f"{NO_DRIVER}. The order is cancelled.", SOUP),
    ),
    (escalated("widen_search"), None),
    (
        e.AlertRaised(at=NOW, actor=SYSTEM, alert=an_alert()),
        OpsNotice("warning", "default", "Zone default: 11 orders are without a driver (threshold 10).", None, ALERT),
    ),
    (
        e.AlertResolved(at=NOW, actor=SYSTEM, alert=an_alert(), value=1.0),
        OpsNotice("info", "default", f"Resolved. {ONE_ORDER}", None, ALERT),
    ),
    (
        e.AlertRaised(
            at=NOW, actor=SYSTEM, alert=an_alert(kind="rejected_share", zone="north", value=0.254, threshold=0.2)
        ),
        OpsNotice("warning", "north", "Zone north: 25% of offers are rejected (threshold 20%).", None, ALERT),
    ),
    (at_risk("ticket", "notify_ops"), OpsNotice("warning", "default", f"{AT_RISK} (level 1).", SOUP)),
    (at_risk("notify_critical"), OpsNotice("critical", "default", f"{AT_RISK} (level 1).", SOUP)),
    (at_risk("ticket"), None),
    (e.AlertAcknowledged(at=NOW, actor=ALICE, alert=an_alert()), None),
    (pin_wrong(4), None),
    (pin_wrong(5), OpsNotice("warning", "default", f"{ORDER}: Dan typed 5 wrong PINs, so the PIN is locked.", SOUP)),
    (
        late("delivery.delivered", "over"),
        OpsNotice(
            "warning", "default", f"{ORDER}: late report by Dan: delivered. Status of the order: cancelled.", SOUP
        ),
    ),
    (
        late("delivery.picked_up", "nobody"),
        OpsNotice("warning", "default", f"{ORDER}: late report by Dan: picked up. The order waits for a driver.", SOUP),
    ),
    (
        late("delivery.failed", "another_driver"),
        OpsNotice(
            "warning",
            "default",
            f"{ORDER}: late report by Dan: could not be delivered. Another driver has the order.",
            SOUP,
        ),
    ),
    (late("delivery.arrived", "over"), None),
    (late("delivery.released", "nobody"), None),
]


@pytest.mark.parametrize(("event", "notice"), OPS)
def test_ops_get_notices_of_what_needs_a_person(event: e.Event, notice: OpsNotice | None) -> None:
    world = the_world()
    if isinstance(event, e.LateReport) and event.now_with == "over":
        world.locked_delivery(SOUP).status = "CANCELLED"
    assert ops_notice(event, world) == notice
    assert is_for_ops(event) == (notice is not None)


def changed(reason: str, actor: Actor, to: Any = "on_break") -> e.Event:
    return e.AvailabilityChanged(at=NOW, actor=actor, driver_id=DAN, from_="available", to=to, reason=reason)


def assigned(source: str, actor: Actor, reason: str | None = None) -> e.Event:
    assignment = an_assignment(a_delivery(), a_driver(), source=source)
    return e.DeliveryAssigned(
        at=NOW, actor=actor, delivery_id=SOUP, driver_id=DAN, assignment=assignment, reason=reason
    )


def reassigned(actor: Actor) -> e.Event:
    return e.DeliveryReassigned(at=NOW, actor=actor, delivery_id=SOUP, driver_id=DAN, reason="flat tyre")


DRIVERS: list[tuple[e.Event, str | None]] = [
    (assigned("accepted", by(DAN)), None),
    (assigned("manual", ADA), f"{ORDER} assigned."),
    (assigned("manual", ADA, "agreed by phone"), f"{ORDER} assigned: agreed by phone."),
    (assigned("auto_accepted", SYSTEM), f"{ORDER} assigned: auto-accepted."),
    (reassigned(ADA), f"{ORDER} reassigned from this driver: flat tyre."),
    (reassigned(by(id_of("Dora"))), f"{ORDER} reassigned from this driver: flat tyre."),
    (
        e.DeliveryCancelled(at=NOW, actor=ALICE, delivery_id=SOUP, driver_id=DAN, reason="sold out"),
        f"{ORDER} cancelled: sold out.",
    ),
    (
        e.DeliveryReleased(at=NOW, actor=SYSTEM, delivery_id=SOUP, driver_id=DAN, reason="driver_gone"),
        f"{ORDER} taken back from this driver: driver gone.",
    ),
    (e.DeliveryReleased(at=NOW, actor=by(DAN), delivery_id=SOUP, driver_id=DAN, reason="unwell"), None),
    (
        e.DeliveryChanged(at=NOW, actor=ALICE, delivery_id=SOUP, driver_id=DAN, changes={"notes": (None, "x")}),
        f"{ORDER} changed.",
    ),
    (changed("break", by(DAN)), None),
    (changed("lunch_of_all", ALICE), "Availability set to “on a break”: lunch of all."),
    (changed("unresponsive", SYSTEM, "paused"), "Availability set to “paused”: did not answer several offers."),
    (changed("connection_lost", SYSTEM, "offline"), None),
    (e.DriverDisconnected(at=NOW, actor=SYSTEM, driver_id=DAN, session_id=id_of("session"), lost_at=NOW), None),
]


@pytest.mark.parametrize(("event", "message"), DRIVERS)
def test_drivers_get_notices_of_what_others_did_to_them(event: e.Event, message: str | None) -> None:
    assert driver_notice(event, the_world()) == message
