"""The drivers of a simulation, registered and alive: started one by one, watched, and sent home together."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from server.driver_client.client import DriverClient, Heard
from server.simulate.access import Access
from server.simulate.api import Api, CallFailed, NewDriver
from server.simulate.driver import SimulatedDriver
from server.simulate.tally import Tally

AT_ONCE: Final = 16
HOME_SECONDS: Final = 5.0


class Crew:
    """All drivers of one simulation against the server at `url`."""

    def __init__(self, url: str, access: Access, api: Api, tally: Tally) -> None:
        self.drivers: list[SimulatedDriver] = []
        self._url = url
        self._access = access
        self._api = api
        self._tally = tally
        self._tasks: set[asyncio.Task[None]] = set()

    async def registered(self, drivers: Iterable[NewDriver], zone: str) -> list[str]:
        """The ids of these drivers, as on the wire; new where the zone has none yet. Raises CallFailed."""
        known = await self._known(zone)
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(driver: NewDriver) -> str:
            if driver["externalRef"] in known:
                return known[driver["externalRef"]]
            async with turn:
                return await self._api.register_driver(**driver, zone=zone)

        return await asyncio.gather(*(one(driver) for driver in drivers))

    async def _known(self, zone: str) -> dict[str, str]:
        async with Api(self._url, self._access.reader) as reader:
            try:
                drivers = await reader.drivers(zone)
            except CallFailed as failed:
                if failed.status == 403:
                    return {}
                raise
        return {d["externalRef"]: d["id"] for d in drivers if d["externalRef"]}

    def client_of(self, driver_id: str) -> Callable[[Heard], DriverClient]:
        return lambda heard: DriverClient(
            self._url, lambda: self._access.driver(self._api, driver_id), heard, http=self._api.http
        )

    def start(self, driver: SimulatedDriver) -> None:
        self.drivers.append(driver)
        task = asyncio.create_task(self._live(driver))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, driver: SimulatedDriver) -> None:
        try:
            await driver.live()
        except* Exception as errors:
            self._tally.counts["drivers_failed"] += 1
            self._tally.failures.append("; ".join(map(repr, errors.exceptions)))

    @property
    def connected(self) -> int:
        return sum(driver.client.connected.is_set() for driver in self.drivers)

    @property
    def busy(self) -> int:
        """How many have a delivery in hand."""
        return sum(driver.busy for driver in self.drivers)

    @property
    def gaps(self) -> int:
        """Numbers missing or doubled in the drivers' streams: by the contract, none."""
        return sum(driver.client.mirror.gaps for driver in self.drivers)

    async def send_home(self) -> None:
        """End everybody's shift; who is still at work after a few seconds just vanishes."""
        for driver in self.drivers:
            driver.end_shift_now()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=HOME_SECONDS)
        await self.vanish()

    async def vanish(self) -> None:
        """Close all sockets, as after a power cut."""
        for task in list(self._tasks):
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(HOME_SECONDS):
                await asyncio.gather(*self._tasks, return_exceptions=True)
