"""An evening that never was: made by the rules themselves, reported by invented actors, with nothing wrong in it.

The tests of the checker break one thing in it at a time.
"""

from datetime import datetime
from itertools import count
from typing import Any

import msgspec

from server.contract.driver_stream import stream_entries
from server.contract.views import assignment_view, to_json
from server.contract.webhook_events import webhook_messages
from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import update_runs
from server.dispatch.model import Actor, Position, RunStop, Work
from server.dispatch.policy import EscalationLevel, Policy
from server.dispatch.refusals import Refusal
from server.dispatch.world import World
from server.store.queues.stream_notices import stream_notice
from tests.builders import ADA, DROPOFF, NOW, PICKUP, SHOP, by, id_of, seconds
from tests.torture.evidence import (
    Database,
    EventRow,
    Evidence,
    HistoryRow,
    PolicyRow,
    Rest,
    StreamNoticeRow,
    Use,
    WebhookRow,
)
from tests.torture.history import Answered, Asked, Closed, Entry, Heard, Histories, HookCall, Opened, Sent

ABE, OLGA = Actor("admin", "abe"), Actor("ops", "olga")
HOOK = id_of("hook")
POLICY = Policy(
    offer_timeout_seconds=4,
    presence_lapse_seconds=5,
    call_presence_seconds=5,
    escalation=(
        EscalationLevel(1, 5, ("ticket", "notify_ops")),
        EscalationLevel(2, 9, ("widen_search",)),
        EscalationLevel(3, 14, ("notify_critical",)),
    ),
)
NOTHING_USED = Use([0], [30], [5], [], 10, 0, 0, 0)


