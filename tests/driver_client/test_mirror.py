"""A driver's app's knowledge: the snapshot, and what follows folded into it."""

from typing import Any

import msgspec
import pytest

from server.driver_client import messages as m
from server.driver_client.client import DriverClient
from server.driver_client.mirror import Mirror

POINT = {"lat": 52.5, "lon": 13.4, "address": "1 Market Square"}


def an_offer(offer_id: str = "o1") -> dict[str, Any]:
    payload = {"pickupLocation": POINT, "dropoffLocation": POINT, "estimatedDistanceKm": 1.5, "new": True}
    return {"id": offer_id, "deliveryId": "d1", "remainingMs": 30000, "payload": payload, "attempt": 1}


def an_assignment(status: str = "ACTIVE") -> dict[str, Any]:
    return {
        "id": "a1",
        "deliveryId": "d1",
        "status": status,
        "source": "accepted",
        "pickedUpAt": None,
        "pickup": POINT,
        "dropoff": POINT,
    }


def a_message(kind: str, **fields: Any) -> Any:
    return m.understand({"type": kind} | fields)


def a_hello(seq: int = 5, **fields: Any) -> Any:
    whole: dict[str, Any] = {
        "seq": seq,
        "driver": {"id": "dan", "availability": "available"},
        "offers": [],
        "assignments": [],
        "missed": [],
        "resync": False,
    }
    return a_message("hello", **(whole | fields))


@pytest.fixture
def mirror() -> Mirror:
    mirror = Mirror()
    mirror.greet(a_hello(), None)
    return mirror


def test_a_snapshot_replaces_what_was_known(mirror: Mirror) -> None:
    mirror.fold(a_message("offer", seq=6, offer=an_offer()))
    mirror.greet(a_hello(seq=9, resync=True, assignments=[an_assignment()]), 6)
    assert mirror.offers == {}
    assert list(mirror.assignments) == ["a1"]
    assert (mirror.seq, mirror.gaps) == (9, 0)


def test_an_offer_comes_and_goes(mirror: Mirror) -> None:
    mirror.fold(a_message("offer", seq=6, offer=an_offer()))
    assert mirror.offers["o1"].payload.pickup_location.lat == 52.5
    mirror.fold(a_message("offer_closed", seq=7, offerId="o1", deliveryId="d1", outcome="ACCEPTED", assignmentId="a1"))
    mirror.fold(a_message("assignment", seq=8, assignment=an_assignment()))
    assert mirror.offers == {}
    assert list(mirror.assignments) == ["a1"]
    mirror.fold(a_message("assignment", seq=9, assignment=an_assignment("COMPLETED")))
    assert mirror.assignments == {}
    mirror.fold(a_message("availability", seq=10, availability="on_break"))
    assert mirror.availability == "on_break"
    assert mirror.gaps == 0


def test_a_run_comes_and_goes(mirror: Mirror) -> None:
    stops = [{"kind": "pickup", "deliveryId": "d1", "assignmentId": "a1", "plannedAt": "2026-02-01T18:00:00.000Z"}]
    mirror.fold(a_message("run", seq=6, stops=stops))
    assert [(stop.kind, stop.delivery_id, stop.done_at) for stop in mirror.run] == [("pickup", "d1", None)]
    mirror.fold(a_message("run", seq=7, stops=[]))
    assert (mirror.run, mirror.gaps) == ([], 0)
    mirror.greet(a_hello(seq=8, run=stops, resync=True), None)
    assert len(mirror.run) == 1


def test_after_a_skipped_number_nothing_is_folded_until_a_snapshot(mirror: Mirror) -> None:
    assert not mirror.fold(a_message("availability", seq=7, availability="paused"))
    assert not mirror.fold(a_message("availability", seq=6, availability="offline"))
    assert (mirror.gaps, mirror.behind, mirror.seq, mirror.availability) == (1, True, 5, "available")
    mirror.greet(a_hello(seq=8, resync=True), 5)
    assert mirror.fold(a_message("availability", seq=9, availability="paused"))
    assert (mirror.behind, mirror.seq, mirror.availability) == (False, 9, "paused")


def test_a_number_that_came_before_is_a_gap_and_ignored(mirror: Mirror) -> None:
    mirror.fold(a_message("availability", seq=6, availability="paused"))
    assert not mirror.fold(a_message("availability", seq=6, availability="offline"))
    assert (mirror.gaps, mirror.behind, mirror.seq, mirror.availability) == (1, False, 6, "paused")


