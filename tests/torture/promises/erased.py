"""The promise of erasing: an erased person is named nowhere any more."""

from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict


def erased(evidence: Evidence) -> Verdict:
    """Every table is searched for the phones that were erased; rows of deliveries under way aside."""
    verdict = Verdict("erased personal data is gone")
    found = evidence.rest
    if found is None:
        return verdict
    for row in found.named:
        verdict.must(False, f"still names somebody: {row}")
    verdict.checked += found.erased
    verdict.counts.append(f"{found.erased} rows erased")
    return verdict
