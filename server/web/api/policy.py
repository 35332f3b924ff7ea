"""The HTTP API of the policy: read it, and replace it by its next version."""

from typing import Final

from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.events import PolicyChanged, camel
from server.dispatch.policy import ADDED, Policy, contradictions
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import schemas as s
from server.web.api.endpoint import Body, Query, answer, endpoint, given
from server.web.api.operations import TAG
from server.web.http.caller import Call
from server.web.http.calls import node_of, submit
from server.web.http.errors import FieldError, invalid

POLICY: Final = Body(Policy, whole=True, may_lack=[camel(name) for name in ADDED])
"""Clients of the previous release do not know the fields that were added since."""
WHY: Final = Query(s.ReasonQuery)


@endpoint(
    "GET",
    "/admin/policy",
    tag=TAG,
    summary="Get the current policy.",
    guard=VIEWERS,
    answers={200: Policy},
)
async def get_policy(request: Call) -> ASGIResponse:
    return answer(node_of(request).policies.current)


@endpoint(
    "PUT",
    "/admin/policy",
    tag=TAG,
    summary="Replace the policy. Send the current version; the document becomes the next version. A missing `watch`,"
    " `planning` or `maxTripKm` gets its default.",
    guard=ADMIN,
    body=POLICY,
    query=WHY,
    answers={200: Policy},
    refusals=(r.VERSION_CHANGED,),
)
async def put_policy(request: Call) -> ASGIResponse:
    why = WHY.of(request).reason
    policy = await POLICY.of(request)
    wrong = contradictions(policy)
    if wrong:
        raise invalid([FieldError(field, message) for field, message in wrong])
    command = c.ChangePolicy(policy, request.user.actor, given(why))
    (changed,) = (await submit(request, command)).decided.events
    assert isinstance(changed, PolicyChanged)
    return answer(changed.policy)
