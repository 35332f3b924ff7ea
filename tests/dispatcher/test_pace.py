"""The pace of searches in vain: soon where few wait, a tenth of the time where many do."""

import pytest

from server.dispatcher.pace import LONGEST_SECONDS, RETRY_SECONDS, STEP_SECONDS, Pace


def test_few_are_searched_for_soon_however_long_it_takes() -> None:
    pace = Pace()
    pace.learn(2.0, 3, waiting=99)
    assert pace.seconds == RETRY_SECONDS


def test_many_take_a_tenth_of_the_time() -> None:
    pace = Pace()
    for _ in range(20):
        pace.learn(0.02, 400, waiting=4_000)
    whole = 0.02 * 10
    assert pace.seconds == pytest.approx(9 * whole)
    pace.learn(0.02, 400, waiting=1_000)
    assert pace.seconds == RETRY_SECONDS, "it takes 50 ms"


def test_one_round_that_was_held_up_is_forgotten() -> None:
    pace = Pace()
    pace.learn(5.0, 500, waiting=1_000)
    assert pace.seconds == LONGEST_SECONDS
    for _ in range(60):
        pace.learn(0.02, 400, waiting=1_000)
    assert pace.seconds == RETRY_SECONDS


def test_those_who_are_due_a_moment_apart_are_searched_for_together() -> None:
    pace = Pace()
    dues = {pace.next(10.01 + n * 0.01) for n in range(8)}
    assert len(dues) == 1
    (due,) = dues
    assert 10.01 + RETRY_SECONDS <= due <= 10.01 + RETRY_SECONDS + STEP_SECONDS
    assert pace.next(due) >= due + RETRY_SECONDS
