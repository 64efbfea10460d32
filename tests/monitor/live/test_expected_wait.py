"""The expected wait is about what who comes next really waits, in queues of which all is known."""

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from random import Random
from statistics import mean, median
from typing import NamedTuple

import pytest

from monitor.counting.judging import counter_names
from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.windows import StageWindows
from monitor.journeys.encounters import UnderWay
from monitor.live.snapshot import Seen, stage_snapshot
from tests.kit.shipped import SHIPPED as CHAIR

QUEUE = CHAIR.stage("call_queue")
NOW = 1_800_000_030_000
HOURS = 6
SERVICE_S = 180
PATIENCE_S = 240
AGENTS = 30


class Call(NamedTuple):
    """When it came, and left the queue: answered, or given up."""

    came_s: float
    left_s: float
    is_answered: bool
    is_patient: bool


class Load(NamedTuple):
    """Calls that come, as a multiple of what the agents can answer; `later` in every second half hour."""

    usual: float
    later: float
    agents: int = AGENTS
    gives_up: bool = False


def calls(load: Load, rng: Random) -> Iterator[Call]:
    """First come, first served. Every second minute somebody comes who never gives up."""
    free = [0.0] * load.agents
    heapify(free)
    at_s, probe_s = 0.0, 120.0
    while at_s < HOURS * 3600:
        share = load.later if at_s // 1800 % 2 else load.usual
        after_s = at_s + rng.expovariate(share * load.agents / SERVICE_S)
        is_patient = after_s > probe_s
        at_s = probe_s if is_patient else after_s
        probe_s += 120 * is_patient
        start_s = max(at_s, heappop(free))
        gives_up = load.gives_up and not is_patient
        gone_s = at_s + (rng.expovariate(1 / PATIENCE_S) if gives_up else math.inf)
        if start_s > gone_s:
            heappush(free, start_s)
            yield Call(at_s, gone_s, False, is_patient)
        else:
            heappush(free, start_s + rng.expovariate(1 / SERVICE_S))
            yield Call(at_s, start_s, True, is_patient)


def expected_s(known: list[Call], at_s: float) -> float | None:
    """What a snapshot says of those before at this moment."""
    left = [one for one in known if at_s - 300 < one.left_s <= at_s]
    answered = sum(one.is_answered for one in left)
    waiting = sum(one.came_s < at_s < one.left_s for one in known)
    windows = StageWindows(counter_names(CHAIR, QUEUE))
    for grain in (SHORT, LONG):
        counts = {"begun/queued": 1, "begun/started": answered, "outcome/abandoned": len(left) - answered}
        windows.add(PaneKey(grain.ms, grain.start_of(NOW)), counts)
    open_ = UnderWay({("queued", "new"): waiting}, {("queued", "new"): NOW})
    return stage_snapshot(CHAIR, QUEUE, windows, NOW, Seen(under_way=open_)).expected_wait_s()


@pytest.mark.long
@pytest.mark.parametrize(
    ("load", "off_by", "shares"),
    [
        (Load(0.95, 0.95), 0.3, (0.9, 1.1)),
        (Load(0.8, 1.2), 0.2, (0.9, 1.1)),
        (Load(0.8, 1.2, agents=10), 0.3, (0.9, 1.2)),
        (Load(0.9, 1.5, gives_up=True), 0.3, (0.75, 0.95)),
        (Load(0.9, 3, gives_up=True), 0.45, (0.55, 0.8)),
    ],
    ids=["busy", "flood", "small", "given up", "given up by most"],
)
def test_the_expected_wait_is_about_what_is_waited(
    load: Load, off_by: float, shares: tuple[float, float]
) -> None:
    """Of waits of 30 s or more half of the expectations are off by less, as a share of the wait. On average
    they are right; where many give up, too short, since behind those fewer give up."""
    known = list(calls(load, Random(1)))
    patient = [one for one in known if one.is_patient and one.left_s - one.came_s >= 30]
    waited = [one.left_s - one.came_s for one in patient]
    said = [expected_s(known, one.came_s) or 0 for one in patient]
    assert len(patient) > 60
    off = median(abs(one - other) / other for one, other in zip(said, waited, strict=True))
    assert off < off_by
    assert shares[0] < mean(said) / mean(waited) < shares[1]
