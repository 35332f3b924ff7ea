"""One webhook for all events, on a receiver that answers at once: beside orders, and with a line grown long."""

import asyncio
import re
from time import perf_counter
from typing import Any, Final, cast

import asyncpg
import msgspec

from tests.bench.figures import Result, short
from tests.bench.fleet import Driver, Shop, drivers, off_the_road, on_the_road
from tests.bench.orders import Load
from tests.bench.stand import Failed, Servers, Stand, stand

DRIVERS, IN_FLIGHT = 200, 32
LONG, SHORT = 1_000_000, 100
WANTED_PER_SECOND: Final = 1_000
ROUNDS: Final = 20
"""How often the short line is filled again."""
OF_A_DELIVERY: Final = 6
FILL_SECONDS: Final = 240.0
DRAIN_SECONDS: Final = 60.0

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID: Final = re.compile(rb"\r\nwebhook-id: *([0-9a-f-]+)", re.IGNORECASE)
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"

# As the write path leaves them: the messages of deliveries that run side by side, a thousand a second until now.
FILL: Final = f"""
INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, created_at, next_attempt_at, retry_until)
SELECT uuidv7(), $1::text::uuid, md5('delivery ' || n % ($2::int / {OF_A_DELIVERY} + 1))::uuid::text,
       'delivery.assigned', '{{"type":"delivery.assigned","data":{{"n":' || n || ',"padding":"' || repeat('x', 1000)
       || '"}}}}', now(), now() - ($2::int - n) * interval '1 ms', now() + interval '1 day'
FROM generate_series(1, $2::int) AS n"""


class Receiver:
    """Counts what it takes; connections stay open."""

    def __init__(self) -> None:
        self.taken = 0
        self.connections = 0
        self.ids: set[bytes] = set()
        self.port = 0
        self._wanted = 0
        self._enough = asyncio.Event()
        self.open: set[asyncio.Transport] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and close the connections."""
        self._server.close()
        for connection in list(self.open):
            connection.abort()

    def take(self) -> None:
        """One more."""
        self.taken += 1
        if self.taken == self._wanted:
            self._enough.set()

    async def until(self, wanted: int) -> None:
        """Until so many were taken."""
        self._wanted = wanted
        if self.taken < wanted:
            self._enough.clear()
            await self._enough.wait()

    def forget(self) -> None:
        """Begin to count anew."""
        self.taken = self.connections = 0
        self.ids.clear()


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._receiver.connections += 1
        self._receiver.open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, end + 2)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(data) < whole:
                break
            message = _ID.search(data, 0, end + 2)
            if message is not None:
                self._receiver.ids.add(message[1])
            self._receiver.take()
            self._transport.write(_ANSWER)
            data = data[whole:]
        self._rest = data


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark."""
    seconds, warm_up = (3.0, 2.0) if quick else (15.0, 15.0)
    long = LONG // 100 if quick else LONG
    result = Result(
        "webhooks",
        "One webhook for all events, its receiver answers at once",
        {"drivers": DRIVERS, "inFlight": IN_FLIGHT, "seconds": seconds, "afterSeconds": warm_up, "longLine": long},
    )
    receiver = Receiver()
    await receiver.start()
    async with stand(servers, WEBHOOKS_ALLOW_PRIVATE="true") as server:
        fleet = await drivers(server, DRIVERS)
        await on_the_road(server, fleet)
        for name, in_flight in (("atRest", 1), ("loaded", IN_FLIGHT)):
            await _orders(result, f"{name}Without", server, fleet, in_flight, receiver, seconds, 3.0)
        await _webhook(server, receiver)
        await _orders(result, "atRestWith", server, fleet, 1, receiver, seconds, 3.0)
        await _orders(result, "loadedWith", server, fleet, IN_FLIGHT, receiver, seconds, warm_up)
        off_the_road(fleet)
    for name, length in (("shortLine", SHORT), ("longLine", long)):
        async with stand(servers, WEBHOOKS_ALLOW_PRIVATE="true") as server:
            await _line(result, name, server, receiver, length, seconds)
    await receiver.stop()
    _tell(result, long)
    return result


async def _webhook(server: Stand, receiver: Receiver, **more: Any) -> str:
    body = msgspec.json.encode({"url": f"http://127.0.0.1:{receiver.port}/hooks", **more})
    webhook: str = msgspec.json.decode(await server.ask("POST", "/admin/webhooks", server.admin, body))["id"]
    return webhook


