"""The HTTP API of proofs: photos and signatures of handovers, from drivers' apps and for order sources and ops."""

from typing import Final

from litestar.response.base import ASGIResponse
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.driver_actions import PROOF_LIMIT
from server.dispatch.model import Proof
from server.dispatch.refusals import Refusal
from server.ids import derived_id, new_id
from server.images.encoding import OUTPUT, TYPES, type_of
from server.images.worker import BadImage, TooManyImages
from server.object_store.s3 import ObjectStore, ObjectStoreAway
from server.store.connections import Pool
from server.store.proofs import ProofFile, announce_object, drop_proof, keep_proof, proof_target, read_proof
from server.web.access.guards import SELLERS_AND_OPS, THE_DRIVER_AND_ADMIN
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Upload
from server.web.api.deliveries import VisibleDelivery
from server.web.api.drivers import ReportingDriver
from server.web.api.endpoint import Download, PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import UNSUPPORTED, Problem, existing, invalid_field, not_found, refused, try_again

LIMIT_BYTES: Final = 5 * 1024 * 1024
FILE: Final = Upload(TYPES, LIMIT_BYTES)
ENDINGS: Final = {"image/jpeg": "jpg", "image/png": "png"}


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/proofs",
    "Upload a photo or signature, at most 5 MiB and 20 an assignment. Metadata is removed.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.TOO_MANY_PROOFS,
    r.DELIVERY_ERASED,
    status=201,
    upload=FILE,
)
async def add_proof(request: Call, driver_id: ReportingDriver, assignment_id: PathId, query: s.ProofQuery) -> a.ProofId:
    """The file is stored before the command, so that no proof is without its file; it counts only after the command."""
    data = await FILE.of(request)
    if type_of(data) is None:
        raise Problem(UNSUPPORTED, f"Send an image: {', '.join(TYPES)}.")
    action_id = query.action_id.lower() if isinstance(query.action_id, str) else None
    proof_id = new_id() if action_id is None else derived_id(assignment_id, action_id)
    node, pool = node_of(request), pool_of(request)
    target = await proof_target(pool, assignment_id, proof_id)
    if target is None or target.driver_id != driver_id:
        raise not_found()
    added = False
    if not target.known:
        if target.count >= PROOF_LIMIT:
            raise refused(r.TOO_MANY_PROOFS)
        try:
            content = await node.images.reencoded(data, query.kind)
        except BadImage:
            raise invalid_field("", "the image cannot be read, or has more than 50 million pixels") from None
        except TooManyImages:
            raise try_again() from None
        file = ProofFile(query.kind, OUTPUT[query.kind][1], content)
        if node.object_store is not None:
            file = await _in_store(node.object_store, pool, target.delivery_id, file)
        added = await keep_proof(pool, proof_id, target.delivery_id, assignment_id, file)
    proof = Proof(proof_id, query.kind)
    done = await node.executor.submit(
        c.AddProof(assignment_id, driver_id, proof, request.user.actor, c.Action(action_id))
    )
    if isinstance(done, Refusal):
        # After `try_again` the same upload, sent twice, may have succeeded elsewhere with this file.
        if added and done != r.TRY_AGAIN:
            await drop_proof(pool, proof_id)
        raise refused(done)
    return a.ProofId(proof_id)


async def _in_store(store: ObjectStore, pool: Pool, delivery_id: str, file: ProofFile) -> ProofFile:
    """The file, moved to the S3-compatible store. Each upload has another key, so a late one changes nothing."""
    key = f"{delivery_id}/{new_id()}"
    await announce_object(pool, key)
    try:
        await store.put(key, file.content, file.media_type)
    except ObjectStoreAway:
        raise try_again() from None
    return replace(file, content=b"", object_key=key)


@endpoint(
    "GET /deliveries/{delivery_id}/proofs/{proof_id}",
    "Download a photo or signature of a delivery.",
    SELLERS_AND_OPS,
    answers={200: Download(tuple(ENDINGS))},
)
async def get_proof(request: Call, delivery_id: VisibleDelivery, proof_id: PathId) -> ASGIResponse:
    file = existing(await read_proof(pool_of(request), delivery_id, proof_id))
    content = file.content if file.object_key is None else await _from_store(request, file.object_key)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{file.kind}.{ENDINGS[file.media_type]}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return ASGIResponse(body=content, headers=headers, media_type=file.media_type)


async def _from_store(request: Call, key: str) -> bytes:
    store = node_of(request).object_store
    if store is None:  # the setting is missing; `callboard doctor` says so
        raise try_again()
    try:
        content = await store.get(key)
    except ObjectStoreAway:
        raise try_again() from None
    if content is None:
        raise not_found()
    return content
