"""What the checker judges is of one moment."""

from datetime import timedelta

from tests.builders import NOW
from tests.torture.evidence import PAUSE, Database, EventRow, Evidence, read_together
from tests.torture.pulse import BEAT_SECONDS, Pulse


def event(number: int) -> EventRow:
    return EventRow(number, str(number), NOW, "offer.created", "system", None, None, None, None, None, {})


async def test_a_phone_that_heard_of_an_offer_after_the_database_was_read_has_it_there() -> None:
    """The wait for webhooks may take seconds: offers are made meanwhile, until all is quiet."""
    made, to_come = [event(1)], [event(2), event(3)]

    async def read() -> Database:
        return Database(NOW, events=list(made))

    async def seen(_: Database) -> list[int]:
        if to_come:
            made.append(to_come.pop(0))
        return [one.id for one in made]

    database, heard = await read_together(read, seen)
    assert [one.id for one in database.events] == heard == [1, 2, 3]


def test_what_was_due_while_the_machine_paused_is_not_forgotten() -> None:
    due, pulse = NOW.timestamp(), Pulse()
    done = NOW + timedelta(seconds=16)
    pulse.felt(due, due + BEAT_SECONDS + 0.9)
    assert pulse.pauses == []
    assert Evidence(Database(NOW), faults=pulse.pauses).forgotten(NOW, done)
    pulse.felt(due + 1, due + 6)
    assert [pause.name for pause in pulse.pauses] == [PAUSE]
    assert not Evidence(Database(NOW), faults=pulse.pauses).forgotten(NOW, done)
    assert Evidence(Database(NOW), faults=pulse.pauses).forgotten(NOW, done + timedelta(seconds=11))
