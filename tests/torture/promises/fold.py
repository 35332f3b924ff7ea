"""The promise of events: folded from the first to the last they give the rows that are there."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from server.contract.views import parse_instant
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.model import (
    SYSTEM,
    Actor,
    Assignment,
    AssignmentSource,
    Availability,
    Delivery,
    Driver,
    Offer,
    Place,
    Proof,
    Ticket,
)
from server.dispatch.policy import Policy
from server.dispatch.world import World
from tests.dispatch.invariants import broken_invariants
from tests.torture.evidence import Database, EventRow, Evidence
from tests.torture.history import Asked
from tests.torture.promises.verdict import Verdict

RETURNS: Final = frozenset({"first_seen", "reconnected"})
NOT_FOLDED: Final = frozenset(
    {"alert.raised", "alert.resolved", "alert.acknowledged", "zone.changed", "zone.removed", "policy.changed"}
)
"""About no delivery and no driver."""
_KINDS: Final = {kind.type: kind for kind in e.KINDS}


def folded(evidence: Evidence, *, apart_from: frozenset[str] = frozenset()) -> Verdict:
    """Begin with nothing, apply every event, compare. What an event says of a new row must be what the row began as.

    `apart_from` names fields of deliveries that are not compared.
    """
    verdict = Verdict("the rows follow from their events")
    database = evidence.database
    world = World(database.now, _policy(database), {}, {})
    rebuild = _Rebuild(database, world, _promised(evidence))
    for row in database.events:
        if row.type in NOT_FOLDED:
            continue
        verdict.checked += 1
        try:
            event = rebuild.event(row)
            rebuild.begin(world, row, event)
            apply(world, event)
        except (AssertionError, KeyError, AttributeError, TypeError, ValueError) as error:
            verdict.must(False, f"event {row.id} ({row.type}) cannot have happened: {type(error).__name__} {error}")
    for delivery_id in database.deliveries.keys() | world.deliveries.keys():
        found, made = database.deliveries.get(delivery_id), world.deliveries.get(delivery_id)
        differs = [each for each in differences(found, made) if each.split()[0] not in apart_from]
        verdict.must(not differs, f"delivery {delivery_id}: rows and events differ: {differs}")
    for driver_id in database.drivers.keys() | world.drivers.keys():
        differs = differences(_known(database.drivers.get(driver_id)), _known(world.drivers.get(driver_id)))
        verdict.must(not differs, f"driver {driver_id}: rows and events differ: {differs}")
    _tickets(verdict, database)
    _availability(verdict, database)
    whole = World(database.now, Policy(), dict(database.deliveries), dict(database.drivers))
    for wrong in broken_invariants(whole, whole=True):
        verdict.must(False, wrong)
    verdict.counts.append(f"{len(database.events)} events")
    return verdict


def _policy(database: Database) -> Policy:
    """What the policy says of lateness is looked at when an event is applied."""
    return database.policies[-1].document if database.policies else Policy()


def _promised(evidence: Evidence) -> dict[tuple[str, str], str]:
    """What shops said when orders would be there: no event tells it."""
    return {
        (entry.body["sellerId"], entry.body["sellerOrderId"]): entry.body["promisedAt"]
        for entries in evidence.entries.values()
        for entry in entries
        if isinstance(entry, Asked) and entry.path == "/deliveries" and entry.body and "promisedAt" in entry.body
    }


def differences(found: Struct | None, made: Struct | None) -> list[str]:
    """Where two rows differ, by field."""
    if found is None or made is None:
        return [] if found is made else ["there is no row" if found is None else "there is no event"]
    left, right = (msgspec.json.decode(msgspec.json.encode(row)) for row in (found, made))
    return _compare(left, right, "")


def _compare(left: Any, right: Any, path: str) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        return [
            difference
            for key in left.keys() | right.keys()
            for difference in _compare(left.get(key), right.get(key), f"{path}.{key}")
        ]
    return [] if left == right else [f"{path.removeprefix('.')} {left!r}, by the events {right!r}"]


def _known(driver: Driver | None) -> Driver | None:
    """What of a driver events tell."""
    if driver is None:
        return None
    return structs.replace(
        driver,
        session_node=None,
        stream_seq=0,
        position=None,
        last_call_at=None,
        socket_lost_at=None,
        connected_since=None,
    )


def _tickets(verdict: Verdict, database: Database) -> None:
    opened = Counter(row.data["ticketId"] for row in database.events if row.type == "ticket.created")
    there = Counter(ticket.id for ticket in database.tickets)
    verdict.must(opened == there, f"tickets by the events {opened - there}, tickets by the rows {there - opened}")


def _availability(verdict: Verdict, database: Database) -> None:
    """The history of availability has every change once."""
    changed: Counter[Any] = Counter(
        (row.driver_id, row.data["from"], row.data["to"], row.data["reason"], row.actor_type, row.actor_id, row.at)
        for row in database.events
        if row.type == "driver.availability_changed"
    )
    kept: Counter[Any] = Counter(
        (row.driver_id, row.from_state, row.to_state, row.reason, row.actor_type, row.actor_id, row.timestamp)
        for row in database.availability_history
    )
    for missing in (changed - kept).elements():
        verdict.must(False, f"not in the history of availability: {missing}")
    for extra in (kept - changed).elements():
        verdict.must(False, f"in the history of availability, but no event: {extra}")
    verdict.checked += kept.total()


class _Rebuild:
    """Events out of their rows. What a row of `events` does not hold is taken from the row it made, as it began."""

    def __init__(self, database: Database, world: World, promised: dict[tuple[str, str], str]) -> None:
        self._world = world
        self._promised = promised
        self._deliveries = database.deliveries
        self._drivers = database.drivers
        self._made_in: dict[str, str] = {}
        self._tickets = {ticket.id: ticket for ticket in database.tickets}
        self._before: dict[str, dict[str, Any]] = {}
        for row in database.events:
            if row.type == e.DeliveryChanged.type:
                first = self._before.setdefault(_id(row.delivery_id), {})
                for name, change in row.data["changes"].items():
                    first.setdefault(name, change["old"])

    def begin(self, world: World, row: EventRow, event: e.Event) -> None:
        """A row is new as long as the transaction lasts that made it: its version does not rise until then."""
        if isinstance(event, e.DeliveryCreated):
            assert event.delivery_id not in world.deliveries, "made twice"
        if isinstance(event, e.DriverRegistered):
            assert event.driver_id not in world.drivers, "registered twice"
        for row_id, new in ((row.delivery_id, world.new_deliveries), (row.assignment_id, world.new_assignments)):
            if row_id is not None and self._made_in.setdefault(row_id, row.xid) != row.xid:
                new.pop(row_id, None)

    def event(self, row: EventRow) -> e.Event:
        """Raises KeyError and the like for a row that names what is not there."""
        common: dict[str, Any] = {
            "at": row.at,
            "actor": Actor(row.actor_type, row.actor_id),  # type: ignore[arg-type]
            "delivery_id": row.delivery_id,
            "driver_id": row.driver_id,
            "offer_id": row.offer_id,
            "assignment_id": row.assignment_id,
        }
        kind = _KINDS[row.type]
        special = self._SPECIAL.get(kind)
        return kind(**common, **(special(self, row) if special is not None else {}))

    def _created(self, row: EventRow) -> dict[str, Any]:
        """As it is now, but for what was changed since and for what became of it."""
        d = self._deliveries[_id(row.delivery_id)]
        began = Delivery(
            d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, "SCHEDULED", _store(d), d.dropoff,
            d.prep_seconds, d.dispatch_at, row.at, d.fingerprint, d.price_cents, d.driver_pay_cents, d.currency,
            d.notes, requirements=d.requirements, tip_cents=d.tip_cents,
            details=structs.replace(d.details, store=None, checked=False),
        )  # fmt: skip
        before = {
            name: _model_value(name, self._before[d.id][wire])
            for name, wire in SHOWN.items()
            if wire in self._before.get(d.id, {})
        }
        promised = self._promised.get((d.seller_id, d.seller_order_id))
        before["promised_at"] = parse_instant(promised) if promised is not None else None
        return {"delivery": structs.replace(began, **before)}

    def _order_changed(self, row: EventRow) -> dict[str, Any]:
        """The PIN is named without its values: the last one is taken."""
        d, now = self._deliveries[_id(row.delivery_id)], self._world.locked_delivery(_id(row.delivery_id))
        shown = row.data["changes"]
        changes: dict[str, tuple[Any, Any]] = {}
        for name, wire in (*SHOWN.items(), ("ready_at", "readyAt")):
            if wire in shown:
                changes[name] = (getattr(now, name), _model_value(name, shown[wire]["new"]))
        details = now.details
        if "proofRequired" in shown:
            details = structs.replace(details, proof_required=tuple(shown["proofRequired"]["new"]))
        moved = {
            name
            for name in ("pickup", "dropoff")
            if name in changes and _point(changes[name][0]) != _point(changes[name][1])
        }
        if moved:
            details = structs.replace(details, checked=False)
        if "pickup" in moved:
            details = structs.replace(details, store=None)
        changes["details"] = (now.details, structs.replace(details, pin=d.details.pin, warnings=d.details.warnings))
        return {"changes": changes, "reason": row.data.get("reason")}

    def _retried(self, row: EventRow) -> dict[str, Any]:
        """From the store, or from the driver who could not hand it over."""
        now = self._world.locked_delivery(_id(row.delivery_id))
        store = _store(now)
        if now.status == "RETURNED":
            return {"reason": row.data["reason"], "pickup": store, "store": None}
        last = now.last_assignment()
        assert last is not None
        return {"reason": row.data["reason"], "pickup": self._with(last.driver_id, row), "store": store}

    def _with(self, driver_id: str, row: EventRow) -> Place:
        place, driver = row.data["pickup"], self._drivers[driver_id]
        return Place(place["lat"], place["lon"], None, driver.name, driver.phone)

    def _offered(self, row: EventRow) -> dict[str, Any]:
        o = self._deliveries[_id(row.delivery_id)].offers[_id(row.offer_id)]
        began = Offer(
            id=o.id,
            delivery_id=_id(row.delivery_id),
            driver_id=_id(row.driver_id),
            status="PENDING",
            attempt=row.data["attempt"],
            payload=msgspec.Raw(msgspec.json.encode(row.data["payload"])),
            created_at=row.at,
            expires_at=parse_instant(row.data["expiresAt"]),
            notification_sent_at=o.notification_sent_at,
            notification_method=o.notification_method,
        )
        return {"offer": began, "reason": row.data.get("reason")}

    def _assigned(self, row: EventRow) -> dict[str, Any]:
        source: AssignmentSource = row.data["source"]
        a = self._deliveries[_id(row.delivery_id)].assignments[_id(row.assignment_id)]
        began = Assignment(
            _id(row.assignment_id), _id(row.delivery_id), _id(row.driver_id), row.offer_id, "ACTIVE", source, row.at,
            pickup_due_at=a.pickup_due_at,
        )  # fmt: skip
        expected = row.data.get("estimatedDeliveryAt")
        return {
            "assignment": began,
            "reason": row.data.get("reason"),
            "delivery_at": parse_instant(expected) if expected is not None else None,
        }

    def _done(self, row: EventRow) -> dict[str, Any]:
        """What every deed tells."""
        at = row.data.get("happenedAt")
        return {
            "happened_at": parse_instant(at) if at is not None else None,
            "action_id": row.data.get("actionId"),
            "reason": row.data.get("reason"),
            "note": row.data.get("note"),
            "distance_km": row.data.get("distanceKm"),
        }

    def _delivered(self, row: EventRow) -> dict[str, Any]:
        details = self._deliveries[_id(row.delivery_id)].assignments[_id(row.assignment_id)].details
        handover = details.handover if details is not None else None
        return {"handover": handover, "unproven": tuple(row.data.get("unproven", ())), **self._done(row)}

    def _reassigned(self, row: EventRow) -> dict[str, Any]:
        shown = {"reason": row.data["reason"], "forced": row.data["forced"]}
        if "pickup" not in row.data:
            return shown
        store = _store(self._world.locked_delivery(_id(row.delivery_id)))
        return shown | {"pickup": self._with(_id(row.driver_id), row), "store": store}

    def _ticket(self, row: EventRow) -> dict[str, Any]:
        ticket: Ticket = self._tickets[row.data["ticketId"]]
        assert ticket.delivery_id == row.delivery_id, "the ticket is about another delivery"
        return {"ticket": ticket}

    def _registered(self, row: EventRow) -> dict[str, Any]:
        d = self._drivers[_id(row.driver_id)]
        began = Driver(
            d.id, d.name, d.zone, d.capacity, "offline", row.at, d.external_ref, d.phone, vehicle=d.vehicle,
            tags=d.tags, shift_ends_at=d.shift_ends_at,
            availability_reason="never_seen", availability_before="available",
        )  # fmt: skip
        return {"driver": began}

    def _changed(self, row: EventRow) -> dict[str, Any]:
        was: Availability = row.data["from"]
        reason = row.data["reason"]
        lapsed = reason == "connection_lost" and row.actor_type == SYSTEM.type
        by_choice = row.actor_type != SYSTEM.type and reason not in RETURNS
        until = row.data["until"]
        return {
            "from_": was,
            "to": row.data["to"],
            "reason": reason,
            "until": parse_instant(until) if until is not None else None,
            "before": was if lapsed else None,
            "forgiven": row.data["to"] == "available" and by_choice,
        }

    _SPECIAL: Final[dict[type[e.Event], Callable[["_Rebuild", EventRow], dict[str, Any]]]] = {
        e.DeliveryCreated: _created,
        e.DeliveryReady: lambda _, row: {"early": row.data.get("early", False)},
        e.DeliveryPostponed: lambda _, row: {"until": parse_instant(row.data["until"])},
        e.DeliveryHeld: lambda _, row: {
            "until": parse_instant(row.data["until"]),
            "ready_at": parse_instant(row.data["readyAt"]),
        },
        e.HoldEnded: lambda _, row: {"early": row.data.get("early", False)},
        e.SearchFailed: lambda _, row: {"reason": row.data["reason"]},
        e.OfferCreated: _offered,
        e.OfferAccepted: lambda _, row: {"response_ms": row.data["responseTimeMs"]},
        e.OfferRejected: lambda _, row: {
            "response_ms": row.data["responseTimeMs"],
            "reason": row.data["reason"],
            "note": row.data.get("note"),
        },
        e.OfferExpired: lambda _, row: {"auto_accepted": row.data["autoAccepted"]},
        e.OfferWithdrawn: lambda _, row: {"reason": row.data["reason"]},
        e.DeliveryAssigned: _assigned,
        e.DeliveryCancelled: lambda _, row: {"reason": row.data["reason"]},
        e.DeliveryReassigned: _reassigned,
        e.DeliveryChanged: _order_changed,
        e.DeliveryRetried: _retried,
        e.DeliveryArrived: lambda self, row: {"where": row.data["where"], **self._done(row)},
        e.DeliveryPickedUp: _done,
        e.DeliveryDelivered: _delivered,
        e.DeliveryReleased: _done,
        e.DeliveryFailed: _done,
        e.DeliveryReturning: _done,
        e.DeliveryReturned: _done,
        e.PinWrong: lambda self, row: {"tries": row.data["tries"], **self._done(row)},
        e.ProofAdded: lambda self, row: {
            "proof": Proof(row.data["proofId"], row.data["kind"]),
            **self._done(row),
        },
        e.LateReport: lambda self, row: {
            "what": row.data["what"],
            "now_with": row.data["nowWith"],
            **self._done(row),
        },
        e.DeliveryAtRisk: lambda _, row: {"risk": row.data["risk"], "since": parse_instant(row.data["since"])},
        e.DeliveryRecovered: lambda _, row: {"risk": row.data["risk"], "checked": row.data.get("checked", False)},
        e.RiskEscalated: lambda _, row: {
            "risk": row.data["risk"],
            "level": row.data["level"],
            "actions": tuple(row.data["actions"]),
        },
        e.RiskAcknowledged: lambda _, row: {"note": row.data["note"]},
        e.DeliveryEscalated: lambda _, row: {
            "level": row.data["level"],
            "actions": tuple(row.data["actions"]),
            "minutes_since_creation": row.data["minutesSinceCreation"],
        },
        e.EscalationAcknowledged: lambda _, row: {"note": row.data["note"]},
        e.TicketCreated: _ticket,
        e.DriverRegistered: _registered,
        e.DriverConnected: lambda _, row: {
            "session_id": row.data["sessionId"],
            "node_id": "",
            "superseded": row.data["superseded"],
            "device": row.data.get("device"),
        },
        e.DriverDisconnected: lambda _, row: {"session_id": row.data["sessionId"], "lost_at": row.at},
        e.AvailabilityChanged: _changed,
    }


SHOWN: Final = {
    "store_name": "storeName", "pickup": "pickup", "dropoff": "dropoff", "prep_seconds": "prepSeconds",
    "dispatch_at": "dispatchAt", "price_cents": "priceCents", "driver_pay_cents": "driverPayCents",
    "currency": "currency", "notes": "notes", "requirements": "requirements", "promised_at": "promisedAt",
    "tip_cents": "tipCents",
}  # fmt: skip
"""The changes of an order that the event shows, old and new: the model's name and the wire's."""


def _model_value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_at"):
        return parse_instant(value)
    if name in ("pickup", "dropoff"):
        return Place(**value)
    return tuple(value) if isinstance(value, list) else value


def _point(place: Place) -> tuple[float, float]:
    return place.lat, place.lon


def _store(d: Delivery) -> Place:
    return d.details.store or d.pickup


def _id(named: str | None) -> str:
    assert named is not None, "it names nothing"
    return named
