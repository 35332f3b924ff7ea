"""When a driver did something, by the clock of their phone, which may be wrong: that is no reason to refuse."""

from datetime import UTC, datetime, timedelta
from typing import Final

OFFLINE_AFTER: Final = timedelta(seconds=30)
"""An action that happened longer than this before its arrival was reported later, without a network."""


def phone_time(at: datetime) -> datetime:
    """A phone's time in UTC. One at an end of the calendar, such as the first day of the year 1 east of Greenwich,
    stays there: phones send it when their clock was never set.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return at.replace(tzinfo=UTC)


def happened(at: datetime | None, sent_at: datetime | None, *, arrived: datetime, start: datetime) -> datetime:
    """The moment of an action that arrived at `arrived` and cannot have been before `start`.

    1. Without `at`: when it arrived.
    2. With `sent_at`, both of the phone's clock: as long before its arrival as it was before it was sent, however
       wrong that clock is.
    3. Without `sent_at` the phone's time is taken as it is.
    4. Never before `start`, never after `arrived`. To the millisecond.
    """
    if at is None:
        return arrived
    if sent_at is None:
        moment = min(max(at, start), arrived)
    else:
        age = min(max(sent_at - at, timedelta()), max(arrived - start, timedelta()))
        moment = arrived - age
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
