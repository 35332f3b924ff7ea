"""The HTTP API of privacy: an admin erases the personal data of a person, by their phone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from msgspec import UNSET

from server.node import Node
from server.store.jobs.erasing import Erased, erase_person
from server.store.jobs.person_turn import PersonSearchRuns
from server.store.jobs.proof_objects import remove_now
from server.store.proofs import count_objects
from server.store.query import database_errors, unless_away
from server.web.access.guards import ADMIN
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import PERSON_SEARCH_RUNS, Problem

AGAIN_SECONDS: Final = 10

log = structlog.get_logger(__name__)


@endpoint(
    "POST /admin/privacy/erase",
    "Erase the personal data of all deliveries with this phone: now, or at the end of those under way.",
    ADMIN,
    PERSON_SEARCH_RUNS,
)
async def erase(request: Call, given: s.Erasure) -> a.ErasedView:
    erased, left = await erase_by_phone(request, given)
    rows = erased.rows
    files_left = UNSET if left is None else left
    return a.ErasedView(
        rows["deliveries"], rows["events"], rows["messages"], rows["webhooks"], erased.later, files_left
    )


async def erase_by_phone(request: Call, given: s.Erasure) -> tuple[Erased, int | None]:
    """What was erased, and the number of photos that the store has not removed yet, None if that cannot be read.
    Raises 409 and 503 if nothing was erased.
    """
    node = node_of(request)
    with search_errors():
        erased = await erase_person(node.database, node.person_turn, given.phone, request.user.actor.id)
    actor = request.user.actor
    log.info("erase_requested", rows=dict(erased.rows), later=erased.later, actor=actor.type, actorId=actor.id)
    return erased, await unless_away(_photos_left(node))


async def _photos_left(node: Node) -> int:
    """How many photos are left after a try to remove them. Raises DatabaseAway."""
    await remove_now(node.database.pool, node.object_store)
    return (await count_objects(node.database.pool, 0)).overdue


@contextmanager
def search_errors() -> Iterator[None]:
    """Around a search for a person. Raises 409 if another one runs, and 503."""
    try:
        with database_errors():
            yield
    except PersonSearchRuns:
        detail = "Another search for a person is running. Try again when it has ended."
        raise Problem(PERSON_SEARCH_RUNS, detail, {"Retry-After": str(AGAIN_SECONDS)}) from None
