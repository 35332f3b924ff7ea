"""What a driver's app knows: the server's snapshot, and every message since folded into it. No socket here."""

from server.simulate import wire as w


class Mirror:
    """Open offers, active assignments and the availability of one driver.

    `gaps` counts numbers that were skipped or came twice: by the contract, never.
    """

    def __init__(self) -> None:
        self.seq: int | None = None
        self.availability = "offline"
        self.offers: dict[str, w.Offer] = {}
        self.assignments: dict[str, w.Assignment] = {}
        self.gaps = 0

    def greet(self, hello: w.Hello) -> list[w.Streamed]:
        """Take over the snapshot; what was missed since the last message, in order."""
        missed = [m for m in map(w.understand, hello.missed) if isinstance(m, w.Streamed)]
        if self.seq is not None and not hello.resync:
            expected = list(range(self.seq + 1, hello.seq + 1))
            self.gaps += [m.seq for m in missed] != expected
        self.seq = hello.seq
        self.availability = hello.driver.availability
        self.offers = {offer.id: offer for offer in hello.offers}
        self.assignments = {a.id: a for a in hello.assignments if a.status == "ACTIVE"}
        return missed

    def fold(self, message: w.Streamed) -> None:
        """Apply the next message of the stream."""
        self.gaps += self.seq is None or message.seq != self.seq + 1
        self.seq = message.seq
        match message:
            case w.OfferMade():
                self.offers[message.offer.id] = message.offer
            case w.OfferClosed():
                self.offers.pop(message.offer_id, None)
            case w.AssignmentChanged():
                if message.assignment.status == "ACTIVE":
                    self.assignments[message.assignment.id] = message.assignment
                else:
                    self.assignments.pop(message.assignment.id, None)
            case w.AvailabilityChanged():
                self.availability = message.availability
