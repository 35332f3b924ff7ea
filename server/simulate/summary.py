"""What a simulation did, for people: in one line while it runs, and in a table at its end."""

from typing import Final

from server.simulate.tally import Tally, span, table

ODD: Final = ("not_placed", "refused", "unanswered", "errors", "stream_gaps", "drivers_failed")
"""Counts that are printed if they are not zero."""


def progress(tally: Tally) -> str:
    """The numbers so far, in one line."""
    c = tally.counts
    return (
        f"orders {c['placed']} ({tally.waiting} waiting) · offers {c['offers']}, accepted {c['accepted']}, "
        f"rejected {c['rejected']}, expired {c['expired']} · delivered {c['delivered']}, failed {c['failed']}, "
        f"returned {c['returned']}, given back {c['released']}"
    )


def amounts_to(tally: Tally, target_seconds: float | None = None) -> list[str]:
    c = tally.counts
    door = tally.spans("placed_at", "delivered_at")
    under_way, there = tally.own(accepted=True, delivered=False), tally.own(accepted=True, delivered=True)
    fates = f"{there} delivered, {under_way} under way, {tally.waiting} without a driver"
    troubles = f"{c['failed']} failed, {c['returned']} returned, {c['released']} given back by their driver"
    answers = f"{c['accepted']} accepted, {c['rejected']} rejected, {c['expired']} expired"
    lines = [
        "",
        f"orders      {c['placed']} placed, {fates}",
        f"troubles    {troubles}, {c['delayed']} delayed by the kitchen, {c['reported_late']} reports came late",
        f"offers      {c['offers']} sent, {answers}, {c['withdrawn']} withdrawn",
        f"auto-accept {c['assigned_auto_accepted']} assigned when the offer expired",
        "",
        *table(
            [
                ("dispatched to accepted", tally.spans("dispatched_at", "accepted_at")),
                ("placed to picked up", tally.spans("placed_at", "picked_up_at")),
                ("ready to picked up", [max(0.0, s) for s in tally.spans("ready_at", "picked_up_at")]),
                ("placed to delivered", door),
                ("offer to answer", tally.reply_seconds),
            ]
        ),
    ]
    if target_seconds is not None and door:
        met = sum(seconds <= target_seconds for seconds in door)
        lines.append(f"at the door within {span(target_seconds)}: {met} of {len(door)} ({met / len(door):.0%})")
    odd = [name for name in ODD if c[name]]
    if odd:
        lines.append("also        " + ", ".join(f"{c[name]} {name.replace('_', ' ')}" for name in odd))
    return lines
