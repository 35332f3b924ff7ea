"""The checker finds what is broken: an evening with nothing wrong passes, and with one thing wrong it does not."""

from collections.abc import Callable

import pytest

from server.contract.replay import replayed
from tests.builders import DAN, DORA, NOW, id_of, seconds
from tests.torture.checker import check, table
from tests.torture.evening import an_evening
from tests.torture.evidence import Evidence, Fault
from tests.torture.forging import (
    CAKE_ID,
    PIE_ID,
    SOUP_ID,
    TEA_ID,
    Forge,
    acked,
    all_refused,
    answered,
    assignments,
    at_rest,
    both,
    change,
    change_notice,
    complained,
    delivered,
    delivered_backwards,
    delivery,
    drop,
    extra_history,
    first_offer,
    ghost_level,
    given_to_a_lost_phone,
    given_up,
    gone,
    heard,
    heard_twice,
    hello_of_nothing,
    lapsed_while_connected,
    later,
    lose_dan,
    lose_offer,
    lose_policy,
    lose_tea,
    missed_everything,
    missing_history,
    missing_ticket,
    never_delivered,
    never_in_timeline,
    never_ready,
    never_recorded,
    nobodys_order,
    not_heard_yet,
    only_until_the_break,
    open_for_ever,
    over_capacity,
    recorded_without_event,
    repeat,
    row_differs,
    row_lost,
    row_of_outbox_lost,
    row_of_outbox_twice,
    say,
    second_delivery,
    second_ticket,
    set_on,
    shift,
    silence,
    two_hands,
    two_offers,
    two_offers_of_a_driver,
    unheard_by_anybody,
    unmarked_refusal,
    used,
    without_assignment,
)
from tests.torture.history import Answered, Asked, Closed, Heard
from tests.torture.promises import (
    answers,
    endings,
    erased,
    exclusive,
    fold,
    notices,
    rest,
    streams,
    timely,
    webhooks,
)
from tests.torture.promises import (
    silence as silences,
)
from tests.torture.promises.verdict import Verdict
from tests.torture.test_whole_jobs import FORGERIES as WHOLE_JOBS
from tests.torture.whole_jobs import an_evening_of_whole_jobs

Promise = Callable[[Evidence], Verdict]

