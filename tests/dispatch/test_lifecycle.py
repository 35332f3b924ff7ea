"""The page of lifecycles says what the tables say."""

import runpy
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from server.dispatch.model import AssignmentStatus, Availability, DeliveryStatus, OfferStatus
from server.dispatch.transitions import AVAILABILITY
from tests import lifecycle_page as page

WRITTEN = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def test_the_page_is_up_to_date() -> None:
    """Else: `python -m tests.lifecycle_page > docs/lifecycle.md`."""
    assert WRITTEN.read_text() == page.lifecycle()


def test_the_command_prints_the_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tests.lifecycle_page")
    runpy.run_module("tests.lifecycle_page", run_name="__main__")
    assert capsys.readouterr().out == WRITTEN.read_text()


@pytest.mark.parametrize(
    ("states", "literal"),
    [
        (page.DELIVERY_STATES, DeliveryStatus),
        (page.OFFER_STATES, OfferStatus),
        (page.ASSIGNMENT_STATES, AssignmentStatus),
        (page.AVAILABILITY_STATES, Availability),
    ],
)
def test_there_is_a_sentence_for_each_state(states: Any, literal: Any) -> None:
    assert tuple(states) == get_args(literal)
    assert all(sentence.endswith(".") for sentence in states.values())


def test_every_change_of_availability_that_can_be_is_drawn() -> None:
    drawn = {(before, after) for before, after, _ in page.edges_of_availability()}
    assert drawn == {(before, after) for before, ways in AVAILABILITY.items() for after in ways}
