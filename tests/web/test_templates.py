"""The words and times of the screens, as the templates get them."""

from typing import Any

from msgspec.structs import replace

from server.board.render import Renderer
from server.board.templates import environment
from server.dispatch.policy import DEFAULT_POLICY, Policy
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
