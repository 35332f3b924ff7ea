"""`hello`: the first message on a socket and the response to `GET …/state`; it brings an app up to date."""

from server.contract import messages as m
from server.contract.views import driver_view, instant
from server.sockets.pings import PING_SECONDS
from server.store.reads.snapshot import Snapshot


def hello(session_id: str, snapshot: Snapshot) -> m.Hello:
    """The snapshot as the contract's first message."""
    return m.Hello(
        session=session_id,
        server_time=instant(snapshot.at),
        heartbeat_seconds=round(PING_SECONDS),
        seq=snapshot.seq,
        driver=driver_view(snapshot.driver),
        offers=snapshot.offers,
        assignments=snapshot.assignments,
        run=snapshot.run,
        messages=snapshot.messages,
        missed=snapshot.missed,
        resync=snapshot.resync,
    )
