"""Pages of other origins, such as apps in a web view: with a token if the settings name them, never with cookies."""

from typing import Any

from tests.conftest import StartNode
from tests.web.conftest import Site
from tests.web.people import logged_in

APP = {"Origin": "capacitor://localhost"}
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def shared(answer: Any) -> dict[str, str]:
    """The headers of this kind, without their common beginning."""
    start = "access-control-"
    return {name.removeprefix(start): value for name, value in answer.headers.items() if name.startswith(start)}


async def test_an_app_of_a_named_origin_calls_with_a_token(site: Site, node: StartNode) -> None:
    open_to_it = Site(await node(allowed_origins="capacitor://localhost,https://app.example"))
    asked = await open_to_it.nobody.request("OPTIONS", "/deliveries", headers=APP | ASKS)
    assert asked.status_code == 204
    assert shared(asked) == {
        "allow-origin": "capacitor://localhost",
        "allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "allow-headers": "Authorization, Content-Type",
        "max-age": "600",
    }
    read = {"allow-origin": "capacitor://localhost", "expose-headers": "Location, Retry-After"}
    made = await open_to_it.shop.post("/deliveries", json=open_to_it.order(), headers=APP)
    assert (made.status_code, shared(made), made.headers["vary"]) == (201, read, "Origin")
    for refused in (
        await open_to_it.nobody.get("/deliveries", headers=APP),
        await open_to_it.shop.post("/deliveries", content="{", headers=APP),
        await open_to_it.nobody.post("/driver/sign-in", json={"code": "no"}, headers=APP),
        await open_to_it.nobody.get("/nowhere", headers=APP),
    ):
        assert refused.status_code >= 400
        assert shared(refused) == read
    for origin in ("https://evil.example", "null", "CAPACITOR://localhost", "https://app.example:8443", ""):
        other = await open_to_it.shop.get("/deliveries", headers={"Origin": origin})
        assert (other.status_code, shared(other), other.headers["vary"]) == (200, {}, "Origin")
        asked = await open_to_it.nobody.request("OPTIONS", "/deliveries", headers={"Origin": origin} | ASKS)
        assert shared(asked) == {}
    await open_to_it.close()


async def test_no_page_reads_with_a_cookie(site: Site, node: StartNode) -> None:
    open_to_it = Site(await node(allowed_origins="capacitor://localhost"))
    olga = await logged_in(open_to_it, "Olga", "ops")
    answer = await olga.client.get("/admin/alerts", headers=APP)
    assert (answer.status_code, shared(answer)) == (200, {})
    await open_to_it.close()


async def test_nothing_is_shared_unless_the_settings_say_so(site: Site) -> None:
    for answer in (
        await site.shop.get("/deliveries", headers=APP),
        await site.nobody.request("OPTIONS", "/deliveries", headers=APP | ASKS),
    ):
        assert shared(answer) == {}
        assert "vary" not in answer.headers
