"""Whole simulations: the city for as long as it is wanted, and the window of a real day."""

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from msgspec import Struct

from server.simulate import day as d
from server.simulate.access import Access
from server.simulate.api import Api, NewDriver
from server.simulate.city import (
    DEMO_HABITS,
    DEMO_SHOPS,
    DRIVERS_IN,
    OPENING_SECONDS,
    ORIGIN,
    City,
    CityZone,
    driver,
    pace,
    rate_factor,
    zone_at,
)
from server.simulate.crew import Crew
from server.simulate.driver import SimulatedDriver
from server.simulate.habits import Habits, Pace, ShopHabits
from server.simulate.orders import OrderDesk
from server.simulate.places import Place, Plane
from server.simulate.summary import progress
from server.simulate.tally import Tally

DAY_PROGRESS_SECONDS: Final = 30.0
"""How often the replay of a day says how far it is."""
CONNECT_SPREAD_SECONDS: Final = 3.0
CONNECTS_PER_SECOND: Final = 200.0
PATIENCE_SECONDS: Final = 3.0


Say = Callable[[str], None]


class Load(Struct, frozen=True):
    """A city to simulate. `minutes` None: until it is stopped. With `zones` the city has these instead of `zone`, and
    the way to the server must make tokens.
    """

    drivers: int
    orders_per_minute: float
    speed: float = 1.0
    minutes: float | None = None
    zone: str = "default"
    zones: tuple[str, ...] = ()


class Window(Struct, frozen=True):
    """A piece of a real day to replay: `start` and `seconds` in seconds of that day.

    Drivers are looked for `ahead` seconds before an order is ready; None: when it is placed.
    """

    day: d.Day
    start: float
    seconds: float
    ahead: float | None = None
    origin: Place = ORIGIN


class Stage(Struct, frozen=True):
    """What every simulation needs: the two ways to the server, and its numbers."""

    api: Api
    crew: Crew
    desk: OrderDesk
    tally: Tally


@asynccontextmanager
async def _stage(url: str, access: Access, zone: str, shops: ShopHabits, *, tidy: bool) -> AsyncIterator[Stage]:
    """Set up, and take down whatever happens; `tidy` leaves nothing behind that would wait for a driver."""
    tally = Tally()
    async with Api(url, access.service) as api:
        desk = OrderDesk(api, tally, "simulation", zone, shops)
        stage = Stage(api, Crew(url, access, api, tally), desk, tally)
        try:
            yield stage
        finally:
            await stage.desk.close(patience_seconds=PATIENCE_SECONDS if tidy else 0)
            if tidy:
                await stage.crew.send_home()
                await stage.desk.cancel_open()
            else:
                await stage.crew.vanish()


async def run_city(
    url: str, access: Access, load: Load, say: Say, on_set_up: Callable[[], None], *, every: float = 10.0, tidy: bool
) -> Tally:
    """Register the drivers, let them connect, and place orders until the time is up. Raises CallFailed."""
    async with _stage(url, access, load.zone, DEMO_SHOPS, tidy=tidy) as stage:
        city = City(load.drivers, load.orders_per_minute)
        zones = city.zones(load.zones)
        await _describe(url, access, zones)
        crew = await _registered(stage, load, zones)
        on_set_up()
        working = [
            asyncio.create_task(_connect_all(stage, city, crew, load.speed)),
            asyncio.create_task(_order_on_and_on(stage, city, load, zones)),
            asyncio.create_task(_progress(stage, say, every)),
        ]
        await _until_over(working, load.minutes)
        return _result(stage)


def home_zone(load: Load) -> str:
    """The zone in the middle of the city."""
    return zone_at(City(load.drivers, load.orders_per_minute).zones(load.zones), ORIGIN) or load.zone


async def _describe(url: str, access: Access, zones: Sequence[CityZone]) -> None:
    if zones:
        async with Api(url, access.admin) as api:
            for zone in zones:
                about = {"name": zone.name, "shape": zone.shape(), "helpedBy": zone.helped_by}
                await api.call("PUT", f"/admin/zones/{quote(zone.name)}", about)


async def _registered(stage: Stage, load: Load, zones: Sequence[CityZone]) -> list[tuple[str, CityZone | None]]:
    everybody = [driver(n) for n in range(load.drivers)]
    if not zones:
        return [(driver_id, None) for driver_id in await stage.crew.registered(everybody, load.zone)]
    crew: list[tuple[str, CityZone | None]] = []
    for index, zone in enumerate(zones):
        theirs = [one for n, one in enumerate(everybody) if DRIVERS_IN[n % len(DRIVERS_IN)] == index]
        crew += [(driver_id, zone) for driver_id in await stage.crew.registered(theirs, zone.name)]
    return crew


