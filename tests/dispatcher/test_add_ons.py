"""The live search where drivers have deliveries already: add-ons, next jobs, and a search on request."""

import json
from typing import Any

import pytest

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.model import Place
from server.dispatch.policy import PlanningPolicy
from server.dispatcher import zone_plans
from server.store.rows import read_work
from tests.dispatcher.conftest import KM, PICKUP, Dispatch, by
from tests.dispatcher.test_matcher import failure_of, offered
from tests.waiting import until

NORTH, EAST = PICKUP


async def has(dispatch: Dispatch, driver_id: str, to_km: float, *, picked: bool = False) -> str:
    """An order from here to so far north, which this only driver accepts; its assignment."""
    delivery_id = await dispatch.an_order(dropoff=place(to_km))
    assert await offered(dispatch, delivery_id) == driver_id
    offer_id = await dispatch.open_offer(delivery_id)
    answer = await dispatch.done(c.AcceptOffer(offer_id or "", driver_id, delivery_id, by(driver_id)))
    assert answer.assignment is not None
    if picked:
        await dispatch.done(c.PickUp(answer.assignment.id, driver_id, by(driver_id)))
    return answer.assignment.id


def place(km: float) -> Place:
    return Place(NORTH + km * KM, EAST)


async def payload(dispatch: Dispatch, delivery_id: str) -> Any:
    text = await dispatch.one("SELECT offer_payload FROM driver_offers WHERE delivery_id = $1", delivery_id)
    return json.loads(text)


async def test_the_driver_on_the_same_way_gets_an_add_on_though_another_is_free(dispatch: Dispatch) -> None:
    await dispatch.set_policy(handover_seconds=0)
    dan = await dispatch.a_driver(NORTH, capacity=2)
    await has(dispatch, dan, 3)
    await dispatch.a_driver(NORTH + 2 * KM)
    more = await dispatch.an_order(dropoff=place(4))
    assert await offered(dispatch, more) == dan
    assert (await payload(dispatch, more))["addOn"]["stops"] == 4


async def test_the_nearest_who_has_others_first_does_not_get_it(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH, capacity=2)
    await has(dispatch, dan, 4, picked=True)
    dispatch.node.positions.moved(dan, NORTH + 0.3 * KM, EAST)
    dora = await dispatch.a_driver(NORTH + 2 * KM)
    more = await dispatch.an_order(dropoff=place(-2))
    assert await offered(dispatch, more) == dora
    await dispatch.reject(more)
    assert await offered(dispatch, more) == dan, "if there is nobody else"
    found = await dispatch.node.on_request.candidates(more)
    assert found is not None
    assert found.taken == dan


async def test_an_order_that_is_nearly_ready_is_an_add_on_if_nobody_else_is_there(dispatch: Dispatch) -> None:
    await dispatch.set_policy(handover_seconds=0)
    dan = await dispatch.a_driver(NORTH, capacity=2)
    await has(dispatch, dan, 3)
    more = await dispatch.an_order(dropoff=place(4), prep_seconds=100)
    assert await offered(dispatch, more) == dan
    held = "SELECT held_until FROM deliveries WHERE id = $1"
    assert await dispatch.one(held, more) is None


async def test_a_search_on_request_chooses_as_the_matcher_does(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH, capacity=2)
    await has(dispatch, dan, 4, picked=True)
    dispatch.node.positions.moved(dan, NORTH + 0.3 * KM, EAST)
    dora = await dispatch.a_driver(NORTH + 2 * KM)
    await dispatch.node.lease.release()
    more = await dispatch.an_order(dropoff=place(-2))
    found = await dispatch.node.on_request.candidates(more)
    assert found is not None
    assert (found.taken, [(one.driver_id, one.reason) for one in found.not_taken]) == (
        dora,
        [(dan, "other_deliveries_first")],
    )
    answer = await dispatch.node.on_request.search(more)
    assert isinstance(answer, Answer)
    assert answer.decided.driver_id == dora


async def test_a_next_job_is_offered_when_its_driver_is_nearly_free(dispatch: Dispatch) -> None:
    planning = PlanningPolicy(next_jobs=1, hold_slack_minutes=2)
    await dispatch.set_policy(handover_seconds=0, planning=planning)
    dan = await dispatch.a_driver(NORTH)
    await has(dispatch, dan, 4, picked=True)
    more = await dispatch.an_order(NORTH + 3 * KM, EAST)

    async def busy() -> bool:
        return await failure_of(dispatch, more) == "all_busy"

    await until(busy)
    assert await dispatch.offered_to(more) is None
    dispatch.node.positions.moved(dan, NORTH + 3.7 * KM, EAST)
    assert await offered(dispatch, more) == dan
    assert (await payload(dispatch, more))["addOn"]["stops"] == 3


async def test_what_a_failed_round_had_taken_is_searched_for_again(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody moves and nothing else happens."""
    failures = [TimeoutError(), TimeoutError()]

    async def read(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read_work(*arguments, **options)

    dan = await dispatch.a_driver(NORTH, capacity=2)
    await has(dispatch, dan, 4)
    dora = await dispatch.a_driver(NORTH + 1 * KM)
    monkeypatch.setattr(zone_plans, "read_work", read)
    assert await offered(dispatch, await dispatch.an_order(dropoff=place(-2))) in (dan, dora)
    assert not failures
