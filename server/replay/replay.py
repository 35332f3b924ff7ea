"""A day in virtual time: the planner proposes, the rules decide, and simulated couriers answer and ride.

Every change goes through `decide` and `apply`, on a world in memory. Couriers follow the stops of the plan, as far as
these are theirs. Nothing is random: answers follow from the seed and the names of order and courier.
"""

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from typing import Final, Literal

from msgspec import Struct

from server.dispatch import commands as c
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Actor, Place, Position
from server.dispatch.planning.fleet import Fleet
from server.dispatch.planning.plan import NO_PLAN, Plan, plan
from server.dispatch.policy import Policy
from server.dispatch.world import World
from server.replay.couriers import Rider
from server.replay.one_each import propose
from server.replay.virtual_day import instant_of, policy_of, spot_of, travel_of
from server.simulate.day import Courier, Day, Order

SOURCE: Final = Actor("service", "replay")
ROUND_SECONDS: Final = 30.0
"""How often the planner plans, beside whenever a courier rejects."""
ORDERS_AT_ONCE: Final = 5
"""How many offers in a row a courier who answers at once can get in a round."""

Dispatcher = Literal["planner", "nearest", "best_total"]
"""`nearest`: each order at once to the nearest free courier. `best_total`: the best total of all pairs each minute.
Both give a courier one order at a time (`one_each.py`).
"""


class Options(Struct, frozen=True):
    """How a day is replayed. `reject` is the share of offers that couriers reject; they answer after `answer` (from,
    to) seconds. `seed` decides both, for each order and courier alone. `until` is in seconds from the start of the day.
    """

    reject: float = 0.0
    answer: tuple[float, float] = (0.0, 0.0)
    capacity: int = 3
    seed: int = 0
    until: float | None = None
    dispatcher: Dispatcher = "planner"


class Carried(Struct):
    """What became of an order, in seconds from the start of the day."""

    order: str
    courier: str
    offered_at: float
    assigned_at: float
    picked_up_at: float | None = None
    delivered_at: float | None = None


class OfferAnswered(Struct, frozen=True):
    """An offer, in seconds from the start of the day. `outcome` is `accepted` or `rejected`."""

    order: str
    courier: str
    offered_at: float
    answered_at: float
    outcome: str


