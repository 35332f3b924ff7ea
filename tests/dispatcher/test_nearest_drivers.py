"""The drivers that a plan looks at: the nearest of each order."""

from random import Random

import numpy as np
import pytest

from server.dispatch.model import Place
from server.dispatch.planning.nearby import Free, unit
from server.dispatcher.backlog import NEAREST, TREE_PAIRS, Wait, nearest_drivers_of
from server.store.clock import DatabaseTime
from tests.builders import PICKUP, a_delivery


@pytest.mark.parametrize(("orders", "drivers"), [(1, 10), (3, 100), (50, 1_000)])
async def test_a_plan_has_the_nearest_with_and_without_deliveries(orders: int, drivers: int) -> None:
    """Also with so many pairs that a tree finds them."""
    chance, clock = Random(orders), DatabaseTime()

    def spot() -> tuple[float, float]:
        return PICKUP.lat + chance.uniform(-0.1, 0.1), PICKUP.lon + chance.uniform(-0.1, 0.1)

    waits = [Wait(a_delivery(str(number), pickup=Place(*spot())), 0.0, clock) for number in range(orders)]
    lats, lons = np.array([spot() for _ in range(drivers)]).T
    places = np.array([unit(lat, lon) for lat, lon in zip(lats, lons, strict=True)])
    loads = np.array([float(number % 3 == 0) for number in range(drivers)])
    ids = np.array([str(number) for number in range(drivers)], dtype=object)
    nearest: set[int] = set()
    for wait in waits:
        pickup = np.array(unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon))
        by_distance = np.argsort(((places - pickup) ** 2).sum(axis=1)).tolist()
        for load in (0.0, 1.0):
            nearest.update([row for row in by_distance if loads[row] == load][:NEAREST])
    found = nearest_drivers_of(waits, Free(ids, lats, lons, places, np.full(drivers, np.inf), loads))
    assert found.tolist() == sorted(nearest)
    assert (orders * drivers / 3 > TREE_PAIRS) == (orders == 50)
