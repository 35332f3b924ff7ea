"""Offers where drivers have deliveries already: who gets one more, and that the rules agree."""

from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Delivery, Driver, Work
from server.dispatch.planning.part import plan_part
from server.dispatch.policy import PlanningPolicy
from server.dispatch.world import World
from server.dispatch.zones import NO_ZONES
from tests.builders import DAN, DORA, NOW, an_assignment, an_open_offer, id_of, minutes
from tests.dispatch.test_driver_runs import POLICY, dan_at, order

Someone = tuple[Driver, list[Delivery]]
"""A driver and what they have."""


def proposed(waiting: list[Delivery], *drivers: Someone, planning: PlanningPolicy | None = None) -> dict[str, str]:
    """The proposals, delivery by driver; each is one that the rules agree to."""
    policy = replace(POLICY, planning=planning or PlanningPolicy())
    work = {driver.id: Work((), {job.id: job for job in jobs}) for driver, jobs in drivers if jobs}
    found = plan_part(
        waiting, [driver for driver, _ in drivers], work, NO_ZONES, NOW, policy, not_held=[one.id for one in waiting]
    ).proposals
    for one in found:
        deliveries: dict[str, Delivery | None] = {delivery.id: delivery for delivery in waiting}
        world = World(NOW, policy, deliveries, {driver.id: driver for driver, _ in drivers}, work=work)
        decided = decide(c.OfferDelivery(one.delivery_id, one.driver_id, id_of("o"), one.lat, one.lon), world)
        assert isinstance(decided, Decided), decided
    return {one.delivery_id: one.driver_id for one in found}


def has(driver: Driver, *jobs: Delivery, picked: bool = True) -> Someone:
    """The driver has these, on board or not yet."""
    for job in jobs:
        an_assignment(job, driver, picked_up_at=NOW - minutes(1) if picked else None)
    return driver, list(jobs)


def dora_at(km: float) -> Someone:
    return replace(dan_at(km), id=DORA, name="Dora"), []


def test_the_driver_who_passes_by_gets_an_add_on() -> None:
    dan = has(dan_at(0), order("soup", 4), picked=False)
    cake = order("cake", 5)
    assert proposed([cake], dan, dora_at(3)) == {cake.id: DAN}


def test_the_driver_who_has_others_first_is_not_the_nearest() -> None:
    """Dan is near the store, on his way to the other end of the street."""
    cake = order("cake", -2)
    dan = has(dan_at(0.2), order("soup", 4.5))
    assert proposed([cake], dan, dora_at(2)) == {cake.id: DORA}
    assert proposed([cake], dan) == {cake.id: DAN}, "if there is nobody else"
    far = has(dan_at(0.2), order("soup", 9))
    assert proposed([cake], far) == {}, "where they are going is out of the search radius"


def test_a_hold_does_not_matter_any_more() -> None:
    cake = replace(order("cake", 1, ready=30), prep_seconds=1800)
    assert proposed([cake], has(dan_at(0), order("soup", 2))) == {cake.id: DAN}


def test_what_may_be_held_is_planned_for_later() -> None:
    dan, cake = dan_at(0), replace(order("cake", 1, ready=30), prep_seconds=1800)
    held = replace(cake, held_until=NOW + minutes(1))
    for waiting in (cake, held):
        found = plan_part([waiting], [dan], {}, NO_ZONES, NOW, POLICY)
        assert (found.proposals, list(found.held)) == ([], [cake.id])
    at_once = plan_part([held], [dan], {}, NO_ZONES, NOW, POLICY, not_held=[cake.id])
    assert [one.driver_id for one in at_once.proposals] == [DAN]


def test_who_was_planned_before_stays_planned() -> None:
    cake = order("cake", 5)
    assert proposed([cake], (dan_at(0), []), dora_at(0.001)) == {cake.id: DAN}
    drivers = [dan_at(0), dora_at(0.001)[0]]
    for planned in (DAN, DORA):
        found = plan_part([cake], drivers, {}, NO_ZONES, NOW, POLICY, not_held=[cake.id], planned={cake.id: planned})
        assert [one.driver_id for one in found.proposals] == [planned]


def test_what_the_planned_driver_has_accepted_meanwhile_is_in_the_run_once() -> None:
    soup = order("soup", 4)
    waits = replace(soup)
    dan, has_soup = has(dan_at(0), soup, picked=False)
    work = {DAN: Work((), {soup.id: has_soup[0]})}
    found = plan_part([waits], [dan], work, NO_ZONES, NOW, POLICY, planned={soup.id: DAN})
    assert found.proposals == []
    assert found.runs == {DAN: ((soup.id, False), (soup.id, True))}


def test_an_open_offer_is_part_of_the_run() -> None:
    dan, soup, cake = dan_at(0, capacity=2), order("soup", 4), order("cake", 5)
    offer = an_open_offer(soup, dan)
    assert dan.open_offer_id == offer.id
    found = plan_part([cake], [dan], {}, NO_ZONES, NOW, POLICY, offered={DAN: soup})
    assert found.proposals == []
    assert {of for of, _ in found.runs[DAN]} == {soup.id, cake.id}


def test_a_next_job_is_proposed_shortly_before_the_driver_is_free() -> None:
    one_more, cake = PlanningPolicy(next_jobs=1, hold_slack_minutes=2), order("cake", 6, store=8.5)
    assert proposed([cake], has(dan_at(5, capacity=1), order("soup", 9)), planning=one_more) == {}
    near = has(dan_at(7.5, capacity=1), order("soup", 9))
    assert proposed([cake], near) == {}
    assert proposed([cake], near, planning=one_more) == {cake.id: DAN}
    unknown = dan_at(7.5, capacity=1, active_count=1)
    assert proposed([cake], (unknown, []), planning=one_more) == {}


def test_a_driver_with_fewer_than_their_capacity_needs_no_next_job() -> None:
    cake = order("cake", 5)
    dan = has(dan_at(0, capacity=2), order("soup", 9), picked=False)
    assert proposed([cake], dan, planning=PlanningPolicy(next_jobs=1)) == {cake.id: DAN}
