"""Why a search found nobody, as stable codes; `contract/words.py` has their words for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from server.dispatch.model import Point
from server.dispatch.travel import EARTH_RADIUS_KM
from server.store.reads.waiting import Others

Floats = npt.NDArray[np.float64]

ALL_BUSY: Final = "all_busy"
ALL_EXCLUDED: Final = "all_excluded"
NONE_DISPATCHABLE: Final = "no_driver_dispatchable"
NONE_IN_RADIUS: Final = "no_driver_in_radius"

LOST_RACE: Final = "taken_meanwhile"
_OTHERS_GOT_THEM: Final = frozenset({"given_another", LOST_RACE})


def reason_among(not_taken: Iterable[tuple[str, str]], excluded: Mapping[str, str]) -> str | None:
    """The reason if there were dispatchable drivers in the radius: others got them, or they are excluded.

    `not_taken` is the list of the matching, nearest first; `excluded` that of the delivery. None if there was no
    driver.
    """
    reasons = [reason for _, reason in not_taken]
    if any(reason in _OTHERS_GOT_THEM for reason in reasons):
        return ALL_BUSY
    return ALL_EXCLUDED if any(reason in excluded.values() for reason in reasons) else None


def reason_around(pickup: Point, radius_km: float, others: Others | None) -> str:
    """The reason if no driver in the radius was dispatchable: they are busy, or away, or there are none."""
    if others is None:
        return NONE_IN_RADIUS
    near = distances_km(pickup, others.lats, others.lons) <= radius_km
    if not near.any():
        return NONE_IN_RADIUS
    return ALL_BUSY if np.asarray(others.occupied)[near].any() else NONE_DISPATCHABLE


def distances_km(from_: Point, lats: Sequence[float], lons: Sequence[float]) -> Floats:
    """Great-circle distances from one place to many, all in degrees, by the haversine formula."""
    phi, phis = np.radians(from_.lat), np.radians(np.asarray(lats, dtype=np.float64))
    half = np.radians(np.asarray(lons, dtype=np.float64) - from_.lon) / 2
    h = np.sin((phis - phi) / 2) ** 2 + np.cos(phi) * np.cos(phis) * np.sin(half) ** 2
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, h)))
    return km
