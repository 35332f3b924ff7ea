"""Orders kept in flight: each is posted, offered on some socket, accepted, completed, and followed by the next."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from time import perf_counter

import msgspec

from server.driver_client import messages as m
from tests.bench.figures import spread
from tests.bench.fleet import Driver, Shop
from tests.bench.stand import Stand
from tests.bench.wire import Http, connect_http

STUCK_SECONDS = 15.0


class Slot:
    """One order after another, never two at a time."""

    def __init__(self, load: "Load", http: Http) -> None:
        self.http = http
        self.under_way = False
        self.began = 0.0
        self._load = load
        self._name = ""
        self._posted = self._done = False
        self._driver: Driver | None = None
        self._offered = self._accepted = 0.0

    def start(self) -> None:
        """Post the next order."""
        self.under_way = True
        self._posted = self._done = False
        self._driver = None
        self._name, request = self._load.shop.order()
        self._load.by_name[self._name] = self
        self.began = perf_counter()
        self.http.request(request, self._answered)

    def _answered(self, status: int, body: bytes) -> None:
        if not self.under_way:
            return
        if status != 201:
            self.give_up(f"POST /deliveries: {status} {_code(body)}")
            return
        self._posted = True
        if self._done:
            self._finish()

    def offer(self, driver: Driver, offer_id: str, now: float) -> None:
        """The offer is there: accept it."""
        self._driver = driver
        self._offered = now
        driver.send(b'{"type":"accept","id":"a%b","offerId":"%b"}' % (self._name.encode(), offer_id.encode()))

    def ack(self, message: m.Ack, now: float) -> None:
        """Accepted: complete it. Completed: the next."""
        assert self._driver is not None
        if message.id[0] == "a":
            assert message.result is not None
            assert message.result.assignment is not None
            self._accepted = now
            name, assignment_id = self._name.encode(), message.result.assignment.id.encode()
            self._driver.send(b'{"type":"completed","id":"c%b","assignmentId":"%b"}' % (name, assignment_id))
            return
        self._load.finished(self.began, self._offered, self._accepted, now)
        self._done = True
        if self._posted:
            self._finish()

    def _finish(self) -> None:
        self._load.by_name.pop(self._name, None)
        self.under_way = False
        self._load.next(self)

    def stuck(self) -> str:
        """Why it leads nowhere, as far as is known here."""
        socket = self._driver.socket if self._driver is not None else None
        closed = (
            f": its driver's socket was closed, {socket.close_code}" if socket is not None and socket.closed else ""
        )
        return f"an order was stuck{closed}"

    def give_up(self, why: str) -> None:
        """This order leads nowhere."""
        self._load.errors[why] += 1
        self._posted = self._done = True
        self._finish()


def _code(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body).get("code", ""))
    except (msgspec.DecodeError, AttributeError):
        return ""


class Load:
    """So many orders in flight among these drivers; what they took while `measuring`.

    `pause` is how long a slot rests between two orders.
    """

    def __init__(self, stand: Stand, fleet: Iterable[Driver], shop: Shop, *, pause: float = 0.0) -> None:
        self.shop = shop
        self.by_name: dict[str, Slot] = {}
        self.errors: Counter[str] = Counter()
        self.measuring = False
        self.offers: list[float] = []
        self.accepts: list[float] = []
        self.completes: list[float] = []
        self.wholes: list[float] = []
        self._stand = stand
        self._pause = pause
        self._running = False
        self._slots: list[Slot] = []
        self._freed = asyncio.Event()
        for driver in fleet:
            driver.on = self.hear

    async def start(self, in_flight: int) -> None:
        """Begin. A slot that is stuck is counted as an error and begins anew."""
        self._slots = [Slot(self, await connect_http(self._stand.port)) for _ in range(in_flight)]
        self._running = True
        for slot in self._slots:
            slot.start()
        self._watch = asyncio.create_task(self._watch_over())

    async def stop(self) -> None:
        """Let what is in flight finish."""
        self._running = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK_SECONDS):
                while any(slot.under_way for slot in self._slots):
                    self._freed.clear()
                    await self._freed.wait()
        self._watch.cancel()
        for slot in self._slots:
            slot.http.close()

    async def _watch_over(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for slot in self._slots:
                if slot.under_way and perf_counter() - slot.began > STUCK_SECONDS:
                    slot.give_up(slot.stuck())

    def next(self, slot: Slot) -> None:
        """This slot is free."""
        self._freed.set()
        if not self._running:
            return
        if self._pause:
            asyncio.get_running_loop().call_later(self._pause, self._again, slot)
        else:
            slot.start()

    def _again(self, slot: Slot) -> None:
        if self._running and not slot.under_way:
            slot.start()

    def hear(self, driver: Driver, message: m.ToDriver, now: float) -> None:
        """The messages that a driver gets."""
        if type(message) is m.OfferMade:
            slot = self.by_name.get(message.offer.payload.pickup_store_name)
            if slot is None:
                self.errors["an offer for an order given up"] += 1
            else:
                slot.offer(driver, message.offer.id, now)
        elif type(message) is m.Ack:
            slot = self.by_name.get(message.id[1:])
            if slot is not None:
                slot.ack(message, now)
        elif type(message) is m.Error:
            slot = self.by_name.get(message.id[1:])
            if slot is not None:
                slot.give_up(message.code)
            else:
                self.errors[message.code] += 1

    def finished(self, began: float, offered: float, accepted: float, now: float) -> None:
        """An order went all the way."""
        if self.measuring:
            self.offers.append(offered - began)
            self.accepts.append(accepted - offered)
            self.completes.append(now - accepted)
            self.wholes.append(now - began)

    def forget(self) -> None:
        """Begin to count anew."""
        self.errors.clear()
        for values in (self.offers, self.accepts, self.completes, self.wholes):
            values.clear()

    def latencies(self) -> dict[str, dict[str, float | int]]:
        """In milliseconds."""
        return {
            "postToOffer": spread(self.offers),
            "acceptToAck": spread(self.accepts),
            "completedToAck": spread(self.completes),
            "wholeCycle": spread(self.wholes),
        }
