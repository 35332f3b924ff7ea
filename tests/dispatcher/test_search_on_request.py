"""A search because somebody asks, on a node with or without the lease."""

import asyncio
from datetime import timedelta

import pytest

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Nearest, Place
from server.dispatch.refusals import Refusal
from server.dispatch.search_reasons import NoDriver
from server.dispatcher.search_on_request import Candidates, NoDriverFound, NotChosen
from server.ids import new_id
from tests.dispatcher.conftest import ADA, KM, PICKUP, SHOP, Dispatch, StartDispatch, by
from tests.waiting import until

NORTH, EAST = PICKUP


@pytest.fixture
async def idle(start: StartDispatch) -> Dispatch:
    """A node that does not dispatch, nor does any other: what is found here is found because it was asked for."""
    dispatch = await start()
    await dispatch.node.lease.release()
    return dispatch


async def test_the_nearest_driver_is_offered_the_order(idle: Dispatch) -> None:
    await idle.a_driver(NORTH + 2 * KM)
    near = await idle.a_driver(NORTH + KM)
    delivery_id = await idle.an_order()
    answer = await idle.node.on_request.search(delivery_id)
    assert isinstance(answer, Answer)
    assert answer.offer is not None
    assert answer.offer.driver_id == near
    assert not answer.decided.repeated


async def test_an_offer_that_is_open_is_the_answer(idle: Dispatch) -> None:
    await idle.a_driver()
    await idle.a_driver()
    delivery_id = await idle.an_order()
    first, second = (
        await idle.node.on_request.search(delivery_id),
        await idle.node.on_request.search(delivery_id),
    )
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert second.decided.repeated
    assert second.offer is not None
    assert first.offer is not None
    assert second.offer.id == first.offer.id
    assert second.offer.expires_at == first.offer.expires_at


async def test_a_scheduled_order_is_dispatched_now(idle: Dispatch) -> None:
    dan = await idle.a_driver()
    later = await idle.one("SELECT clock_timestamp()") + timedelta(hours=1)
    delivery_id = await idle.an_order(dispatch_at=later)
    answer = await idle.node.on_request.search(delivery_id, SHOP)
    assert isinstance(answer, Answer)
    assert answer.offer is not None
    assert answer.offer is not None
    assert answer.offer.driver_id == dan
    assert await idle.events(delivery_id) == ["delivery.created", "delivery.ready", "offer.created"]


async def test_an_order_that_does_not_wait_is_refused(idle: Dispatch) -> None:
    delivery_id = await idle.an_order()
    await idle.done(c.CancelDelivery(delivery_id, "changed their mind", SHOP))
    assert await idle.node.on_request.search(delivery_id) == r.DELIVERY_NOT_WAITING
    assert await idle.node.on_request.search(new_id()) == r.NOT_FOUND


async def test_nobody_found_says_who_is_around_and_why_not(idle: Dispatch) -> None:
    resting, stale, gone, far, home = [await idle.a_driver(NORTH + KM * n) for n in (1, 2, 3, 9, 4)]
    await idle.done(c.TakeBreak(resting, 5, by(resting)))
    await idle.put(stale, NORTH + 2 * KM, EAST, age_seconds=400)
    session = await idle.connect(gone)
    await idle.done(c.DisconnectDriver(gone, session))
    await idle.done(c.EndShift(home, by(home)))
    delivery_id = await idle.an_order()
    found = await idle.node.on_request.search(delivery_id)
    assert isinstance(found, NoDriverFound)
    assert found.not_taken == [
        NotChosen(resting, "on_break", 1.0),
        NotChosen(stale, "position_stale", 2.0),
        NotChosen(gone, "not_present", 3.0),
        NotChosen(home, "shift_ended", 4.0),
    ]
    assert found.failure_reason == "no_driver_dispatchable"
    assert far not in [passed.driver_id for passed in found.not_taken]
    assert await idle.events(delivery_id) == ["delivery.created", "delivery.ready"]


async def test_a_scheduled_order_for_which_nobody_is_found_stays_scheduled(idle: Dispatch) -> None:
    later = await idle.one("SELECT clock_timestamp()") + timedelta(hours=1)
    delivery_id = await idle.an_order(dispatch_at=later)
    before = await idle.one("SELECT d::text FROM deliveries d WHERE id = $1", delivery_id)
    assert isinstance(await idle.node.on_request.search(delivery_id, SHOP), NoDriverFound)
    await idle.a_driver()
    assert await idle.node.on_request.search(delivery_id, SHOP, early=False) == r.DELIVERY_NOT_DUE
    assert await idle.one("SELECT d::text FROM deliveries d WHERE id = $1", delivery_id) == before
    assert await idle.events(delivery_id) == ["delivery.created"]


async def test_busy_drivers_and_drivers_with_an_offer_have_different_reasons(idle: Dispatch) -> None:
    busy, asked = await idle.a_driver(NORTH + KM), await idle.a_driver(NORTH + 2 * KM)
    first = await idle.node.on_request.search(await idle.an_order())
    assert isinstance(first, Answer)
    assert first.offer is not None
    await idle.done(c.AcceptOffer(first.offer.id, busy, new_id(), by(busy)))
    assert isinstance(await idle.node.on_request.search(await idle.an_order()), Answer)
    found = await idle.node.on_request.search(await idle.an_order())
    assert isinstance(found, NoDriverFound)
    assert found.failure_reason == "all_busy"
    assert found.not_taken == [NotChosen(busy, "busy", 1.0), NotChosen(asked, "has_open_offer", 2.0)]


