"""The rules of who works for us."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.world import World
from server.dispatch.zones import Zone, Zones
from tests.builders import (
    ADA,
    DAN,
    DORA,
    NODE,
    NOW,
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
)
from tests.dispatch.cases import Case, check, happens, name_of


def change(**changes: Any) -> c.ChangeDriver:
    return c.ChangeDriver(DAN, ADA, **changes)


def dan(**of_dan: Any) -> Callable[[], World]:
    refs = {"dan": DAN, "dora": DORA}
    return lambda: a_world(a_driver(**{"external_ref": "dan"} | of_dan), by_external_ref=refs)


def at_work() -> World:
    driver, soup = a_driver(capacity=2), a_delivery()
    an_assignment(soup, driver)
    return a_world(driver, soup)


def offered(*, requires: tuple[str, ...] = (), **of_dan: Any) -> World:
    """Soup is offered to Dan, who would pick it up in ten minutes."""
    driver, soup = a_driver(**of_dan), a_delivery(requirements=requires, estimated_pickup_at=NOW + minutes(10))
    an_open_offer(soup, driver)
    world = a_world(driver, soup)
    world.zones = HELPED
    return world


def back_to_waiting(world: World) -> bool:
    soup = world.locked_delivery(SOUP)
    return soup.status == "READY" and soup.current_offer_id is None and world.known_driver(DAN).open_offer_id is None


def still_offered(world: World) -> bool:
    return world.known_driver(DAN).open_offer_id == world.locked_delivery(SOUP).current_offer_id is not None


HELPED = Zones([Zone("default", "Default", None, ("harbour",), "ada", NOW)])
WITHDRAWN = [happens(e.OfferWithdrawn, delivery_id=SOUP, driver_id=DAN, reason="changed"), happens(e.DriverChanged)]
COLD = partial(offered, requires=("cold",), tags=("Cold", "bag"))
UNLIKELY = partial(offered, requires=("cold",), zone="airport", shift_ends_at=NOW + minutes(5))
"""Ops chose him in spite of everything."""
OUT_OF_REACH: list[tuple[str, Callable[[], World], c.ChangeDriver]] = [
    ("the driver works in another zone", offered, change(zone="airport")),
    ("they no longer have what it requires", COLD, change(tags=("bag",))),
    ("their shift ends before the pickup", offered, change(shift_ends_at=NOW + minutes(9))),
    ("their shift has ended", offered, change(shift_ends_at=NOW - minutes(1))),
]
STILL_FITS: list[tuple[str, Callable[[], World], c.ChangeDriver]] = [
    ("the new zone helps", offered, change(zone="harbour")),
    ("they have more than it requires", COLD, change(tags=("COLD ",))),
    ("their shift ends after the pickup", offered, change(shift_ends_at=NOW + minutes(10))),
    ("their shift has no end", partial(offered, shift_ends_at=NOW + minutes(5)), change(shift_ends_at=None)),
    ("nothing of it changed", UNLIKELY, change(name="Daniel", capacity=2)),
]


CHANGING_DRIVERS = [
    Case(
        "a driver's data change, and all of the row is saved",
        given=dan(vehicle="bike"),
        command=change(name="Daniel", vehicle=None, tags=("cold",), capacity=3, shift_ends_at=NOW + minutes(60)),
        then=[happens(e.DriverChanged, driver_id=DAN, actor=ADA)],
        afterwards=lambda w: (
            (w.known_driver(DAN).name, w.known_driver(DAN).vehicle) == ("Daniel", None)
            and w.known_driver(DAN).tags == ("cold",)
            and list(w.amended_drivers) == [DAN]
        ),
    ),
    Case("nothing new changes nothing", dan(phone="1"), change(phone="1", name="Dan"), []),
    Case("a reference of another's is taken", dan(), change(external_ref="dora"), "driver_exists"),
    Case(
        "a free one is not",
        given=dan(),
        command=change(external_ref="daniel"),
        then=[happens(e.DriverChanged)],
        afterwards=lambda w: w.by_external_ref == {"daniel": DAN, "dora": DORA},
    ),
    Case(
        "nor is none",
        given=dan(),
        command=change(external_ref=None),
        then=[happens(e.DriverChanged)],
        afterwards=lambda w: w.by_external_ref == {"dora": DORA},
    ),
    Case("what they carry must fit", at_work, change(capacity=0), "has_active_work"),
    Case("and may just fit", at_work, change(capacity=1), [happens(e.DriverChanged)]),
    Case("nobody", lambda: a_world(absent=[DAN]), change(name="x"), "not_found"),
    *(Case(f"withdrawn: {why}", given, new, WITHDRAWN, back_to_waiting) for why, given, new in OUT_OF_REACH),
    *(Case(f"not if {why}", given, new, [happens(e.DriverChanged)], still_offered) for why, given, new in STILL_FITS),
]

DEACTIVATE, REACTIVATE = c.DeactivateDriver(DAN, ADA), c.ReactivateDriver(DAN, ADA)
GONE = dan(active=False, availability="offline", availability_reason="deactivated")

DEACTIVATING = [
    Case(
        "who works for us no more is offline",
        given=dan(),
        command=DEACTIVATE,
        then=[happens(e.AvailabilityChanged, to="offline", reason="deactivated"), happens(e.DriverDeactivated)],
        afterwards=lambda w: not w.known_driver(DAN).active and list(w.amended_drivers) == [DAN],
    ),
    Case(
        "also who was never seen, and does not come back by being seen",
        given=dan(availability="offline", availability_before="available"),
        command=DEACTIVATE,
        then=[happens(e.AvailabilityChanged, from_="offline", to="offline"), happens(e.DriverDeactivated)],
        afterwards=lambda w: w.known_driver(DAN).availability_before is None,
    ),
    Case(
        "an offer to them is withdrawn",
        given=offered,
        command=DEACTIVATE,
        then=[
            happens(e.AvailabilityChanged),
            happens(e.OfferWithdrawn, delivery_id=SOUP, reason="offline"),
            happens(e.DriverDeactivated),
        ],
    ),
    Case("not while they have work", at_work, DEACTIVATE, "has_active_work"),
    Case("done before is harmless", GONE, DEACTIVATE, []),
    Case("nobody", lambda: a_world(absent=[DAN]), DEACTIVATE, "not_found"),
    Case(
        "who comes back counts as never seen",
        given=GONE,
        command=REACTIVATE,
        then=[happens(e.DriverReactivated), happens(e.AvailabilityChanged, reason="never_seen", before="available")],
        afterwards=lambda w: w.known_driver(DAN).active,
    ),
    Case("who is back is back", dan(), REACTIVATE, []),
    Case("nobody comes back", lambda: a_world(absent=[DAN]), REACTIVATE, "not_found"),
    *(
        Case(f"who works for us no more does not {type(command).__name__}", GONE, command, "driver_deactivated")
        for command in (
            c.ConnectDriver(DAN, id_of("s"), NODE, by(DAN)),
            c.SeeDriver(DAN, by(DAN)),
            c.Resume(DAN, by(DAN)),
            c.EndShift(DAN, by(DAN)),
            c.Pause(DAN, by(DAN)),
            c.TakeBreak(DAN, 5, by(DAN)),
            c.SetAvailability(DAN, "available", "x", ADA),
        )
    ),
]


@pytest.mark.parametrize("case", [*CHANGING_DRIVERS, *DEACTIVATING], ids=name_of)
def test_drivers(case: Case) -> None:
    check(case)


def test_a_driver_made_and_changed_in_one_batch_is_new_still() -> None:
    world = a_world()
    for command in (c.RegisterDriver(DAN, "Dan", "default", 1, ADA, tags=("cold",)), change(tags=("van",))):
        decided = decide(command, world)
        assert isinstance(decided, Decided)
        for event in decided.events:
            apply(world, event)
    assert world.new_drivers[DAN].tags == ("van",)
    assert not world.amended_drivers


def test_personal_fields_are_named_without_values() -> None:
    decided = decide(change(name="Daniel", phone="+49 30 1", tags=("cold",), shift_ends_at=NOW), dan()())
    assert isinstance(decided, Decided)
    assert decided.events[0].data() == {
        "fields": ["name", "phone", "tags", "shiftEndsAt"],
        "changes": {
            "tags": {"old": [], "new": ["cold"]},
            "shiftEndsAt": {"old": None, "new": "2026-02-01T18:00:00.000Z"},
        },
    }


def test_last_contact() -> None:
    from server.dispatch.availability import last_contact

    assert last_contact(a_driver()) is None
    assert last_contact(a_driver(session_id=None, session_node=None)) is None
    assert last_contact(a_driver_gone(since=minutes(3))) == NOW - minutes(3)
    assert last_contact(a_driver_gone(since=minutes(3), last_call_at=NOW - minutes(1))) == NOW - minutes(1)
