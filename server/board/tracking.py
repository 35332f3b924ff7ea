"""The customers' pages that are open on this node: each is sent its delivery as it changes.

One read every few seconds finds what changed for all of them. While no page is open, nothing is read.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from functools import cache
from typing import Final

import structlog
from jinja2 import Template
from msgspec import Struct
from prometheus_client import Gauge

from server.board.broadcast import PADDING, event
from server.board.templates import environment
from server.contract.tracking import TrackingView, tracking_view
from server.contract.views import NOTHING_EXPECTED
from server.dispatch.model import Delivery
from server.dispatch.travel import haversine_km
from server.dispatcher.forecasts import Forecasts
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.reads.tracking import read_tracked
from server.tasks import wait_until_set
from server.texts.catalogues import DRIVER

LOOK_SECONDS: Final = 3.0
COMMENT_SECONDS: Final = 15.0
STREAMS_PER_DELIVERY: Final = 10
GONE: Final = event("", name="gone")
"""What a page is sent whose delivery is no longer shown."""

PAGES: Final = Gauge("callboard_tracking_pages", "Open streams of customers' tracking pages")

log = structlog.get_logger(__name__)


class Shown(Struct, frozen=True):
    """What a customer sees of a delivery, and how far the driver is in a straight line, if their place is shown."""

    view: TrackingView
    arrival: datetime | None
    minutes: int | None
    km: float | None


class Follower:
    """An open page with a stream. Only the newest state is kept for it."""

    def __init__(self, delivery_id: str, language: str, html: str) -> None:
        self.delivery_id = delivery_id
        self.language = language
        self._html = html
        self._next: bytes | None = None
        self._over = False
        self._something = asyncio.Event()

    def show(self, html: str) -> None:
        """Send this unless the page shows it."""
        if html != self._html:
            self._html = html
            self._next = event(html)
            self._something.set()

    def end(self, last: bytes | None = None) -> None:
        self._next = last
        self._over = True
        self._something.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """What to send, until the end."""
        yield PADDING
        while True:
            heard = await wait_until_set(self._something, COMMENT_SECONDS)
            ready, self._next = self._next, None
            if ready is not None:
                yield ready
            elif not heard:
                yield PADDING
            if self._over:
                return


class Tracker:
    """All open pages of a node, at most `limit`. `run` is to be supervised."""

    def __init__(
        self, *, pool: Pool, clock: DatabaseClock, forecasts: Forecasts, zone_name: Callable[[], str], limit: int
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._forecasts = forecasts
        self._zone_name = zone_name
        self._limit = limit
        self._followers: set[Follower] = set()
        self._joined = asyncio.Event()
        self._open = True

    async def shown(self, delivery_ids: Collection[str]) -> dict[str, Shown]:
        """Those of the deliveries that are shown. Raises DatabaseAway."""
        found = await read_tracked(self._pool, list(delivery_ids))
        under_way = [delivery for delivery, _ in found.values() if delivery.status in ("ASSIGNED", "PICKED_UP")]
        expected = await self._forecasts.expected(under_way) if under_way else {}
        now = self._clock.now()
        views = {}
        for delivery, carrier in found.values():
            expected_at = expected.get(delivery.id, NOTHING_EXPECTED).delivery_at
            view = tracking_view(delivery, carrier, now, expected_at)
            if view is not None:
                views[delivery.id] = _shown(delivery, view, now)
        return views

    def html(self, shown: Shown, language: str) -> str:
        """What changes on the page."""
        return _template(self._zone_name(), language).render(shown=shown, view=shown.view)

    def join(self, delivery_id: str, language: str, shown: Shown) -> Follower | None:
        """A new page, which shows this; None if too many are open, on the node or for the delivery."""
        of_this = sum(follower.delivery_id == delivery_id for follower in self._followers)
        if not self._open or len(self._followers) >= self._limit or of_this >= STREAMS_PER_DELIVERY:
            return None
        follower = Follower(delivery_id, language, self.html(shown, language))
        self._followers.add(follower)
        PAGES.inc()
        self._joined.set()
        return follower

    @property
    def open_pages(self) -> int:
        return len(self._followers)

    def leave(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
            PAGES.dec()

    def close(self) -> None:
        """The node stops: end all streams, now and from now on."""
        self._open = False
        for follower in self._followers:
            follower.end()

    async def run(self) -> None:
        """While pages are open, look what changed."""
        while True:
            await self._joined.wait()
            while self._followers:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    await self._look()
                except DatabaseAway as error:
                    log.warning("tracking_not_read", reason=str(error))
            self._joined.clear()

    async def _look(self) -> None:
        followers = list(self._followers)
        views = await self.shown({follower.delivery_id for follower in followers})
        rendered: dict[tuple[str, str], str] = {}
        for follower in followers:
            shown = views.get(follower.delivery_id)
            if shown is None:
                follower.end(GONE)
                continue
            key = (follower.delivery_id, follower.language)
            if key not in rendered:
                rendered[key] = self.html(shown, follower.language)
            follower.show(rendered[key])


def _shown(delivery: Delivery, view: TrackingView, now: datetime) -> Shown:
    arrival = datetime.fromisoformat(view.estimated_arrival_at) if view.estimated_arrival_at is not None else None
    minutes = max(1, round((arrival - now).total_seconds() / 60)) if arrival is not None else None
    place = view.driver.location if view.driver is not None else None
    to = delivery.dropoff
    km = round(haversine_km(place.lat, place.lon, to.lat, to.lon), 1) if place is not None else None
    return Shown(view, arrival, minutes, km)


@cache
def _template(zone_name: str, language: str) -> Template:
    return environment(zone_name, language, DRIVER).get_template("tracking_now.html")