class Evening:
    """What happens is appended, with the clock moved on before each thing."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.now: datetime = NOW
        self.histories = Histories()
        self.database = Database(
            now=NOW, policies=[PolicyRow(1, policy, None, None, NOW - seconds(600))], webhooks={HOOK: ["*"]}
        )
        self._policy = policy
        self._ids = count(1)
        self._transactions = count(1000)
        self._world = World(NOW, policy, {}, {})
        self._runs: dict[str, tuple[RunStop, ...]] = {}
        self._sockets: dict[str, int] = {}
        self._numbers = count(1)
        self._seqs: dict[str, int] = {}

    def id(self) -> str:
        """The next new id."""
        return id_of(f"made {next(self._ids)}")

    def wait(self, for_seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += seconds(for_seconds)

    def do(self, command: c.Command, after: float = 0.5) -> Decided | Refusal:
        """The command is carried out a moment later, in a separate transaction; everybody gets it."""
        self.wait(after)
        old = self._world
        self._runs |= old.changed_runs
        work = {driver_id: Work(stops) for driver_id, stops in self._runs.items()}
        world = self._world = World(self.now, self._policy, old.deliveries, old.drivers, old.by_external_ref, work=work)
        decided = decide(command, world)
        if isinstance(decided, Refusal):
            return decided
        xid = str(next(self._transactions))
        for event in decided.events:
            apply(world, event)
            self._keep(event, xid)
        update_runs(decided.events, world)
        for driver_id, message, about in stream_entries(decided.events, world):
            body = to_json(message)
            heard = msgspec.json.decode(body)
            self.database.messages.setdefault(driver_id, []).append((heard["seq"], body))
            if driver_id in self._sockets:
                self._hear(driver_id, heard)
            notice = stream_notice(about, heard["seq"], world) if about is not None else None
            if notice is not None:
                got = self.now if driver_id in self._sockets else None
                row_of = (notice.kind, driver_id, notice.seq, notice.delivery_id, notice.created_at)
                self.database.stream_notices.append(StreamNoticeRow(notice.id, *row_of, got, got))
        for row in webhook_messages(decided.events, world):
            number = len(self.database.webhook_messages)
            message_id = id_of(f"message {number}")
            body_of = msgspec.json.decode(row.body)
            delivered = self.now + seconds(0.1)
            kept = WebhookRow(message_id, HOOK, number, row.key, row.type, body_of, delivered, None)
            self.database.webhook_messages.append(kept)
            whole = {"id": message_id, **body_of}
            self.write("hook", HookCall(at=self.at, message_id=message_id, body=whole, signed=True, status=200))
        return decided

    def _keep(self, event: e.Event, xid: str) -> None:
        data = msgspec.json.decode(msgspec.json.encode(event.data()))
        ids = (event.delivery_id, event.driver_id, event.offer_id, event.assignment_id)
        number = len(self.database.events) + 1
        row = EventRow(number, xid, event.at, event.type, event.actor.type, event.actor.id, *ids, data)
        self.database.events.append(row)
        if isinstance(event, e.AvailabilityChanged):
            assert event.driver_id is not None
            self.database.availability_history.append(
                HistoryRow(
                    event.driver_id, event.from_, event.to, event.reason, event.actor.id, event.actor.type, event.at
                )
            )
        elif isinstance(event, e.TicketCreated):
            self.database.tickets.append(event.ticket)
        elif isinstance(event, e.PolicyChanged):
            self._policy = event.policy
            changed = PolicyRow(event.policy.version, event.policy, event.actor.id, event.reason, event.at)
            self.database.policies.append(changed)

    @property
    def at(self) -> float:
        """Now, as actors write it down."""
        return self.now.timestamp()

    def write(self, actor: str, entry: Entry) -> None:
        """In the actor's history."""
        self.histories.of(actor).write(entry)

    # Drivers

    def register(self, name: str, **more: Any) -> str:
        """A new driver."""
        driver_id = id_of(name)
        row: dict[str, Any] = {"zone": "default", "capacity": 1} | more
        self.do(c.RegisterDriver(driver_id, name, actor=SHOP, **row))
        return driver_id

    def connect(self, driver_id: str, *, resume: bool = False) -> None:
        """A new socket of theirs, greeted; with `resume` from where the last one ended."""
        socket = next(self._numbers)
        last_seq = self._seqs.get(driver_id) if resume else None
        self._sockets.pop(driver_id, None)
        self.write(driver_id, Opened(at=self.at, socket=socket, node=0, last_seq=last_seq))
        session = self.id()
        self.do(c.ConnectDriver(driver_id, session, id_of("node"), by(driver_id)))
        self._sockets[driver_id] = socket
        driver = self._world.drivers[driver_id]
        assert driver is not None
        deliveries = [delivery for delivery in self._world.deliveries.values() if delivery is not None]
        hello = {
            "type": "hello",
            "session": session,
            "seq": driver.stream_seq,
            "driver": {"id": driver_id, "availability": driver.availability},
            "offers": [{"id": driver.open_offer_id}] if driver.open_offer_id else [],
            "assignments": [
                msgspec.to_builtins(assignment_view(a))
                for d in deliveries
                if (a := d.active_assignment()) is not None and a.driver_id == driver_id
            ],
            "missed": [
                msgspec.json.decode(body)
                for seq, body in self.database.messages.get(driver_id, [])
                if last_seq is not None and seq > last_seq
            ],
            "resync": False,
            "run": None,
        }
        self._hear(driver_id, msgspec.json.decode(msgspec.json.encode(hello)))

    def _hear(self, driver_id: str, message: dict[str, Any]) -> None:
        self.write(driver_id, Heard(at=self.at, socket=self._sockets[driver_id], message=message))
        if "seq" in message:
            self._seqs[driver_id] = message["seq"]

    def say_and_lose(self, driver_id: str, kind: str) -> None:
        """A message that never arrives, since the socket is gone."""
        message = {"type": kind, "id": f"m{next(self._ids)}"}
        self.write(driver_id, Sent(at=self.at, socket=self._sockets[driver_id], message=message))
        self.lose(driver_id)

    def lose(self, driver_id: str) -> None:
        """The socket is gone."""
        driver = self._world.drivers[driver_id]
        assert driver is not None
        assert driver.session_id is not None
        self.write(driver_id, Closed(at=self.at, socket=self._sockets[driver_id], code=None))
        del self._sockets[driver_id]
        self.do(c.DisconnectDriver(driver_id, driver.session_id))

    def say(self, driver_id: str, kind: str, command: c.Command, **fields: Any) -> Decided | Refusal:
        """A message on their socket, answered."""
        socket = self._sockets[driver_id]
        reply_id = f"m{next(self._ids)}"
        self.write(driver_id, Sent(at=self.at, socket=socket, message={"type": kind, "id": reply_id, **fields}))
        decided = self.do(command)
        self.wait(0.1)
        refusal = _refusal(decided)
        if refusal is not None:
            answer: dict[str, Any] = {"type": "error", "id": reply_id, "code": refusal.code, "message": refusal.message}
        else:
            assert isinstance(decided, Decided)
            answer = {"type": "ack", "id": reply_id, "result": self._result(decided)}
        self._hear(driver_id, answer)
        return decided

    def _result(self, decided: Decided) -> dict[str, Any]:
        found = self._world.assignment(decided.assignment_id) if decided.assignment_id is not None else None
        return {"assignment": {"id": found[1].id}} if found is not None else {}

    # Calls

    def call(
        self,
        who: Actor,
        method: str,
        path: str,
        body: Any,
        command: c.Command,
        status: int = 200,
        result: dict[str, Any] | None = None,
    ) -> Any:
        """A call over HTTP; its answer is `result`, or made from what was decided."""
        name = who.id or ""
        number = next(self._ids)
        asked = Asked(at=self.at, call=number, role=who.type, subject=name, node=0, method=method, path=path, body=body)
        self.write(name, asked)
        decided = self.do(command)
        self.wait(0.1)
        if isinstance(decided, Refusal):
            self.write(name, Answered(at=self.at, call=number, status=409, body={"code": decided.code}))
            return decided
        answer: dict[str, Any] = result or {"id": decided.delivery_id} | self._result(decided)
        if decided.offer_id is not None:
            answer |= {"offer": {"id": decided.offer_id}}
        if decided.events and isinstance(changed := decided.events[0], e.PolicyChanged):
            answer["version"] = changed.policy.version
        self.write(name, Answered(at=self.at, call=number, status=status, body=answer))
        return decided

    def order(self, name: str, *, status: int = 201, **more: Any) -> str:
        """The shop orders."""
        body = {"sellerId": "shop", "sellerOrderId": name, "storeName": "Green Bowl"}
        row: dict[str, Any] = {"zone": "default"} | more
        command = c.CreateDelivery(
            delivery_id=id_of(name),
            seller_id="shop",
            seller_order_id=name,
            store_name="Green Bowl",
            pickup=PICKUP,
            dropoff=DROPOFF,
            prep_seconds=0,
            fingerprint=name,
            actor=SHOP,
            **row,
        )
        self.call(SHOP, "POST", "/deliveries", body, command, status)
        return id_of(name)

    def offer(self, delivery_id: str, driver_id: str) -> str:
        """The matcher's pick."""
        driver = self._world.drivers[driver_id]
        assert driver is not None
        driver.position = Position(PICKUP.lat, PICKUP.lon, self.now)
        decided = self.do(c.OfferDelivery(delivery_id, driver_id, self.id(), PICKUP.lat, PICKUP.lon))
        assert isinstance(decided, Decided), decided
        assert decided.offer_id is not None
        return decided.offer_id

    def assignment_of(self, delivery_id: str) -> str:
        """The active one."""
        delivery = self._world.deliveries[delivery_id]
        assert delivery is not None
        assignment = delivery.active_assignment()
        assert assignment is not None
        return assignment.id

    def version_of(self, delivery_id: str) -> int:
        """The delivery's, as somebody sees it now."""
        delivery = self._world.deliveries[delivery_id]
        assert delivery is not None
        return delivery.version

    def offer_of(self, delivery_id: str) -> str:
        """The open one."""
        delivery = self._world.deliveries[delivery_id]
        assert delivery is not None
        assert delivery.current_offer_id is not None
        return delivery.current_offer_id

    def evidence(self) -> Evidence:
        """What the checker gets."""
        database = self.database
        database.now = self.now
        database.deliveries = {row_id: row for row_id, row in self._world.deliveries.items() if row is not None}
        database.drivers = {row_id: row for row_id, row in self._world.drivers.items() if row is not None}
        sessions = {driver.id: driver.session_id for driver in database.drivers.values()}
        waiting = {delivery.id for delivery in database.deliveries.values() if delivery.status == "READY"}
        rest = Rest(
            open_sessions=dict(sessions),
            sessions=sessions,
            connected={driver_id: session is not None for driver_id, session in sessions.items()},
            last_seqs=dict(self._seqs),
            geo={"somebody"},
            dispatchable={"somebody"},
            waiting_shown=waiting,
            findable=set(),
            before=NOTHING_USED,
            after=NOTHING_USED,
            connections_allowed=16,
            erased=1,
        )
        return Evidence(database, self.histories.entries(), [], rest)


