"""The result of a decision that is not a plain refusal."""

from msgspec import Struct

from server.dispatch.events import Event
from server.dispatch.refusals import Refusal


class Decided(Struct, frozen=True):
    """Events in the order in which they happen, and the ids of what the answer shows.

    `repeated`: the command was done before, or changes nothing; then there are no events. `refusal`: the answer is a
    refusal, but `events` record something: a wrong PIN, or a late report in the timeline. They change nothing else.
    """

    events: tuple[Event, ...] = ()
    delivery_id: str | None = None
    offer_id: str | None = None
    assignment_id: str | None = None
    driver_id: str | None = None
    repeated: bool = False
    refusal: Refusal | None = None
