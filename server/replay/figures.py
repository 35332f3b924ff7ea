"""How good a replay was: how long customers waited, how far couriers drove, how many offers they got."""

from math import dist

from msgspec import Struct

from server.replay.replay import Carried, Replay
from server.simulate.day import Day

NOT_DELIVERED_MINUTES = 90.0
"""What an order that was not delivered counts in the score."""


class Figures(Struct, frozen=True):
    """Times in minutes. `score` is the mean time from order to door, over all orders. `late_share` is the share of
    orders that took longer than the day's target or were not delivered. `driven` is per delivered order.
    """

    orders: int
    delivered: int
    score: float
    late_share: float
    longest: float
    ready_to_pickup: float
    driven: float
    orders_a_run: float
    offers: int


def figures(day: Day, replay: Replay) -> Figures:
    """The figures of a replay. Raises ValueError if nothing was delivered."""
    orders = {order.name: order for order in day.orders}
    done = [one for one in replay.carried.values() if one.delivered_at is not None and one.picked_up_at is not None]
    if not done:
        raise ValueError("nothing was delivered")
    waits = [((one.delivered_at or 0.0) - orders[one.order].placed) / 60 for one in done]
    late = sum(wait * 60 > day.target_seconds + 1e-6 for wait in waits) + len(orders) - len(done)
    to_pickup = [((one.picked_up_at or 0.0) - orders[one.order].ready) / 60 for one in done]
    driven, runs = _runs(day, done)
    return Figures(
        orders=len(orders),
        delivered=len(done),
        score=(sum(waits) + NOT_DELIVERED_MINUTES * (len(orders) - len(done))) / len(orders),
        late_share=late / len(orders),
        longest=max(waits),
        ready_to_pickup=sum(to_pickup) / len(done),
        driven=driven / len(done),
        orders_a_run=len(done) / runs,
        offers=len(replay.offers),
    )


def at_best(day: Day) -> dict[str, float]:
    """The minutes from order to door of each order if a courier is at the store when the goods are ready, and goes
    straight to the customer. No way to dispatch is faster.
    """
    stops = (day.pickup_seconds + day.dropoff_seconds) / 2
    return {
        order.name: (
            max(0.0, order.ready - order.placed) + stops + dist(order.pickup, order.dropoff) / day.metres_per_second
        )
        / 60
        for order in day.orders
    }


def _runs(day: Day, done: list[Carried]) -> tuple[float, int]:
    """The minutes that couriers drove, and how many runs they did: each ends when nothing is on board."""
    orders = {order.name: order for order in day.orders}
    driven, runs = 0.0, 0
    for courier in day.couriers:
        stops = []
        for one in done:
            if one.courier == courier.name:
                stops.append((one.picked_up_at or 0.0, 1, orders[one.order].pickup))
                stops.append((one.delivered_at or 0.0, -1, orders[one.order].dropoff))
        place, on_board = courier.start, 0
        for _, change, spot in sorted(stops, key=lambda stop: (stop[0], -stop[1])):
            driven += dist(place, spot) / day.metres_per_second / 60
            place = spot
            on_board += change
            runs += on_board == 0
    return driven, runs
