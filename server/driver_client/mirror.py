"""What a driver's app knows: the server's snapshot, and every message since folded into it. No socket here."""

import msgspec

from server.driver_client import messages as m


class Mirror:
    """Open offers, active assignments, the run, the availability and the unseen messages of one driver.

    `gaps` counts numbers that were skipped or came twice: by the contract, never. After a skipped one the mirror is
    `behind`: only another connection's `hello` brings what is missing, and until then nothing is folded.
    """

    def __init__(self) -> None:
        self.driver_id: str | None = None
        self.session: str | None = None
        self.seq: int | None = None
        self.availability = "offline"
        self.offers: dict[str, m.Offer] = {}
        self.assignments: dict[str, m.Assignment] = {}
        self.run: list[m.RunStop] = []
        self.messages: dict[str, m.Written] = {}
        self.gaps = 0
        self.behind = False

    def greet(self, hello: m.Hello, last_seq: int | None) -> list[m.Streamed]:
        """Take over the snapshot; what was missed since `last_seq`, if that was asked for, in order."""
        missed = [found for frame in hello.missed if (found := self._readable(frame)) is not None]
        if last_seq is not None and not hello.resync:
            self.gaps += [frame.get("seq") for frame in hello.missed] != list(range(last_seq + 1, hello.seq + 1))
        self.driver_id = hello.driver.id
        self.session = hello.session
        self.seq = hello.seq
        self.behind = False
        self.availability = hello.driver.availability
        self.offers = {offer.id: offer for offer in hello.offers}
        self.run = hello.run or []
        self.messages = {message.id: message for message in hello.messages}
        self.assignments = {a.id: a for a in hello.assignments if a.status == "ACTIVE"}
        return missed

    def _readable(self, frame: m.Frame) -> m.Streamed | None:
        """A missed message. One that cannot be read is a gap, and the `hello` that brought it has what it said."""
        try:
            found = m.understand(frame)
        except msgspec.ValidationError:
            self.gaps += 1
            return None
        return found if isinstance(found, m.Streamed) else None

    def pass_over(self, frame: m.Frame) -> None:
        """A message of a newer server, of a kind that is not known here: only its number counts, if it has one."""
        seq = frame.get("seq")
        if isinstance(seq, int):
            self._is_next(seq)

    def miss(self, frame: m.Frame) -> None:
        """A message that cannot be read: what it said is missing, if it has a number."""
        self.gaps += 1
        self.behind |= "seq" in frame and frame.get("type") != "hello"

    def _is_next(self, seq: int) -> bool:
        if self.behind:
            return False
        if self.seq is not None and seq == self.seq + 1:
            self.seq = seq
            return True
        self.gaps += 1
        self.behind = self.seq is None or seq > self.seq
        return False

    def fold(self, message: m.Streamed) -> bool:
        """Whether it was folded: it is the next one."""
        if not self._is_next(message.seq):
            return False
        match message:
            case m.OfferMade():
                self.offers[message.offer.id] = message.offer
            case m.OfferClosed():
                self.offers.pop(message.offer_id, None)
            case m.AssignmentChanged():
                if message.assignment.status == "ACTIVE":
                    self.assignments[message.assignment.id] = message.assignment
                else:
                    self.assignments.pop(message.assignment.id, None)
            case m.RunChanged():
                self.run = message.stops
            case m.MessageWritten():
                self.messages[message.message.id] = message.message
            case m.AvailabilityChanged():
                self.availability = message.availability
        return True
