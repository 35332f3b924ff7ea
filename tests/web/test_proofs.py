"""Photos and signatures of handovers: uploaded by drivers, downloaded by the seller and ops, erased with the order."""

import io
from typing import Any

import httpx2
import pytest
from PIL import Image

from server.dispatch.driver_actions import PROOF_LIMIT
from server.ids import new_id
from server.web.api.proofs import LIMIT_BYTES
from tests.test_images import SECRET, an_image, with_exif
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
