"""The promise about silence: it is a yes only of a driver whose phone is there."""

from datetime import datetime

from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict


def silence(evidence: Evidence) -> Verdict:
    """Who had a socket while the offer ran, and was given the order at its deadline, has one then.

    The events of one driver are in the order in which they were committed: each of them locked the driver.
    """
    verdict = Verdict("an offer is auto-accepted only while the driver's phone is connected")
    offered_at: dict[str | None, datetime] = {}
    connected: set[str | None] = set()
    lost_at: dict[str | None, datetime] = {}
    taken = 0
    for event in evidence.database.events:
        driver_id = event.driver_id
        match event.type:
            case "offer.created":
                offered_at[event.offer_id] = event.at
            case "driver.connected":
                connected.add(driver_id)
            case "driver.disconnected":
                connected.discard(driver_id)
                lost_at[driver_id] = event.at
            case "offer.expired":
                taken += event.data["autoAccepted"]
                lost = lost_at.get(driver_id)
                lost_meanwhile = lost is not None and lost >= offered_at[event.offer_id]
                verdict.must(
                    not event.data["autoAccepted"] or driver_id in connected or not lost_meanwhile,
                    f"offer {event.offer_id} was taken for accepted by {driver_id}, who lost their socket at {lost}",
                )
    verdict.counts.append(f"{taken} offers taken by silence")
    return verdict