async def _orders(
    result: Result,
    name: str,
    server: Stand,
    fleet: list[Driver],
    in_flight: int,
    receiver: Receiver,
    seconds: float,
    warm_up: float,
) -> None:
    load = Load(server, fleet, Shop(server))
    await load.start(in_flight)
    await asyncio.sleep(warm_up)
    load.forget()
    receiver.forget()
    connection = await asyncpg.connect(server.database_url)
    waited = await _open(connection)
    begin = server.meter.sample()
    load.measuring = True
    await asyncio.sleep(seconds)
    load.measuring = False
    window = server.meter.window(begin)
    taken, twice, connections = receiver.taken, receiver.taken - len(receiver.ids), receiver.connections
    waits = await _open(connection)
    await load.stop()
    await connection.close()
    cycles = len(load.wholes)
    result.windows[name] = window
    result.errors.update(load.errors)
    if twice:
        result.errors["messages sent twice"] += twice
    result.figures[name] = {
        "cyclesPerSecond": round(cycles / window.seconds, 1),
        "ms": load.latencies(),
        "cpuUsPerCycle": window.us_per(cycles),
        "messagesPerSecond": round(taken / window.seconds, 1),
        "connectionsMade": connections,
        "lineBefore": waited,
        "lineAfter": waits,
    }


async def _open(connection: Any) -> int:
    found: int = await connection.fetchval(
        "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND parked_at IS NULL"
    )
    return found


async def _line(result: Result, name: str, server: Stand, receiver: Receiver, length: int, seconds: float) -> None:
    """A line of this length, and nothing else to do. A short one is filled again whenever it is empty."""
    webhook = await _webhook(server, receiver)
    connection = await asyncpg.connect(server.database_url)
    receiver.forget()
    begin = server.meter.sample()
    if length <= SHORT:
        filling = database = 0.0
        for _ in range(ROUNDS):
            wanted = receiver.taken + length
            before = perf_counter(), server.meter.sample()
            await connection.execute(FILL, webhook, length)
            await server.ask("PATCH", f"/admin/webhooks/{webhook}", server.admin, b'{"active":true}')
            filling += perf_counter() - before[0]
            database += server.meter.window(before[1]).database
            async with asyncio.timeout(DRAIN_SECONDS):
                await receiver.until(wanted)
        window = server.meter.window(begin)
        took, database = window.seconds - filling, window.database - database
    else:
        await server.ask("PATCH", f"/admin/webhooks/{webhook}", server.admin, b'{"active":false}')
        await connection.execute(FILL, webhook, length, timeout=FILL_SECONDS)
        await connection.execute("CHECKPOINT", timeout=FILL_SECONDS)
        await server.ask("PATCH", f"/admin/webhooks/{webhook}", server.admin, b'{"active":true}')
        await asyncio.sleep(1.0)
        receiver.forget()
        begin = server.meter.sample()
        await asyncio.sleep(seconds)
        window = server.meter.window(begin)
        took, database = window.seconds, window.database
        if receiver.taken >= length:
            raise Failed(f"the line of {length:,} was done before the time was")
    taken = receiver.taken
    await connection.close()
    if taken > len(receiver.ids):
        result.errors["messages sent twice"] += taken - len(receiver.ids)
    result.windows[name] = window
    result.figures[name] = {
        "line": length,
        "messagesPerSecond": round(taken / took, 1),
        "cpuUsPerMessage": {
            "server": round(1e6 * window.server / taken, 1) if taken else None,
            "database": round(1e6 * database / taken, 1) if taken else None,
            "load": round(1e6 * window.load / taken, 1) if taken else None,
        },
        "connectionsMade": receiver.connections,
    }


def _tell(result: Result, long: int) -> None:
    figures = result.figures
    loaded, without = figures["loadedWith"], figures["loadedWithout"]
    grew = (loaded["lineAfter"] - loaded["lineBefore"]) / result.windows["loadedWith"].seconds
    result.line(
        f"messages a second beside {IN_FLIGHT} orders in flight",
        f"{short(loaded['messagesPerSecond'])}, the line grew by {short(grew)} a second",
        f"> {WANTED_PER_SECOND:,}",
        loaded["messagesPerSecond"] > WANTED_PER_SECOND,
        limit=f"{short(loaded['cyclesPerSecond'])} cycles/s; without a webhook {short(without['cyclesPerSecond'])}",
        window="loadedWith",
    )
    rest, rest_without = figures["atRestWith"], figures["atRestWithout"]
    result.line(
        "cycles a second, one order right after another",
        short(rest["cyclesPerSecond"]),
        limit=f"without a webhook {short(rest_without['cyclesPerSecond'])}",
        window="atRestWith",
    )
    few, many = figures["shortLine"], figures["longLine"]
    result.line(
        f"messages a second, a line of {SHORT}, over and over",
        f"{short(few['messagesPerSecond'])}; CPU us a message {_cpu(few)}",
        f"> {WANTED_PER_SECOND:,}",
        few["messagesPerSecond"] > WANTED_PER_SECOND,
        window="shortLine",
    )
    result.line(
        f"the same, a line of {long:,}",
        f"{short(many['messagesPerSecond'])}; CPU us a message {_cpu(many)}",
        "as fast",
        many["messagesPerSecond"] > 0.9 * few["messagesPerSecond"],
        window="longLine",
    )


def _cpu(figures: dict[str, Any]) -> str:
    used = figures["cpuUsPerMessage"]
    return f"server {short(used['server'])}, database {short(used['database'])}"
