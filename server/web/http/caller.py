"""Who calls, and the types of requests and connections: `user` is the caller, once a guard has let them in."""

from typing import Any, Final, Literal, TypeAlias, cast, get_args

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from msgspec import Struct

from server.dispatch.model import Actor, ActorType

Role = Literal["driver", "service", "viewer", "ops", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


class Principal(Struct, frozen=True):
    """The caller. `subject` is a driver's id, or the name of a user or an order source.

    `expires_at` is how long this is valid, in Unix seconds; it is infinite for an API key. `seller` is the seller that
    an API key is bound to, `device` the id of the device on which a driver signed in.
    """

    role: Role
    subject: str
    expires_at: float
    seller: str | None = None
    device: str | None = None

    @property
    def actor(self) -> Actor:
        """This principal as the actor of an event. A viewer cannot be one."""
        assert self.role != "viewer"
        return Actor(cast(ActorType, self.role), self.subject)


Call: TypeAlias = Request[Principal, None, State]
AsgiConnection: TypeAlias = ASGIConnection[Any, Principal, None, State]
"""A request or a socket. `Any` is the handler: the two have different ones, and the type is invariant in it."""
