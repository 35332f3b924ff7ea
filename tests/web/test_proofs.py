"""Photos and signatures of handovers: uploaded by drivers, downloaded by the seller and ops, erased with the order."""

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from server.dispatch.driver_actions import PROOF_LIMIT
from server.ids import new_id
from server.store.jobs import proof_objects
from server.store.jobs.retention import prune
from server.web.api.proofs import LIMIT_BYTES
from tests.conftest import StartNode
from tests.s3 import S3Server
from tests.test_images import SECRET, an_image, with_exif
from tests.waiting import until
from tests.web.conftest import Check, Driver, Site
from tests.web.html_tree import parse

JPEG = {"Content-Type": "image/jpeg"}


async def send(driver: Driver, job: dict[str, Any], data: bytes, kind: str = "photo", **query: str) -> httpx2.Response:
    path = f"/drivers/{driver.id}/assignments/{job['id']}/proofs"
    return await driver.client.post(path, params={"kind": kind, **query}, content=data, headers=JPEG)


async def files(site: Site) -> int:
    count: int = await site.node.app.state.node.database.pool.fetchval("SELECT count(*) FROM proofs")
    return count


@pytest.fixture
async def dan(site: Site) -> Driver:
    return await site.driver("Dan", at_work=True)


async def test_a_photo_is_stored_without_metadata_and_completes_the_proof(
    site: Site, dan: Driver, problem: Check
) -> None:
    delivery, job = await site.assignment(dan, proofRequired=["photo", "signature"])
    await dan.post(f"/assignments/{job['id']}/pickup")
    problem(await dan.post(f"/assignments/{job['id']}/complete"), 409, "proof_required")
    photo = await send(dan, job, with_exif(orientation=6))
    assert photo.status_code == 201, photo.text
    signature = await send(dan, job, an_image("PNG"), "signature")
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    shown = (await site.shop.get(f"/deliveries/{delivery['id']}")).json()
    ids = [(photo.json()["id"], "photo"), (signature.json()["id"], "signature")]
    assert [(proof["id"], proof["kind"]) for proof in shown["proofs"]] == ids
    for client in (site.shop, site.alice, site.ada):
        got = await client.get(f"/deliveries/{delivery['id']}/proofs/{photo.json()['id']}")
        assert got.status_code == 200
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"] == 'attachment; filename="photo.jpg"'
    assert got.headers["cache-control"] == "no-store"
    assert Image.open(io.BytesIO(got.content)).size == (200, 300)
    assert SECRET not in got.content
    page = parse((await site.alice.get(f"/board/deliveries/{delivery['id']}/now")).text)
    links = [link["href"] for link in page.every("a") if "/proofs/" in (link.get("href") or "")]
    assert links == [f"/deliveries/{delivery['id']}/proofs/{proof_id}" for proof_id, _ in ids]
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    assert [item["data"]["kind"] for item in timeline if item["type"] == "delivery.proof_added"] == [
        "photo",
        "signature",
    ]


async def test_the_same_action_again_is_the_same_proof(site: Site, dan: Driver) -> None:
    delivery, job = await site.assignment(dan)
    action = new_id()
    first = await send(dan, job, an_image(), actionId=action)
    again = await send(dan, job, an_image("PNG"), actionId=action.upper())
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert await files(site) == 1
    assert len((await site.shop.get(f"/deliveries/{delivery['id']}")).json()["proofs"]) == 1


async def test_a_file_whose_command_was_lost_does_not_count_until_it_is_sent_again(site: Site, dan: Driver) -> None:
    delivery, job = await site.assignment(dan)
    sent = await send(dan, job, an_image(), actionId=new_id())
    lost = new_id()
    await site.node.change(
        f"INSERT INTO proofs SELECT '{lost}', delivery_id, assignment_id, kind, media_type, content, now() FROM proofs"
    )
    path = f"/deliveries/{delivery['id']}/proofs/"
    assert (await site.shop.get(path + sent.json()["id"])).status_code == 200
    assert (await site.shop.get(path + lost)).status_code == 404


