"""The words and times of the screens, as the templates get them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from server.board.formats import lately
from server.board.render import Renderer
from server.board.templates import environment
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.settings import zone_of
from server.store.reads.board import DeliveryRow
from tests.builders import DROPOFF, NOW, PICKUP
from tests.web.html_tree import parse


def waiting_row() -> DeliveryRow:
    row: dict[str, Any] = dict.fromkeys(DeliveryRow.__struct_fields__)
    places = {"lat": PICKUP.lat, "lon": PICKUP.lon, "dropoff_lat": DROPOFF.lat, "dropoff_lon": DROPOFF.lon}
    row |= {"id": "d1", "status": "READY", "created_at": NOW, "unassigned_since": NOW, "level": 0, **places}
    return DeliveryRow(**row)


def km_shown(renderer: Renderer) -> float:
    rows = renderer.delivery(waiting_row(), None, 1)
    return float(parse(f"<table>{rows['waiting']}</table>").one("tr")["data-km"])


def test_two_nodes_of_one_process_show_kilometres_each_by_its_own_policy() -> None:
    def renderer(policy: Policy) -> Renderer:
        return Renderer(environment("UTC"), lambda: policy)

    straight = renderer(replace(DEFAULT_POLICY, detour_factor=1.0))
    winding = renderer(replace(DEFAULT_POLICY, detour_factor=2.0))
    assert km_shown(straight) == 1.5
    assert km_shown(winding) == 3.0


SAID = datetime(2025, 5, 3, 22, 2, 11, tzinfo=UTC)
"""In Berlin the 4th of May, a Sunday, two minutes past midnight."""


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("{{ at | day_and_clock }}", "Sun 04 May 2025, 00:02"),
        ("{{ at | day_and_clock_seconds }}", "Sun 04 May 2025, 00:02:11"),
        ("{{ none | day_and_clock or 'never' }}", "never"),
    ],
)
def test_a_date_has_its_year_on_every_screen(shown: str, text: str) -> None:
    assert environment("Europe/Berlin").from_string(shown).render(at=SAID) == text


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (datetime(2025, 5, 4, 9, tzinfo=UTC), "00:02:11"),
        (datetime(2025, 5, 4, 22, tzinfo=UTC), "04 May 00:02"),
        (datetime(2025, 12, 31, 22, 59, tzinfo=UTC), "04 May 00:02"),
        (datetime(2025, 12, 31, 23, 0, tzinfo=UTC), "04 May 2025 00:02"),
    ],
)
def test_a_time_says_as_much_of_its_day_as_is_needed(now: datetime, text: str) -> None:
    assert lately(SAID, zone_of("Europe/Berlin"), now=now) == text
