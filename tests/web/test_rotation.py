"""Another secret, node by node: no token and no open page stops being good while it takes place."""

import jwt
import pytest

from server.doctor.examine import examine
from server.setting_sources import BadSettings, load_settings
from server.settings import Settings
from tests.conftest import SECRET, Node, StartNode
from tests.driver_app import driver_app
from tests.web.conftest import Site
from tests.web.people import add, json_login

NEXT = "the-next-secret-of-at-least-32-bytes!"
ROUNDS = {
    "the next one is accepted": (SECRET, NEXT),
    "the next one signs": (NEXT, SECRET),
}
CLAIMS = {"sub": "corner-shop", "role": "service", "exp": 4_000_000_000}


async def status(node: Node, secret: str) -> int:
    """What a back end that signs with this secret is answered."""
    site = Site(node)
    client = site.anonymous({"Authorization": f"Bearer {jwt.encode(CLAIMS, secret)}"})
    answer = await client.get("/deliveries")
    await site.close()
    return answer.status_code


@pytest.mark.parametrize("secrets", ROUNDS.values(), ids=ROUNDS.keys())
async def test_meanwhile_both_are_good(node: StartNode, secrets: tuple[str, str]) -> None:
    here = await node(secret=secrets[0], secret_accepted=secrets[1])
    assert [await status(here, secret) for secret in (SECRET, NEXT)] == [200, 200]
    assert await status(here, "a-secret-that-nobody-ever-gave-out!!!") == 401


async def test_afterwards_only_the_new_one_is(node: StartNode) -> None:
    here = await node(secret=NEXT)
    assert [await status(here, secret) for secret in (SECRET, NEXT)] == [401, 200]


async def test_a_drivers_token_is_valid_on_nodes_before_and_after_the_change(node: StartNode) -> None:
    before = await node(secret=SECRET, secret_accepted=NEXT)
    after = await node(secret=NEXT, secret_accepted=SECRET)
    for issuer, other, signed_with in ((before, after, SECRET), (after, before, NEXT)):
        site = Site(issuer)
        site.shop.headers["Authorization"] = f"Bearer {jwt.encode(CLAIMS, signed_with)}"
        dan = (await site.shop.post("/drivers", json={"name": "Dan"})).json()["id"]
        token = (await site.shop.post(f"/drivers/{dan}/token", json={})).json()["token"]
        assert jwt.decode(token, signed_with, algorithms=["HS256"])["sub"] == dan
        for node_ in (issuer, other):
            async with driver_app(node_.ws_url, dan, bearer=token) as app:
                assert (await app.hear("hello"))["driver"]["id"] == dan
        await site.close()


async def test_a_page_that_was_open_can_still_be_used(node: StartNode) -> None:
    before = await node(secret=SECRET, secret_accepted=NEXT)
    after = await node(secret=NEXT, secret_accepted=SECRET)
    over = await node(secret=NEXT)
    await add(before, "Ada", "admin")
    site = Site(before)
    client = site.anonymous()
    await json_login(client, "Ada")
    made = [await client.post(f"{there.url}/drivers", json={"name": "Dan"}) for there in (before, after, over)]
    assert [answer.status_code for answer in made] == [201, 201, 403]
    await site.close()


async def test_the_doctor_tells_that_two_are_good(settings: Settings) -> None:
    async def secrets(accepted: str) -> list[str]:
        findings = await examine(settings.with_changes(secret_accepted=accepted))
        return [finding.how for finding in findings if finding.what == "secret"]

    assert await secrets("") == ["ok"]
    assert await secrets(NEXT) == ["ok", "note"]
    assert await secrets("s" * 40) == ["ok", "bad"]


def test_a_short_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_SECRET_ACCEPTED", "short")
    with pytest.raises(BadSettings, match="CALLBOARD_SECRET_ACCEPTED: must be at least 32 bytes"):
        load_settings()