async def test_the_file_stays_when_nobody_knows_the_outcome(
    site: Site, dan: Driver, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same upload may have succeeded on another node meanwhile, with this file."""
    delivery, job = await site.assignment(dan)
    action = new_id()
    with monkeypatch.context() as patch:
        patch.setattr(site.node.app.state.node.executor, "_queue_limit", 0)
        problem(await send(dan, job, an_image(), actionId=action), 503, "try_again")
    assert await files(site) == 1
    proof = (await send(dan, job, an_image(), actionId=action)).json()["id"]
    assert (await site.shop.get(f"/deliveries/{delivery['id']}/proofs/{proof}")).status_code == 200
    assert await files(site) == 1


async def test_what_is_no_image_is_refused(site: Site, dan: Driver, problem: Check) -> None:
    _, job = await site.assignment(dan)
    problem(await send(dan, job, b""), 415, "unsupported_media_type")
    problem(await send(dan, job, b"GIF89a" + b"x" * 100), 415, "unsupported_media_type")
    problem(await send(dan, job, b"<html>"), 415, "unsupported_media_type")
    problem(await send(dan, job, an_image()[:300]), 422, "invalid")
    problem(await send(dan, job, an_image() + bytes(LIMIT_BYTES)), 413, "too_large")
    problem(await send(dan, job, an_image(), kind="pin"), 422, "invalid")
    problem(await send(dan, job, an_image(), actionId="x"), 422, "invalid")
    assert await files(site) == 0

    async def in_parts() -> Any:
        for _ in range(LIMIT_BYTES // 65_536 + 2):
            yield an_image()[:4] + bytes(65_536)

    path = f"/drivers/{dan.id}/assignments/{job['id']}/proofs?kind=photo"
    problem(await dan.client.post(path, content=in_parts()), 413, "too_large")


async def test_only_the_driver_of_the_assignment_uploads_and_only_the_seller_downloads(
    site: Site, dan: Driver, problem: Check
) -> None:
    delivery, job = await site.assignment(dan, sellerId="roma")
    other = await site.delivery()
    dora = await site.driver("Dora", at_work=True)
    problem(await send(dora, job, an_image()), 404, "not_found")
    problem(await send(dan, {"id": new_id()}, an_image()), 404, "not_found")
    proof = (await send(dan, job, an_image())).json()["id"]
    problem(await site.shop.get(f"/deliveries/{other['id']}/proofs/{proof}"), 404, "not_found")
    problem(await site.shop.get(f"/deliveries/{delivery['id']}/proofs/{new_id()}"), 404, "not_found")
    for seller, status in (("roma", 200), ("milano", 404)):
        key = (await site.ada.post("/admin/api-keys", json={"name": seller, "sellerId": seller})).json()["key"]
        client = site.anonymous({"Authorization": f"Bearer {key}"})
        assert (await client.get(f"/deliveries/{delivery['id']}/proofs/{proof}")).status_code == status


async def test_a_job_has_no_more_than_twenty(site: Site, dan: Driver, problem: Check) -> None:
    delivery, job = await site.assignment(dan)
    for _ in range(PROOF_LIMIT):
        assert (await send(dan, job, an_image(size=(8, 8)))).status_code == 201
    problem(await send(dan, job, an_image()), 409, "too_many_proofs")
    assert len((await site.shop.get(f"/deliveries/{delivery['id']}")).json()["proofs"]) == PROOF_LIMIT
    assert await files(site) == PROOF_LIMIT


async def test_a_picture_that_comes_too_late_is_not_kept(site: Site, dan: Driver, problem: Check) -> None:
    delivery, job = await site.assignment(dan)
    await site.ada.post(f"/admin/assignments/{job['id']}/reassign", json={"reason": "late"})
    problem(await send(dan, job, an_image()), 409, "assignment_not_active")
    assert await files(site) == 0
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    assert timeline[-1]["type"] in ("delivery.late_report", "delivery.search_failed")
    assert any(item["data"].get("what") == "delivery.proof_added" for item in timeline)


async def test_pictures_are_erased_with_the_person(site: Site, dan: Driver) -> None:
    dropoff = {"lat": 52.53, "lon": 13.41, "phone": "+49 30 5550142"}
    delivery, job = await site.assignment(dan, dropoff=dropoff)
    proof = (await send(dan, job, an_image())).json()["id"]
    await dan.post(f"/assignments/{job['id']}/complete")
    erased = await site.ada.post("/admin/privacy/erase", json={"phone": "49305550142"})
    assert erased.json()["deliveries"] == 1
    assert await files(site) == 0
    assert (await site.shop.get(f"/deliveries/{delivery['id']}/proofs/{proof}")).status_code == 404


# In an S3-compatible store

PERSON = {"lat": 52.53, "lon": 13.41, "phone": "+49 30 5550142"}


@pytest.fixture
async def s3(tmp_path: Path) -> AsyncIterator[S3Server]:
    server = S3Server(tmp_path / "s3")
    await server.start()
    yield server
    server.stop()


@pytest.fixture
async def stored(node: StartNode, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A node that keeps proofs in the store, and looks often whether there is something to remove."""
    monkeypatch.setattr(proof_objects, "EVERY_SECONDS", 0.05)
    site = Site(await node(**s3.settings))
    yield site
    await site.close()


async def recorded(site: Site) -> int:
    count: int = await site.node.app.state.node.database.pool.fetchval("SELECT count(*) FROM proof_objects")
    return count


async def proof_health(site: Site) -> tuple[int, str, str]:
    ready = await site.nobody.get("/health/ready")
    return ready.status_code, ready.json()["status"], ready.json()["components"]["proofs"]


async def test_a_photo_in_the_store_is_removed_with_its_person(stored: Site, s3: S3Server) -> None:
    dan = await stored.driver("Dan", at_work=True)
    delivery, job = await stored.assignment(dan, dropoff=PERSON)
    action = new_id()
    sent = [(await send(dan, job, with_exif(orientation=6), actionId=action)).json()["id"] for _ in range(2)]
    assert sent[0] == sent[1]
    [(key, content)] = s3.objects().items()
    assert key.startswith(f"photos/{delivery['id']}/")
    assert Image.open(io.BytesIO(content)).size == (200, 300)
    assert SECRET not in content
    got = await stored.shop.get(f"/deliveries/{delivery['id']}/proofs/{sent[0]}")
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, content, "image/jpeg")
    pool = stored.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT content FROM proofs") == b""
    assert await proof_health(stored) == (200, "ok", "up")
    await dan.post(f"/assignments/{job['id']}/complete")
    erased = await stored.ada.post("/admin/privacy/erase", json={"phone": "49305550142"})
    assert (erased.json()["deliveries"], erased.json()["filesLeft"]) == (1, 0)
    assert s3.objects() == {}
    assert (await files(stored), await recorded(stored)) == (0, 0)
    assert (await stored.shop.get(f"/deliveries/{delivery['id']}/proofs/{sent[0]}")).status_code == 404


