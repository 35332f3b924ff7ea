"""Which orders count in reports, and what an order pays its driver, in SQL.

`d` is the delivery, `o` an offer for it; for the pay, the one that the driver accepted, if any.
"""

from typing import Final

IS_REAL: Final = "(d.details ? 'test') IS NOT TRUE"
"""Test orders count in no report, and pay nothing. In this form PostgreSQL expects nearly all rows to be real."""
IS_REAL_OFFER: Final = "(o.offer_payload ? 'test') IS NOT TRUE"
"""The same, by the offer alone."""

CURRENCY: Final = """
CASE WHEN d.driver_pay_cents IS NULL THEN coalesce(o.offer_payload->>'currency', d.currency) ELSE d.currency END"""
"""The policy pays in its own currency, which can be another one than the order's if it changed in between."""

# The earning of an offer has the tip of that time. A tip in another currency than the earning is not in it.
CENTS: Final = """
coalesce(
    d.driver_pay_cents + coalesce(d.tip_cents, 0),
    (o.offer_payload->>'estimatedEarningCents')::bigint
    + CASE WHEN o.offer_payload->>'currency' = d.currency THEN coalesce((
        SELECT coalesce(d.tip_cents, 0) - coalesce((e.data#>>'{changes,tipCents,old}')::bigint, 0)
        FROM events e
        WHERE e.delivery_id = d.id AND e.type = 'delivery.changed' AND e.at > o.created_at
          AND e.data#>'{changes,tipCents}' IS NOT NULL
        ORDER BY e.id LIMIT 1), 0) ELSE 0 END)"""
"""The order's pay, else the earning that the offer named; with the tip as it is now. NULL if nobody named a pay."""
