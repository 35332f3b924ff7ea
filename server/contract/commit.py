"""The result of a commit: the answer to each command, and the data for the listeners on this node."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from server.dispatch.decided import Decided
from server.dispatch.events import Event
from server.dispatch.model import Assignment, Delivery, Driver, Offer
from server.dispatch.policy import Policy
from server.dispatch.zones import Zones


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
    """A commit: its events in order, all rows that it changed or created, the messages for drivers, whether there is a
    webhook for it, and the spellings of the zones that its commands named, by key.
    """

    at: datetime
    events: list[Event]
    deliveries: list[Delivery]
    drivers: list[Driver]
    messages: list[StreamMessage]
    policy: Policy | None
    for_webhooks: bool = False
    zones: Zones | None = None
    spellings: Mapping[str, str] = {}