FORGERIES: dict[Promise, list[tuple[str, str, Forge]]] = {
    exclusive.one_driver: [
        ("two active assignments at once", "at once", two_hands),
        ("a driver over capacity", "of capacity 1", over_capacity),
        ("assigned while assigned", "was active (events)", repeat("delivery.assigned", of=CAKE_ID)),
        (
            "the end of another assignment",
            "did not hold it (events)",
            change("delivery.delivered", assignment_id=id_of("x")),
        ),
    ],
    exclusive.one_offer: [
        ("two open offers of a delivery", "delivery", two_offers),
        ("two open offers of a driver", "driver", two_offers_of_a_driver),
        ("offered while offered", "beside", repeat("offer.created", of=CAKE_ID)),
        ("the end of another offer", "was not open (events)", change("offer.rejected", offer_id=id_of("x"))),
    ],
    silences.silence: [
        ("an order given to a phone that had gone", "who lost their socket", given_to_a_lost_phone),
    ],
    answers.answers: [
        ("an acked accept is lost", "is not there", without_assignment),
        (
            "an acked accept is another driver's",
            "is of driver",
            lambda e: set_on(lambda e: assignments(e, SOUP_ID)[0], driver_id=DORA)(e),
        ),
        (
            "an acked accept of an offer that expired",
            "the offer ended EXPIRED",
            set_on(lambda e: first_offer(e, SOUP_ID), status="EXPIRED"),
        ),
        ("accepted twice", "2 offer.accepted", repeat("offer.accepted", of=SOUP_ID)),
        ("an accept that was refused every time", "all were refused", all_refused("accept", DORA)),
        ("a late accept that was acked", "is of driver", acked("accept", DAN)),
        ("picked up twice", "2 delivery.picked_up", repeat("delivery.picked_up", of=SOUP_ID)),
        (
            "an acked completion is lost",
            "it ended ACTIVE",
            set_on(lambda e: assignments(e, SOUP_ID)[0], status="ACTIVE"),
        ),
        ("an acked pickup is lost", "never picked up", set_on(lambda e: assignments(e, SOUP_ID)[0], picked_up_at=None)),
        (
            "an acked receipt is lost",
            "not recorded",
            set_on(lambda e: first_offer(e, SOUP_ID), received_at=None, closed_at=None),
        ),
        (
            "an acked reject is lost",
            "reject of",
            both(drop("offer.rejected"), set_on(lambda e: first_offer(e, CAKE_ID), status="PENDING")),
        ),
        ("a reject that was refused left its event", "left ['offer.rejected']", all_refused("reject", DAN)),
        ("an acked break is lost", "take_break of", drop("driver.availability_changed", -2, DORA)),
        ("an acked reassign is lost", "reassign of", drop("delivery.reassigned")),
        ("a refused reassign was carried out", "left ['delivery.reassigned']", unmarked_refusal),
        ("a reassign by somebody else", "is by ('admin', 'abe')", change("delivery.reassigned", actor_id="abe")),
        ("a reassign was carried out twice", "more than once", repeat("delivery.reassigned")),
        ("an acked assignment by hand is lost", "assign of", drop("delivery.assigned", 0, CAKE_ID)),
        (
            "a reassign's new offer is not there",
            "reassign of",
            lose_offer,
        ),
        ("an acked cancel is lost", "it is not cancelled", set_on(lambda e: delivery(e, PIE_ID), status="READY")),
        (
            "a cancel's event is lost",
            "nothing of it is there",
            both(drop("delivery.cancelled"), set_on(lambda e: delivery(e, PIE_ID), status="READY")),
        ),
        ("an acked acknowledgement is lost", "acknowledge of", drop("delivery.acknowledged")),
        ("an admin's decision is lost", "set_availability of", drop("driver.availability_changed", 1, DAN)),
        ("an acked policy is lost", "version 2 is not there", lose_policy),
        ("the policy's event is lost", "nothing of it is there", drop("policy.changed")),
        ("an acked pause is lost", "pause of", drop("driver.availability_changed", 1, DORA)),
        ("an acked end of shift is lost", "end_shift of", drop("driver.availability_changed", -1, DORA)),
        ("a pause of nobody's", "without a pause", all_refused("pause", DORA)),
        ("a pause twice", "without a pause", repeat("driver.availability_changed", 1, DORA)),
        ("two deliveries of an order", "2 deliveries", second_delivery),
        ("a delivery that nobody ordered", "nobody asked for", nobodys_order),
        ("an acked order is lost", "not []", lose_tea),
        ("created twice", "created 2 times", answered("shop", 2, status=201)),
        ("another id for a repeated order", "create of", answered("shop", 2, body={"id": id_of("other")})),
        (
            "another order under the same key",
            "another order is there",
            set_on(lambda e: delivery(e, SOUP_ID), store_name="Bakery"),
        ),
        ("an order refused but made", "nobody asked for", answered("shop", 0, status=503, body={"code": "try_again"})),
        ("a fault of the server's", "answered 500", answered("ada", 0, status=500, body={"code": "internal_error"})),
        ("two answers to one message", "2 answers", heard_twice(DAN, "ack")),
        ("no answer to a message", "no answer", silence),
    ],
    streams.streams: [
        ("a number of the stream left out", "3 after 1", heard(DAN, "offer", 0, lambda _: None)),
        ("a number of the stream twice", "3 after 3", heard_twice(DAN, "offer_closed")),
        ("hello is not first", "before hello", heard(DAN, "hello", 0, lambda m: m | {"type": "pong"})),
        ("hello twice", "hello again", heard_twice(DAN, "hello")),
        ("what was missed is left out", "missed []", heard(DAN, "hello", 1, hello_of_nothing)),
        ("a resync without need", "missed []", heard(DAN, "hello", 1, lambda m: m | {"missed": [], "resync": True})),
        ("the customer of a job that has ended", "not what its row says", missed_everything(list)),
        (
            "missed messages that nobody asked for",
            "asked for nothing",
            heard(DAN, "hello", 0, lambda m: m | {"resync": True}),
        ),
        (
            "a snapshot with an offer too many",
            "other open offers",
            heard(DAN, "hello", 1, lambda m: m | {"offers": [{"id": "x"}]}),
        ),
        (
            "a snapshot with an assignment too many",
            "other assignments",
            heard(
                DAN,
                "hello",
                1,
                lambda m: m | {"assignments": [{"id": "x", "status": "ACTIVE", "pickedUpAt": None, "version": 1}]},
            ),
        ),
        (
            "a snapshot with another run",
            "another run",
            heard(DAN, "hello", 1, lambda m: m | {"run": [{"kind": "pickup"}]}),
        ),
        (
            "a snapshot with another availability",
            "says paused",
            heard(DAN, "hello", 1, lambda m: m | {"driver": m["driver"] | {"availability": "paused"}}),
        ),
        ("a hello ahead of the rows", "hello.seq 1000", heard(DAN, "hello", 0, lambda m: m | {"seq": 1000})),
        (
            "a message that is not its row",
            "message 3",
            heard(DAN, "offer_closed", 0, lambda m: m | {"outcome": "EXPIRED"}),
        ),
        ("a row of the stream is lost", "rows of the stream", row_lost),
        ("a row of the stream differs", "message 4", row_differs),
        ("connected, silent and without all messages", "there is more", not_heard_yet),
    ],
    notices.notices: [
        ("a driver got no notice", "times, recorded 1", never_recorded),
        ("a notice of what never happened", "times, recorded 3", recorded_without_event),
        ("another message than the notice's", "its message", change_notice(0, seq=1)),
        ("received and never sent", "never sent", change_notice(-1, sent_at=None)),
        ("received, and no app heard it", "no app of theirs heard", unheard_by_anybody),
        ("sent, and never recorded", "nothing says that it went out", never_in_timeline),
    ],
    timely.deadlines: [
        ("an offer that never ended", "was forgotten", open_for_ever),
        ("an offer that ended twice", "ended by", repeat("offer.expired")),
        (
            "an offer that expired early",
            "early",
            set_on(
                lambda e: list(delivery(e, CAKE_ID).offers.values())[1],
                expires_at=NOW + seconds(3600),
            ),
        ),
        (
            "an accept after the deadline",
            "late",
            lambda e: set_on(lambda e: first_offer(e, SOUP_ID), expires_at=first_offer(e, SOUP_ID).created_at)(e),
        ),
        ("a scheduled delivery that was forgotten", "was forgotten", both(never_ready, later(20))),
        ("a scheduled delivery that was early", "early", shift("delivery.ready", -3, of=PIE_ID)),
        ("dispatched twice", "2 times", repeat("delivery.ready", of=PIE_ID)),
        ("a break that never ended", "was forgotten", only_until_the_break),
        ("a break that ended early", "a break of until", shift("driver.availability_changed", -30, 2, DAN)),
        ("a driver who lapsed with a socket open", "with a socket open", lapsed_while_connected),
        ("a driver who is gone and was forgotten", "gone, was forgotten", gone),
    ],
    timely.escalation: [
        ("a level of escalation twice", "level 1 after [1]", repeat("delivery.escalated", of=TEA_ID)),
        ("a level of escalation left out", "level 2 before [1]", drop("delivery.escalated", 0, TEA_ID)),
        ("a level of escalation too early", "level 1 after 0.4 s", shift("delivery.escalated", -8, 0, TEA_ID)),
        ("a level of no policy", "is in no policy", say("delivery.escalated", 2, TEA_ID, level=7)),
        ("a level that was forgotten", "level 3 was forgotten", drop("delivery.escalated", 2, TEA_ID)),
        ("a level after the assignment", "while it did not wait", ghost_level),
        ("two tickets in a wait", "2 tickets", second_ticket),
    ],
    endings.endings: [
        ("waiting without a record", "no record", set_on(lambda e: delivery(e, TEA_ID), unassigned=None)),
        ("assigned to nobody", "no active assignment", lambda e: delivery(e, CAKE_ID).assignments.clear()),
        ("delivered by nobody", "no completed assignment", lambda e: delivery(e, SOUP_ID).assignments.clear()),
        ("scheduled and waiting", "its record of a wait", set_on(lambda e: delivery(e, TEA_ID), status="SCHEDULED")),
        (
            "cancelled and in somebody's hands",
            "somebody has it",
            set_on(lambda e: delivery(e, CAKE_ID), status="CANCELLED"),
        ),
        ("delivered twice", "two assignments", set_on(lambda e: assignments(e, CAKE_ID)[0], status="COMPLETED")),
        ("waiting and not shown", "waiting but not shown", at_rest(waiting_shown=set())),
        ("waiting although there is a driver", "there is a driver", at_rest(findable={TEA_ID})),
    ],
    webhooks.webhooks: [
        ("an event without its message", "gets no message", row_of_outbox_lost),
        ("an event with two messages", "a message too many", row_of_outbox_twice),
        ("a message that nobody heard", "never taken", never_delivered),
        ("a message that nobody took", "never taken", delivered(-1, status=500)),
        ("a message that was given up", "was given up", given_up),
        ("messages in the wrong order", "came before", delivered_backwards),
        ("a message that came after one that was not taken", "came before", delivered(2, status=503)),
        ("a message of nothing", "of nothing that is there", delivered(0, message_id=id_of("x"))),
        ("a message with a bad signature", "signature", delivered(0, signed=False)),
        ("a message that differs from its row", "not what its row says", delivered(0, body={"id": "x", "data": {}})),
    ],
    fold.folded: [
        ("an event is lost", "cannot have happened", drop("delivery.picked_up")),
        ("an event too many", "cannot have happened", repeat("offer.rejected")),
        ("a row changed without an event", "version 9", set_on(lambda e: delivery(e, TEA_ID), version=9)),
        (
            "a driver changed without an event",
            "'paused'",
            set_on(lambda e: e.database.drivers[DAN], availability="paused"),
        ),
        ("a delivery without an event", "there is no event", nobodys_order),
        ("events of a driver who is not there", "cannot have happened", lose_dan),
        ("an event that says another level", "escalation_level 3", say("delivery.escalated", 2, TEA_ID, level=2)),
        ("an offer to another driver", "driver_id", change("offer.created", 0, driver_id=DORA)),
        (
            "a change of availability from what was not",
            "cannot have happened",
            say("driver.availability_changed", 1, DORA, **{"from": "paused"}),
        ),
        ("a change of availability missing in the history", "not in the history", missing_history),
        (
            "a change of availability twice in the history",
            "in the history of availability, but no event",
            extra_history,
        ),
        ("a ticket is lost", "tickets by", missing_ticket),
        ("a driver who counts wrong", "Dora counts 0", set_on(lambda e: e.database.drivers[DORA], active_count=0)),
    ],
    rest.rest: [
        (
            "connected in the database only",
            "the app holds session None",
            lambda e: at_rest(open_sessions={DAN: None, DORA: None})(e),
        ),
        ("another session in the database", "the database x", at_rest(sessions={DAN: "x", DORA: "y"})),
        ("shown as not connected", "connected is None", at_rest(connected={})),
        ("a ghost in the index", "a ghost", at_rest(geo={"somebody", "a ghost"})),
        ("missing in the index", "dispatchable but not in it", at_rest(geo=set())),
        ("a socket that is left", "1 driver sockets", used(sockets=[1])),
        ("files that are left", "120 open files", used(files=[120])),
        ("threads that are left", "60 threads", used(threads=[60])),
        ("a task that died", "matcher of node 0", used(dead_tasks=["matcher of node 0"])),
        ("a connection idle in a transaction", "idle in a transaction", used(idle_in_transaction=1)),
        ("somebody waits for a lock", "waiting for locks", used(waiting_for_locks=1)),
        ("a node that would not end", "had not ended", complained),
        ("a lock is held", "1 locks held", used(locks=1)),
        ("too many connections", "17 connections", used(connections=17)),
    ],
    erased.erased: [("a phone that is left", "still names", at_rest(named=["events: 555-0101"]))],
}
"""By the promise that finds it: what is broken, some words of what is found, and how it is broken."""
CASES = [
    pytest.param(promise, words, forge, id=name)
    for promise, forgeries in FORGERIES.items()
    for name, words, forge in forgeries
]


