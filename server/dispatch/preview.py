"""What commands would do, one after another, on a world that nobody saves: the preview of an import."""

from server.dispatch import commands as c
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.refusals import Refusal
from server.dispatch.world import World


def preview(command: c.Command, world: World) -> Decided | Refusal:
    """The decision. The world has its effects afterwards. Raises NeedsRows as `decide` does."""
    decided = decide(command, world)
    if isinstance(decided, Decided):
        for event in decided.events:
            apply(world, event)
    return decided
