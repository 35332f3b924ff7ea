"""A simulated courier of a replay: where they are, when they are free, and which stop is next."""

from server.dispatch.planning.plan import Planned
from server.dispatch.runs import Spot, Where
from server.replay.virtual_day import STARTED, spot_of
from server.simulate.day import Courier


class Rider:
    """Times are in seconds from the start of the day.

    `stops` are theirs to do, in order. `bound`: on the way to `place`, where they arrive at `free_at`. Otherwise they
    are at `place`, and can leave at `free_at`. `at_store`: the last stop was a pickup there, at `picked_at`.
    """

    def __init__(self, courier: Courier) -> None:
        self.name = courier.name
        self.place: Spot = spot_of(courier.start)
        self.free_at = courier.on
        self.picked_at = courier.on
        self.at_store = False
        self.bound = False
        self.stops: list[Planned] = []
        self.turn = 0
        """Counts what they decided to do: a later decision replaces one before."""
        self._from: tuple[Spot, float] = (self.place, courier.on)

    def leave(self, now: float, spot: Spot, seconds: float) -> None:
        """Set out for a place that is so many seconds away."""
        self._from = self.place, now
        self.place, self.free_at, self.bound, self.at_store = spot, now + seconds, True, False

    def serve(self, now: float, half: float, *, is_drop: bool) -> None:
        """The moment of a pickup or a handover; they can leave `half` seconds later."""
        self.stops.pop(0)
        self.bound, self.at_store, self.free_at = False, not is_drop, now + half
        self.picked_at = now

    def where(self) -> Where:
        """For the planner."""
        return Where(self.place, STARTED + self.free_at, self.at_store, self.bound)

    def spot_at(self, now: float) -> Spot:
        """Where they are now, on a straight line between two places."""
        if not self.bound or now >= self.free_at:
            return self.place
        (lat, lon), since = self._from
        share = (now - since) / (self.free_at - since)
        return lat + (self.place[0] - lat) * share, lon + (self.place[1] - lon) * share
