"""What the transport costs: frames and requests against the bare echo (echo.py)."""

import asyncio
from time import perf_counter
from typing import Any, Final

from tests.bench.figures import spread
from tests.bench.machine import resident_bytes
from tests.bench.stand import Servers, echo
from tests.bench.wire import Http, WebSocket, connect, connect_http, request, to_json

FRAME: Final = b'{"type":"location","lat":19.430000,"lon":-99.130000}'
LONGER: Final = b'{"type":"echo","text":"%b"}' % (b"x" * 400)
"""About as long as the offers and assignments of a cycle."""


async def echoes(servers: Servers, sockets: int, in_flight: int, seconds: float) -> dict[str, Any]:
    """Frames sent and awaited back, so many at a time; then requests likewise."""
    async with echo(servers) as stand:
        took: list[float] = []
        sent_at: list[float] = [0.0] * sockets
        running = True

        def answered(index: int) -> None:
            took.append(perf_counter() - sent_at[index])
            if running:
                following = (index + in_flight) % sockets
                sent_at[following] = perf_counter()
                opened[following].send(LONGER)

        opened = await _open(stand.port, "/echo", sockets, answered)
        for index in range(in_flight):
            sent_at[index] = perf_counter()
            opened[index].send(LONGER)
        await asyncio.sleep(min(1.0, seconds / 2))
        took.clear()
        begin = stand.meter.sample()
        await asyncio.sleep(seconds)
        window = stand.meter.window(begin)
        running = False
        frames = {
            "perSecond": round(len(took) / window.seconds),
            "serverCpuUs": window.us_per(len(took))["server"],
            "ms": spread(took),
        }
        for socket in opened:
            socket.abort()
        return {"echo": frames, "post": await _posts(stand.port, stand, in_flight, seconds)}


async def _posts(port: int, stand: Any, in_flight: int, seconds: float) -> dict[str, Any]:
    body = to_json({"sellerOrderId": "order 1", "storeName": "order 1", "filler": "x" * 150})
    post = request("POST", "/deliveries", stand.service, body)
    took: list[float] = []
    running = True

    async def one_after_another() -> None:
        http: Http = await connect_http(port)
        while running:
            started = perf_counter()
            await http.ask(post)
            took.append(perf_counter() - started)
        http.close()

    workers = [asyncio.create_task(one_after_another()) for _ in range(in_flight)]
    await asyncio.sleep(min(1.0, seconds / 2))
    took.clear()
    begin = stand.meter.sample()
    await asyncio.sleep(seconds)
    window = stand.meter.window(begin)
    found = {
        "perSecond": round(len(took) / window.seconds),
        "serverCpuUs": window.us_per(len(took))["server"],
        "ms": spread(took),
    }
    running = False
    await asyncio.gather(*workers)
    return found


async def steady(servers: Servers, sockets: int, per_second: float, seconds: float, path: str) -> dict[str, Any]:
    """Frames at a steady rate, over all sockets in turn: server CPU each."""
    async with echo(servers) as stand:
        opened = await _open(stand.port, path, sockets, lambda _: None)
        pace = Pace(per_second, lambda number: opened[number % sockets].send(FRAME))
        await asyncio.sleep(1.0)
        begin, before = stand.meter.sample(), pace.sent
        await asyncio.sleep(seconds)
        window, sent = stand.meter.window(begin), pace.sent - before
        pace.stop()
        for socket in opened:
            socket.abort()
    return {"perSecond": round(sent / window.seconds), "serverCpuUs": window.us_per(sent)["server"]}


async def idle(servers: Servers, sockets: int) -> dict[str, Any]:
    """What an open socket weighs."""
    async with echo(servers) as stand:
        few = await _open(stand.port, "/sink", 50, lambda _: None)
        before = resident_bytes(stand.pid)
        opened = await _open(stand.port, "/sink", sockets, lambda _: None)
        await asyncio.sleep(1.0)
        weighs = (resident_bytes(stand.pid) - before) / sockets
        for socket in (*few, *opened):
            socket.abort()
    return {"sockets": sockets, "bytesPerSocket": round(weighs)}


async def _open(port: int, path: str, number: int, heard: Any) -> list[WebSocket]:
    opened = []
    for start in range(0, number, 64):
        indexes = range(start, min(number, start + 64))
        opened += await asyncio.gather(*(connect(port, path, {}, _tell(heard, index)) for index in indexes))
    return opened


def _tell(heard: Any, index: int) -> Any:
    return lambda _: heard(index)


class Pace:
    """Calls `send` with 0, 1, 2… so many times a second, from now on; what is late is caught up with at once."""

    def __init__(self, per_second: float, send: Any) -> None:
        self.sent = 0
        self._send = send
        self._per_second = per_second
        self._loop = asyncio.get_running_loop()
        self._began = perf_counter()
        self._timer = self._loop.call_later(0.005, self._tick)

    def _tick(self) -> None:
        due = int((perf_counter() - self._began) * self._per_second)
        while self.sent < due:
            self._send(self.sent)
            self.sent += 1
        self._timer = self._loop.call_later(0.005, self._tick)

    def stop(self) -> None:
        """No more."""
        self._timer.cancel()
