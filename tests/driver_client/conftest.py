"""The order source and the registrar of the simulation's tests serve here too."""

from tests.simulate.conftest import access, shop

__all__ = ["access", "shop"]