def test_an_evening_with_nothing_wrong_passes_and_every_promise_is_checked() -> None:
    verdicts = check(an_evening())
    assert [wrong for verdict in verdicts for wrong in verdict.broken] == []
    checked = {v.promise for v in (*verdicts, *check(an_evening_of_whole_jobs())) if v.checked}
    assert {verdict.promise for verdict in verdicts} == checked, table(verdicts)


@pytest.mark.parametrize(("promise", "words", "forge"), CASES)
def test_one_thing_wrong_is_found(promise: Promise, words: str, forge: Forge) -> None:
    evidence = an_evening()
    forge(evidence)
    broken = promise(evidence).broken
    assert any(words in sentence for sentence in broken), broken


def test_every_promise_is_broken_by_some_forgery() -> None:
    evidence = an_evening()
    forged = {promise(evidence).promise for promise in (*FORGERIES, *WHOLE_JOBS)}
    assert forged == {v.promise for v in check(evidence)}


def test_what_is_replayed_is_right_without_the_customers_of_jobs_that_have_ended() -> None:
    evidence = an_evening()
    missed_everything(lambda rows: replayed(rows, NOW))(evidence)
    assert not streams.streams(evidence).broken


def test_a_job_ends_with_the_first_message_that_says_so() -> None:
    """A photo that comes later brings another one."""
    statuses = ["ACTIVE", "COMPLETED", "COMPLETED"]
    rows = [
        {"type": "assignment", "seq": seq, "assignment": {"id": "a", "status": one}} for seq, one in enumerate(statuses)
    ]
    assert streams.ends(rows) == {"a": 1}


