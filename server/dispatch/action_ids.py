"""Which action the id of a driver's app was used for: of a command before it is done, of an event that did it.

An id belongs to one action of one assignment.
"""

from collections.abc import Mapping
from typing import Final

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.model import ActionDone

_OF_EVENTS: Final[Mapping[str, str]] = {
    e.DeliveryArrived.type: "arrived",
    e.DeliveryPickedUp.type: "picked_up",
    e.DeliveryDelivered.type: "completed",
    e.DeliveryReturned.type: "completed",
    e.PinWrong.type: "completed",
    e.DeliveryReleased.type: "release",
    e.DeliveryFailed.type: "failed end",
    e.DeliveryReturning.type: "failed return",
    e.ProofAdded.type: "proof",
}


def done_by(event: e.JobEvent, refused: str | None) -> ActionDone:
    """The action of this event, with the code of its refusal. A late report does not say where or of what kind."""
    kind = _OF_EVENTS[event.what if isinstance(event, e.LateReport) else event.type]
    if isinstance(event, e.DeliveryArrived):
        kind = f"{kind} {event.where}"
    elif isinstance(event, e.ProofAdded):
        kind = f"{kind} {event.proof.kind}"
    return ActionDone(kind, refused)


def is_repeated_by(done: ActionDone, command: c.DriverAction) -> bool:
    """Whether the command is the action that was done under its id."""
    match command:
        case c.Arrive():
            kind = f"arrived {command.where}"
        case c.PickUp():
            kind = "picked_up"
        case c.Complete() | c.CheckPin():
            kind = "completed"
        case c.Release():
            kind = "release"
        case c.Fail():
            kind = f"failed {command.then}"
        case _:
            kind = f"proof {command.proof.kind}"
    return kind.startswith(done.kind)
