"""An evening of whole jobs that never was: PINs, failures, returns, jobs given back, orders changed, drivers gone,
with nothing wrong in it.
"""

from typing import Any, Literal

from server.dispatch import commands as c
from server.dispatch.decided import Decided
from server.dispatch.model import Proof
from server.dispatch.policy import Policy, WatchPolicy
from server.dispatch.refusals import Refusal
from tests.builders import NOW, SHOP, by, id_of, seconds
from tests.torture.evening import OLGA, POLICY, Evening
from tests.torture.evidence import Evidence, ProofRow
from tests.torture.pictures import StoredImage, colour_of

STEW, BREAD, MILK, JAM = (id_of(name) for name in ("stew", "bread", "milk", "jam"))
RITA, RICE, NUTS, TARTE, FIGS = (id_of(name) for name in ("Rita", "rice", "nuts", "tarte", "figs"))
PHOTO, SIGNATURE, KEPT = (id_of(name) for name in ("photo", "signature", "kept"))
GONE_SECONDS = 4
WATCHED = type(POLICY)(
    offer_timeout_seconds=POLICY.offer_timeout_seconds,
    presence_lapse_seconds=90,
    call_presence_seconds=POLICY.call_presence_seconds,
    escalation=(),
    watch=WatchPolicy(gone_seconds=GONE_SECONDS),
)


class Jobs(Evening):
    """With apps that say when they did what, under an id for each action, and upload pictures."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.pictures: dict[str, StoredImage] = {}

    def deed(
        self,
        driver_id: str,
        kind: str,
        command: type[Any],
        delivery_id: str,
        *args: Any,
        seconds_ago: float = 0.0,
        assignment_id: str | None = None,
        **fields: Any,
    ) -> Decided | Refusal:
        """Done so long ago, and reported now. `args` are the command's between driver and actor."""
        job = assignment_id or self.assignment_of(delivery_id)
        action, at = self.id(), self.now - seconds(seconds_ago)
        deed = c.Action(action, at, self.now)
        more: dict[str, Any] = {name: fields[name] for name in ("note", "then") if name in fields}
        if "proof" in fields:
            more["pin"] = fields["proof"]["pin"]
        times = {"actionId": action, "at": at.isoformat(), "sentAt": self.now.isoformat()}
        whole = command(job, driver_id, *args, actor=by(driver_id), action=deed, **more)
        return self.say(driver_id, kind, whole, assignmentId=job, **times, **fields)

    def picture(self, driver_id: str, delivery_id: str, kind: Literal["photo", "signature"], action_id: str) -> None:
        """Uploaded over HTTP; stored, if it is a new one."""
        job, driver = self.assignment_of(delivery_id), by(driver_id)
        proof_id = id_of(f"proof {action_id}")
        body = {"actionId": action_id, "kind": kind}
        path = f"/drivers/{driver_id}/assignments/{job}/proofs?kind={kind}&actionId={action_id}"
        command = c.AddProof(job, driver_id, Proof(proof_id, kind), driver, c.Action(action_id))
        self.call(driver, "POST", path, body, command, 201, result={"id": proof_id})
        self.database.proofs[proof_id] = ProofRow(proof_id, delivery_id, job, kind)
        self.pictures[proof_id] = StoredImage(200, colour_of(action_id))

    def taken(self, delivery_id: str, driver_id: str) -> str:
        """Offered to this driver, and accepted."""
        offer = self.offer(delivery_id, driver_id)
        command = c.AcceptOffer(offer, driver_id, self.id(), by(driver_id))
        self.say(driver_id, "accept", command, offerId=offer)
        return self.assignment_of(delivery_id)