async def test_who_rejected_is_excluded_and_named(idle: Dispatch) -> None:
    dan = await idle.a_driver()
    delivery_id = await idle.an_order()
    await idle.node.on_request.search(delivery_id)
    await idle.reject(delivery_id)
    found = await idle.node.on_request.search(delivery_id)
    assert found == NoDriverFound("all_excluded", [NotChosen(dan, "rejected_before", 0.0)])


async def test_a_driver_lost_to_a_race_is_followed_by_the_next_one(idle: Dispatch) -> None:
    dan, dora = await idle.a_driver(NORTH + KM), await idle.a_driver(NORTH + 2 * KM)
    delivery_id = await idle.an_order()
    async with idle.node.database.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE drivers SET availability = 'paused' WHERE id = $1", dan)
        searching = asyncio.create_task(idle.node.on_request.search(delivery_id))
        await until(lambda: idle.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        await transaction.commit()
    answer = await searching
    assert isinstance(answer, Answer)
    assert answer.offer is not None
    assert answer.offer.driver_id == dora


async def test_a_search_that_the_matcher_won_is_no_refusal(dispatch: Dispatch) -> None:
    await until(lambda: dispatch.node.lease.held)
    for _ in range(5):
        await dispatch.a_driver()
        answer = await dispatch.node.on_request.search(await dispatch.an_order())
        assert isinstance(answer, Answer), answer
        assert answer.offer is not None


async def test_candidates_show_the_driver_that_a_search_would_choose(idle: Dispatch) -> None:
    near, far = await idle.a_driver(NORTH + KM), await idle.a_driver(NORTH + 2 * KM)
    delivery_id = await idle.an_order()
    assert await idle.node.on_request.candidates(delivery_id) == Candidates(near, [NotChosen(far, "farther_away", 2.0)])
    assert await idle.offered_to(delivery_id) is None
    await idle.node.on_request.search(delivery_id)
    assert await idle.node.on_request.candidates(delivery_id) == Candidates(near, [NotChosen(far, "next_in_line", 2.0)])
    offer_id = await idle.open_offer(delivery_id)
    await idle.done(c.AcceptOffer(offer_id or "", near, new_id(), by(near)))
    assert await idle.node.on_request.candidates(delivery_id) == Candidates(near, [])
    assert await idle.node.on_request.candidates(new_id()) is None


async def test_it_works_without_redis(start: StartDispatch) -> None:
    dispatch = await start(redis_url="redis://127.0.0.1:1/0")
    await dispatch.node.lease.release()
    dan = await dispatch.a_driver()
    answer = await dispatch.node.on_request.search(await dispatch.an_order())
    assert not isinstance(answer, Refusal | NoDriverFound)
    assert answer.offer is not None
    assert answer.offer.driver_id == dan


async def test_nobody_in_the_radius_or_the_zone_names_the_nearest_outside(idle: Dispatch) -> None:
    max_ = await idle.a_driver(NORTH + 2 * KM, zone="harbour")
    delivery_id = await idle.an_order()
    nearest = Nearest(max_, 2.0, "zone_differs")
    found = NoDriverFound("no_driver_in_zone", [NotChosen(max_, "zone_differs", 2.0)], nearest)
    assert await idle.node.on_request.search(delivery_id) == found
    assert await idle.node.on_request.candidates(delivery_id) == Candidates(
        None, found.not_taken, NoDriver("no_driver_in_zone", nearest)
    )
    far = await idle.a_driver(NORTH + 7 * KM)
    assert await idle.node.on_request.search(delivery_id) == NoDriverFound(
        "no_driver_in_radius", [NotChosen(far, "out_of_radius", 7.0)], Nearest(far, 7.0, "out_of_radius")
    )


async def test_a_trip_that_is_too_long_says_so(idle: Dispatch) -> None:
    dan = await idle.a_driver()
    delivery_id = await idle.an_order(dropoff=Place(NORTH + 200 * KM, EAST))
    found = await idle.node.on_request.candidates(delivery_id)
    assert found is not None
    assert (found.taken, found.no_driver) == (None, NoDriver("trip_too_long"))
    tomorrow = await idle.one("SELECT clock_timestamp()") + timedelta(days=1)
    planned = await idle.an_order(dropoff=Place(NORTH + 200 * KM, EAST), dispatch_at=tomorrow)
    for far in (delivery_id, planned):
        assert await idle.node.on_request.search(far) == NoDriverFound("trip_too_long", [])
        assert await idle.offered_to(far) != dan


async def test_zones_that_help_are_asked_if_the_search_is_wide_and_their_own_has_nobody(idle: Dispatch) -> None:
    await idle.done(c.ChangeZone("default", "Here", None, ("harbour",), ADA))
    helper = await idle.a_driver(NORTH + 3 * KM, zone="harbour")
    delivery_id = await idle.an_order()
    assert isinstance(await idle.node.on_request.search(delivery_id), NoDriverFound)
    await idle.execute("UPDATE deliveries SET widened_at = clock_timestamp() WHERE id = $1", delivery_id)
    found = await idle.node.on_request.candidates(delivery_id)
    assert found is not None
    assert found.taken == helper
    answer = await idle.node.on_request.search(delivery_id)
    assert isinstance(answer, Answer)
    assert answer.offer is not None
    assert answer.offer.driver_id == helper
