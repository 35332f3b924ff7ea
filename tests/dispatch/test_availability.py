"""The rules of availability and presence: shifts, breaks, pauses, sockets that come and go, and their ends."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.availability import gone_since, present
from server.dispatch.decide import decide
from server.dispatch.model import SYSTEM, Driver
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.world import NeedsRows, World
from tests.builders import (
    ADA,
    DAN,
    NODE,
    NOW,
    SESSION,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_driver_gone,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, check, happens, name_of

OTHER_SESSION, OTHER_NODE = id_of("other session"), id_of("other node")

CONNECT = c.ConnectDriver(DAN, OTHER_SESSION, OTHER_NODE, by(DAN))
SEE = c.SeeDriver(DAN, by(DAN))
LAPSE = c.LapsePresence(DAN)
BREAK = c.TakeBreak(DAN, 30, by(DAN))
END_BREAK = c.EndBreak(DAN)
PAUSE = c.Pause(DAN, by(DAN))
END_SHIFT = c.EndShift(DAN, by(DAN))
RESUME = c.Resume(DAN, by(DAN))


def dan(world: World) -> Driver:
    return world.known_driver(DAN)


def is_(**of_dan: Any) -> Callable[[], World]:
    """Dan, as said."""
    return lambda: a_world(a_driver(**of_dan))


def gone(since: float = 600, **of_dan: Any) -> Callable[[], World]:
    """Dan, his socket lost so many seconds ago."""
    return lambda: a_world(a_driver_gone(since=seconds(since), **of_dan))


def lapsed(before: str | None = "available", **of_dan: Any) -> Callable[[], World]:
    """Dan, offline: since he lapsed, or for good if `before` is None."""
    row = {"availability": "offline", "availability_reason": "connection_lost", "availability_before": before}
    return gone(**row | of_dan)


def on_dead_node() -> Callable[[], World]:
    """Dan, connected for minutes to a node that died."""

    def given() -> World:
        world = a_world(a_driver(connected_since=NOW - minutes(5)))
        world.dead_nodes = frozenset({NODE})
        return world

    return given


def connected_since(expected: datetime | None, world: World) -> bool:
    """Whether Dan's unbroken time on sockets began then."""
    return dan(world).connected_since == expected