def an_evening_of_whole_jobs() -> Evidence:
    """Stew cannot be handed over, comes back, is tried again and needs a PIN; bread's driver is gone for a while and
    picks up without a network; milk is given back, reported too late, changed, delayed, cancelled and restored; jam's
    driver has a dead phone. Rita has rice, nuts and tarte at once: nuts is given back, figs comes in its place and is
    taken from her, and rice cannot be handed over. Stew has a photo, which was uploaded twice, and a signature; it is
    erased at the end. Bread has a photo that is kept.
    """
    evening = Jobs(WATCHED)
    dan, dora = evening.register("Dan"), evening.register("Dora")
    evening.connect(dan)
    evening.connect(dora)

    stew = evening.order("stew", proof_required=("pin",), pin="2718")
    evening.taken(stew, dan)
    evening.deed(dan, "arrived", c.Arrive, stew, "pickup", where="pickup")
    evening.deed(dan, "picked_up", c.PickUp, stew)
    evening.deed(dan, "arrived", c.Arrive, stew, "dropoff", where="dropoff")
    evening.deed(dan, "completed", c.Complete, stew, proof={"pin": "0000"})
    evening.deed(dan, "failed", c.Fail, stew, "refused", reason="refused", note="dan-1", then="return")
    evening.deed(dan, "completed", c.Complete, stew)
    path = f"/deliveries/{stew}/retry"
    evening.call(OLGA, "POST", path, {"reason": "olga-1"}, c.RetryDelivery(stew, "olga-1", OLGA))
    evening.taken(stew, dora)
    evening.deed(dora, "picked_up", c.PickUp, stew)
    for _ in range(2):
        evening.picture(dora, stew, "photo", PHOTO)
    evening.picture(dora, stew, "signature", SIGNATURE)
    evening.deed(dora, "completed", c.Complete, stew, proof={"pin": "2718"})

    bread = evening.order("bread")
    evening.taken(bread, dan)
    evening.lose(dan)
    evening.do(c.RaiseRisk(bread, "driver_gone"), after=GONE_SECONDS)
    evening.wait(20.0)
    evening.connect(dan, resume=True)
    evening.do(c.ClearRisk(bread, "driver_gone"))
    evening.deed(dan, "picked_up", c.PickUp, bread, seconds_ago=15.0)
    evening.picture(dan, bread, "photo", KEPT)
    evening.deed(dan, "completed", c.Complete, bread)

    milk = evening.order("milk")
    held = evening.taken(milk, dora)
    evening.deed(dora, "release", c.Release, milk, "vehicle", reason="vehicle", note="dora-1")
    evening.deed(dora, "picked_up", c.PickUp, milk, assignment_id=held)
    for version, changes in ((evening.version_of(milk), {"tip_cents": 150}), (None, {"notes": "warm"})):
        seen = version or evening.version_of(milk)
        body = {"version": seen, "notes": "n"}
        change = c.ChangeDelivery(milk, seen, evening.id(), SHOP, **changes)
        evening.call(SHOP, "PATCH", f"/deliveries/{milk}", body, change)
    delay = c.DelayDelivery(milk, 5, evening.id(), SHOP, "shop-d1")
    evening.call(SHOP, "POST", f"/deliveries/{milk}/delay", {"minutes": 5, "reason": "shop-d1"}, delay)
    ready = c.MarkReady(milk, evening.id(), SHOP)
    evening.call(SHOP, "POST", f"/deliveries/{milk}/ready", None, ready)
    cancel = c.CancelDelivery(milk, "shop-c1", SHOP)
    evening.call(SHOP, "POST", f"/deliveries/{milk}/cancel", {"reason": "shop-c1"}, cancel)
    evening.call(OLGA, "POST", f"/deliveries/{milk}/restore", None, c.RestoreDelivery(milk, OLGA))
    evening.do(c.NoteFailedSearch(milk, "no_driver_available"))

    jam = evening.order("jam")
    held = evening.taken(jam, dan)
    evening.lose(dan)
    evening.do(c.RaiseRisk(jam, "driver_gone"), after=GONE_SECONDS)
    for_him = c.PickUp(held, None, OLGA, c.Action(reason="olga-2"))
    evening.call(OLGA, "POST", f"/admin/assignments/{held}/pickup", {"reason": "olga-2"}, for_him)
    body = {"reason": "refused", "note": "olga-3", "then": "end"}
    evening.call(OLGA, "POST", f"/admin/assignments/{held}/failed", body, c.Fail(held, None, "refused", OLGA, "olga-3"))

    rita = evening.register("Rita", capacity=3)
    evening.connect(rita)
    rice, nuts, tarte, figs = (evening.order(name) for name in ("rice", "nuts", "tarte", "figs"))
    for order in (rice, nuts, tarte):
        evening.taken(order, rita)
    evening.deed(rita, "picked_up", c.PickUp, rice)
    evening.deed(rita, "release", c.Release, nuts, "vehicle", reason="vehicle", note="rita-1")
    held = evening.taken(figs, rita)
    moved = c.Reassign(held, "olga-4", evening.id(), evening.id(), OLGA)
    evening.call(OLGA, "POST", f"/admin/assignments/{held}/reassign", {"reason": "olga-4"}, moved)
    evening.deed(rita, "failed", c.Fail, rice, "refused", reason="refused", note="rita-2", then="return")
    evening.deed(rita, "picked_up", c.PickUp, tarte)
    evening.deed(rita, "completed", c.Complete, rice)
    evening.deed(rita, "completed", c.Complete, tarte)
    for order in (nuts, figs):
        cancel = c.CancelDelivery(order, f"shop-{order[-4:]}", SHOP)
        reason = {"reason": f"shop-{order[-4:]}"}
        evening.call(SHOP, "POST", f"/deliveries/{order}/cancel", reason, cancel)
    evening.wait(1.0)
    assert evening.now > NOW
    evidence = evening.evidence()
    assert evidence.rest is not None
    of_stew = {row.id for row in evening.database.proofs.values() if row.delivery_id == stew}
    evidence.rest.pictures = dict(evening.pictures)
    evidence.rest.erased_deliveries = {stew}
    evidence.rest.pictures_after = evening.pictures | dict.fromkeys(of_stew, StoredImage(404))
    evidence.rest.files_after = {row.id: row for row in evening.database.proofs.values() if row.id not in of_stew}
    return evidence
