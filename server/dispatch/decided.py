"""What deciding gives back when nothing stands in the way."""

from msgspec import Struct

from server.dispatch.events import Event
from server.dispatch.refusals import Refusal


class Decided(Struct, frozen=True):
    """Events in the order they happen, and the ids of what the answer shows.

    `repeated` says that the command had been done before, or changes nothing: then there are no events. `refusal` is
    the answer where something stands in the way, and yet something is left behind by `events`: a wrong PIN counted, a
    report in the timeline. They change nothing else.
    """

    events: tuple[Event, ...] = ()
    delivery_id: str | None = None
    offer_id: str | None = None
    assignment_id: str | None = None
    driver_id: str | None = None
    repeated: bool = False
    refusal: Refusal | None = None
