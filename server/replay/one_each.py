"""Two simple dispatchers to compare the planner with: a courier has one order at a time, and nothing is held."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from server.dispatch.matching import Candidate, Waiting, match
from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import dispatchable, exclusion, unfit
from server.dispatch.planning.fleet import Fleet
from server.dispatch.planning.plan import Plan, Proposal
from server.dispatch.policy import Policy
from server.dispatch.runs import Travel


def propose(fleet: Fleet, now: datetime, travel: Travel, policy: Policy, before: Plan, *, together: bool) -> Plan:
    """Pairs of what waits and who is free: the best total once a minute (`together`), or else the oldest delivery
    first, each with the nearest driver. Their stops follow in `runs`.
    """
    if together and (now.second or before.proposals):
        return Plan([], {}, {}, before.runs)
    free = [
        driver
        for driver in fleet.drivers_of(None)
        if dispatchable(driver, now, policy) is None and not driver.active_count
    ]
    waiting = fleet.waiting()
    groups = [waiting] if together else [[delivery] for delivery in waiting]
    proposals: list[Proposal] = []
    runs = dict(before.runs)
    for group in groups:
        for proposal in _pairs(group, free, now, travel, policy):
            proposals.append(proposal)
            runs[proposal.driver_id] = (proposal.delivery_id, False), (proposal.delivery_id, True)
            free = [driver for driver in free if driver.id != proposal.driver_id]
    return Plan(proposals, {}, {}, runs)


def _pairs(
    waiting: Sequence[Delivery], free: Sequence[Driver], now: datetime, travel: Travel, policy: Policy
) -> list[Proposal]:
    if not waiting or not free:
        return []
    candidates = [Candidate(d.id, d.position.lat, d.position.lon) for d in free if d.position is not None]
    rows = []
    for delivery in waiting:
        excluded = {
            driver.id: "not possible"
            for driver in free
            if exclusion(delivery, driver.id, now, policy)
            or unfit(delivery, driver, now + timedelta(seconds=travel.half_pickup), policy)
        }
        pickup, since = delivery.pickup, delivery.unassigned_since or now
        rows.append(Waiting(delivery.id, pickup.lat, pickup.lon, since, policy.search_radius_km, excluded))
    found = match(rows, candidates, now, policy, ()).pairs
    return [Proposal(pair.delivery_id, pair.driver_id, pair.lat, pair.lon) for pair in found]
