"""The runs of the drivers at work as columns of numbers: where and when each begins and ends.

Most drivers have no stops, so a run is put together only when somebody asks for it.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from server.dispatch.model import Driver
from server.dispatch.names import name_key
from server.dispatch.runs import DriverRun, Floats, Where, on_sphere
from server.dispatch.travel import EARTH_RADIUS_KM

Flags = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]


class OpenRuns:
    """One run a column. Drivers and `wheres` are parallel; `make` puts the run of a column together, from what the
    driver has. No run begins before `at`, in Unix seconds, unless the driver is on the way.
    """

    def __init__(
        self, drivers: Sequence[Driver], wheres: Sequence[Where], at: float, make: Callable[[int], DriverRun]
    ) -> None:
        self.drivers = drivers
        self.column_of = {driver.id: column for column, driver in enumerate(drivers)}
        self.begins: Floats = np.array([where.free_at if where.bound else max(where.free_at, at) for where in wheres])
        self.starts: Floats = np.array([where.place for where in wheres]).reshape(-1, 2)
        self.offs: Floats = np.array([inf if (off := d.shift_ends_at) is None else off.timestamp() for d in drivers])
        self.ends, self.frees = self.starts.copy(), self.begins.copy()
        """Where and when each driver has done all stops."""
        self.with_stops: Flags = np.zeros(len(drivers), dtype=bool)
        self._make = make
        self._runs: list[DriverRun | None] = [None] * len(drivers)
        self._zones: npt.NDArray[np.str_] = np.array([driver.zone for driver in drivers], dtype=np.str_)
        self._spheres: tuple[Indexes, Floats] | None = None
        self._starts = on_sphere(self.starts)
        self._in: dict[tuple[str, ...], Flags] = {}
        self._with: dict[tuple[str, ...], Flags] = {}

    def __len__(self) -> int:
        return len(self.drivers)

    def put_together(self, column: int) -> None:
        """The run of a driver who has stops already."""
        self[column] = self[column]

    def __getitem__(self, column: int) -> DriverRun:
        run = self._runs[column]
        if run is None:
            run = self._runs[column] = self._make(column)
        return run

    def __setitem__(self, column: int, run: DriverRun) -> None:
        self._runs[column] = run
        self.ends[column], self.frees[column] = run.end
        self.with_stops[column] = bool(run.stops)
        self._spheres = None

    def in_zones(self, zones: tuple[str, ...]) -> Flags:
        """Whose driver is of one of these zones."""
        found = self._in.get(zones)
        if found is None:
            found = self._in[zones] = np.isin(self._zones, zones)
        return found

    def with_tags(self, required: tuple[str, ...]) -> Flags:
        """Whose driver has all tags that are required, in any spelling."""
        found = self._with.get(required)
        if found is None:
            names = {name_key(tag) for tag in required}
            has = [names.issubset(map(name_key, driver.tags)) for driver in self.drivers]
            found = self._with[required] = np.array(has, dtype=bool)
        return found

    def of(self, driver_ids: Iterable[str]) -> list[int]:
        """The columns of those of these drivers who have one."""
        return [self.column_of[driver_id] for driver_id in driver_ids if driver_id in self.column_of]

    def within(self, pickups: Floats, radii_km: Floats) -> Flags:
        """Which runs begin or end within its radius of each pickup, in degrees."""
        if self._spheres is None:
            columns = np.flatnonzero(self.with_stops)
            self._spheres = columns, on_sphere(self.ends[columns])
        columns, ends = self._spheres
        places, chords = on_sphere(pickups), 2 * np.sin(radii_km / EARTH_RADIUS_KM / 2)[:, None]
        found: Flags = cdist(places, self._starts) <= chords
        if len(columns):
            found[:, columns] |= cdist(places, ends) <= chords
        return found