async def test_a_store_that_is_away_refuses_photos_and_forgets_them_when_it_is_back(
    stored: Site, s3: S3Server, problem: Check
) -> None:
    dan = await stored.driver("Dan", at_work=True)
    delivery, job = await stored.assignment(dan, dropoff=PERSON)
    proof = (await send(dan, job, an_image())).json()["id"]
    s3.stop()
    problem(await send(dan, job, an_image(), "signature"), 503, "try_again")
    problem(await stored.shop.get(f"/deliveries/{delivery['id']}/proofs/{proof}"), 503, "try_again")
    assert await proof_health(stored) == (200, "degraded", "down")
    assert [shown["id"] for shown in (await stored.shop.get(f"/deliveries/{delivery['id']}")).json()["proofs"]] == [
        proof
    ]
    await dan.post(f"/assignments/{job['id']}/complete")
    erased = await stored.ada.post("/admin/privacy/erase", json={"phone": "49305550142"})
    assert (erased.json()["deliveries"], erased.json()["filesLeft"]) == (1, 1)
    assert await files(stored) == 0
    assert len(s3.objects()) == 1
    await s3.start()
    await until(lambda: s3.objects() == {})
    await until(lambda: is_up(stored))
    # The failed upload: nobody can know whether the object is there, so it is removed later.
    await stored.node.change("UPDATE proof_objects SET remove_at = now()")
    await until(lambda: none_recorded(stored))


async def is_up(site: Site) -> bool:
    return await proof_health(site) == (200, "ok", "up")


async def none_recorded(site: Site) -> bool:
    return await recorded(site) == 0


async def test_what_is_refused_or_past_its_retention_leaves_nothing_in_the_store(
    stored: Site, s3: S3Server, problem: Check
) -> None:
    dan = await stored.driver("Dan", at_work=True)
    _, job = await stored.assignment(dan)
    assert (await send(dan, job, an_image())).status_code == 201
    await stored.ada.post(f"/admin/assignments/{job['id']}/reassign", json={"reason": "late"})
    problem(await send(dan, job, an_image()), 409, "assignment_not_active")
    await until(lambda: len(s3.objects()) == 1)
    delivery = (await stored.shop.get("/deliveries")).json()["items"][0]
    await stored.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "too late"})
    node = stored.node.app.state.node
    later = datetime.now(UTC) + timedelta(days=stored.node.settings.keep_deliveries_days + 2)
    assert (await prune(node.database, stored.node.settings, now=later)).failed == {}
    await until(lambda: s3.objects() == {})
    assert await files(stored) == 0
    await until(lambda: none_recorded(stored))


async def test_proofs_stay_where_they_were_stored_when_the_setting_changes(
    stored: Site, s3: S3Server, node: StartNode, problem: Check
) -> None:
    dan = await stored.driver("Dan", at_work=True)
    delivery, job = await stored.assignment(dan)
    photo = (await send(dan, job, an_image())).json()["id"]
    without = Site(await node())
    path = f"/deliveries/{delivery['id']}/proofs/"
    problem(await without.shop.get(path + photo), 503, "try_again")
    headers = dict(JPEG) | {"Authorization": dan.client.headers["Authorization"]}
    there = f"/drivers/{dan.id}/assignments/{job['id']}/proofs?kind=signature"
    signature = (await without.nobody.post(there, content=an_image("PNG"), headers=headers)).json()["id"]
    assert len(s3.objects()) == 1
    for site in (stored, without):
        assert (await site.shop.get(path + signature)).status_code == 200
    assert "proofs" not in (await without.nobody.get("/health/ready")).json()["components"]
    await without.close()
