"""The promise of the drivers' streams: numbered without gap or repeat, the same to the app as in the database."""

from collections import defaultdict
from math import inf
from typing import Any, Final

import msgspec

from server.dispatch.model import Driver
from tests.torture.evidence import Evidence
from tests.torture.history import Closed, Entry, Heard, Opened
from tests.torture.promises.verdict import Verdict

MISSED_AT_MOST: Final = 100
WHILE_ACTIVE: Final = frozenset({"notes", "driverPayCents", "tipCents", "currency", "proofRequired"})
CONTACTS: Final = frozenset({"name", "phone", "notes"})
STREAMED: Final = frozenset({"offer", "offer_closed", "assignment", "run", "availability", "message"})


def streams(evidence: Evidence) -> Verdict:
    """Every socket, from its `hello` on; every message beside its row; every snapshot beside the rows until then."""
    verdict = Verdict("a driver gets every message once and in order")
    database = evidence.database
    stored: dict[str, list[dict[str, Any]]] = {}
    for driver in database.drivers.values():
        rows = database.messages.get(driver.id, [])
        numbers = [seq for seq, _ in rows]
        verdict.must(
            numbers == list(range(1, driver.stream_seq + 1)),
            f"driver {driver.id}: rows of the stream {_brief(numbers)}, last number {driver.stream_seq}",
        )
        stored[driver.id] = [msgspec.json.decode(body) for _, body in rows]
        for seq, message in zip(numbers, stored[driver.id], strict=True):
            verdict.must(message.get("seq") == seq, f"driver {driver.id}: row {seq} says {message.get('seq')}")
    for actor, entries in evidence.entries.items():
        if any(isinstance(entry, Opened) for entry in entries):
            _sockets(verdict, database.drivers, stored, actor, entries)
    if evidence.rest is not None:
        for driver_id, last in evidence.rest.last_seqs.items():
            verdict.must(
                evidence.rest.open_sessions.get(driver_id) is None or last == database.drivers[driver_id].stream_seq,
                f"driver {driver_id} is connected and quiet, has heard {last}, and there is more",
            )
    return verdict


def _sockets(
    verdict: Verdict,
    drivers: dict[str, Driver],
    stored: dict[str, list[dict[str, Any]]],
    actor: str,
    entries: list[Entry],
) -> None:
    asked: dict[int, int | None] = {}
    heard: dict[int, list[dict[str, Any]]] = defaultdict(list)
    over: set[int] = set()
    for entry in entries:
        match entry:
            case Opened():
                asked[entry.socket] = entry.last_seq
            case Heard() if entry.socket not in over:
                heard[entry.socket].append(entry.message)
            case Closed():
                over.add(entry.socket)
            case _:
                pass
    for socket, messages in heard.items():
        where = f"{actor} socket {socket}"
        first = messages[0]
        verdict.must(first.get("type") == "hello", f"{where}: {first.get('type')} before hello")
        if first.get("type") != "hello":
            continue
        driver_id = first["driver"]["id"]
        verdict.must(driver_id in drivers, f"{where}: hello to {driver_id}, who is not there")
        rows = stored.get(driver_id, [])
        ended = ends(rows)
        _hello(verdict, where, first, asked.get(socket), rows, ended)
        last = first["seq"]
        for message in messages[1:]:
            verdict.must(message.get("type") != "hello", f"{where}: hello again")
            if message.get("type") in STREAMED:
                verdict.must(message["seq"] == last + 1, f"{where}: {message['seq']} after {last}")
                last = message["seq"]
                _same(verdict, where, message, _said_of(message, rows, ended))


