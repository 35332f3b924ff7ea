"""The HTTP API of the policy: read it, and replace it by its next version."""

from typing import Annotated, Final

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.events import PolicyChanged, camel
from server.dispatch.policy import ADDED, Policy, contradictions
from server.texts.languages import LANGUAGES
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import schemas as s
from server.web.api.bodies import Body
from server.web.api.endpoint import endpoint, given
from server.web.http.caller import Call
from server.web.http.current_node import node_of, submit
from server.web.http.errors import FieldError, invalid

POLICY: Final = Body(Policy, whole=True, may_lack=[camel(name) for name in ADDED])
"""Clients of the previous release do not know the fields that were added since."""


@endpoint("GET /admin/policy", "Get the current policy.", VIEWERS)
async def get_policy(request: Call) -> Policy:
    return node_of(request).policies.current


@endpoint(
    "PUT /admin/policy",
    "Replace the policy. Send the current version; the document becomes the next version. A missing `watch`,"
    " `planning`, `maxTripKm` or `language` gets its default. `language` is the language of the driver page: `en`, `de`"
    " or `es`, or empty for each phone's own.",
    ADMIN,
    r.VERSION_CHANGED,
)
async def put_policy(request: Call, query: s.ReasonQuery, policy: Annotated[Policy, POLICY]) -> Policy:
    wrong = contradictions(policy)
    if policy.language and policy.language not in LANGUAGES:
        wrong.append(("language", f"must be one of {', '.join(LANGUAGES)}, or empty"))
    if wrong:
        raise invalid([FieldError(field, message) for field, message in wrong])
    command = c.ChangePolicy(policy, request.user.actor, given(query.reason))
    (changed,) = (await submit(request, command)).decided.events
    assert isinstance(changed, PolicyChanged)
    return changed.policy
