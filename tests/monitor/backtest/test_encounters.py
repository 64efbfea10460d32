"""A history that tells when encounters begin: what waits too long is bad when its limit passes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from random import Random
from statistics import median
from typing import Any

import orjson
import pytest

from monitor.backtest.history import History
from monitor.backtest.run import backtest
from monitor.counting.panes import SHORT
from monitor.journey_file.grammar import parse
from monitor.rules.plan import Plan, plan
from tests.kit import history as real
from tests.monitor.backtest.test_incidents import fitted

Call = dict[str, Any]

TOO_LONG_S = 20


def ends(calls: Iterable[Call]) -> list[Call]:
    """Each call when it leaves the queue."""
    return [
        call | {"time": _at(call, call["wait_s"]).isoformat(), "encounter_id": call["id"]} for call in calls
    ]


def beginnings(calls: Iterable[Call]) -> Iterator[Call]:
    """Each call when its wait begins."""
    for call in calls:
        about = {name: call[name] for name in ("time", "stage", "segment") if name in call}
        yield about | {"id": f"q-{call['id']}", "outcome": "queued", "encounter_id": call["id"]}


def _at(call: Call, wait_s: float = 0) -> datetime:
    return datetime.fromisoformat(call["time"]) + timedelta(seconds=wait_s)


def history_of(held_to: Plan, events: Iterable[Call]) -> History:
    """All of it, counted."""
    history = History(held_to)
    for event in events:
        assert history.add_line(orjson.dumps(event)) is None
    history.end()
    return history


def bad_by_slice(history: History) -> dict[int, int]:
    """Waits that were too long, by slice."""
    stage = history.stages["call_queue"]
    first, last = stage.span() or (0, 0)
    rows = [row for (experience, _), row in stage.bad.items() if experience == "served_within_20s"]
    bad = stage.table(first, last + 1)[rows].sum(axis=0)
    return {first + i: int(n) for i, n in enumerate(bad) if n}


def test_a_long_wait_is_bad_when_its_limit_passes() -> None:
    """In whatever order the lines come; without its beginning, when it ends."""
    held_to = plan(parse(real.JOURNEY.format(horizon="40d")))
    calls: list[Call] = [
        {"id": f"c-{n}", "time": f"2026-05-04T10:00:{n:02d}Z", "stage": "call_queue", "outcome": "ok"}
        | {"wait_s": 63 if n % 2 else 5}
        for n in range(10)
    ]
    lines = [*ends(calls), *beginnings(calls)]
    Random(1).shuffle(lines)
    late = [round((_at(call).timestamp() + TOO_LONG_S) * 1000) for call in _late(calls)]
    assert bad_by_slice(history_of(held_to, lines)) == Counter(at_ms // SHORT.ms for at_ms in late)
    assert sum(bad_by_slice(history_of(held_to, ends(calls))).values()) == len(late)


@pytest.mark.full
def test_a_jammed_queue_pages_earlier() -> None:
    """A month of a bank's calls. A wait over 20 s is known at 20 s, where it took a median of 63 s. All
    counts stay the same. Where two in five wait too long, a page comes a median of 40 s earlier or more."""
    calls = list(real.calls())
    waits = [call["wait_s"] for call in calls if call["wait_s"] > TOO_LONG_S]
    assert median(waits) == 63
    zone = _at(calls[0]).tzinfo
    n, late = (Counter(_at(call).date() for call in some) for some in (calls, _late(calls)))
    held_to = plan(parse(fitted(calls)))
    noticed, totals = [], []
    for more in ([], list(beginnings(calls))):
        history = history_of(held_to, [*ends(calls), *more])
        found = backtest(held_to, history)
        totals.append(sum(history.stages["call_queue"].by_hour().values()).tolist())  # type: ignore[union-attr]
        pages = (one for one in found.fired if one.key.severity == "page" and one.key.experience == "fast")
        first: dict[date, int] = {}
        for page in pages:
            first.setdefault(datetime.fromtimestamp(page.noticed_ms / 1000, zone).date(), page.noticed_ms)
        noticed.append(first)
    assert totals[0] == totals[1]
    jammed = [day for day in noticed[0] if late[day] >= 0.4 * n[day]]
    earlier_s = [(noticed[0][day] - noticed[1][day]) / 1000 for day in jammed]
    assert len(jammed) == 8
    assert median(earlier_s) >= 40


def _late(calls: Iterable[Call]) -> Iterator[Call]:
    return (call for call in calls if call["wait_s"] > TOO_LONG_S)
