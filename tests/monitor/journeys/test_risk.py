"""What is said of open promises is what came of those before them, and nothing of the future."""

import random
from collections import defaultdict

import pytest

from monitor.journeys.risk import AT_RISK, DAY, HOUR, MARKS_MS, Look, Risk, looks_ms
from tests.bench.at_risk import measure
from tests.kit.history import DATA

POSTI, NEW = ("delivery", "posti"), ("delivery", "new")


def test_a_promise_is_looked_at_while_it_is_made() -> None:
    """A call back promised within 5 hours: at 4 hours left and less, and at none that lies before the
    promise."""
    looks = list(looks_ms(made_ms=1_000, due_ms=1_000 + 5 * HOUR))
    assert [mark / HOUR for mark, _ in looks] == [4, 2, 1, 0.5, 0.25]
    assert all(at_ms == 1_000 + 5 * HOUR - mark for mark, at_ms in looks)
    assert list(MARKS_MS) == sorted(set(MARKS_MS))


def test_what_came_of_earlier_ones_is_said_of_the_next() -> None:
    """Of 100 open three days before, 63 were late; of those open a week before, none."""
    risk = Risk()
    assert risk.probability(Look(3 * DAY, POSTI)) == AT_RISK
    for number in range(100):
        risk.learn([Look(3 * DAY, POSTI)], is_late=number < 63)
        risk.learn([Look(7 * DAY, POSTI)], is_late=False)
    assert risk.probability(Look(3 * DAY, POSTI)) == pytest.approx(0.63, abs=0.01)
    assert risk.probability(Look(7 * DAY, POSTI)) < 0.01
    assert risk.probability(Look(1 * DAY, POSTI)) == AT_RISK


def test_a_partner_seldom_seen_is_held_to_be_like_all() -> None:
    """Two late parcels of two do not make a partner one that is always late."""
    risk = Risk()
    for _ in range(98):
        risk.learn([Look(DAY, POSTI)], is_late=False)
    for _ in range(2):
        risk.learn([Look(DAY, NEW)], is_late=True)
    assert 0.05 < risk.probability(Look(DAY, NEW)) < 0.15
    for _ in range(200):
        risk.learn([Look(DAY, NEW)], is_late=True)
    assert risk.probability(Look(DAY, NEW)) > 0.9
    assert risk.probability(Look(DAY, POSTI)) < 0.2


def test_what_is_said_comes() -> None:
    """Ten partners, each late at a rate of its own: of what was said to be 60 %, 55 to 65 % came."""
    rng, risk = random.Random(1), Risk()
    tenths = defaultdict(list)
    for _ in range(20_000):
        partner = rng.randrange(10)
        look, is_late = Look(DAY, ("delivery", str(partner))), rng.random() < (partner + 0.5) / 10
        said = risk.probability(look)
        tenths[int(said * 10)].append((said, is_late))
        risk.learn([look], is_late=is_late)
    for some in tenths.values():
        said = sum(one for one, _ in some) / len(some)
        assert sum(is_late for _, is_late in some) / len(some) == pytest.approx(said, abs=0.05)


@pytest.mark.full
def test_real_orders_three_days_before() -> None:
    """Two of three that are open then are late, and nearly all of those are said; what is said comes."""
    found = measure(DATA / "olist-orders-reviewed.csv.gz")
    assert found["precision"] >= 0.6
    assert found["recall"] >= 0.95
    assert len(found["calibration"]) == 10
    for one in found["calibration"]:
        assert one["came"] == pytest.approx(one["said"], abs=0.05), one
