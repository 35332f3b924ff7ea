"""Escalation: which level of the policy is next, and when."""

from datetime import datetime, timedelta

from server.dispatch.policy import Policy


def next_level_at(level: int, unassigned_since: datetime | None, policy: Policy) -> datetime | None:
    """When the first level above `level` is due; None at the highest level, and for a delivery that does not wait."""
    if unassigned_since is None:
        return None
    above = next((rung for rung in policy.escalation if rung.level > level), None)
    return unassigned_since + timedelta(seconds=above.after_seconds) if above is not None else None
