"""How far it is from where a driver ends to where the next orders are likely to come."""

from typing import Final

import numpy as np

from server.dispatch.runs import Floats, Spot, Travel

ORDERS_AN_HOUR: Final = 3.0
"""The nearest stores count that together place so many."""
FARTHEST_SECONDS: Final = 3600.0
"""A longer way counts as this."""


class NextOrders:
    """The ways from places to the stores that are nearest, by the pace of their orders (`RecentOrders.pace`)."""

    def __init__(self, stores: Floats, rates: Floats, travel: Travel) -> None:
        self._stores, self._rates, self._travel = stores, rates, travel
        self._known: dict[Spot, float] = {}

    def ways(self, places: Floats) -> Floats:
        """How many seconds the next order is away from each place: the mean of the nearest stores. 0 if no order is
        expected.
        """
        if not self._rates.any():
            return np.zeros(len(places))
        spots: list[Spot] = [(lat, lon) for lat, lon in places.tolist()]
        new = [spot for spot in dict.fromkeys(spots) if spot not in self._known]
        if new:
            self._known.update(zip(new, self._means(np.array(new)).tolist(), strict=True))
        return np.array([self._known[spot] for spot in spots])

    def _means(self, places: Floats) -> Floats:
        ways = np.minimum(self._travel.many(places, self._stores), FARTHEST_SECONDS)
        enough = min(ORDERS_AN_HOUR / 3600, self._rates.sum())
        most = int(np.searchsorted(np.cumsum(np.sort(self._rates)), enough)) + 1
        nearest = np.argsort(ways, axis=1, kind="stable")[:, :most]
        rates = self._rates[nearest]
        counted = np.clip(enough - (np.cumsum(rates, axis=1) - rates), 0.0, rates)
        means: Floats = (np.take_along_axis(ways, nearest, axis=1) * counted).sum(axis=1) / enough
        return means
