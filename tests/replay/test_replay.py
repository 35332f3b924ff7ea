"""Replays of small invented days: what is possible, what follows from the seed, and what nobody can know."""

from math import dist
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from server.dispatch.policy import DEFAULT_POLICY, PlanningPolicy
from server.dispatch.runs import OVERDUE_SECONDS
from server.replay.figures import figures
from server.replay.replay import Options, Replay
from server.replay.result_lines import offer_lines, result_lines
from server.simulate.day import Courier, Day, Order, read_day
from tests.replay.possible import impossible

SMALL = Path(__file__).parent / "small_day"
SLOW = Options(reject=0.3, answer=(2.0, 15.0), seed=7)


@pytest.fixture(scope="module")
def day() -> Day:
    return read_day(SMALL)


def played(day: Day, options: Options = Options(), **planning: Any) -> Replay:  # noqa: B008
    replay = Replay(day, replace(DEFAULT_POLICY, planning=PlanningPolicy(**planning)), options)
    replay.run()
    return replay


def tables(replay: Replay) -> tuple[list[str], list[str]]:
    return list(result_lines(replay)), list(offer_lines(replay))


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        SLOW,
        Options(capacity=1),
        Options(dispatcher="nearest"),
        Options(dispatcher="best_total", reject=0.2, answer=(2.0, 15.0)),
    ],
)
def test_what_couriers_do_is_possible_and_everything_is_delivered(day: Day, options: Options) -> None:
    replay = played(day, options)
    assert impossible(day, replay, options) == []
    found = figures(day, replay)
    assert found.delivered == found.orders == len(day.orders)
    assert found.offers >= found.orders
    assert (found.offers > found.orders) == (options.reject > 0)


@pytest.mark.parametrize("planning", [{"hold": False}, {"max_extra_minutes": 0}, {"same_store_only": True}])
def test_limits_of_the_policy_make_other_plans_that_are_possible_too(day: Day, planning: Any) -> None:
    replay = played(day, **planning)
    assert impossible(day, replay, Options()) == []
    assert tables(replay) != tables(played(day))


def test_the_same_seed_gives_the_same_and_another_one_does_not(day: Day) -> None:
    assert tables(played(day, SLOW)) == tables(played(day, SLOW))
    assert tables(played(day, SLOW)) != tables(played(day, replace(SLOW, seed=8)))


def test_the_order_of_the_files_makes_no_difference(day: Day) -> None:
    turned = Day(
        day.name, day.orders[::-1], day.couriers[::-1], day.metres_per_second, day.pickup_seconds, day.dropoff_seconds,
        day.target_seconds,
    )  # fmt: skip
    assert tables(played(turned, SLOW)) == tables(played(day, SLOW))


def test_nothing_of_the_future_is_known(day: Day) -> None:
    """Two days that differ only after a minute are the same until then."""
    until = 60 * 60.0
    later = [order for order in day.orders if order.placed > until]
    assert later
    orders = [order for order in day.orders if order.placed <= until]
    extra = [Order(f"new {number}", "r1", (0, 0), (900, 100), until + 60, until + 600) for number in range(5)]
    changed = replace(day, orders=[*orders, *extra])
    for options in (replace(SLOW, until=until), Options(until=until)):
        assert tables(played(day, options)) == tables(played(changed, options))
    assert tables(played(day, SLOW)) != tables(played(changed, SLOW))


def test_a_courier_answers_before_they_leave(day: Day) -> None:
    """With these seeds an offer for a stop on the way is still open when the courier could leave."""
    for seed in (7, 10):
        options = Options(reject=0.2, answer=(14.0, 15.0), seed=seed)
        assert impossible(day, played(day, options), options) == []


def test_who_rejects_does_not_depend_on_the_policy(day: Day) -> None:
    """So policies can be compared."""
    said: dict[tuple[str, str], str] = {}
    for planning in ({}, {"hold": False}):
        for offer in played(day, SLOW, **planning).offers:
            assert said.setdefault((offer.order, offer.courier), offer.outcome) == offer.outcome


def test_orders_of_one_store_share_a_visit() -> None:
    orders = [Order(f"o{number}", "r1", (0, 0), (3000, number * 50), 0, 600) for number in range(3)]
    day = Day("one store", orders, [Courier("c1", (0, 500), 0, 7200)], 5.0, 240, 240, 2400)
    replay = played(day)
    assert {one.picked_up_at for one in replay.carried.values()} == {600}
    assert impossible(day, replay, Options()) == []
    assert figures(day, replay).orders_a_run == 3


def test_an_offer_that_the_rules_refuse_is_not_planned_again() -> None:
    """The plan turns to the store of o2 before it delivers o0. The rules expect o0 first, and a late pickup."""
    orders = [
        Order("o0", "r0", (0, 0), (500, 3000), 1740, 2820),
        Order("o2", "r2", (500, 2000), (3000, 3500), 2340, 3060),
        Order("o6", "r0", (0, 0), (500, 500), 1860, 2520),
    ]
    day = Day(
        "shift ends",
        orders,
        [Courier("c1", (0, 500), 3900, 9000), Courier("c2", (1000, 500), 0, 3840)],
        5.0,
        240,
        240,
        2400,
    )
    replay = played(day)
    assert {order: one.courier for order, one in replay.carried.items()} == {"o0": "c2", "o2": "c1", "o6": "c2"}
    assert impossible(day, replay, Options()) == []


def test_progress_is_reported_once_an_hour_and_until_ends_the_day(day: Day) -> None:
    reported: list[tuple[float, int, int]] = []
    replay = Replay(day, DEFAULT_POLICY, Options(until=2.5 * 3600))
    replay.run(lambda *figures: reported.append(figures))
    assert [int(now // 3600) for now, _, _ in reported] == [0, 1, 2]
    assert reported == sorted(reported)


def test_a_day_without_couriers_delivers_nothing(day: Day) -> None:
    empty = replace(day, couriers=[])
    with pytest.raises(ValueError, match="nothing was delivered"):
        figures(empty, played(empty))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(0, 8)), min_size=30, max_size=40))
def test_an_order_far_away_is_not_passed_over_for_ever(near: list[tuple[int, int, int]]) -> None:
    """One courier, one far order, and at least one order every three minutes next to the courier: once the far order's
    goods have been ready for `OVERDUE_SECONDS`, the courier takes it after what they have.
    """
    orders = [Order("far", "r far", (9000, 0), (9500, 0), 0, 60)]
    for number, (minute, x, y) in enumerate(near):
        orders.append(Order(f"n{number}", "r1", (0, 0), (100 * x, 100 * y), 60 * minute, 60 * minute + 300))
    day = Day("far", orders, [Courier("c1", (0, 0), 0, 4 * 3600)], 5.0, 240, 240, 2400)
    replay = played(day, Options(capacity=2, until=5400))
    carried = replay.carried["far"]
    longest_run = 2 * (240 + 240 + dist((0, 0), (800, 800)) / 5.0 * 2)
    assert carried.assigned_at <= 60 + OVERDUE_SECONDS + longest_run + 60
