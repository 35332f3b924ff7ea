"""Requests by the thousand, made from the OpenAPI document: no 5xx, and nothing that the document does not promise."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from server.ids import new_id
from server.web.access.login_limits import Tries
from tests.web.conftest import Site, token

SEED = 20_260_201
THOROUGHNESS = int(os.environ.get("THOROUGHNESS", "1"))
EXAMPLES = 8 * THOROUGHNESS
SECONDS = 600 * THOROUGHNESS


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
async def test_the_api_keeps_what_its_document_promises(site: Site, tmp_path: Path) -> None:
    dan = await site.driver(at_work=True)
    _, assignment = await site.assignment(dan)
    dora = await site.driver("Dora", at_work=True)
    waiting = await site.delivery()
    offer = await dora.offer()
    key = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()
    site.node.app.state.sign_in_tries = Tries(1_000_000)  # it sends more wrong codes than anybody may
    known = {
        "deliveryId": [waiting["id"], (await site.delivery())["id"], new_id()],
        "driverId": [dora.id, dan.id],
        "offerId": [offer["id"]],
        "assignmentId": [assignment["id"]],
        "keyId": [key["id"]],
    }
    environment = os.environ | {
        "CALLBOARD_KNOWN_IDS": json.dumps(known),
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{site.node.url}/openapi.json",
        "--header", f"Authorization: Bearer {token('admin', 'ada')}",
        "--checks", "all", "--seed", str(SEED), "--max-examples", str(EXAMPLES), "--warnings", "off", "--no-color",
        cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            shown, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = shown.decode()
    assert process.returncode == 0, text[text.find("= FAILURES") :][:20_000]
    assert "No issues found" in text or " passed" in text, text[-2000:]
