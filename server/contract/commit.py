"""What a commit says: the answer to each command, and the news for all who listen on this node."""

from datetime import datetime

from msgspec import Struct

from server.dispatch.decided import Decided
from server.dispatch.events import Event
from server.dispatch.model import Assignment, Delivery, Driver, Offer
from server.dispatch.policy import Policy


class StreamMessage(Struct, frozen=True):
    """One message of a driver's stream: `body` is its JSON, `session_node` where their socket was open."""

    driver_id: str
    session_node: str | None
    seq: int
    body: str


class Answer(Struct):
    """A command was done (or had been): what was decided `at` this time, and the rows it names, as committed."""

    decided: Decided
    at: datetime
    delivery: Delivery | None
    offer: Offer | None
    assignment: Assignment | None
    driver: Driver | None


class Committed(Struct):
    """News of one commit: its events in order, every row it changed or made, and the messages for drivers; and
    whether webhooks hear of it.
    """

    at: datetime
    events: list[Event]
    deliveries: list[Delivery]
    drivers: list[Driver]
    messages: list[StreamMessage]
    policy: Policy | None
    for_webhooks: bool = False
