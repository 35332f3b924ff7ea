"""What happens for certain once it is calm: a slow machine makes few orders, and no promise is to go unchecked."""

from collections.abc import Sequence
from typing import Final

from tests.bench.fleet import somewhere
from tests.torture.actors.drivers import RADIUS_KM, Driver
from tests.torture.actors.scene import LAST_STORE, ZONE, Caller, Scene
from tests.torture.actors.shop import CONTACTS

TAKEN_FROM_WORK: Final = ("paused", "on_break")
"""No driver goes from the one to the other by themselves: one of the two is a change, whatever they did before."""


class Encore:
    """An admin takes a driver from work, and a shop orders for a person and wants a photo. Nobody answers the first
    offer of that order.
    """

    def __init__(self, scene: Scene) -> None:
        self._chance = scene.chance("encore")
        self._admin = Caller(scene, scene.histories.of("zoe"), scene.chance("zoe/http"), "admin", "zoe")
        self._shop = Caller(scene, scene.histories.of("encore"), scene.chance("encore/http"), "service", "encore")

    async def play(self, drivers: Sequence[Driver]) -> None:
        """All of it is accepted when this ends. Raises AssertionError."""
        path = f"/admin/drivers/{drivers[0].id}/availability"
        for availability in TAKEN_FROM_WORK:
            body = {"availability": availability, "reason": f"encore-{availability}"}
            await self._admin.insist("POST", path, body)
        (lat, lon), (to_lat, to_lon) = (somewhere(self._chance, RADIUS_KM) for _ in range(2))
        order = {
            "sellerId": "encore",
            "sellerOrderId": "encore-1",
            "storeName": LAST_STORE,
            "pickup": {"lat": lat, "lon": lon},
            "dropoff": {"lat": to_lat, "lon": to_lon, "name": "Ines", "phone": CONTACTS[0]},
            "zone": ZONE,
            "priceCents": 900,
            "proofRequired": ["photo"],
        }
        await self._shop.insist("POST", "/deliveries", order)
