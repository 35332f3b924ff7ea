"""A preview: commands decided one after another on a world that nobody saves."""

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import Actor
from server.dispatch.preview import preview
from tests.builders import a_world, id_of

OPS = Actor("ops", "alice")


def register(name: str) -> c.RegisterDriver:
    return c.RegisterDriver(
        driver_id=id_of(name), name=name, zone="default", capacity=1, actor=OPS, external_ref=f"ref {name}"
    )


def test_a_command_meets_the_effects_of_those_before() -> None:
    world = a_world()
    first = preview(register("Dan"), world)
    assert isinstance(first, Decided)
    assert world.driver(id_of("Dan")).name == "Dan"
    change = c.ChangeDriver(driver_id=id_of("Dan"), actor=OPS, capacity=3)
    assert isinstance(preview(change, world), Decided)
    assert world.driver(id_of("Dan")).capacity == 3


def test_a_refusal_changes_nothing() -> None:
    world = a_world(absent=[id_of("Nobody")])
    assert preview(c.ChangeDriver(driver_id=id_of("Nobody"), actor=OPS, capacity=2), world) == r.NOT_FOUND
    assert (world.new_drivers, world.changed_drivers) == ({}, {})
