"""What a simulation amounts to."""

import pytest

from server.simulate.summary import amounts_to, progress
from server.simulate.tally import Tally, percentile, span, table


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7], 0.9) == 7
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.9) == 90


def test_durations_for_people() -> None:
    assert span(None) == "-"
    assert span(3.14159) == "3.1 s"
    assert span(150) == "2.5 min"


def test_a_table_says_how_many_there_are() -> None:
    header, row, empty = table([("this", [1.0, 2.0, 3.0]), ("that", [])])
    assert header.split() == ["n", "p50", "p90", "max"]
    assert row.split() == ["this", "3", "2.0", "s", "3.0", "s", "3.0", "s"]
    assert empty.split() == ["that", "0", "-", "-", "-"]


def an_evening() -> Tally:
    tally = Tally()
    tally.placed("soup", at=0, ready_at=60, dispatched_at=0)
    tally.assigned("soup", at=5, source="accepted")
    tally.picked_up("soup", at=100)
    tally.delivered("soup", at=300)
    tally.placed("cake", at=10, ready_at=10, dispatched_at=10)
    tally.assigned("cake", at=40, source="auto_accepted")
    tally.placed("tea", at=20, ready_at=20, dispatched_at=20)
    return tally


def test_moments_of_orders_become_durations() -> None:
    tally = an_evening()
    assert tally.spans("placed_at", "accepted_at") == [5, 30]
    assert tally.spans("placed_at", "delivered_at") == [300]
    assert tally.waiting == 1
    assert tally.ready_at("soup") == 60


def test_an_order_of_somebody_elses_is_carried_but_not_measured() -> None:
    tally = an_evening()
    tally.assigned("theirs", at=7, source="accepted")
    tally.delivered("theirs", at=9)
    assert tally.spans("placed_at", "accepted_at") == [5, 30]
    assert tally.own(accepted=True, delivered=True) == 1
    assert tally.ready_at("theirs") < 10
    assert tally.ready_at("unheard of") < 0


def test_the_wait_for_a_driver_counts_from_when_one_was_looked_for() -> None:
    tally = Tally()
    tally.placed("soup", at=0, ready_at=900, dispatched_at=600)
    tally.assigned("soup", at=605, source="accepted")
    assert tally.spans("dispatched_at", "accepted_at") == [5]


def test_an_order_may_be_assigned_before_its_own_answer_is_there() -> None:
    tally = Tally()
    tally.assigned("soup", at=2, source="accepted")
    tally.placed("soup", at=1, ready_at=5, dispatched_at=1)
    assert tally.spans("placed_at", "accepted_at") == [1]


def test_a_reassigned_order_keeps_its_first_acceptance() -> None:
    tally = an_evening()
    tally.assigned("soup", at=50, source="accepted")
    assert tally.spans("placed_at", "accepted_at") == [5, 30]
    assert tally.counts["assigned_accepted"] == 2


def test_the_summary_has_all_numbers() -> None:
    tally = an_evening()
    tally.counts["stream_gaps"] = 2
    text = "\n".join(amounts_to(tally, target_seconds=2400))
    assert "3 placed, 1 delivered, 1 under way, 1 without a driver" in text
    assert "at the door within 40.0 min: 1 of 1 (100%)" in text
    assert "2 stream gaps" in text
    assert "stream gaps" not in "\n".join(amounts_to(an_evening()))
    assert progress(tally).startswith("orders 3 (1 waiting)")


def test_a_city_that_goes_on_for_days_forgets_its_oldest_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.simulate.tally.KEPT", 2)
    assert list(an_evening().orders) == ["cake", "tea"]