def looking(**of_dan: Any) -> Callable[[], World]:
    """Dan looks at an offer of soup."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver(**of_dan)
        an_open_offer(soup, dan)
        return a_world(soup, dan)

    return given


def driving() -> World:
    """Dan has soup."""
    soup, dan = a_delivery(), a_driver()
    an_assignment(soup, dan)
    return a_world(soup, dan)


def changes(from_: str, to: str, reason: str, **fields: Any) -> Any:
    return happens(e.AvailabilityChanged, driver_id=DAN, from_=from_, to=to, reason=reason, **fields)


def withdrawn(reason: str) -> Any:
    return happens(e.OfferWithdrawn, driver_id=DAN, delivery_id=SOUP, reason=reason)


def nobody() -> World:
    """There is no such driver."""
    return a_world(absent=[DAN])


NEVER_SEEN = lapsed(socket_lost_at=None, availability_reason="never_seen")

REGISTERING = [
    Case(
        "a new driver is offline until first seen",
        given=nobody,
        command=c.RegisterDriver(DAN, "Dan", "default", 2, SHOP, external_ref="D-7", phone="555"),
        then=[happens(e.DriverRegistered, driver_id=DAN, actor=SHOP)],
        afterwards=lambda w: (
            dan(w).availability == "offline"
            and dan(w).availability_reason == "never_seen"
            and dan(w).capacity == 2
            and w.by_external_ref == {"D-7": DAN}
            and list(w.new_drivers) == [DAN]
        ),
    ),
    Case(
        "one reference is one driver",
        given=lambda: a_world(by_external_ref={"D-7": id_of("somebody")}),
        command=c.RegisterDriver(DAN, "Dan", "default", 1, SHOP, external_ref="D-7"),
        then="driver_exists",
    ),
    Case(
        "no reference is no obstacle",
        given=a_world,
        command=c.RegisterDriver(DAN, "Dan", "default", 1, SHOP),
        then=[happens(e.DriverRegistered)],
    ),
]

CONNECTED = happens(e.DriverConnected, driver_id=DAN, session_id=OTHER_SESSION, node_id=OTHER_NODE)

PRESENCE = [
    Case(
        "the newest socket is the driver's",
        given=is_(),
        command=CONNECT,
        then=[happens(e.DriverConnected, superseded=SESSION, superseded_node=NODE)],
        afterwards=lambda w: (dan(w).session_id, dan(w).session_node) == (OTHER_SESSION, OTHER_NODE),
    ),
    Case("a socket opens once", is_(session_id=OTHER_SESSION), CONNECT, []),
    Case(
        "the first socket makes a driver available",
        given=NEVER_SEEN,
        command=CONNECT,
        then=[CONNECTED, changes("offline", "available", "first_seen", actor=by(DAN))],
    ),
    Case(
        "a first call does as well",
        given=NEVER_SEEN,
        command=SEE,
        then=[changes("offline", "available", "first_seen")],
    ),
    Case(
        "who comes back in time never was away",
        given=gone(44),
        command=CONNECT,
        then=[CONNECTED],
        afterwards=lambda w: dan(w).socket_lost_at is None,
    ),
    *(
        Case(
            f"who lapsed while {before} is {before} again",
            given=lapsed(before, **of_dan),
            command=CONNECT,
            then=[CONNECTED, changes("offline", before, "reconnected", until=of_dan.get("availability_until"))],
            afterwards=lambda w: dan(w).availability_before is None,
        )
        for before, of_dan in (
            ("available", {}),
            ("paused", {}),
            ("on_break", {"availability_until": NOW + minutes(1)}),
            ("on_break", {}),
        )
    ),
    Case(
        "whose break ended meanwhile is available",
        given=lapsed("on_break", availability_until=NOW),
        command=SEE,
        then=[changes("offline", "available", "reconnected", until=None)],
    ),
    Case("who was sent offline stays so", lapsed(None), CONNECT, [CONNECTED]),
    Case("who went home stays home", gone(availability="shift_ended"), CONNECT, [CONNECTED]),
    Case("a call of somebody present is no news", is_(), SEE, []),
    Case(
        "a socket is lost",
        given=is_(),
        command=c.DisconnectDriver(DAN, SESSION),
        then=[happens(e.DriverDisconnected, session_id=SESSION, lost_at=NOW)],
        afterwards=lambda w: (dan(w).session_id, dan(w).session_node, dan(w).socket_lost_at) == (None, None, NOW),
    ),
    *(
        Case(
            words,
            given=given,
            command=CONNECT,
            then=[happens(e.DriverConnected, unbroken=unbroken)],
            afterwards=partial(connected_since, since),
        )
        for words, given, unbroken, since in (
            ("who comes back is connected since then", gone(44), False, NOW),
            ("a newer socket breaks nothing", is_(connected_since=NOW - minutes(5)), True, NOW - minutes(5)),
            ("nor one after a socket of nobody knows when", is_(), True, None),
            ("one after a dead node's is a new beginning", on_dead_node(), False, NOW),
        )
    ),
    Case(
        "who lost their socket is connected since nothing",
        given=is_(connected_since=NOW - minutes(5)),
        command=c.DisconnectDriver(DAN, SESSION),
        then=[happens(e.DriverDisconnected)],
        afterwards=partial(connected_since, None),
    ),
    Case(
        "a dead node's were lost when it died",
        given=is_(),
        command=c.DisconnectDriver(DAN, SESSION, lost_at=NOW - seconds(3)),
        then=[happens(e.DriverDisconnected, lost_at=NOW - seconds(3))],
    ),
    Case(
        "never later than now",
        given=is_(),
        command=c.DisconnectDriver(DAN, SESSION, lost_at=NOW + seconds(3)),
        then=[happens(e.DriverDisconnected, lost_at=NOW)],
    ),
    Case(
        "an older socket's end is of no interest",
        given=is_(),
        command=c.DisconnectDriver(DAN, OTHER_SESSION),
        then="session_not_current",
    ),
    Case(
        "who is gone for 45 s is offline, and what they were is remembered",
        given=gone(45),
        command=LAPSE,
        then=[changes("available", "offline", "connection_lost", before="available", actor=SYSTEM)],
    ),
    Case(
        "a break goes on meanwhile",
        given=gone(availability="on_break", availability_until=NOW + minutes(9)),
        command=LAPSE,
        then=[changes("on_break", "offline", "connection_lost", before="on_break", until=NOW + minutes(9))],
    ),
    Case(
        "a pause too",
        given=gone(availability="paused"),
        command=LAPSE,
        then=[changes("paused", "offline", "connection_lost", before="paused")],
    ),
    Case(
        "an open offer keeps its deadline",
        given=looking(session_id=None, session_node=None, socket_lost_at=NOW - minutes(1)),
        command=LAPSE,
        then=[changes("available", "offline", "connection_lost")],
        afterwards=lambda w: dan(w).open_offer_id is not None,
    ),
    Case("nobody lapses before", gone(44), LAPSE, "still_present"),
    Case("nobody lapses with a socket", is_(), LAPSE, "still_present"),
    Case("nobody lapses who calls", gone(last_call_at=NOW - seconds(89)), LAPSE, "still_present"),
    Case(
        "who called too long ago does",
        given=gone(last_call_at=NOW - seconds(90)),
        command=LAPSE,
        then=[changes("available", "offline", "connection_lost")],
    ),
    Case(
        "who was made available this minute is given the time to show up",
        given=gone(socket_lost_at=None, last_availability_change=NOW - seconds(44)),
        command=LAPSE,
        then="still_present",
    ),
    Case(
        "and no more than that",
        given=gone(socket_lost_at=None, last_availability_change=NOW - seconds(45)),
        command=LAPSE,
        then=[changes("available", "offline", "connection_lost")],
    ),
    Case("nobody lapses twice", lapsed(), LAPSE, []),
    Case("nobody lapses at home", gone(availability="shift_ended"), LAPSE, []),
]

CHANGING = [
    Case(
        "a break is counted from now",
        given=is_(),
        command=BREAK,
        then=[changes("available", "on_break", "driver_requested", until=NOW + minutes(30), actor=by(DAN))],
    ),
    Case(
        "its reason is the driver's",
        given=is_(),
        command=c.TakeBreak(DAN, 5, by(DAN), "lunch"),
        then=[changes("available", "on_break", "lunch", until=NOW + minutes(5))],
    ),
    Case(
        "a break on a break is a new end",
        given=is_(availability="on_break", availability_until=NOW + minutes(1)),
        command=BREAK,
        then=[changes("on_break", "on_break", "driver_requested", until=NOW + minutes(30))],
    ),
    Case(
        "a longer break ends exactly so much later",
        given=is_(availability="on_break", availability_until=NOW + seconds(61)),
        command=c.TakeBreak(DAN, 10, by(DAN), extend=True),
        then=[changes("on_break", "on_break", "driver_requested", until=NOW + seconds(661))],
    ),
    Case(
        "but two hours from now at the latest",
        given=is_(availability="on_break", availability_until=NOW + minutes(115)),
        command=c.TakeBreak(DAN, 10, by(DAN), extend=True),
        then=[changes("on_break", "on_break", "driver_requested", until=NOW + minutes(120))],
    ),
    Case(
        "and never shorter than dispatch made it",
        given=is_(availability="on_break", availability_until=NOW + minutes(300)),
        command=c.TakeBreak(DAN, 10, by(DAN), extend=True),
        then=[changes("on_break", "on_break", "driver_requested", until=NOW + minutes(300))],
    ),
    Case(
        "without a break there is none to make longer",
        given=is_(),
        command=c.TakeBreak(DAN, 10, by(DAN), extend=True),
        then=[changes("available", "on_break", "driver_requested", until=NOW + minutes(10))],
    ),
    Case(
        "an open offer is withdrawn and moves on",
        given=looking(),
        command=BREAK,
        then=[changes("available", "on_break", "driver_requested"), withdrawn("on_break")],
        afterwards=lambda w: (
            w.locked_delivery(SOUP).status == "READY"
            and w.locked_delivery(SOUP).open_offer() is None
            and dan(w).open_offer_id is None
        ),
    ),
    Case(
        "an active assignment stays",
        given=lambda: driving(),
        command=BREAK,
        then=[changes("available", "on_break", "driver_requested")],
        afterwards=lambda w: dan(w).active_count == 1,
    ),
    Case("nobody takes a break at home", is_(availability="shift_ended"), BREAK, "driver_not_available: shift_ended"),
    Case("nor when sent offline", lapsed(None), BREAK, "driver_not_available: offline"),
    Case(
        "who lapsed may",
        given=lapsed(),
        command=BREAK,
        then=[changes("offline", "on_break", "driver_requested")],
        afterwards=lambda w: dan(w).availability_before is None,
    ),
    Case(
        "a break that has ended makes the driver available",
        given=is_(availability="on_break", availability_until=NOW, expiries_in_a_row=2),
        command=END_BREAK,
        then=[changes("on_break", "available", "break_expired", until=None, forgiven=False, actor=SYSTEM)],
        afterwards=lambda w: dan(w).expiries_in_a_row == 2,
    ),
    Case(
        "not before its end",
        given=is_(availability="on_break", availability_until=NOW + seconds(1)),
        command=END_BREAK,
        then="break_not_over",
    ),
    Case("a break without an end goes on", is_(availability="on_break"), END_BREAK, "break_not_over"),
    Case(
        "who lapsed on a break stays offline when it ends",
        given=lapsed("on_break", availability_until=NOW),
        command=END_BREAK,
        then="break_not_over",
    ),
    Case("who is at work has no break to end", is_(), END_BREAK, "break_not_over"),
    Case(
        "a pause withdraws the open offer",
        given=looking(),
        command=PAUSE,
        then=[changes("available", "paused", "driver_paused"), withdrawn("paused")],
    ),
    Case("paused again is harmless", is_(availability="paused"), PAUSE, []),
    Case(
        "the end of a shift withdraws the open offer",
        given=looking(),
        command=END_SHIFT,
        then=[changes("available", "shift_ended", "driver_shift_end"), withdrawn("shift_ended")],
    ),
    Case(
        "a shift may end on a break",
        given=is_(availability="on_break", availability_until=NOW + minutes(5)),
        command=END_SHIFT,
        then=[changes("on_break", "shift_ended", "driver_shift_end", until=None)],
    ),
    Case("ended again is harmless", is_(availability="shift_ended"), END_SHIFT, []),
    *(
        Case(
            f"who is {availability} may resume",
            given=is_(availability=availability, expiries_in_a_row=3),
            command=RESUME,
            then=[changes(availability, "available", "driver_resumed", forgiven=True, actor=by(DAN))],
            afterwards=lambda w: dan(w).expiries_in_a_row == 0,
        )
        for availability in ("on_break", "paused", "shift_ended", "offline")
    ),
    Case("resumed again is harmless", is_(), RESUME, []),
    Case(
        "but starts the count of silences anew",
        given=is_(expiries_in_a_row=2),
        command=RESUME,
        then=[happens(e.ExpiriesForgiven, driver_id=DAN)],
        afterwards=lambda w: dan(w).expiries_in_a_row == 0,
    ),
]


def set_(availability: Any, duration: int | None = None) -> c.SetAvailability:
    """Ada decides."""
    return c.SetAvailability(DAN, availability, "storm", ADA, duration)


DECIDING = [
    Case(
        "an admin sends a driver offline, which withdraws their offer",
        given=looking(),
        command=set_("offline"),
        then=[changes("available", "offline", "storm", before=None, actor=ADA), withdrawn("offline")],
    ),
    Case(
        "who lapsed is offline by decision then",
        given=lapsed(),
        command=set_("offline"),
        then=[changes("offline", "offline", "storm", before=None)],
        afterwards=lambda w: dan(w).availability_before is None,
    ),
    Case(
        "the last change that the admin saw is the right one",
        given=is_(last_availability_change=NOW - minutes(3)),
        command=c.SetAvailability(DAN, "paused", "storm", ADA, changed_at=NOW - minutes(3)),
        then=[changes("available", "paused", "storm")],
    ),
    Case(
        "any other is refused",
        given=is_(last_availability_change=NOW - minutes(1)),
        command=c.SetAvailability(DAN, "paused", "storm", ADA, changed_at=NOW - minutes(3)),
        then="version_changed",
    ),
    Case("decided already is harmless", lapsed(None), set_("offline"), []),
    Case(
        "an admin's break ends by itself",
        given=is_(),
        command=set_("on_break", 60),
        then=[changes("available", "on_break", "storm", until=NOW + minutes(60))],
    ),
    Case(
        "or does not",
        given=is_(availability="on_break", availability_until=NOW + minutes(1)),
        command=set_("on_break"),
        then=[changes("on_break", "on_break", "storm", until=None)],
    ),
    Case("without an end twice is harmless", is_(availability="on_break"), set_("on_break"), []),
    Case(
        "only a break has an end",
        given=is_(),
        command=set_("paused", 60),
        then=[changes("available", "paused", "storm", until=None)],
    ),
    Case(
        "an admin ends a pause, and the silences are forgotten",
        given=is_(availability="paused", expiries_in_a_row=3),
        command=set_("available"),
        then=[changes("paused", "available", "storm", forgiven=True)],
    ),
    Case(
        "a state that was changed during a lapse does not come back",
        given=lapsed("on_break", availability_until=NOW + minutes(5)),
        command=set_("shift_ended"),
        then=[changes("offline", "shift_ended", "storm", until=None, before=None)],
    ),
]

OF_nobody = [
    Case(f"nobody can {type(command).__name__}", nobody, command, "not_found")
    for command in (
        CONNECT,
        c.DisconnectDriver(DAN, SESSION),
        SEE,
        LAPSE,
        BREAK,
        END_BREAK,
        PAUSE,
        END_SHIFT,
        RESUME,
        set_("offline"),
    )
]


@pytest.mark.parametrize("case", [*REGISTERING, *PRESENCE, *CHANGING, *DECIDING, *OF_nobody], ids=name_of)
def test_availability(case: Case) -> None:
    check(case)


def test_withdrawing_waits_for_the_delivery_that_is_offered() -> None:
    world = looking()()
    del world.deliveries[SOUP]
    with pytest.raises(NeedsRows) as needs:
        decide(BREAK, world)
    assert needs.value.delivery_id == SOUP


@pytest.mark.parametrize(
    ("driver", "is_present"),
    [
        (a_driver(), True),
        (a_driver_gone(since=seconds(44)), True),
        (a_driver_gone(since=seconds(45)), False),
        (a_driver_gone(last_call_at=NOW - seconds(89)), True),
        (a_driver_gone(last_call_at=NOW - seconds(90)), False),
        (a_driver_gone(socket_lost_at=None), False),
    ],
)
def test_presence_is_a_socket_or_one_lost_just_now_or_a_call(driver: Driver, is_present: bool) -> None:
    assert present(driver, NOW, DEFAULT_POLICY) is is_present


@pytest.mark.parametrize(
    ("driver", "since"),
    [
        (a_driver(), None),
        (a_driver_gone(since=seconds(44)), None),
        (a_driver_gone(since=seconds(45)), NOW - seconds(45)),
        (a_driver_gone(since=minutes(5), last_call_at=NOW - seconds(89)), None),
        (a_driver_gone(since=minutes(5), last_call_at=NOW - minutes(3)), NOW - minutes(3)),
        (a_driver_gone(since=minutes(3), last_call_at=NOW - minutes(5)), NOW - minutes(3)),
        (a_driver_gone(socket_lost_at=None, last_call_at=NOW - minutes(5)), NOW - minutes(5)),
        (a_driver_gone(socket_lost_at=None), NOW - minutes(60)),
    ],
)
def test_who_is_not_present_is_gone_since_they_were_last_heard_of(driver: Driver, since: datetime | None) -> None:
    assert gone_since(driver, NOW, DEFAULT_POLICY) == since
