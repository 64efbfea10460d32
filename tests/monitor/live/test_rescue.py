"""Who can still be helped is listed with what happened and what is owed, and nobody who is well."""

from typing import Any

import orjson
import pytest

from monitor.counting.event import Handoff, Promise, Score
from monitor.journeys.open import OpenJourney
from monitor.journeys.step import Step
from monitor.live.rescue import MOST, in_order, rescue
from tests.monitor.live.test_journey import DAY, HOUR, MINUTE, START, at, journey, step, told

LIVED = frozenset({"web_checkout", "store", "call_queue", "warehouse", "delivery"})
DUE = 10 * HOUR


def asked(held: OpenJourney, now: int) -> dict[str, Any] | None:
    """What is told of it so long after the start, after a journey through JSON."""
    said = rescue("j-1", held, LIVED, START + now)
    back: dict[str, Any] | None = orjson.loads(orjson.dumps(said))
    return back


def promise(kept: bool | None = None, due: int | None = DUE) -> Promise:
    """Of a delivery."""
    return Promise("p-1", "delivery_window", None, None if due is None else at(due), kept)


PROMISED = step(0, promise=promise())
BAD = step(HOUR, "store", "failed", bad_for=("served",), reason="queue", channel="store")


@pytest.mark.parametrize(
    ("steps", "now"),
    [
        ((step(0),), HOUR),
        ((PROMISED,), DUE - HOUR - 1),
        ((PROMISED, step(HOUR, "delivery", promise=promise(kept=True))), DUE + HOUR),
        ((PROMISED, step(DUE + HOUR, "delivery", promise=promise(kept=True))), DUE + 2 * HOUR),
        ((BAD, step(2 * HOUR, "store")), 3 * HOUR),
        ((step(0), step(HOUR, "feedback", bad_for=("would_recommend",), score=Score("nps", 9))), 2 * HOUR),
    ],
)
def test_who_is_well_is_not_listed(steps: tuple[Step, ...], now: int) -> None:
    """Nothing was promised, it is not due so soon, it has come, or a good encounter made it good again."""
    assert asked(journey(*steps, clock=now - MINUTE), now) is None


def test_a_promise_due_within_the_hour_says_how_long_is_left() -> None:
    """Whose it is, and when it was due: 40 minutes before, with a bad encounter on the way."""
    held = journey(PROMISED, BAD, clock=DUE - HOUR)
    assert asked(held, DUE - 40 * MINUTE) == {
        "journey_id": "j-1", "time": told(HOUR), "in_time": True, "due": told(DUE), "left_s": 2400.0,
        "happened": [
            {"time": told(HOUR), "stage": "store", "outcome": "failed", "channel": "store",
             "reason": "queue", "bad_for": ["served"]},
        ],
        "promised": [
            {"what": "promise", "kind": "delivery_window", "partner": "unassigned", "due": told(DUE),
             "called_off": False, "left_s": 2400.0},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("late", [0, MINUTE, DAY])
def test_what_is_overdue_is_too_late_but_not_forgotten(late: int) -> None:
    """From its deadline on, also before the clock has got there, and until word comes."""
    for clock in (DUE - MINUTE, DUE + late):
        said = asked(journey(PROMISED, clock=clock), DUE + late)
        assert said is not None
        assert (said["in_time"], said["left_s"], said["time"]) == (False, -late / 1000, told(DUE))


def test_what_is_called_off_is_told_at_once() -> None:
    """Word that it will not be kept hurts days before the deadline: then it can still be kept."""
    said = asked(journey(PROMISED, step(HOUR, "delivery", promise=promise(kept=False))), HOUR)
    assert said is not None
    assert [one["called_off"] for one in said["promised"]] == [True]
    assert said["in_time"]


def test_a_parcel_that_is_not_received_is_owed() -> None:
    """As a promise is, until it is."""
    parcel = Handoff("h-1", "warehouse", "postnord")
    sent = step(0, "warehouse", handoff=parcel)
    said = asked(journey(sent, clock=2 * DAY), 2 * DAY)
    assert said is not None
    assert [(one["what"], one["to"], one["partner"]) for one in said["promised"]] == [
        ("handoff", "delivery", "postnord")
    ]
    assert asked(journey(sent, step(2 * DAY + 1, "delivery", handoff=parcel), clock=2 * DAY), 2 * DAY) is None


def test_a_journey_that_is_over_is_past_help() -> None:
    """Whatever happened in it."""
    held = journey(BAD, clock=13 * DAY)
    assert held.closed_ms is not None
    assert asked(held, 13 * DAY) is None
    assert asked(OpenJourney(), 13 * DAY) is None


def test_in_time_first_and_bounded() -> None:
    """The soonest deadline first; of those too late the latest; what another version tells is left out."""

    def one(name: str, *, in_time: bool, due: int | None, time: int = 0) -> dict[str, Any]:
        due_text = None if due is None else told(due)
        return {"journey_id": name, "in_time": in_time, "due": due_text, "time": told(time)}

    found = [
        one("late", in_time=False, due=1, time=1),
        one("hurt", in_time=False, due=None, time=2),
        one("far", in_time=True, due=2 * DAY),
        one("soon", in_time=True, due=DAY),
        {"time": told(0), "in_time": True, "due": None},
        {"journey_id": "odd"},
    ]
    assert [each["journey_id"] for each in in_order(found)] == ["soon", "far", "hurt", "late"]
    many = [one(str(n), in_time=n % 2 == 0, due=n, time=n) for n in range(6 * MOST)]
    assert [each["journey_id"] for each in in_order(many)] == [
        *(str(n) for n in range(0, 2 * MOST, 2)),
        *(str(n) for n in range(6 * MOST - 1, 4 * MOST, -2)),
    ]
