"""Random commands, repeats, late answers and jumps of the clock: what must hold after every step, holds."""

import copy
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import update_runs
from server.dispatch.matching import Candidate, Waiting, match
from server.dispatch.model import SYSTEM, Actor, Delivery, Driver, Offer, Place, Point, Position, Proof, RunStop, Work
from server.dispatch.offers import dispatchable, exclusion, unfit, wants_offer
from server.dispatch.policy import EscalationLevel, PlanningPolicy, Policy, WatchPolicy
from server.dispatch.refusals import PIN_WRONG, Refusal
from server.dispatch.risks import WORST_FIRST
from server.dispatch.sameness import Posted
from server.dispatch.world import World
from server.write.save import DeliveryRow
from tests.builders import ADA, ALICE, NODE, NOW, SHOP, by, id_of
from tests.dispatch.invariants import broken_invariants

NAMES = ("Dan", "Dora", "Max", "Nora")
ORDERS = ("soup", "cake", "rice")
PLACES = (Place(52.520, 13.405), Place(52.521, 13.406), Place(52.560, 13.405), Place(52.595, 13.405))
FAR = Place(48.14, 11.58)
PIN = "0417"
POLICIES = (
    Policy(),
    Policy(expiry_policy="next_driver", reoffer_cooldown_seconds=0),
    Policy(
        pause_after_expiries=1,
        escalation=(EscalationLevel(1, 60, ("ticket",)), EscalationLevel(4, 120, ("notify_critical", "cancel"))),
        watch=WatchPolicy(gone_seconds=2, late_minutes=0, release_gone_seconds=60),
    ),
    Policy(planning=PlanningPolicy(next_jobs=1, max_extra_minutes=0)),
)
NOT_REPEATABLE = (c.TakeBreak, c.SetAvailability, c.DelayDelivery)
"""Said again these set a new end, or a later one, which is what they are for."""

drivers = st.sampled_from(NAMES).map(id_of)
places = st.sampled_from(PLACES)
pick = st.integers(min_value=0, max_value=999)


