"""All proxies of a run in a separate process, so that busy actors do not slow them down."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tests.torture.aside import Aside, obey_orders
from tests.torture.proxy import Proxy, Seen, Target, Trouble, as_target


class RemoteProxy:
    """A proxy in the other process."""

    def __init__(self, proxies: "Proxies", name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._proxies = proxies

    async def make(self, trouble: Trouble) -> None:
        """Make this trouble from now on, and no other."""
        await self._proxies.tell(do="make", name=self.name, trouble=msgspec.to_builtins(trouble))

    async def heal(self) -> None:
        """No more trouble."""
        await self.make(Trouble())

    async def reset(self) -> None:
        """Reset all open connections."""
        await self._proxies.tell(do="reset", name=self.name)

    async def aim(self, target: Target) -> None:
        """Where new connections lead from now on."""
        await self._proxies.tell(do="aim", name=self.name, target=_plain(target))

    async def seen(self) -> Seen:
        """What it carried and did."""
        return msgspec.convert(await self._proxies.tell(do="seen", name=self.name), Seen)


class Proxies(Aside):
    """The process, and the way to talk to it."""

    def __init__(self, log: Path) -> None:
        super().__init__("tests.torture.proxies", log)

    async def open(self, name: str, target: Target, *, postgres: bool = False) -> RemoteProxy:
        """A new one."""
        port = await self.tell(do="open", name=name, target=_plain(target), postgres=postgres)
        return RemoteProxy(self, name, port)


def _plain(target: Target) -> int | str:
    return target if isinstance(target, int) else str(target)


async def _serve() -> None:
    proxies: dict[str, Proxy] = {}

    async def obey(order: dict[str, Any]) -> Any:
        name = order["name"]
        match order["do"]:
            case "open":
                proxy = Proxy(as_target(order["target"]), postgres=order["postgres"], seed=len(proxies))
                proxies[name] = proxy
                return await proxy.open()
            case "make":
                await proxies[name].make(msgspec.convert(order["trouble"], Trouble))
            case "reset":
                proxies[name].reset()
            case "aim":
                proxies[name].target = as_target(order["target"])
            case "seen":
                return msgspec.to_builtins(proxies[name].seen())
        return None

    try:
        await obey_orders(obey)
    finally:
        for proxy in proxies.values():
            await proxy.close()


if __name__ == "__main__":
    asyncio.run(_serve())
