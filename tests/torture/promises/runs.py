"""The promise of drivers with several deliveries: their run has the stops of what they have, and nothing else."""

from collections import Counter
from typing import Any

import msgspec

from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict


def runs(evidence: Evidence) -> Verdict:
    """Every run that a driver was sent, beside the assignments that their messages had named until then; and the
    last run beside what they have in the end.
    """
    verdict = Verdict("a driver's run has the stops of what they have")
    for driver_id, rows in evidence.database.messages.items():
        active: dict[str, dict[str, Any]] = {}
        stops: list[dict[str, Any]] = []
        for seq, body in rows:
            message = msgspec.json.decode(body)
            if message["type"] == "assignment":
                shown = message["assignment"]
                if shown["status"] == "ACTIVE":
                    active[shown["id"]] = shown
                else:
                    active.pop(shown["id"], None)
            elif message["type"] == "run":
                stops = message["stops"]
                _same(verdict, f"driver {driver_id}, run {seq}", stops, active)
                verdict.checked += 1
        _same(verdict, f"driver {driver_id}, in the end", stops, active)
    return verdict


def _same(verdict: Verdict, where: str, stops: list[dict[str, Any]], active: dict[str, dict[str, Any]]) -> None:
    if len(active) < 2:
        verdict.must(not stops, f"{where}: {len(stops)} stops with {len(active)} deliveries")
        return
    ahead = Counter((stop["assignmentId"], stop["kind"] == "pickup") for stop in stops if "doneAt" not in stop)
    wanted = Counter((assignment_id, False) for assignment_id in active)
    wanted.update((assignment_id, True) for assignment_id, shown in active.items() if shown["pickedUpAt"] is None)
    for assignment_id, is_pickup in (ahead - wanted).elements():
        kind = "pickup" if is_pickup else "drop-off"
        verdict.must(False, f"{where}: the {kind} of {assignment_id} is not theirs to do")
    for assignment_id, is_pickup in (wanted - ahead).elements():
        verdict.must(False, f"{where}: no {'pickup' if is_pickup else 'drop-off'} of {assignment_id}")
    for stop in stops:
        early = "doneAt" not in stop and stop["kind"] != "pickup" and active.get(stop["assignmentId"])
        if early and early["pickedUpAt"] is None:
            before = stops[: stops.index(stop)]
            fetched = any(s["assignmentId"] == stop["assignmentId"] and s["kind"] == "pickup" for s in before)
            verdict.must(fetched, f"{where}: {stop['assignmentId']} is brought before it is fetched")
