"""Somebody at a browser without scripts: a cookie jar, and the CSRF token of the last page."""

import re
from typing import Any

import httpx2

from server.store.users import PersonRole
from server.web.access.users import add_person
from tests.conftest import Node
from tests.web.conftest import Site

PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html,application/xhtml+xml"}


async def add(node: Node, name: str, role: PersonRole) -> str:
    """A person with the usual password; their id."""
    return (await add_person(node.app.state.node.database.pool, name, role, PASSWORD)).id


class Browser:
    """What somebody sees and sends."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def see(self, path: str) -> httpx2.Response:
        """Go to a page, without following where it leads."""
        return await self.client.get(path, headers=HTML)

    async def log_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx2.Response:
        """Send the form of the login."""
        fields = {"name": name, "password": password, **more}
        return await self.client.post("/login", data=fields, headers=HTML)

    async def csrf_token(self, path: str = "/users") -> str:
        """The token on a page."""
        found = re.search(r'name="csrf-token" content="([^"]+)"', (await self.see(path)).text)
        assert found is not None
        return found.group(1)

    async def send(self, path: str, **fields: str) -> httpx2.Response:
        """Send a form of a page of ours, with its token."""
        token = await self.csrf_token("/login?x" if path == "/logout" else "/users")
        return await self.client.post(path, data={"csrf_token": token, **fields}, headers=HTML)

    @property
    def cookie(self) -> str:
        """The session's."""
        value = self.client.cookies.get("callboard")
        assert value
        return value


async def logged_in(site: Site, name: str, role: PersonRole) -> Browser:
    """A new person in their browser."""
    await add(site.node, name, role)
    browser = Browser(site.anonymous())
    answer = await browser.log_in(name)
    assert answer.status_code == 303, answer.text
    return browser


async def json_login(client: httpx2.AsyncClient, name: str) -> dict[str, Any]:
    """Log in as a program does; its answer. From then on the client sends the CSRF token."""
    answer = await client.post("/login", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    client.headers["X-CSRF-Token"] = body["csrfToken"]
    return body