class Replay:
    """One day. `run` plays it. `carried` (by order) and `offers` are what came of it."""

    def __init__(self, day: Day, policy: Policy, options: Options = Options()) -> None:  # noqa: B008
        self.carried: dict[str, Carried] = {}
        self.offers: list[OfferAnswered] = []
        self._day, self._options = day, options
        self._policy, self._travel = policy_of(day, policy, options.answer[1]), travel_of(day)
        self._world = World(instant_of(0), self._policy, {}, {})
        self._fleet = Fleet()
        self._plan: Plan = NO_PLAN
        self._orders = {order.name: order for order in day.orders}
        self._riders: dict[str, Rider] = {}
        self._now = 0.0
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._last_off = max((courier.off for courier in day.couriers), default=0.0)

    def run(self, progress: Callable[[float, int, int], None] = lambda now, placed, delivered: None) -> None:
        """Play the day to its end, or to `options.until`. Once a virtual hour, `progress` gets the time in seconds and
        the numbers of placed and of delivered orders.
        """
        for courier in sorted(self._day.couriers, key=lambda courier: courier.name):
            self._at(courier.on, 1, partial(self._begin_shift, courier))
        for order in sorted(self._day.orders, key=lambda order: order.name):
            self._at(order.placed, 2, partial(self._place, order))
        self._at(0.0, 9, self._round)
        hour = 0.0
        while self._events and (self._options.until is None or self._events[0][0] <= self._options.until):
            self._now, _, _, what = heappop(self._events)
            if self._now >= hour:
                progress(self._now, len(self._world.new_deliveries), sum(1 for _ in self._delivered()))
                hour = self._now - self._now % 3600 + 3600
            self._world.now = instant_of(self._now)
            what()

    def _delivered(self) -> Iterator[Carried]:
        return (one for one in self.carried.values() if one.delivered_at is not None)

    def _at(self, when: float, rank: int, what: Callable[[], None]) -> None:
        """Schedule it. Of what happens at one time, a lower rank comes first, then what was scheduled first."""
        self._scheduled += 1
        heappush(self._events, (when, rank, self._scheduled, what))

    def _do(self, command: c.Command) -> None:
        decided = decide(command, self._world)
        if not isinstance(decided, Decided) or decided.refusal is not None:
            raise AssertionError(f"{command} was refused: {decided}")
        for event in decided.events:
            apply(self._world, event)
        if decided.delivery_id is not None:
            self._fleet.put_delivery(self._world.locked_delivery(decided.delivery_id))

    def _begin_shift(self, courier: Courier) -> None:
        name, off = courier.name, instant_of(courier.off)
        self._world.drivers[name] = None
        self._do(c.RegisterDriver(name, name, "default", self._options.capacity, SOURCE, shift_ends_at=off))
        self._do(c.ConnectDriver(name, f"session of {name}", "replay", Actor("driver", name)))
        self._riders[name] = rider = Rider(courier)
        self._fleet.put_driver(self._world.known_driver(name))
        self._fleet.put_place(name, rider.where())

    def _place(self, order: Order) -> None:
        self._world.deliveries[order.name] = None
        preparation = max(0, round(order.ready - order.placed))
        pickup, dropoff = Place(*spot_of(order.pickup)), Place(*spot_of(order.dropoff))
        self._do(
            c.CreateDelivery(
                order.name, "replay", order.name, order.restaurant, "default", pickup, dropoff, preparation, "", SOURCE
            )
        )

    def _round(self) -> None:
        """A regular plan."""
        if self._now < self._last_off:
            self._at(self._now + ROUND_SECONDS, 9, self._round)
        self._propose()

    def _propose(self) -> None:
        """Plan, and make the offers that are due. A courier who answers at once can get another one at once."""
        for rider in self._riders.values():
            spot = rider.spot_at(self._now)
            self._world.known_driver(rider.name).position = Position(*spot, self._world.now)
        for _ in range(ORDERS_AT_ONCE):
            if self._options.dispatcher == "planner":
                self._plan = plan(self._fleet, self._world.now, self._travel, self._policy, self._plan)
            else:
                together = self._options.dispatcher == "best_total"
                self._plan = propose(
                    self._fleet, self._world.now, self._travel, self._policy, self._plan, together=together
                )
            for proposal in self._plan.proposals:
                self._offer(proposal.delivery_id, proposal.driver_id, proposal.lat, proposal.lon)
            if not self._plan.proposals or self._options.answer[1]:
                break

    def _chance(self, what: str, order: str, courier: str) -> float:
        """A number in [0, 1) that follows from the seed and the names."""
        text = f"{self._options.seed}\n{what}\n{order}\n{courier}"
        return int.from_bytes(sha256(text.encode()).digest()[:6]) / 2**48

    def _offer(self, order: str, courier: str, lat: float, lon: float) -> None:
        offer_id = f"{order} to {courier}"
        self._do(c.OfferDelivery(order, courier, offer_id, lat, lon))
        fastest, slowest = self._options.answer
        seconds = fastest + (slowest - fastest) * self._chance("seconds", order, courier)
        answer = partial(self._answer, order, courier, offer_id, self._now)
        if seconds:
            self._at(self._now + seconds, 3, answer)
        else:
            answer()

    def _answer(self, order: str, courier: str, offer_id: str, offered_at: float) -> None:
        driver = Actor("driver", courier)
        if self._chance("answer", order, courier) < self._options.reject:
            self.offers.append(OfferAnswered(order, courier, offered_at, self._now, "rejected"))
            self._do(c.RejectOffer(offer_id, courier, driver))
            self._go_on(self._riders[courier])
            if self._now > offered_at:
                self._propose()
            return
        self.offers.append(OfferAnswered(order, courier, offered_at, self._now, "accepted"))
        self._do(c.AcceptOffer(offer_id, courier, f"{order} by {courier}", driver))
        self.carried[order] = Carried(order, courier, offered_at, self._now)
        self._follow(self._riders[courier])

    def _follow(self, rider: Rider) -> None:
        """Take the stops that are theirs in the order of the plan, and go on."""
        theirs = {
            delivery.id: delivery.status == "PICKED_UP"
            for delivery in self._fleet.jobs_of(rider.name)
            if delivery.current_offer_id is None
        }
        rider.stops = [
            (order, is_drop)
            for order, is_drop in self._plan.runs[rider.name]
            if order in theirs and (is_drop or not theirs[order])
        ]
        self._go_on(rider)

    def _go_on(self, rider: Rider) -> None:
        """What the courier does next: finish the last stop, leave for the next one, or serve it as soon as possible.

        A courier with an offer answers it before they leave: it may be for a stop on the way.
        """
        rider.turn += 1
        if rider.stops:
            name, is_drop = rider.stops[0]
            order = self._orders[name]
            spot = spot_of(order.dropoff if is_drop else order.pickup)
            stays = rider.at_store and not is_drop and spot == rider.place
            if not (rider.bound or stays) and self._now < rider.free_at:
                self._at(rider.free_at, 0, partial(self._turn, rider, rider.turn, self._go_on))
            else:
                if not (rider.bound or stays):
                    if self._world.known_driver(rider.name).open_offer_id is not None:
                        return
                    rider.leave(self._now, spot, self._travel.seconds(rider.place, spot))
                assert spot == rider.place, f"{rider.name} is on the way elsewhere"
                half = self._travel.half_dropoff if is_drop else self._travel.half_pickup
                when = rider.picked_at if stays else rider.free_at + half
                when = max(when, self._now, 0.0 if is_drop else order.ready)
                self._at(when, 0, partial(self._turn, rider, rider.turn, self._serve))
        self._fleet.put_place(rider.name, rider.where())

    def _turn(self, rider: Rider, turn: int, what: Callable[[Rider], None]) -> None:
        """Do it, unless the courier has decided anew since."""
        if rider.turn == turn:
            what(rider)

    def _serve(self, rider: Rider) -> None:
        name, is_drop = rider.stops[0]
        carried, driver = self.carried[name], Actor("driver", rider.name)
        if is_drop:
            self._do(c.Complete(f"{name} by {rider.name}", rider.name, driver))
            carried.delivered_at = self._now
        else:
            self._do(c.PickUp(f"{name} by {rider.name}", rider.name, driver))
            carried.picked_up_at = self._now
        rider.serve(self._now, self._travel.half_dropoff if is_drop else self._travel.half_pickup, is_drop=is_drop)
        self._go_on(rider)