def _hello(
    verdict: Verdict,
    where: str,
    hello: dict[str, Any],
    last_seq: int | None,
    rows: list[dict[str, Any]],
    ended: dict[str, int],
) -> None:
    seq, missed = hello["seq"], hello["missed"]
    numbers = [message.get("seq") for message in missed]
    if last_seq is None:
        verdict.must(not missed and not hello["resync"], f"{where}: asked for nothing and got {_brief(numbers)}")
    elif last_seq > seq or seq - last_seq > MISSED_AT_MOST:
        verdict.must(not missed and hello["resync"], f"{where}: no resync although {last_seq} is no base for {seq}")
    else:
        verdict.must(
            numbers == list(range(last_seq + 1, seq + 1)) and not hello["resync"],
            f"{where}: missed {_brief(numbers)} between {last_seq} and {seq}",
        )
    for message in missed:
        _same(verdict, where, message, _said_of(message, rows, ended, seq)[-1:])
    verdict.must(seq <= len(rows), f"{where}: hello.seq {seq} of {len(rows)} rows")
    offers, assignments, run, availability = _folded(rows[:seq])
    verdict.must(
        {offer["id"] for offer in hello["offers"]} == offers,
        f"{where}: hello at {seq} shows other open offers than the messages until then",
    )
    verdict.must(
        {a["id"]: (a["status"], a["pickedUpAt"], a["version"]) for a in hello["assignments"]} == assignments,
        f"{where}: hello at {seq} shows other assignments than the messages until then",
    )
    verdict.must((hello["run"] or []) == run, f"{where}: hello at {seq} shows another run than the messages until then")
    verdict.must(
        hello["driver"]["availability"] == availability,
        f"{where}: hello at {seq} says {hello['driver']['availability']}, the messages until then {availability}",
    )


def _folded(rows: list[dict[str, Any]]) -> tuple[set[str], dict[str, tuple[Any, ...]], list[Any], str]:
    """Open offers, active assignments, the run and the availability after these messages."""
    offers: set[str] = set()
    assignments: dict[str, tuple[Any, ...]] = {}
    run: list[Any] = []
    availability = "offline"
    for row in rows:
        match row["type"]:
            case "offer":
                offers.add(row["offer"]["id"])
            case "offer_closed":
                offers.discard(row["offerId"])
            case "run":
                run = row["stops"]
            case "availability":
                availability = row["availability"]
            case "assignment":
                shown = row["assignment"]
                if shown["status"] == "ACTIVE":
                    assignments[shown["id"]] = (shown["status"], shown["pickedUpAt"], shown["version"])
                else:
                    assignments.pop(shown["id"], None)
    return offers, assignments, run, availability


def ends(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The number of the message with which each assignment ended. A photo may come after it."""
    found: dict[str, int] = {}
    for row in rows:
        if row["type"] == "assignment" and row["assignment"]["status"] != "ACTIVE":
            found.setdefault(row["assignment"]["id"], row["seq"])
    return found


def _said_of(
    message: dict[str, Any], rows: list[dict[str, Any]], ended: dict[str, int], until: float = inf
) -> list[dict[str, Any]]:
    """What the row of a message may read like, the last way if it is read from the database at the number `until`: of
    a job that has ended without the customer.
    """
    seq = message["seq"]
    if not 1 <= seq <= len(rows):
        return []
    row = _timeless(rows[seq - 1])
    if row["type"] != "assignment" or not seq < ended.get(row["assignment"]["id"], 0) <= until:
        return [row]
    shown = row["assignment"]
    bare = {name: held for name, held in shown.items() if name not in WHILE_ACTIVE}
    for end in ("pickup", "dropoff"):
        bare[end] = {name: held for name, held in shown[end].items() if name not in CONTACTS}
    return [row, {**row, "assignment": bare}]


def _same(verdict: Verdict, where: str, message: dict[str, Any], may_be: list[dict[str, Any]]) -> None:
    verdict.must(_timeless(message) in may_be, f"{where}: message {message['seq']} is not what its row says")


def _timeless(message: dict[str, Any]) -> dict[str, Any]:
    """Without what counts from the moment of sending."""
    if message.get("type") != "offer":
        return message
    return {**message, "offer": {**message["offer"], "remainingMs": None}}


def _brief(numbers: list[Any]) -> str:
    return f"{numbers[:5]}...{numbers[-5:]}" if len(numbers) > 12 else str(numbers)
