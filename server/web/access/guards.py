"""Guards: every handler names one of these, which checks the caller's role."""

from typing import Final

from litestar.handlers import BaseRouteHandler

from server.ids import canonical
from server.texts.speech import later
from server.web.access.tokens import principal_of
from server.web.http.caller import AsgiConnection, Role
from server.web.http.errors import forbidden


class Guard:
    """Lets some roles pass, and with `driver` the driver whose id is in the path. An API key that is bound to a seller
    passes only with `sellers`: the handler then sees to it that it meets that seller's deliveries only.

    It leaves the principal as the request's `user`.
    """

    def __init__(self, *roles: Role, driver: bool = False, sellers: bool = False) -> None:
        self.roles: tuple[Role, ...] = (*roles, "driver") if driver else roles
        self._sellers = sellers
        self._allowed = frozenset(roles)
        self._driver = driver

    async def __call__(self, connection: AsgiConnection, _: BaseRouteHandler) -> None:
        """Raises 401 or 403."""
        principal = await principal_of(connection)
        connection.scope["user"] = principal
        if principal.seller is not None and not self._sellers:
            raise forbidden("This key is bound to a seller: it is for that seller's deliveries only.")
        if principal.role in self._allowed:
            return
        if not self._driver or principal.role != "driver":
            raise forbidden(later("Your role may not do this."))
        if canonical(connection.path_params["driver_id"]) != principal.subject:
            raise forbidden("This is another driver's.")


ADMIN: Final = Guard("admin")
OPS: Final = Guard("ops", "admin")
VIEWERS: Final = Guard("viewer", "ops", "admin")
SERVICE: Final = Guard("service", "admin")
SERVICE_AND_OPS: Final = Guard("service", "ops", "admin")
SERVICE_AND_VIEWERS: Final = Guard("service", "viewer", "ops", "admin")
SELLERS_AND_OPS: Final = Guard("service", "ops", "admin", sellers=True)
SELLERS_AND_VIEWERS: Final = Guard("service", "viewer", "ops", "admin", sellers=True)
THE_DRIVER: Final = Guard(driver=True)
THE_DRIVER_AND_ADMIN: Final = Guard("admin", driver=True)
THE_DRIVER_AND_OPS: Final = Guard("ops", "admin", driver=True)
THE_DRIVER_AND_VIEWERS: Final = Guard("viewer", "ops", "admin", driver=True)
THE_DRIVER_SERVICE_AND_VIEWERS: Final = Guard("service", "viewer", "ops", "admin", driver=True)
ANY_DRIVER_AND_VIEWERS: Final = Guard("driver", "viewer", "ops", "admin")