class Dispatch(RuleBasedStateMachine):
    """One world that holds everything; each command gets its own world over the same rows, like a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.policy = Policy()
        self.deliveries: dict[str, Delivery | None] = {}
        self.drivers: dict[str, Driver | None] = {id_of(name): None for name in NAMES}
        self.by_external_ref: dict[str, str] = {}
        self.ids = (id_of(f"made {number}") for number in count())
        self.posted: dict[str, Posted] = {}
        self.runs: dict[str, tuple[RunStop, ...]] = {}
        self.declined: set[tuple[str, str]] = set()
        self.at_risk: set[tuple[str | None, str]] = set()
        self.on_socket_since: dict[str, datetime] = {}
        self.socket_lost: dict[str, datetime] = {}
        self.remember()

    # Doing

    def world(self) -> World:
        posted = dict.fromkeys(self.deliveries) | self.posted
        work = {driver_id: Work(stops) for driver_id, stops in self.runs.items()}
        rows = (self.deliveries, self.drivers, self.by_external_ref)
        return World(self.now, self.policy, *rows, posted=posted, work=work)

    def do(self, command: c.Command) -> Decided | Refusal:
        """Decide and apply; check what is true of every decision; then say it again."""
        world = self.world()
        before, command_before = copy.deepcopy(world), copy.deepcopy(command)
        decided = decide(command, world)
        assert vars(world) == vars(before), "deciding changed the world"
        assert command == command_before, "deciding changed the command"
        if isinstance(decided, Refusal):
            assert (self.deliveries, self.drivers) == self.saved, "a refusal changed rows"
            assert nothing_to_save(world), "a refusal left something to save"
        if isinstance(decided, Decided):
            for event in decided.events:
                self.judge(event, world)
                apply(world, event)
            update_runs(decided.events, world)
            replay = before
            for event in decided.events:
                apply(replay, event)
            update_runs(decided.events, replay)
            assert state(replay) == state(world), "the events alone do not tell the whole story"
            self.judge_load(decided.events, world)
            assert unsaved(self.saved, world) == []
            self.policy = world.policy
            self.posted = world.new_posted | self.posted
            self.runs |= world.changed_runs
            self.remember()
            if not isinstance(command, NOT_REPEATABLE):
                self.repeat(command, decided)
        return decided

    def repeat(self, command: c.Command, first: Decided) -> None:
        again = decide(command, self.world())
        if isinstance(again, Decided):
            if isinstance(command, c.Complete) and first.refusal == PIN_WRONG and command.action.action_id is None:
                [event] = again.events
                assert isinstance(event, e.PinWrong), "each wrong PIN is one more try"
            else:
                assert again.events == ()
            assert (again.delivery_id, again.assignment_id) in (
                (first.delivery_id, first.assignment_id),
                (first.delivery_id, None),
            )
        elif first.refusal is None:
            assert not isinstance(command, c.AcceptOffer | c.RejectOffer | c.Complete | c.PickUp | c.CreateDelivery)

    def judge(self, event: e.Event, world: World) -> None:
        """What an event must not be in the world it happens in."""
        if isinstance(event, e.OfferAccepted | e.OfferRejected | e.OfferExpired):
            _, offer = world.offer(event.offer_id or "")
            in_time = world.now < offer.expires_at
            assert in_time == (not isinstance(event, e.OfferExpired)), "the deadline was not kept"
            if isinstance(event, e.OfferRejected):
                self.declined.add((event.delivery_id or "", event.driver_id or ""))
            if isinstance(event, e.OfferExpired) and event.auto_accepted:
                assert offer.received_at is not None
                self.judge_silence(offer)
        if isinstance(event, e.DriverConnected):
            self.on_socket_since.setdefault(event.driver_id or "", world.now)
        if isinstance(event, e.DriverDisconnected):
            del self.on_socket_since[event.driver_id or ""]
            self.socket_lost[event.driver_id or ""] = event.lost_at
        if isinstance(event, e.OfferCreated) and event.actor == SYSTEM and event.reason != "changed":
            assert (event.delivery_id, event.driver_id) not in self.declined, "offered again to who said no"
        if isinstance(event, e.DeliveryAtRisk):
            assert (event.delivery_id, event.risk) not in self.at_risk, "at risk twice"
            self.at_risk.add((event.delivery_id, event.risk))
        if isinstance(event, e.DeliveryRecovered):
            assert (event.delivery_id, event.risk) in self.at_risk, "recovered of nothing"
            self.at_risk.remove((event.delivery_id, event.risk))
        if isinstance(event, e.DeliveryReassigned | e.DeliveryReleased):
            self.declined.add((event.delivery_id or "", event.driver_id or ""))
        if isinstance(event, e.DeliveryEscalated):
            delivery = world.deliveries[event.delivery_id or ""]
            assert delivery is not None
            assert delivery.unassigned is not None
            assert event.level > delivery.unassigned.escalation_level, "a level reached twice"

    def judge_load(self, events: tuple[e.Event, ...], world: World) -> None:
        """Nobody gets more than their capacity and the next jobs of the policy, open offers included."""
        for event in events:
            resized = isinstance(event, e.DriverChanged) and "capacity" in event.changes
            if event.driver_id is not None and (resized or isinstance(event, e.OfferCreated | e.DeliveryAssigned)):
                driver = world.driver(event.driver_id)
                has = driver.active_count + (driver.open_offer_id is not None)
                assert has <= driver.capacity + world.policy.planning.next_jobs, f"{has} of {driver.capacity}"

    def judge_silence(self, offer: Offer) -> None:
        """Nobody is given an order at the deadline who had a socket while the offer ran, and none then."""
        since = self.on_socket_since.get(offer.driver_id)
        lost = self.socket_lost.get(offer.driver_id)
        if since is not None:
            assert since <= offer.expires_at, "they came after the deadline"
        else:
            assert lost is None or lost < offer.created_at, "their phone was gone"

    # Choosing

    def offers(self) -> list[tuple[str, str]]:
        return [(o.id, o.driver_id) for d in self.deliveries.values() if d is not None for o in d.offers.values()]

    def open_offers(self) -> list[tuple[str, str]]:
        return [(o.id, o.driver_id) for d in self.deliveries.values() if d is not None and (o := d.open_offer())]

    def assignments(self) -> list[tuple[str, str, int]]:
        return [
            (a.id, a.driver_id, a.version)
            for d in self.deliveries.values()
            if d is not None
            for a in sorted(d.assignments.values(), key=lambda a: a.status != "ACTIVE")
        ]

    def delivery_id(self, number: int) -> str:
        known = list(self.deliveries)
        return known[-1 - number % min(4, len(known))]

    def remember(self) -> None:
        """What would be in the database now."""
        self.saved = copy.deepcopy((self.deliveries, self.drivers))

    # Drivers

    @initialize(
        capacities=st.tuples(*[st.sampled_from([1, 2, 3])] * len(NAMES)),
        policy=st.sampled_from(POLICIES),
        orders=st.sets(st.sampled_from(ORDERS)),
    )
    def the_shift_begins(self, capacities: tuple[int, ...], policy: Policy, orders: set[str]) -> None:
        self.policy = policy
        for name, capacity in zip(NAMES, capacities, strict=True):
            zone = "airport" if name == "Max" else "default"
            self.do(c.RegisterDriver(id_of(name), name, zone, capacity, SHOP, external_ref=name))
            self.do(c.ConnectDriver(id_of(name), id_of("s1"), NODE, by(id_of(name))))
        self.phones_report(PLACES[0])
        for order in sorted(orders):
            self.create(order, PLACES[0], 0, True)

    def phones_report(self, place: Point) -> None:
        """Positions and calls are written outside the rules."""
        for driver in self.drivers.values():
            assert driver is not None
            if driver.session_id is not None:
                driver.position = Position(place.lat, place.lon, self.now)
        self.remember()

    @rule(driver_id=drivers, session=st.sampled_from(["s1", "s2"]), what=st.integers(0, 4))
    def come_and_go(self, driver_id: str, session: str, what: int) -> None:
        match what:
            case 0:
                self.do(c.DisconnectDriver(driver_id, id_of(session)))
            case 1:
                self.do(c.DisconnectDriver(driver_id, id_of(session), lost_at=self.now - timedelta(seconds=3)))
            case 2:
                driver = self.drivers[driver_id]
                assert driver is not None
                driver.last_call_at = self.now
                self.remember()
                self.do(c.SeeDriver(driver_id, by(driver_id)))
            case _:
                self.do(c.ConnectDriver(driver_id, id_of(session), NODE, by(driver_id)))

    @rule(
        driver_id=drivers,
        kind=st.sampled_from([c.Pause, c.EndShift, c.Resume, c.Resume, c.Resume, c.TakeBreak]),
        length=st.sampled_from([5, 120]),
    )
    def want_something_else(self, driver_id: str, kind: Any, length: int) -> None:
        if kind is c.TakeBreak:
            self.do(c.TakeBreak(driver_id, length, by(driver_id)))
        else:
            self.do(kind(driver_id, by(driver_id)))

    @rule(
        driver_id=drivers,
        to=st.sampled_from(["available", "available", "on_break", "paused", "shift_ended", "offline"]),
        length=st.sampled_from([None, 5]),
    )
    def get_another_reason(self, driver_id: str, to: Any, length: int | None) -> None:
        self.do(c.SetAvailability(driver_id, to, "by hand", ADA, length))

    # Orders and people

    @rule(
        order=st.sampled_from(ORDERS),
        place=places,
        later=st.sampled_from([0, 0, 0, 600]),
        body=st.booleans(),
        wants=st.sampled_from(["nothing", "nothing", "cold", "proof", "far"]),
    )
    def create(self, order: str, place: Place, later: int, body: bool, wants: str = "nothing") -> None:
        self.do(
            c.CreateDelivery(
                delivery_id=next(self.ids),
                seller_id="shop",
                seller_order_id=f"{order} {self.now.hour}",
                store_name="Green Bowl",
                zone="default",
                pickup=place,
                dropoff=FAR if wants == "far" else PLACES[0],
                prep_seconds=300,
                fingerprint=f"{order} {body} {wants}",
                notes="no onions" if body else None,
                requirements=("cold",) if wants == "cold" else (),
                proof_required=("pin",) if wants == "proof" else (),
                spare_pin=PIN,
                actor=SHOP,
                dispatch_at=self.now + timedelta(seconds=later),
            )
        )

    @precondition(lambda self: self.deliveries)
    @rule(order=st.sampled_from(ORDERS), actor=st.sampled_from([SHOP, ALICE, ADA]), force=st.booleans())
    def cancel(self, order: str, actor: Actor, force: bool) -> None:
        """Only orders of this hour, so that cancelling does not empty the board."""
        for delivery in list(self.deliveries.values()):
            if delivery is not None and delivery.seller_order_id == f"{order} {self.now.hour}":
                self.do(c.CancelDelivery(delivery.id, "changed their mind", actor, force))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, driver_id=drivers, direct=st.booleans(), early=st.booleans(), replace=st.booleans())
    def assign(self, number: int, driver_id: str, direct: bool, early: bool, replace: bool) -> None:
        ids = (self.delivery_id(number), driver_id, "near", direct, next(self.ids), next(self.ids))
        self.do(c.AssignDelivery(*ids, ALICE, early=early, replace_offer=replace))

    @precondition(lambda self: self.deliveries)
    @rule(
        number=pick,
        changes=st.sampled_from(
            [
                {"dropoff": PLACES[2]},
                {"dropoff": FAR},
                {"pickup": PLACES[1]},
                {"requirements": ("cold",)},
                {"requirements": ()},
                {"tip_cents": 100},
                {"prep_seconds": 3000},
                {"proof_required": ("pin",), "spare_pin": PIN},
                {"notes": None},
                {"promised_at": NOW},
                {"dispatch_at": NOW + timedelta(hours=2)},
            ]
        ),
        stale=st.booleans(),
    )
    def change(self, number: int, changes: dict[str, Any], stale: bool) -> None:
        delivery = self.deliveries[self.delivery_id(number)]
        assert delivery is not None
        version = delivery.version - 1 if stale else delivery.version
        self.do(c.ChangeDelivery(delivery.id, version, next(self.ids), SHOP, **changes))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, minutes=st.sampled_from([0, 1, 30]))
    def the_kitchen_speaks(self, number: int, minutes: int) -> None:
        delivery_id, new_offer = self.delivery_id(number), next(self.ids)
        if minutes:
            self.do(c.DelayDelivery(delivery_id, minutes, new_offer, SHOP))
        else:
            self.do(c.MarkReady(delivery_id, new_offer, SHOP))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick)
    def after_all(self, number: int) -> None:
        """What was cancelled or came to nothing is wanted again."""
        for delivery_id in list(self.deliveries) if number % 2 else [self.delivery_id(number)]:
            self.do(c.RestoreDelivery(delivery_id, ALICE))
            self.do(c.RetryDelivery(delivery_id, "home now", ALICE))

    @rule(
        driver_id=drivers,
        changes=st.sampled_from(
            [{"tags": ("cold",)}, {"tags": ("cold", "van")}, {"capacity": 1}, {"capacity": 3}, {"shift_ends_at": None}]
        ),
    )
    def drivers_change(self, driver_id: str, changes: dict[str, Any]) -> None:
        self.do(c.ChangeDriver(driver_id, ADA, **changes))

    @rule(driver_id=drivers, what=st.sampled_from(["go", "come", "come", "go home soon"]))
    def drivers_go(self, driver_id: str, what: str) -> None:
        match what:
            case "go":
                self.do(c.DeactivateDriver(driver_id, ADA))
            case "come":
                self.do(c.ReactivateDriver(driver_id, ADA))
            case _:
                self.do(c.ChangeDriver(driver_id, ADA, shift_ends_at=self.now + timedelta(seconds=300)))

    @precondition(lambda self: self.assignments())
    @rule(
        number=pick,
        taker=st.none() | drivers,
        direct=st.booleans(),
        force=st.booleans(),
        stale=st.booleans(),
        pause=st.booleans(),
    )
    def reassign(self, number: int, taker: str | None, direct: bool, force: bool, stale: bool, pause: bool) -> None:
        assignments = self.assignments()
        assignment_id, _, version = assignments[number % len(assignments)]
        self.do(
            c.Reassign(
                assignment_id,
                "too slow",
                next(self.ids),
                next(self.ids),
                ADA,
                taker,
                direct,
                force,
                version + 1 if stale else version,
                pause,
            )
        )

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, note=st.sampled_from([None, "calling the store"]))
    def acknowledge(self, number: int, note: str | None) -> None:
        self.do(c.Acknowledge(self.delivery_id(number), ALICE, note))

    @rule(policy=st.sampled_from(POLICIES), stale=st.booleans())
    def change_policy(self, policy: Policy, stale: bool) -> None:
        version = self.policy.version + (1 if stale else 0)
        self.do(c.ChangePolicy(structs.replace(policy, version=version), ADA))

    # Answers

    @precondition(lambda self: self.offers())
    @rule(number=pick, answer=st.sampled_from(["accept", "accept", "reject", "received", "received"]))
    def answer(self, number: int, answer: str) -> None:
        """An open offer, if there is one and nobody insists on another."""
        offers = self.open_offers() if number % 4 else self.offers()
        offer_id, driver_id = (offers or self.offers())[number % len(offers or self.offers())]
        match answer:
            case "accept":
                self.do(c.AcceptOffer(offer_id, driver_id, next(self.ids), by(driver_id)))
            case "reject":
                self.do(c.RejectOffer(offer_id, driver_id, by(driver_id), "too far"))
            case _:
                self.do(c.ConfirmReceipt(offer_id, driver_id, by(driver_id)))

    @precondition(lambda self: self.assignments())
    @rule(
        number=pick,
        what=st.sampled_from(
            [
                "arrived",
                "picked up",
                "picked up",
                "completed",
                "completed",
                "wrong",
                "release",
                "end",
                "return",
                "proof",
            ]
        ),
        ago=st.sampled_from([0, 0, 60]),
        named=st.booleans(),
        by_ops=st.sampled_from([False, False, True]),
    )
    def progress(self, number: int, what: str, ago: int, named: bool, by_ops: bool) -> None:
        """What a driver says of a job, at once or later, or ops for them; with its own id, or none."""
        assignments = self.assignments()
        job, theirs, _ = assignments[number % len(assignments)]
        action_id = id_of(f"{job} {what} {number}") if named else None
        action = c.Action(action_id, self.now - timedelta(seconds=ago), self.now)
        who, actor = (None, ALICE) if by_ops else (theirs, by(theirs))
        command: c.Command
        match what:
            case "arrived":
                command = c.Arrive(job, who, "dropoff" if number % 2 else "pickup", actor, action)
            case "picked up":
                command = c.PickUp(job, who, actor, action)
            case "completed" | "wrong":
                command = c.Complete(job, who, actor, action, PIN if what == "completed" else "9999")
            case "release":
                command = c.Release(job, who, "unwell", actor, action=action)
            case "proof":
                command = c.AddProof(job, who, Proof(id_of(f"{job} {number % 3}"), "photo"), actor, action)
            case then:
                command = c.Fail(job, who, "refused", actor, then=then, action=action)  # type: ignore[arg-type]
        self.do(command)

    # Clock

    @rule(jump=st.sampled_from([1, 10, 29, 30, 31, 45, 90, 120, 300, 900]), on_time=st.booleans(), place=places)
    def time_passes(self, jump: int, on_time: bool, place: Point) -> None:
        self.now += timedelta(seconds=jump)
        self.phones_report(place)
        if on_time:
            self.the_clock_sweeps()

    @rule(
        answer=st.sampled_from(["late accept", "late reject", "received", "nothing"]),
        phone=st.sampled_from(["stays", "stays", "goes", "goes and calls", "is away for a moment", "is back too late"]),
    )
    def an_offer_is_let_go_by(self, answer: str, phone: str) -> None:
        self.the_search_matches()
        offers = self.open_offers()
        if answer != "nothing":
            for offer_id, driver_id in offers:
                self.do(c.ConfirmReceipt(offer_id, driver_id, by(driver_id)))
        self.now += timedelta(seconds=15)
        if phone != "stays":
            self.phones_leave([driver_id for _, driver_id in offers], phone)
        self.now += timedelta(seconds=15)
        if phone == "is back too late":
            self.now += timedelta(seconds=1)
            for _, driver_id in offers:
                self.do(c.ConnectDriver(driver_id, id_of("s2"), NODE, by(driver_id)))
        self.phones_report(PLACES[0])
        for offer_id, driver_id in offers:
            match answer:
                case "late accept":
                    self.do(c.AcceptOffer(offer_id, driver_id, next(self.ids), by(driver_id)))
                case "late reject":
                    self.do(c.RejectOffer(offer_id, driver_id, by(driver_id)))
            self.do(c.ExpireOffer(offer_id, next(self.ids)))

    def phones_leave(self, driver_ids: list[str], how: str) -> None:
        for driver_id in driver_ids:
            driver = self.drivers[driver_id]
            assert driver is not None
            if driver.session_id is not None:
                self.do(c.DisconnectDriver(driver_id, driver.session_id))
            if how == "goes and calls":
                driver.last_call_at = self.now
                self.remember()
                self.do(c.SeeDriver(driver_id, by(driver_id)))
            if how == "is away for a moment":
                self.do(c.ConnectDriver(driver_id, id_of("s1"), NODE, by(driver_id)))

    @precondition(lambda self: self.deliveries)
    @rule(driver_id=drivers, number=pick)
    def the_search_picks(self, driver_id: str, number: int) -> None:
        """Any pick, even a foolish one: the rules decide again."""
        self.do(c.OfferDelivery(self.delivery_id(number), driver_id, next(self.ids), 52.52, 13.4))

    @precondition(lambda self: self.declined)
    @rule()
    def the_search_forgets_who_said_no(self) -> None:
        """Drivers who declined, or lost the delivery to a reassignment: a buggy search would try them again."""
        for delivery_id, driver_id in sorted(self.declined):
            self.do(c.OfferDelivery(delivery_id, driver_id, next(self.ids), 52.52, 13.4))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, minutes=st.sampled_from([1, 3, 30]))
    def the_search_holds(self, number: int, minutes: int) -> None:
        self.do(c.HoldDelivery(self.delivery_id(number), self.now + timedelta(minutes=minutes)))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, early=st.booleans())
    def a_hold_ends(self, number: int, early: bool) -> None:
        self.do(c.EndHold(self.delivery_id(number), early))

    @rule()
    def the_search_matches(self) -> None:
        """What the matcher does; each of its pairs is one the rules agree to."""
        free = [
            Candidate(driver.id, driver.position.lat, driver.position.lon)
            for driver in self.drivers.values()
            if driver is not None and driver.position is not None and driver.zone == "default"
            if dispatchable(driver, self.now, self.policy) is None
        ]
        waiting = [
            Waiting(d.id, d.pickup.lat, d.pickup.lon, d.unassigned_since, 5, self.excluded(d))
            for d in self.deliveries.values()
            if d is not None and d.unassigned_since is not None and wants_offer(d)
        ]
        for pair in match(waiting, free, self.now, self.policy).pairs:
            decided = self.do(c.OfferDelivery(pair.delivery_id, pair.driver_id, next(self.ids), pair.lat, pair.lon))
            assert isinstance(decided, Decided), decided
        for delivery in waiting:
            known = self.deliveries[delivery.delivery_id]
            if known is not None and known.current_offer_id is None:
                self.do(c.NoteFailedSearch(delivery.delivery_id, "no_driver_available"))

    def excluded(self, delivery: Delivery) -> dict[str, str]:
        reasons = {id_of(name): exclusion(delivery, id_of(name), self.now, self.policy) for name in NAMES}
        for driver_id, driver in self.drivers.items():
            assert driver is not None
            reasons[driver_id] = reasons[driver_id] or unfit(delivery, driver, self.now, self.policy)
        return {driver_id: reason for driver_id, reason in reasons.items() if reason is not None}

    @rule()
    def the_clock_sweeps(self) -> None:
        """Everything that may be due is tried; the rules say what is."""
        for offer_id, _ in self.offers():
            self.do(c.ExpireOffer(offer_id, next(self.ids)))
        for delivery_id in list(self.deliveries):
            self.do(c.DispatchDelivery(delivery_id))
            self.do(c.EndHold(delivery_id))
            self.do(c.Escalate(delivery_id, next(self.ids)))
            self.the_watch_looks(delivery_id)
        for driver_id in self.drivers:
            self.do(c.EndBreak(driver_id))
            self.do(c.LapsePresence(driver_id))
        holds = [delivery.held_until for delivery in self.deliveries.values() if delivery is not None]
        assert all(until is None or until > self.now for until in holds), "a hold continues after its deadline"

    def the_watch_looks(self, delivery_id: str) -> None:
        delivery = self.deliveries[delivery_id]
        assignment = delivery.active_assignment() if delivery is not None else None
        if delivery is None or assignment is None:
            return
        for code in WORST_FIRST:
            self.do(c.ClearRisk(delivery_id, code) if delivery.at_risk(code) else c.RaiseRisk(delivery_id, code))
        self.do(c.EscalateRisk(delivery_id, next(self.ids)))
        self.do(c.ReleaseGone(assignment.id))

    @precondition(lambda self: self.deliveries)
    @rule(number=pick, driver_id=drivers, early=st.booleans())
    def somebody_asks_for_a_search(self, number: int, driver_id: str, early: bool) -> None:
        """A scheduled delivery is dispatched by its offer, or not at all."""
        delivery_id = self.delivery_id(number)
        status = self.status(delivery_id)
        decided = self.do(c.OfferDelivery(delivery_id, driver_id, next(self.ids), 52.52, 13.4, SHOP, early))
        if isinstance(decided, Refusal) or decided.repeated:
            assert self.status(delivery_id) == status
        else:
            assert status == "READY" or early
            assert self.status(delivery_id) == "READY"

    def status(self, delivery_id: str) -> str:
        delivery = self.deliveries[delivery_id]
        assert delivery is not None
        return delivery.status

    @invariant()
    def nothing_is_broken(self) -> None:
        assert broken_invariants(self.world(), whole=True) == []

    @invariant()
    def every_risk_was_raised_and_none_ended_without_a_word(self) -> None:
        there = {(d.id, risk.code) for d in self.deliveries.values() if d is not None for risk in d.risks}
        assert there == self.at_risk


def state(world: World) -> tuple[Any, ...]:
    """All that a world knows."""
    rows = world.deliveries, world.drivers, world.policy, world.by_seller_key, world.by_external_ref
    return *rows, world.changed_runs


def nothing_to_save(world: World) -> bool:
    """Whether a batch would write nothing at all."""
    return not any(value for name, value in vars(world).items() if name.startswith(("new_", "changed_", "amended_")))


ORDERED = set(Delivery.__struct_fields__) - set(DeliveryRow.__struct_fields__)
"""What of a delivery is saved only if it is amended."""


def unsaved(saved: tuple[Any, Any], world: World) -> list[str]:
    """Rows that changed, but are not among those to be saved; or whose version did not rise."""
    found = []
    deliveries_before, drivers_before = saved
    for delivery in world.deliveries.values():
        assert delivery is not None
        before = deliveries_before.get(delivery.id)
        if before is None:
            found += [] if delivery.id in world.new_deliveries else [f"new delivery {delivery.id}"]
            before = structs.replace(delivery, unassigned=None, offers={}, assignments={})
        bare, bare_before = (structs.replace(d, unassigned=None, offers={}, assignments={}) for d in (delivery, before))
        if bare != bare_before and delivery.id not in world.changed_deliveries:
            found.append(f"delivery {delivery.id}")
        if delivery.id not in world.new_deliveries and delivery.id not in world.amended_deliveries:
            seldom = [name for name in ORDERED if getattr(bare, name) != getattr(bare_before, name)]
            found += [f"{name} of delivery {delivery.id}" for name in seldom]
        if bare != bare_before and delivery.version <= before.version:
            found.append(f"version of delivery {delivery.id}")
        if delivery.unassigned != before.unassigned:
            marked = world.changed_waits if before.unassigned is not None else world.new_waits
            if marked.get(delivery.id) is not delivery.unassigned:
                found.append(f"wait of {delivery.id}")
        for kind, rows, rows_before, new, changed in (
            ("offer", delivery.offers, before.offers, world.new_offers, world.changed_offers),
            ("assignment", delivery.assignments, before.assignments, world.new_assignments, world.changed_assignments),
        ):
            for row_id, row in rows.items():
                marked_rows: Any = changed if row_id in rows_before else new
                if row != rows_before.get(row_id) and marked_rows.get(row_id) is not row:
                    found.append(f"{kind} {row_id}")
    for driver_id, driver in world.drivers.items():
        before = drivers_before.get(driver_id)
        marked_drivers = world.changed_drivers if before is not None else world.new_drivers
        if driver != before and marked_drivers.get(driver_id) is not driver:
            found.append(f"driver {driver_id}")
    return found


Dispatch.TestCase.settings = settings(max_examples=100, stateful_step_count=60, suppress_health_check=list(HealthCheck))
TestDispatch = Dispatch.TestCase
