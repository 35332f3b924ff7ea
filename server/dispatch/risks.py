"""The rules of deliveries at risk: when a delivery with a driver becomes at risk, when it recovers, and who gets a
notice.

The deadlines submit the commands. Under lock a risk is raised once and cleared once, however often they ask.
"""

from datetime import datetime, timedelta
from typing import Final

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.driver_actions import recovered, without_contact_since
from server.dispatch.escalation import levels_due, ticket_created
from server.dispatch.model import SYSTEM, UNDER_WAY, Assignment, Delivery, RiskCode
from server.dispatch.positions import MOVED_KM, at_stop
from server.dispatch.travel import haversine_km
from server.dispatch.world import World

WORST_FIRST: Final[tuple[RiskCode, ...]] = (
    "driver_gone",
    "check_address",
    "delivery_late",
    "pickup_late",
    "stalled",
)
OF_A_RISK: Final = ("ticket", "notify_ops", "notify_critical")
"""The actions of the ladder that go with an order at risk: the others are of searching."""


def worst(delivery: Delivery) -> RiskCode | None:
    """The one of its risks that a dispatcher should see first."""
    return next((code for code in WORST_FIRST if delivery.at_risk(code)), None) if delivery.risks else None


def begins(code: RiskCode, delivery: Delivery, assignment: Assignment, world: World) -> datetime | None:
    """Since when the delivery has this risk, or None.

    1. Late at the pickup: `lateMinutes` past the time that the driver agreed to, or expected that late, and the goods
       are not picked up.
    2. Late at the customer: `lateMinutes` past the promised time, or expected that late.
    3. The driver is gone: no sign of life for `goneSeconds`.
    4. The driver is stalled: they have not moved for `stalledMinutes` with this delivery, and are not at a stop.
    """
    watch = world.policy.watch
    late = timedelta(minutes=watch.late_minutes)
    since: datetime | None = None
    match code:
        case "pickup_late":
            if assignment.pickup_due_at is not None and assignment.picked_up_at is None:
                since = _or_now(assignment.pickup_due_at + late, delivery.estimated_pickup_at, world)
        case "delivery_late":
            if delivery.promised_at is not None and delivery.status != "RETURNING":
                since = _or_now(delivery.promised_at + late, delivery.estimated_delivery_at, world)
        case "driver_gone":
            contact = without_contact_since(world, assignment)
            since = contact + timedelta(seconds=watch.gone_seconds) if contact is not None else None
        case "stalled":
            still = still_since(delivery, assignment, world)
            since = still + timedelta(minutes=watch.stalled_minutes) if still is not None else None
    return since if since is not None and since <= world.now else None


def _or_now(late_from: datetime, expected: datetime | None, world: World) -> datetime:
    """Late from then on, or from now on if it is expected later than that."""
    return min(late_from, world.now) if expected is not None and expected > late_from else late_from


def raise_risk(command: c.RaiseRisk, world: World) -> Decided | r.Refusal:
    """Raises a risk only for an assigned delivery, and only once."""
    delivery = world.delivery(command.delivery_id)
    assignment = delivery.active_assignment()
    if assignment is None:
        return r.RISK_NOT_DUE
    if delivery.at_risk(command.code):
        return Decided((), delivery.id, repeated=True)
    since = begins(command.code, delivery, assignment, world)
    if since is None:
        return r.RISK_NOT_DUE
    return Decided((at_risk(world, delivery, assignment, command.code, since),), delivery.id)


def still_since(delivery: Delivery, assignment: Assignment, world: World) -> datetime | None:
    """Since when the driver has been in one place with this delivery; None if they move or are at a stop."""
    still, seen = world.still.get(assignment.driver_id), world.known_driver(assignment.driver_id).position
    if still is None or seen is None or haversine_km(still.lat, still.lon, seen.lat, seen.lon) >= MOVED_KM:
        return None
    if is_at_stop(delivery, assignment, world) or at_stop(seen.lat, seen.lon, *still.stops):
        return None
    begun = (assignment.created_at, assignment.picked_up_at, assignment.failed_at)
    return max(still.since, *(at for at in begun if at is not None))


def is_at_stop(delivery: Delivery, assignment: Assignment, world: World) -> bool:
    """Whether the driver said that they arrived at the next stop, or is where the goods come from or go to."""
    if assignment.picked_up_at is None:
        arrived = assignment.arrived_pickup_at
    else:
        arrived = assignment.arrived_dropoff_at if delivery.status != "RETURNING" else None
    if arrived is not None:
        return True
    seen = world.known_driver(assignment.driver_id).position
    stops = (delivery.pickup, delivery.dropoff, delivery.details.store or delivery.pickup)
    return seen is not None and at_stop(seen.lat, seen.lon, *stops)


def at_risk(
    world: World, delivery: Delivery, assignment: Assignment | None, code: RiskCode, since: datetime
) -> e.DeliveryAtRisk:
    return e.DeliveryAtRisk(
        at=world.now,
        actor=SYSTEM,
        delivery_id=delivery.id,
        driver_id=assignment.driver_id if assignment is not None else None,
        assignment_id=assignment.id if assignment is not None else None,
        risk=code,
        since=since,
    )


def clear_risk(command: c.ClearRisk, world: World) -> Decided | r.Refusal:
    """Clears a risk, if the rule that raised it no longer applies. Repeats are safe."""
    delivery = world.delivery(command.delivery_id)
    assignment = delivery.active_assignment()
    if not delivery.at_risk(command.code):
        return Decided((), delivery.id, repeated=True)
    by_a_person = command.code == "check_address"
    if by_a_person or assignment is None or begins(command.code, delivery, assignment, world) is not None:
        return r.STILL_AT_RISK
    return Decided((recovered(world, delivery, assignment, command.code),), delivery.id)


def escalate_risk(command: c.EscalateRisk, world: World) -> Decided | r.Refusal:
    """Every level of the ladder that is due since the first risk and was not reached yet, in order."""
    delivery = world.delivery(command.delivery_id)
    risk = worst(delivery)
    if delivery.status not in UNDER_WAY or risk is None or delivery.risk_since is None:
        return r.NOT_AT_RISK
    happened: list[e.Event] = []
    reached = [rung for rung in world.policy.escalation if rung.level <= delivery.risk_level]
    has_ticket = any("ticket" in rung.actions for rung in reached)
    for rung in levels_due(world.policy, delivery.risk_level, world.now - delivery.risk_since):
        actions = tuple(action for action in rung.actions if action in OF_A_RISK)
        happened.append(
            e.RiskEscalated(
                at=world.now,
                actor=command.actor,
                delivery_id=delivery.id,
                risk=risk,
                level=rung.level,
                actions=actions,
            )
        )
        if "ticket" in actions and not has_ticket:
            has_ticket = True
            title, why = f"at risk: {risk.replace('_', ' ')}", "with a driver, and may not arrive in time"
            happened.append(ticket_created(world, delivery, command, rung.level, "delivery_at_risk", title, why))
    if not happened:
        return r.NOT_ESCALATED
    return Decided(tuple(happened), delivery.id)
