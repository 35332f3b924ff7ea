"""The rules of a driver's availability and presence: breaks, pauses, shifts, connections, and their ends."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import SYSTEM, Actor, Availability, Driver
from server.dispatch.names import visible
from server.dispatch.policy import Policy
from server.dispatch.world import World

LONGEST_BREAK: Final = timedelta(minutes=120)
"""Of a driver's own choice."""


def present(driver: Driver, now: datetime, policy: Policy) -> bool:
    """A socket open, or lost less than `presenceLapseSeconds` ago, or a call within `callPresenceSeconds`."""
    return gone_since(driver, now, policy) is None


def gone_since(driver: Driver, now: datetime, policy: Policy) -> datetime | None:
    """The time of the last sign of life of a driver who is not present; None for a present one, as within the grace
    period after the end of a socket.
    """
    contact = Contact(driver.session_id is not None, driver.socket_lost_at, driver.last_call_at)
    return contact.gone_since(now, policy, driver.last_availability_change)


class Contact(Struct, frozen=True):
    """The signs of life of a driver: whether they have a socket, when they lost the last one, when they last called."""

    connected: bool
    lost_at: datetime | None
    called_at: datetime | None

    def gone_since(self, now: datetime, policy: Policy, known_since: datetime) -> datetime | None:
        """Since when the driver is not present, by their last sign of life; None if they are.

        It is their last socket or call, or `known_since` for a driver who never had either.
        """
        if self.connected or _within(self.lost_at, now, policy.presence_lapse_seconds):
            return None
        if _within(self.called_at, now, policy.call_presence_seconds):
            return None
        return max((at for at in (self.lost_at, self.called_at) if at is not None), default=known_since)


def _within(at: datetime | None, now: datetime, seconds: int) -> bool:
    return at is not None and now - at < timedelta(seconds=seconds)


def connected(driver: Driver, world: World) -> bool:
    """A socket open on a node that lives."""
    return driver.session_id is not None and driver.session_node not in world.dead_nodes


def last_contact(driver: Driver) -> datetime | None:
    """Their last socket or call; None while a socket is open, or if they never had either."""
    if driver.session_id is not None:
        return None
    return max((at for at in (driver.socket_lost_at, driver.last_call_at) if at is not None), default=None)


def called_lately(driver: Driver, now: datetime, policy: Policy) -> bool:
    """Whether they made an authenticated call less than `callPresenceSeconds` ago."""
    return _within(driver.last_call_at, now, policy.call_presence_seconds)


def connect_driver(command: c.ConnectDriver, world: World) -> Decided | r.Refusal:
    """The newest socket is the current one; a driver who had lapsed is back as they were."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    if driver.session_id == command.session_id:
        return Decided(driver_id=driver.id, repeated=True)
    came = e.DriverConnected(
        at=world.now,
        actor=command.actor,
        driver_id=driver.id,
        session_id=command.session_id,
        node_id=command.node_id,
        superseded=driver.session_id,
        superseded_node=driver.session_node,
        unbroken=connected(driver, world),
        device=command.device,
    )
    return Decided((came, *_return(driver, command.actor, world.now)), driver_id=driver.id)


def disconnect_driver(command: c.DisconnectDriver, world: World) -> Decided | r.Refusal:
    """A socket was lost. Ignored unless its session is still the current one."""
    driver = world.driver(command.driver_id)
    if driver.session_id != command.session_id:
        return r.SESSION_NOT_CURRENT
    lost_at = min(command.lost_at, world.now) if command.lost_at is not None else world.now
    gone = e.DriverDisconnected(
        at=world.now,
        actor=command.actor,
        driver_id=driver.id,
        session_id=command.session_id,
        lost_at=lost_at,
    )
    return Decided((gone,), driver_id=driver.id)


def see_driver(command: c.SeeDriver, world: World) -> Decided | r.Refusal:
    """A call by a driver: if they had lapsed or never connected, they are back."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    happened = _return(driver, command.actor, world.now)
    return Decided(happened, driver_id=driver.id, repeated=not happened)


def lapse_presence(command: c.LapsePresence, world: World) -> Decided | r.Refusal:
    """The driver is away too long: sets them offline and remembers the state to return to. An open offer keeps its
    deadline.

    1. A driver who is offline or has ended the shift cannot lapse.
    2. A present driver does not lapse.
    3. Neither does a driver whose state changed less than `presenceLapseSeconds` ago: either they did it themselves, by
       a call that may not be stored yet, or somebody who knows more than the server.
    """
    driver = world.driver(command.driver_id)
    if driver.availability in ("offline", "shift_ended"):
        return Decided(driver_id=driver.id, repeated=True)
    grace = timedelta(seconds=world.policy.presence_lapse_seconds)
    if present(driver, world.now, world.policy) or world.now - driver.last_availability_change < grace:
        return r.STILL_PRESENT
    lapsed = e.AvailabilityChanged(
        at=world.now,
        actor=command.actor,
        driver_id=driver.id,
        from_=driver.availability,
        to="offline",
        reason="connection_lost",
        until=driver.availability_until,
        before=driver.availability,
    )
    return Decided((lapsed,), driver_id=driver.id)


