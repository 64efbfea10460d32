"""Real incidents: the cause named is the right one, more often than any simpler counting names it."""

import pytest

from tests.bench.where import measure
from tests.kit.history import DATA


@pytest.mark.full
def test_causes_of_real_incidents() -> None:
    """On the half that nothing was tuned on, and on all."""
    found = measure(DATA / "incident-causes.csv.gz", DATA / "incident-causes.json")
    for half in ("stated on (odd)", "all"):
        assert found[half]["f1"] >= 0.70, found
        assert found[half]["top3"] >= 0.87, found
