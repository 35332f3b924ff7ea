"""When the next level of the ladder is due."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from server.dispatch.escalation import next_level_at
from server.dispatch.policy import DEFAULT_POLICY, EscalationLevel
from tests.builders import NOW

LADDER = replace(
    DEFAULT_POLICY, escalation=(EscalationLevel(1, 60, ()), EscalationLevel(4, 600, ()), EscalationLevel(9, 1800, ()))
)


@pytest.mark.parametrize(("level", "seconds"), [(0, 60), (1, 600), (2, 600), (4, 1800), (8, 1800)])
def test_the_first_level_above_is_next_counted_from_the_beginning_of_the_wait(level: int, seconds: int) -> None:
    assert next_level_at(level, NOW, LADDER) == NOW + timedelta(seconds=seconds)


def test_nothing_is_next_at_the_top_without_a_ladder_or_without_a_wait() -> None:
    assert next_level_at(9, NOW, LADDER) is None
    assert next_level_at(0, NOW, replace(DEFAULT_POLICY, escalation=())) is None
    assert next_level_at(0, None, LADDER) is None