def test_what_a_fault_held_up_is_not_forgotten() -> None:
    """Pie waits 20 s too long, and for all but the last of them the database was away."""
    evidence = an_evening()
    both(never_ready, later(20))(evidence)
    due = delivery(evidence, PIE_ID).dispatch_at.timestamp()
    evidence.faults = [Fault("postgres_restart", due - 1, evidence.database.now.timestamp() - 1)]
    assert not timely.deadlines(evidence).broken


def test_a_command_without_an_answer_may_have_been_carried_out_or_not() -> None:
    evidence = an_evening()
    evidence.entries[DAN] = [
        entry for entry in evidence.entries[DAN] if not (isinstance(entry, Heard) and entry.message["type"] == "ack")
    ]
    evidence.entries[DAN].append(Closed(at=evidence.database.now.timestamp(), socket=4, code=None))
    broken = answers.answers(evidence).broken
    assert not [wrong for wrong in broken if "no answer" not in wrong]
    never = Asked(
        at=0.0,
        call=999,
        role="service",
        subject="shop",
        node=0,
        method="POST",
        path="/deliveries",
        body={"sellerId": "shop", "sellerOrderId": "never", "storeName": "Green Bowl"},
    )
    evidence.entries["shop"] += [never, Answered(at=1.0, call=999, status=0)]
    assert answers.answers(evidence).broken == broken


def test_the_table_names_every_promise_and_what_is_broken() -> None:
    evidence = an_evening()
    two_hands(evidence)
    shown = table(check(evidence))
    assert "a delivery never has two drivers" in shown
    assert "at once" in shown
