"""Whether couriers can have done what a replay says, by nothing but the day and the tables."""

from math import dist

from server.replay.replay import Options, Replay
from server.simulate.day import Day

SLACK = 1e-3
"""In seconds."""


def impossible(day: Day, replay: Replay, options: Options) -> list[str]:
    """What cannot have been: times before the goods were ready or after the shift, ways that take longer, more on board
    than the capacity, two open offers at once, an offer after a no.
    """
    wrong: list[str] = []
    orders = {order.name: order for order in day.orders}
    for courier in day.couriers:
        stops: list[tuple[float, int, tuple[float, float], str]] = []
        for one in replay.carried.values():
            if one.courier != courier.name:
                continue
            order = orders[one.order]
            picked, delivered = one.picked_up_at or 0.0, one.delivered_at or 0.0
            if not order.placed <= one.offered_at <= one.assigned_at <= picked <= delivered:
                wrong.append(f"{one}: out of order")
            if picked + SLACK < order.ready or picked > courier.off + SLACK or one.assigned_at < courier.on:
                wrong.append(f"{one}: ready at {order.ready}, shift {courier.on} to {courier.off}")
            stops += [(picked, 0, order.pickup, one.order), (delivered, 1, order.dropoff, one.order)]
        place, free, visited, on_board = courier.start, courier.on, None, 0
        for number, (when, kind, spot, name) in enumerate(stops := sorted(stops)):
            half = (day.dropoff_seconds if kind else day.pickup_seconds) / 2
            if kind or visited != spot:
                together = []
                for _, other, at, whose in stops[number:]:
                    if other or at != spot:
                        break
                    together.append(replay.carried[whose].assigned_at)
                set_out = free if kind else max(free, min(together))
                earliest = set_out + dist(place, spot) / day.metres_per_second + half
                if when + SLACK < earliest:
                    wrong.append(f"{courier.name} is at {name} at {when}, not before {earliest}")
            place, free, visited = spot, when + half, None if kind else spot
            on_board += -1 if kind else 1
            if on_board > options.capacity:
                wrong.append(f"{courier.name} carries {on_board}")
    return wrong + _impossible_offers(replay, options)


def _impossible_offers(replay: Replay, options: Options) -> list[str]:
    wrong, open_until, said_no = [], dict[str, float](), set[tuple[str, str]]()
    for offer in sorted(replay.offers, key=lambda offer: (offer.offered_at, offer.answered_at)):
        for whose in (f"order {offer.order}", f"courier {offer.courier}"):
            if offer.offered_at + SLACK < open_until.get(whose, 0.0):
                wrong.append(f"{whose} has two open offers at {offer.offered_at}")
            open_until[whose] = offer.answered_at
        if (offer.order, offer.courier) in said_no:
            wrong.append(f"{offer} after a no")
        if offer.outcome == "rejected":
            said_no.add((offer.order, offer.courier))
        seconds = offer.answered_at - offer.offered_at
        if not options.answer[0] - SLACK <= seconds <= options.answer[1] + SLACK:
            wrong.append(f"{offer}: answered after {seconds} s")
    return wrong