def _refusal(decided: Decided | Refusal) -> Refusal | None:
    """What is refused, with or without something left behind."""
    return decided if isinstance(decided, Refusal) else decided.refusal


def an_evening() -> Evidence:
    """Soup goes well; cake is turned down, waits, is assigned, taken away and given again; pie is scheduled and
    cancelled; tea waits where nobody drives. Dan breaks, vanishes and returns; Dora pauses and goes home.
    """
    evening = Evening()
    dan, dora = evening.register("Dan"), evening.register("Dora")
    evening.connect(dan)
    evening.connect(dora)

    tea = evening.order("tea", zone="nowhere")
    evening.do(c.NoteFailedSearch(tea, "no_driver_in_zone"))

    soup = evening.order("soup")
    evening.order("soup", status=200)
    offer = evening.offer(soup, dan)
    evening.say(dan, "received", c.ConfirmReceipt(offer, dan, by(dan)), offerId=offer)
    evening.say(dan, "accept", c.AcceptOffer(offer, dan, evening.id(), by(dan)), offerId=offer)
    evening.do(c.Escalate(tea, evening.id()), after=0.1)
    evening.say(dan, "accept", c.AcceptOffer(offer, dan, evening.id(), by(dan)), offerId=offer)
    held = evening.assignment_of(soup)
    evening.say(dan, "picked_up", c.PickUp(held, dan, by(dan)), assignmentId=held)
    evening.say(dan, "completed", c.Complete(held, dan, by(dan)), assignmentId=held)
    evening.do(c.Escalate(tea, evening.id()), after=3.0)

    cake = evening.order("cake")
    offer = evening.offer(cake, dan)
    evening.say(dan, "reject", c.RejectOffer(offer, dan, by(dan), "dan-1"), offerId=offer, reason="dan-1")
    evening.say(dan, "accept", c.AcceptOffer(offer, dan, evening.id(), by(dan)), offerId=offer)
    offer = evening.offer(cake, dora)
    evening.do(c.ExpireOffer(offer, evening.id()), after=4.0)
    evening.do(c.Escalate(cake, evening.id()), after=0.1)
    evening.do(c.Escalate(tea, evening.id()), after=0.1)
    note = {"note": "olga-1"}
    path = f"/admin/unassigned-orders/{cake}/acknowledge"
    evening.call(OLGA, "POST", path, note, c.Acknowledge(cake, OLGA, "olga-1"))
    given = {"driverId": dan, "reason": "ada-1", "mode": "assign"}
    assign = c.AssignDelivery(cake, dan, "ada-1", True, evening.id(), evening.id(), ADA)
    evening.call(ADA, "POST", f"/admin/deliveries/{cake}/assign", given, assign, 201)
    held = evening.assignment_of(cake)
    given = {"driverId": dora, "reason": "ada-2"}
    reassign = c.Reassign(held, "ada-2", evening.id(), evening.id(), ADA, dora)
    evening.call(ADA, "POST", f"/admin/assignments/{held}/reassign", given, reassign)
    late = c.Reassign(held, "abe-1", evening.id(), evening.id(), ABE)
    evening.call(ABE, "POST", f"/admin/assignments/{held}/reassign", {"reason": "abe-1"}, late)
    offer = evening.offer_of(cake)
    evening.say(dora, "accept", c.AcceptOffer(offer, dora, evening.id(), by(dora)), offerId=offer)

    pie = evening.order("pie", dispatch_at=evening.now + seconds(5))
    evening.do(c.DispatchDelivery(pie), after=5.0)
    cancel = c.CancelDelivery(pie, "shop-1", SHOP)
    evening.call(SHOP, "POST", f"/deliveries/{pie}/cancel", {"reason": "shop-1"}, cancel)

    decided = {"availability": "on_break", "reason": "ada-3", "durationMinutes": 1}
    wanted = c.SetAvailability(dan, "on_break", "ada-3", ADA, 1)
    evening.call(ADA, "POST", f"/admin/drivers/{dan}/availability", decided, wanted)
    changed = msgspec.structs.replace(POLICY, search_radius_km=6.0)
    path = "/admin/policy?reason=ada-4"
    evening.call(ADA, "PUT", path, msgspec.to_builtins(changed), c.ChangePolicy(changed, ADA, "ada-4"))
    evening.say(dora, "pause", c.Pause(dora, by(dora)))
    evening.say(dora, "resume", c.Resume(dora, by(dora)))
    evening.say(dora, "take_break", c.TakeBreak(dora, 5, by(dora), "dora-1"), durationMinutes=5, reason="dora-1")
    evening.say(dora, "end_shift", c.EndShift(dora, by(dora)))
    evening.do(c.EndBreak(dan), after=60.0)
    evening.say_and_lose(dan, "resume")
    evening.do(c.LapsePresence(dan), after=5.0)
    evening.connect(dan, resume=True)
    evening.wait(1.0)
    return evening.evidence()
