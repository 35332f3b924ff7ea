"""The HTTP API of proofs: photos and signatures of handovers, from drivers' apps and for order sources and ops."""

from typing import Final

from litestar.params import FromPath
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
from server.web.api.deliveries import TAG, delivery_of
from server.web.api.drivers import PATH, driver_of
from server.web.api.drivers import TAG as DRIVERS_TAG
from server.web.api.endpoint import Download, Query, Upload, answer, endpoint, id_in_path
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.http.errors import UNSUPPORTED, Problem, invalid_field, not_found, refused, try_again

LIMIT_BYTES: Final = 5 * 1024 * 1024
FILE: Final = Upload(TYPES, LIMIT_BYTES)
QUERY: Final = Query(s.ProofQuery)
ENDINGS: Final = {"image/jpeg": "jpg", "image/png": "png"}


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/proofs",
    tag=DRIVERS_TAG,
    summary="Upload a photo or signature, at most 5 MiB and 20 an assignment. Metadata is removed.",
    guard=THE_DRIVER_AND_ADMIN,
    query=QUERY,
    upload=FILE,
    answers={201: a.ProofId},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE, r.ACTION_ID_USED, r.TOO_MANY_PROOFS, r.DELIVERY_ERASED),
)
async def add_proof(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    """The file is stored before the command, so that no proof is without its file; it counts only after the command."""
    query = QUERY.of(request)
    known = await driver_of(request, driver_id)
    assignment = id_in_path(assignment_id)
    data = await FILE.of(request)
    if type_of(data) is None:
        raise Problem(UNSUPPORTED, f"Send an image: {', '.join(TYPES)}.")
    action_id = query.action_id.lower() if isinstance(query.action_id, str) else None
    proof_id = new_id() if action_id is None else derived_id(assignment, action_id)
    node, pool = node_of(request), pool_of(request)
    target = await proof_target(pool, assignment, proof_id)
    if target is None or target.driver_id != known:
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
        added = await keep_proof(pool, proof_id, target.delivery_id, assignment, file)
    proof = Proof(proof_id, query.kind)
    done = await node.executor.submit(c.AddProof(assignment, known, proof, request.user.actor, c.Action(action_id)))
    if isinstance(done, Refusal):
        if added:
            await drop_proof(pool, proof_id)
        raise refused(done)
    return answer(a.ProofId(proof_id), 201)


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
    "GET",
    "/deliveries/{delivery_id:str}/proofs/{proof_id:str}",
    tag=TAG,
    summary="Download a photo or signature of a delivery.",
    guard=SELLERS_AND_OPS,
    answers={200: Download(tuple(ENDINGS))},
)
async def get_proof(request: Call, delivery_id: FromPath[str], proof_id: FromPath[str]) -> ASGIResponse:
    known = await delivery_of(request, delivery_id)
    file = await read_proof(pool_of(request), known, id_in_path(proof_id))
    if file is None:
        raise not_found()
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
