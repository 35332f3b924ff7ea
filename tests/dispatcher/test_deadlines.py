"""The deadlines on a real database: each kind is kept, to the moment, and once even if two nodes keep them."""

import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch.model import SYSTEM
from server.dispatch.policy import EscalationLevel, WatchPolicy
from server.dispatch.refusals import Refusal
from server.ids import new_id
from tests.dispatcher.conftest import ADA, KM, PICKUP, SHOP, Dispatch, by
from tests.waiting import until

NORTH, EAST = PICKUP


def events_about(dispatches: tuple[Dispatch, ...], **about: Any) -> Counter[str]:
    """The events that these nodes committed about it, counted by type."""
    return Counter(
        event.type
        for dispatch in dispatches
        for commit in dispatch.commits
        for event in commit.events
        if all(getattr(event, name) == value for name, value in about.items())
    )


async def availability(dispatch: Dispatch, driver_id: str) -> tuple[str, str]:
    row = await dispatch.node.database.pool.fetchrow(
        "SELECT availability, availability_reason FROM drivers WHERE id = $1", driver_id
    )
    return row[0], row[1]


async def test_an_offer_expires_once_at_its_deadline(
    two: tuple[Dispatch, Dispatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own timer, not by the next scan."""
    monkeypatch.setattr("server.dispatcher.deadlines.SCAN_SECONDS", 600.0)
    dispatch, _ = two
    await dispatch.set_policy(offer_timeout_seconds=1, expiry_policy="next_driver", pause_after_expiries=1)
    await until(lambda: two[1].node.policies.current.offer_timeout_seconds == 1)
    dan = await dispatch.a_driver()
    delivery_id = await dispatch.an_order()
    await until(lambda: _is_available(dispatch, dan, ("paused", "unresponsive")))
    assert events_about(two, delivery_id=delivery_id)["offer.expired"] == 1
    late = await dispatch.one("SELECT closed_at - expires_at FROM driver_offers WHERE delivery_id = $1", delivery_id)
    assert late.total_seconds() >= 0


async def test_a_received_offer_is_assigned_at_its_deadline(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    dan = await dispatch.a_driver()
    delivery_id = await dispatch.an_order()
    offer_id = await until(lambda: dispatch.open_offer(delivery_id))
    assert offer_id is not None
    await dispatch.done(c.ConfirmReceipt(offer_id, dan, by(dan)))
    await dispatch.reach_deadline(offer_id)
    await until(lambda: dispatch.one("SELECT count(*) FROM assignments WHERE source = 'auto_accepted'"))
    assert events_about(two, delivery_id=delivery_id)["delivery.assigned"] == 1


async def test_the_silence_of_a_driver_whose_node_died_is_no_yes(dispatch: Dispatch) -> None:
    """Whichever is looked at first, the offer's deadline or the dead node's sessions."""
    elsewhere = new_id()
    await dispatch.execute(
        "INSERT INTO nodes (id, name, started_at, expires_at) VALUES ($1, 'n', now(), now() + interval '1 day')",
        elsewhere,
    )
    drivers = [await dispatch.a_driver(NORTH + number) for number in range(8)]
    orders = [await dispatch.an_order(NORTH + number) for number in range(8)]
    for dan, delivery_id in zip(drivers, orders, strict=True):
        await until(partial(dispatch.open_offer, delivery_id))
        await dispatch.done(c.ConnectDriver(dan, new_id(), elsewhere, by(dan)))
        await dispatch.done(c.ConfirmReceipt(await dispatch.open_offer(delivery_id) or "", dan, by(dan)))
    await dispatch.execute(
        "WITH died AS (UPDATE nodes SET expires_at = clock_timestamp() WHERE id = $1)"
        " UPDATE driver_offers SET expires_at = clock_timestamp() WHERE status = 'PENDING'",
        elsewhere,
    )
    await until(lambda: _closed(dispatch, len(orders)))
    assert await dispatch.one("SELECT count(*) FROM driver_offers WHERE auto_accepted") == 0


async def test_many_offers_expire_and_none_early(dispatch: Dispatch) -> None:
    await dispatch.set_policy(offer_timeout_seconds=2, expiry_policy="next_driver", reoffer_cooldown_seconds=600)
    for number in range(40):
        await dispatch.a_driver(NORTH + KM / 100 * number)
    orders = [await dispatch.an_order(NORTH + KM / 100 * number) for number in range(40)]
    await until(lambda: _closed(dispatch, len(orders)))
    early = await dispatch.one("SELECT count(*) FROM driver_offers WHERE status = 'EXPIRED' AND closed_at < expires_at")
    assert early == 0


async def test_a_break_ends_by_itself(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    dan = await dispatch.a_driver()
    await dispatch.done(c.TakeBreak(dan, 5, by(dan)))
    await dispatch.execute(
        "UPDATE drivers SET availability_until = clock_timestamp() + interval '200 ms' WHERE id = $1", dan
    )
    await until(lambda: _is_available(dispatch, dan, ("available", "break_expired")))
    delivery_id = await dispatch.an_order()
    assert await until(lambda: dispatch.offered_to(delivery_id)) == dan
    changes = [
        event.data()["reason"]
        for node in two
        for commit in node.commits
        for event in commit.events
        if event.type == "driver.availability_changed" and event.driver_id == dan
    ]
    assert changes.count("break_expired") == 1


async def test_a_scheduled_order_is_dispatched_when_its_time_comes(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    dan = await dispatch.a_driver()
    at = await dispatch.one("SELECT date_trunc('milliseconds', clock_timestamp()) + interval '300 ms'")
    delivery_id = await dispatch.an_order(dispatch_at=at)
    assert await until(lambda: dispatch.offered_to(delivery_id)) == dan
    since = await dispatch.one("SELECT unassigned_since FROM deliveries WHERE id = $1", delivery_id)
    assert since >= at
    assert events_about(two, delivery_id=delivery_id)["delivery.ready"] == 1


async def test_every_level_of_the_ladder_is_reached_once(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    ladder = (EscalationLevel(1, 1, ("ticket", "notify_ops")), EscalationLevel(2, 2, ("notify_critical", "cancel")))
    await dispatch.set_policy(escalation=ladder)
    await until(lambda: two[1].node.policies.current.escalation == ladder)
    delivery_id = await dispatch.an_order()
    await until(lambda: _status(dispatch, delivery_id, "CANCELLED"))
    events = events_about(two, delivery_id=delivery_id)
    assert events["delivery.escalated"] == 2
    assert events["ticket.created"] == 1
    assert events["delivery.cancelled"] == 1


async def test_presence_lapses_when_a_lost_socket_does_not_return(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    await dispatch.set_policy(presence_lapse_seconds=1)
    await until(lambda: two[1].node.policies.current.presence_lapse_seconds == 1)
    dan, dora = await dispatch.a_driver(), await dispatch.a_driver()
    session = await dispatch.connect(dan)
    await dispatch.done(c.DisconnectDriver(dan, session))
    await until(lambda: _is_available(dispatch, dan, ("offline", "connection_lost")))
    assert await availability(dispatch, dora) == ("available", "first_seen")
    gone = await dispatch.one("SELECT last_availability_change - socket_lost_at FROM drivers WHERE id = $1", dan)
    assert gone.total_seconds() >= 1.0


async def test_who_only_calls_lapses_when_the_calls_end(dispatch: Dispatch) -> None:
    await dispatch.set_policy(presence_lapse_seconds=1, call_presence_seconds=2)
    dan = new_id()
    await dispatch.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
    await dispatch.node.seen(dan)
    await until(lambda: _is_available(dispatch, dan, ("offline", "connection_lost")))
    assert events_about((dispatch,), driver_id=dan)["driver.availability_changed"] == 2, "first they were available"


async def test_a_driver_who_was_never_seen_stays_so(dispatch: Dispatch) -> None:
    await dispatch.set_policy(presence_lapse_seconds=1, call_presence_seconds=1)
    dan, dora = new_id(), await dispatch.a_driver()
    await dispatch.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
    session = await dispatch.connect(dora)
    await dispatch.done(c.DisconnectDriver(dora, session))
    await until(lambda: _is_available(dispatch, dora, ("offline", "connection_lost")))
    assert await availability(dispatch, dan) == ("offline", "never_seen")


async def test_the_sessions_of_a_dead_node_count_as_lost_since_it_died(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    dead, unknown = new_id(), new_id()
    await dispatch.execute(
        "INSERT INTO nodes (id, name, started_at, expires_at) VALUES ($1, 'dead', now(), now() - interval '7 s')", dead
    )
    dan, dora, max_ = [await dispatch.a_driver() for _ in range(3)]
    await dispatch.done(c.ConnectDriver(dan, new_id(), dead, by(dan)))
    await dispatch.done(c.ConnectDriver(dora, new_id(), unknown, by(dora)))
    await until(lambda: _gone(dispatch, dan))
    await until(lambda: _gone(dispatch, dora))
    assert not await _gone(dispatch, max_)
    lost_at = await dispatch.one("SELECT socket_lost_at FROM drivers WHERE id = $1", dan)
    assert lost_at == await dispatch.one(
        "SELECT date_trunc('milliseconds', expires_at) FROM nodes WHERE id = $1", dead
    ) or lost_at == await dispatch.one("SELECT expires_at FROM nodes WHERE id = $1", dead)
    assert events_about(two, driver_id=dan)["driver.disconnected"] == 1


async def test_a_deadline_that_moved_is_kept_at_its_new_time(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dispatcher.deadlines.AHEAD_SECONDS", 60.0)
    dan = await dispatch.a_driver()
    await dispatch.done(c.SetAvailability(dan, "on_break", "rest", ADA, duration_minutes=1))
    await dispatch.execute(
        "UPDATE drivers SET availability_until = clock_timestamp() + interval '12 s' WHERE id = $1", dan
    )
    await until(lambda: ("break", dan) in dispatch.node.deadlines._dues)
    await dispatch.done(c.TakeBreak(dan, 30, by(dan)))
    dora = await dispatch.a_driver()
    await dispatch.done(c.TakeBreak(dora, 5, by(dora)))
    await dispatch.execute(
        "UPDATE drivers SET availability_until = clock_timestamp() + interval '12 s' WHERE id = $1", dora
    )
    await until(lambda: _is_available(dispatch, dora, ("available", "break_expired")))
    assert (await availability(dispatch, dan))[0] == "on_break"


async def test_a_command_that_fails_is_sent_again_later(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The offer's delivery is locked by somebody else at the deadline, for longer than a command waits."""
    await dispatch.set_policy(expiry_policy="next_driver")
    await dispatch.a_driver()
    delivery_id = await dispatch.an_order()
    offer_id = await until(lambda: dispatch.open_offer(delivery_id))
    async with dispatch.node.database.pool.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", delivery_id)
        with monkeypatch.context() as impatient:
            impatient.setattr(dispatch.node.executor, "_wait_limit", 1.0)
            await dispatch.reach_deadline(offer_id)
            answer = await dispatch.decided(c.ExpireOffer(offer_id or "", new_id()))
            assert isinstance(answer, Refusal)
            await until(lambda: _resting(dispatch, offer_id or ""))
        await transaction.rollback()
    await until(lambda: _closed(dispatch, 1))


def _resting(dispatch: Dispatch, offer_id: str) -> bool:
    return ("offer", offer_id) in dispatch.node.deadlines._resting


async def _is_available(dispatch: Dispatch, driver_id: str, wanted: tuple[str, str]) -> bool:
    return await availability(dispatch, driver_id) == wanted


async def _status(dispatch: Dispatch, delivery_id: str, wanted: str) -> bool:
    return bool(await dispatch.one("SELECT status FROM deliveries WHERE id = $1", delivery_id) == wanted)


async def _closed(dispatch: Dispatch, count: int) -> bool:
    return bool(await dispatch.one("SELECT count(*) FROM driver_offers WHERE status = 'EXPIRED'") >= count)


async def _gone(dispatch: Dispatch, driver_id: str) -> bool:
    return await dispatch.one("SELECT session_id FROM drivers WHERE id = $1", driver_id) is None


# Orders at risk


async def with_a_job(dispatch: Dispatch) -> tuple[str, str, str]:
    """Dan accepts an order: the delivery, Dan, the assignment."""
    dan, delivery_id = await dispatch.a_driver(), await dispatch.an_order()
    offer_id = await until(lambda: dispatch.open_offer(delivery_id))
    assert offer_id is not None
    job = (await dispatch.done(c.AcceptOffer(offer_id, dan, new_id(), by(dan)))).decided.assignment_id
    assert job is not None
    return delivery_id, dan, job


GONE = (
    "UPDATE drivers SET session_id = NULL, session_node = NULL, connected_since = NULL,"
    " socket_lost_at = clock_timestamp() - interval '1 hour' WHERE id = $1"
)


async def with_watch(two: tuple[Dispatch, Dispatch], **watch: Any) -> None:
    await two[0].set_policy(watch=WatchPolicy(**watch))
    await until(lambda: two[1].node.policies.current.watch.gone_seconds == watch["gone_seconds"])


async def test_a_driver_who_is_gone_with_an_order_is_a_risk_once_until_they_are_back(
    two: tuple[Dispatch, Dispatch],
) -> None:
    dispatch, _ = two
    await with_watch(two, gone_seconds=2)
    delivery_id, dan, _ = await with_a_job(dispatch)
    await dispatch.execute("UPDATE assignments SET created_at = clock_timestamp() - interval '2 hours'")
    await dispatch.execute(GONE, dan)
    await until(lambda: dispatch.one("SELECT risks FROM deliveries WHERE id = $1", delivery_id))
    await dispatch.done(c.ConnectDriver(dan, new_id(), dispatch.node.node_id, by(dan)))
    await until(lambda: dispatch.one("SELECT risks IS NULL FROM deliveries WHERE id = $1", delivery_id))
    happened = events_about(two, delivery_id=delivery_id)
    assert (happened["delivery.at_risk"], happened["delivery.recovered"]) == (1, 1)


async def test_what_the_store_delays_is_late_at_once_until_it_is_ready(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    delivery_id, _, _ = await with_a_job(dispatch)
    codes = "SELECT array(SELECT risk->>'code' FROM jsonb_array_elements(risks) AS risk) FROM deliveries WHERE id = $1"
    await dispatch.done(c.DelayDelivery(delivery_id, 60, new_id(), SYSTEM))
    await until(lambda: _is(dispatch, codes, delivery_id, ["pickup_late", "delivery_late"]))
    await dispatch.done(c.MarkReady(delivery_id, new_id(), SYSTEM))
    await until(lambda: _is(dispatch, codes, delivery_id, []))
    happened = events_about(two, delivery_id=delivery_id)
    assert (happened["delivery.at_risk"], happened["delivery.recovered"]) == (2, 2)


async def test_what_has_no_promise_any_more_is_not_late(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    delivery_id, _, _ = await with_a_job(dispatch)
    codes = "SELECT array(SELECT risk->>'code' FROM jsonb_array_elements(risks) AS risk) FROM deliveries WHERE id = $1"
    long_ago = await dispatch.one("SELECT clock_timestamp() - interval '1 hour'")
    await change(dispatch, delivery_id, promised_at=long_ago)
    await until(lambda: _is(dispatch, codes, delivery_id, ["delivery_late"]))
    await change(dispatch, delivery_id, promised_at=None)
    await until(lambda: _is(dispatch, codes, delivery_id, []))


async def change(dispatch: Dispatch, delivery_id: str, **changes: Any) -> None:
    version = await dispatch.one("SELECT version FROM deliveries WHERE id = $1", delivery_id)
    await dispatch.done(c.ChangeDelivery(delivery_id, version, new_id(), SYSTEM, **changes))


async def test_a_driver_who_does_not_move_away_from_a_stop_is_a_risk_once_until_they_move(
    two: tuple[Dispatch, Dispatch],
) -> None:
    """Seven minutes pass at once: only the times of rows are moved, as they would be by then."""
    dispatch, other = two
    await with_watch(two, gone_seconds=3600, stalled_minutes=6)
    delivery_id, dan, job = await with_a_job(dispatch)
    since = "SELECT still_since FROM driver_positions WHERE driver_id = $1"

    async def here(km: float, node: Dispatch = dispatch) -> None:
        """A position from so many km on the way, stored."""
        node.node.positions.moved(dan, NORTH + km * KM, EAST)
        await node.node.positions.store()

    async def seven_minutes_pass() -> None:
        earlier = "- interval '7 minutes'"
        await dispatch.execute(f"UPDATE driver_positions SET still_since = still_since {earlier}")
        await dispatch.execute(
            f"UPDATE assignments SET created_at = created_at {earlier}, picked_up_at = picked_up_at {earlier}"
        )

    async def marked(codes: list[str]) -> bool:
        found = await dispatch.one("SELECT risks::text FROM deliveries WHERE id = $1", delivery_id)
        return [risk["code"] for risk in json.loads(found or "[]")] == codes

    await here(0)
    await seven_minutes_pass()  # at the store
    await here(0.45)
    assert await dispatch.one(f"SELECT ({since}) > clock_timestamp() - interval '1 minute'", dan)
    begun = await dispatch.one(since, dan)
    await here(0.5, other)
    assert await dispatch.one(since, dan) == begun, "fifty metres are no way, whichever node hears of them"
    assert await marked([])
    await seven_minutes_pass()
    await until(lambda: marked(["stalled"]))
    await here(0.56)
    await until(lambda: marked([]))
    await seven_minutes_pass()
    await until(lambda: marked(["stalled"]))
    await dispatch.done(c.Arrive(job, dan, "pickup", by(dan)))
    await until(lambda: marked([]))
    await dispatch.done(c.PickUp(job, dan, by(dan)))
    assert await marked([])
    await seven_minutes_pass()
    await until(lambda: marked(["stalled"]))
    happened = events_about(two, delivery_id=delivery_id)
    assert (happened["delivery.at_risk"], happened["delivery.recovered"]) == (3, 2)


async def test_what_is_late_climbs_the_ladder_each_level_once(two: tuple[Dispatch, Dispatch]) -> None:
    dispatch, _ = two
    delivery_id, _, _ = await with_a_job(dispatch)
    await dispatch.execute(
        "WITH d AS (UPDATE deliveries SET watch_at = watch_at - interval '1 day', promised_at = promised_at -"
        " interval '1 day') UPDATE assignments SET pickup_due_at = pickup_due_at - interval '1 day'"
    )
    await dispatch.execute("UPDATE deliveries SET watch_at = (SELECT pickup_due_at FROM assignments)")
    risks = "SELECT jsonb_array_length(risks) FROM deliveries WHERE id = $1"
    await until(lambda: _is(dispatch, risks, delivery_id, 2))
    await dispatch.execute("UPDATE deliveries SET risk_since = clock_timestamp() - interval '1 day'")
    await until(lambda: _is(dispatch, "SELECT risk_level FROM deliveries WHERE id = $1", delivery_id, 3))
    happened = events_about(two, delivery_id=delivery_id)
    assert happened["delivery.at_risk"] == 2
    assert (happened["delivery.risk_escalated"], happened["ticket.created"]) == (3, 1)
    assert await dispatch.one("SELECT count(*) FROM notices WHERE kind = 'delivery.risk_escalated'") == 2


async def test_what_a_driver_who_is_gone_has_not_picked_up_is_taken_back_if_the_policy_says_so(
    two: tuple[Dispatch, Dispatch],
) -> None:
    dispatch, _ = two
    await with_watch(two, gone_seconds=3, release_gone_seconds=4)
    delivery_id, dan, job = await with_a_job(dispatch)
    await dispatch.execute("UPDATE assignments SET created_at = clock_timestamp() - interval '2 hours'")
    await dispatch.execute(GONE, dan)
    await until(lambda: _is(dispatch, "SELECT status FROM assignments WHERE id = $1", job, "RELEASED"))
    assert events_about(two, delivery_id=delivery_id)["delivery.released"] == 1
    assert await dispatch.one("SELECT status FROM deliveries WHERE id = $1", delivery_id) == "READY"


async def _is(dispatch: Dispatch, query: str, row_id: str, expected: object) -> bool:
    return bool(await dispatch.one(query, row_id) == expected)