async def _until_over(working: list[asyncio.Task[None]], minutes: float | None) -> None:
    """Until the time is up or one of them fails; its error is raised."""
    try:
        done, _ = await asyncio.wait(
            working,
            timeout=None if minutes is None else minutes * 60,
            return_when=asyncio.FIRST_EXCEPTION,
        )
        for task in done:
            task.result()
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def _connect_all(stage: Stage, city: City, crew: list[tuple[str, CityZone | None]], speed: float) -> None:
    """Not all in the same instant: over a few seconds, or as long as that many handshakes take."""
    pause = max(CONNECT_SPREAD_SECONDS / len(crew), 1 / CONNECTS_PER_SECOND)
    for driver_id, zone in crew:
        client = stage.crew.client_of(driver_id)
        start = city.anywhere() if zone is None else city.hot_spot(zone)
        hang_out = partial(city.hot_spot, zone)
        stage.crew.start(SimulatedDriver(client, stage.tally, start, pace(speed), DEMO_HABITS, hang_out=hang_out))
        await asyncio.sleep(pause)


async def _order_on_and_on(stage: Stage, city: City, load: Load, zones: Sequence[CityZone]) -> None:
    """Orders come at random, at the evening's rate."""
    if not load.orders_per_minute:
        await asyncio.Event().wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    due = began
    while True:
        evening = (loop.time() - began) * load.speed + OPENING_SECONDS
        per_second = load.orders_per_minute / 60 * load.speed * rate_factor(evening)
        due += random.expovariate(per_second)
        await asyncio.sleep(max(0.0, due - loop.time()))
        wish = city.wish()
        minutes = wish.promised_in_minutes
        stage.desk.place(
            wish.store_name,
            wish.pickup,
            wish.dropoff,
            wish.prep_seconds / load.speed,
            promised_in=minutes * 60 / load.speed if minutes is not None else None,
            contacts=wish.contacts,
            **wish.more | ({"zone": zone_at(zones, wish.pickup)} if zones else {}),
        )


async def run_day(url: str, access: Access, window: Window, say: Say) -> Tally:
    """Replay the window in real time, couriers on and off shift at their times. Raises CallFailed."""
    day = window.day.window(window.start, window.seconds)
    plane = Plane(window.origin)
    zone = f"day-{uuid4().hex[:8]}"
    ride = Pace(day.metres_per_second, day.pickup_seconds, day.dropoff_seconds)
    async with _stage(url, access, zone, ShopHabits(), tidy=True) as stage:
        couriers: list[NewDriver] = [
            {"name": f"Courier {c.name}", "externalRef": f"{zone}-{c.name}"} for c in day.couriers
        ]
        ids = await stage.crew.registered(couriers, zone)
        say(f"{len(day.orders)} orders and {len(day.couriers)} couriers in zone {zone}")
        began = asyncio.get_running_loop().time() - window.start
        working = [asyncio.create_task(_progress(stage, say, DAY_PROGRESS_SECONDS))]
        for courier, driver_id in zip(day.couriers, ids, strict=True):
            driver = SimulatedDriver(
                stage.crew.client_of(driver_id), stage.tally, plane.place(*courier.start), ride, Habits()
            )
            working.append(asyncio.create_task(_shift(stage, driver, began + courier.on, began + courier.off)))
        working.append(asyncio.create_task(_replay_orders(stage, day, plane, began, window.ahead)))
        await _until_over(working, window.seconds / 60)
        return _result(stage)


async def _shift(stage: Stage, driver: SimulatedDriver, on: float, off: float) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(random.uniform(0, CONNECT_SPREAD_SECONDS), on - loop.time()))
    stage.crew.start(driver)
    await asyncio.sleep(max(0.0, off - loop.time()))
    driver.go_home()


async def _replay_orders(stage: Stage, day: d.Day, plane: Plane, began: float, ahead: float | None) -> None:
    loop = asyncio.get_running_loop()
    for order in day.orders:
        await asyncio.sleep(max(0.0, began + order.placed - loop.time()))
        stage.desk.place(
            f"Restaurant {order.restaurant}",
            plane.place(*order.pickup),
            plane.place(*order.dropoff),
            order.ready - order.placed,
            dispatch_in=0.0 if ahead is None else order.ready - order.placed - ahead,
            notes=f"order {order.name} of {day.name}",
        )


def _result(stage: Stage) -> Tally:
    """The numbers as they are now: what clearing up does afterwards is no part of them."""
    tally = copy.deepcopy(stage.tally)
    tally.counts["stream_gaps"] = stage.crew.gaps
    return tally


async def _progress(stage: Stage, say: Say, every: float) -> None:
    began = asyncio.get_running_loop().time()
    printed = 0
    while True:
        await asyncio.sleep(every)
        minutes, seconds = divmod(round(asyncio.get_running_loop().time() - began), 60)
        drivers = f"{stage.crew.connected} connected, {stage.crew.busy} busy"
        say(f"{minutes:3}:{seconds:02} {progress(stage.tally)} · {drivers}")
        for failure in stage.tally.failures[printed : printed + 3]:
            say(f"       {failure}")
        printed = len(stage.tally.failures)