def _return(driver: Driver, actor: Actor, now: datetime) -> tuple[e.Event, ...]:
    before = driver.availability_before
    if driver.availability != "offline" or before is None:
        return ()
    until = driver.availability_until
    if before == "on_break" and until is not None and until <= now:
        before, until = "available", None
    reason = "first_seen" if driver.availability_reason == "never_seen" else "reconnected"
    return (
        e.AvailabilityChanged(
            at=now, actor=actor, driver_id=driver.id, from_="offline", to=before, reason=reason, until=until
        ),
    )


def take_break(command: c.TakeBreak, world: World) -> Decided | r.Refusal:
    """Starts a break now, or changes the end of the current one.

    One that is extended ends exactly so much later, but not after LONGEST_BREAK from now.
    """
    until = world.now + timedelta(minutes=command.duration_minutes)
    driver = world.driver(command.driver_id)
    if command.extend and driver.availability == "on_break" and driver.availability_until is not None:
        later = driver.availability_until + timedelta(minutes=command.duration_minutes)
        until = max(driver.availability_until, min(later, world.now + LONGEST_BREAK))
    return _step_back(
        world, command.driver_id, "on_break", visible(command.reason) or "driver_requested", command.actor, until
    )


def pause(command: c.Pause, world: World) -> Decided | r.Refusal:
    """No offers until they resume."""
    return _step_back(world, command.driver_id, "paused", "driver_paused", command.actor)


def end_shift(command: c.EndShift, world: World) -> Decided | r.Refusal:
    """Home, from any state; they stay so until they resume."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    return change_to(world, driver, "shift_ended", "driver_shift_end", command.actor)


def resume(command: c.Resume, world: World) -> Decided | r.Refusal:
    """Makes the driver available, from any state; the count of unanswered offers restarts."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    if driver.availability == "available" and driver.expiries_in_a_row:
        forgiven = e.ExpiriesForgiven(at=world.now, actor=command.actor, driver_id=driver.id)
        return Decided((forgiven,), driver_id=driver.id)
    return change_to(world, driver, "available", "driver_resumed", command.actor)


def end_break(command: c.EndBreak, world: World) -> Decided | r.Refusal:
    """At a break's end the driver becomes available. A driver who lapsed meanwhile stays offline."""
    driver = world.driver(command.driver_id)
    until = driver.availability_until
    if driver.availability != "on_break" or until is None or until > world.now:
        return r.BREAK_NOT_OVER
    return change_to(world, driver, "available", "break_expired", command.actor)


def set_availability(command: c.SetAvailability, world: World) -> Decided | r.Refusal:
    """Ops set any availability, from any state; a break with a duration ends by itself.

    Refused if the availability has changed since `changed_at`, if that is given.
    """
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    if command.changed_at is not None and command.changed_at != driver.last_availability_change:
        return r.VERSION_CHANGED
    until = None
    if command.availability == "on_break" and command.duration_minutes is not None:
        until = world.now + timedelta(minutes=command.duration_minutes)
    return change_to(world, driver, command.availability, command.reason, command.actor, until)


def _step_back(
    world: World,
    driver_id: str,
    to: Availability,
    reason: str,
    actor: Actor,
    until: datetime | None = None,
) -> Decided | r.Refusal:
    driver = world.driver(driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    if driver.availability == "shift_ended":
        return r.driver_not_available("shift_ended")
    if driver.availability == "offline" and driver.availability_before is None:
        return r.driver_not_available("offline")
    return change_to(world, driver, to, reason, actor, until)


def change_to(
    world: World,
    driver: Driver,
    to: Availability,
    reason: str,
    actor: Actor,
    until: datetime | None = None,
) -> Decided:
    """Move a driver to `to`; leaving the available state withdraws their open offer."""
    settled = driver.availability == to and driver.availability_before is None
    if settled and (to != "on_break" or (until is None and driver.availability_until is None)):
        return Decided(driver_id=driver.id, repeated=True)
    happened: list[e.Event] = [
        e.AvailabilityChanged(
            at=world.now,
            actor=actor,
            driver_id=driver.id,
            from_=driver.availability,
            to=to,
            reason=reason,
            until=until,
            forgiven=to == "available" and actor != SYSTEM,
        )
    ]
    if to != "available" and driver.open_offer_id is not None:
        assert driver.open_offer_delivery_id is not None
        world.delivery(driver.open_offer_delivery_id)
        happened.append(
            e.OfferWithdrawn(
                at=world.now,
                actor=actor,
                delivery_id=driver.open_offer_delivery_id,
                driver_id=driver.id,
                offer_id=driver.open_offer_id,
                reason=to,
            )
        )
    return Decided(tuple(happened), driver_id=driver.id)