@pytest.mark.parametrize(
    ("frame", "behind"),
    [
        ({"type": "offer", "seq": 6, "offer": "?"}, True),
        ({"type": "goodbye", "reconnectAfterMs": "?"}, False),
        ({"type": "hello", "seq": "?"}, False),
    ],
    ids=["numbered", "not numbered", "a hello"],
)
def test_a_message_that_nobody_can_read_is_missing_if_it_has_a_number(frame: dict[str, Any], behind: bool) -> None:
    """Of a `hello` the next one would be the same, so that is no reason to connect again."""
    client = DriverClient("http://127.0.0.1:9", token)
    client.mirror.greet(a_hello(seq=5), None)
    client._take(frame)
    assert (client.mirror.gaps, client.mirror.behind, client.mirror.seq) == (1, behind, 5)


def test_a_message_of_a_newer_server_is_no_gap() -> None:
    """Its number counts, live and among what was missed: with the next connection it is not asked for again."""
    client = DriverClient("http://127.0.0.1:9", token)
    client.mirror.greet(a_hello(seq=5), None)
    missed = [{"type": "fireworks", "seq": 6}, {"type": "availability", "seq": 7, "availability": "paused"}]
    client.mirror.greet(a_hello(seq=7, missed=missed), 5)
    client._take({"type": "fireworks", "seq": 8})
    assert client.mirror.seq == 8
    client._take({"type": "fireworks"})
    client._take({"type": "availability", "seq": 9, "availability": "paused"})
    assert (client.mirror.seq, client.mirror.gaps) == (9, 0)
    client._take({"type": "fireworks", "seq": 11})
    assert client.mirror.gaps == 1


def test_a_missed_message_that_nobody_can_read_keeps_no_driver_away() -> None:
    """With an error there would be no `hello`, and the next connection would miss the same message."""
    client = DriverClient("http://127.0.0.1:9", token)
    client.mirror.greet(a_hello(seq=5), None)
    missed = [{"type": "offer", "seq": 6, "offer": "?"}, {"type": "availability", "seq": 7, "availability": "paused"}]
    heard = client.mirror.greet(a_hello(seq=7, missed=missed), 5)
    assert [message.seq for message in heard] == [7]
    assert (client.mirror.seq, client.mirror.gaps) == (7, 1)


async def token() -> str:
    return "nobody asks"


def test_what_was_missed_is_handed_over_in_order(mirror: Mirror) -> None:
    missed = [
        {"type": "offer", "seq": 6, "offer": an_offer()},
        {"type": "offer_closed", "seq": 7, "offerId": "o1", "deliveryId": "d1", "outcome": "EXPIRED"},
    ]
    shown = mirror.greet(a_hello(seq=7, missed=missed), 5)
    assert [message.seq for message in shown] == [6, 7]
    assert (mirror.gaps, mirror.offers) == (0, {})


def test_a_resume_that_lacks_some_is_a_gap_and_a_resync_is_not(mirror: Mirror) -> None:
    mirror.greet(a_hello(seq=8, missed=[]), 5)
    assert mirror.gaps == 1
    mirror.greet(a_hello(seq=200, resync=True), 8)
    assert mirror.gaps == 1


def test_what_is_not_known_here_is_passed_over() -> None:
    assert a_message("fireworks", seq=1) is None
    assert isinstance(a_message("ack", id="1", extra={"new": 1}), m.Ack)
    for wrong in (b"{", b"[]", b'{"type":"offer"}', b'{"type":"fireworks"}'):
        with pytest.raises(msgspec.MsgspecError):
            m.decode(wrong)
    with pytest.raises(msgspec.MsgspecError):
        a_message("offer")


def test_a_snapshot_that_was_not_asked_to_go_on_has_no_gap(mirror: Mirror) -> None:
    mirror.greet(a_hello(seq=50), None)
    assert (mirror.seq, mirror.gaps) == (50, 0)


def test_what_a_job_that_failed_says_is_known(mirror: Mirror) -> None:
    failed = an_assignment() | {"deliveryStatus": "RETURNING", "failedAt": "2026-02-01T10:00:00.000Z"}
    mirror.fold(a_message("assignment", seq=6, assignment=failed | {"arrivedAt": {"dropoff": "then", "new": 1}}))
    known = mirror.assignments["a1"]
    assert (known.delivery_status, known.failed_at is not None) == ("RETURNING", True)
    assert (known.arrived_at.pickup, known.arrived_at.dropoff) == (None, "then")
