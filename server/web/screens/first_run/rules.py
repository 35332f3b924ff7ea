"""The step about what most companies ask first about the policy. It is done when somebody has saved the policy."""

from typing import Final

from server.texts.speech import said
from server.web.screens.first_run.step import Installation, SetupStep

RULES: Final = "rules"
"""The form that makes a new version of the policy."""


def unanswered_offers_and_currency(here: Installation) -> SetupStep:
    policy = here.node.policies.current
    seconds = policy.offer_timeout_seconds
    unanswered = (
        said(
            "If a driver does not answer an offer within {seconds} s, the order is assigned to them by itself, if "
            "their phone showed the offer.",
            seconds=seconds,
        )
        if policy.expiry_policy == "auto_accept"
        else said(
            "If a driver does not answer an offer within {seconds} s, the next driver gets an offer.", seconds=seconds
        )
    )
    refused = here.typed(RULES)
    now = {"expiryPolicy": policy.expiry_policy, "currency": policy.currency}
    return SetupStep(
        policy.version > 1,
        said("Unanswered offers and currency"),
        " ".join([unanswered, said("Pay and prices are in {currency}.", currency=policy.currency)]),
        [(said("All rules: Policy"), "/policy")],
        form=RULES if here.is_admin else None,
        fields=refused.fields if refused is not None else now,
        problem=refused.problem if refused is not None else None,
    )
