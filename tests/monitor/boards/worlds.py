"""Workers in every state that a board can show, as they answer Prometheus; the same numbers every time."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from monitor.counting.event import Event, Reason, Score
from monitor.counting.judging import Judge
from monitor.counting.panes import SHORT
from monitor.counting.staff import stage_tally, stage_windows
from monitor.counting.windows import StageWindows
from monitor.journey_file.model import Journey, Stage
from monitor.journeys import counters as journey_counters
from monitor.journeys.counters import CounterTally
from monitor.live.exposition import render
from monitor.live.journeys import JourneysSnapshot, PartitionLag, ages
from monitor.live.snapshot import Seen, Snapshot, StageSnapshot, stage_snapshot

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS

Many = tuple[int, dict[str, Any]]
"""How many events with these fields."""


@dataclass(frozen=True)
class World:
    """One worker: what it counted, and how it fares."""

    events: dict[str, list[Many]] = field(default_factory=dict)
    """By stage."""
    journeys: dict[str, int] = field(default_factory=dict)
    """Counts by name of the counter."""
    quiet: tuple[str, ...] = ()
    """Stages whose events are half an hour old."""
    ready: bool = True
    behind_s: float = 0
    overdue: tuple[tuple[str, str], ...] = ()
    """What, and of which partner; each for half an hour."""
    lost_h: float = 0
    """Hours since the changelogs of the checkout and of whole journeys were deleted; 0: they never were."""


def exposition(journey: Journey, world: World, now_ms: int) -> bytes:
    """What the worker answers, at the last full ten seconds, of which panes are made.

    The newest event of each stage is three days old, so that its age reads alike as long as a test takes.
    """
    now_ms -= now_ms % SHORT.ms
    stages = tuple(_stage(journey, stage, world, now_ms) for stage in journey.stages)
    snapshot = Snapshot(
        journey, now_ms, world.ready, stages,
        version="1.2.3", partitions=28, owned=28, journeys=_journeys(journey, world, now_ms),
    )  # fmt: skip
    return render(snapshot, "text/plain")[0]


def _stage(journey: Journey, stage: Stage, world: World, now_ms: int) -> StageSnapshot:
    windows, tally = stage_windows(journey, stage), stage_tally(stage, Judge(journey, stage))({})
    at_ms = now_ms - (30 * MINUTE_MS if stage.name in world.quiet else 1_000)
    whole_since_ms = _whole_since_ms(world, now_ms) if stage.name == "web_checkout" else 0
    for n, fields in world.events.get(stage.name, ()):
        event = Event(stage=stage.name, **fields)
        for _ in range(n):
            tally.add([event], [at_ms])
    _filled(windows, tally.panes())
    return stage_snapshot(
        journey, stage, windows if world.ready else None, now_ms,
        Seen(
            {"counted": 2_261, "late": 7, "duplicate": 2, "refused": 1},
            {Reason.NOT_JSON: 1},
            {"none": now_ms - 3 * DAY_MS} if world.events else {},
            (PartitionLag(0, round(world.behind_s * 10), world.behind_s, whole_since_ms=whole_since_ms),),
        ),
    )  # fmt: skip


def _journeys(journey: Journey, world: World, now_ms: int) -> JourneysSnapshot | None:
    if journey.journeys is None:
        return None
    windows, tally = StageWindows(journey_counters.counter_names(journey)), CounterTally()
    for counter, n in world.journeys.items():
        for _ in range(n):
            tally.add([(counter,)], [now_ms - 1_000])
    _filled(windows, tally.panes())
    return JourneysSnapshot(
        topic="touchpoint-monitor-journey-steps",
        column=windows.column if world.ready else {},
        sums=windows.sums(now_ms) if world.ready else {},
        results={"counted": 2_000, "late": 1, "duplicate": 2, "refused": 0},
        open_journeys=4_711 if world.events else 0,
        overdue=ages(((what, partner, now_ms - 30 * MINUTE_MS) for what, partner in world.overdue), now_ms),
        clocks_ms={0: now_ms - MINUTE_MS},
        slowest={},
        lags=(PartitionLag(0, 0, 0, whole_since_ms=_whole_since_ms(world, now_ms)),),
    )  # fmt: skip


def _whole_since_ms(world: World, now_ms: int) -> int:
    return now_ms - round(world.lost_h * 60 * MINUTE_MS) if world.lost_h else 0


def _filled(windows: StageWindows, panes: Iterable[Any]) -> None:
    for key, counts in panes:
        windows.add(key, counts)


def _checkouts(failed: int) -> list[Many]:
    """1,200 checkouts; what fails, fails at Klarna."""
    paid = {"outcome": "ok", "partner": "klarna", "channel": "web", "duration_s": 30}
    return [
        (700 - failed, paid | {"segment": "new"}),
        (400, paid | {"segment": "business", "partner": "adyen", "channel": "app", "outcome": "wow"}),
        (95, paid | {"segment": "returning"}),
        (5, paid | {"segment": "returning", "duration_s": 100}),
        (failed, {"outcome": "failed", "partner": "klarna", "segment": "new", "channel": "web",
                  "touchpoint": "payment", "reason": "payment_error"}),
    ]  # fmt: skip


def _answers(kind: Literal["nps", "csat"], **counts: int) -> list[Many]:
    values = {"promoter": 10, "passive": 8, "detractor": 2, "well": 5, "badly": 2}
    return [
        (n, {"outcome": "ok", "segment": segment, "channel": channel, "score": Score(kind, values[name])})
        for name, n in counts.items()
        for segment, channel in (("new", "email"), ("returning", "web"))
    ]  # fmt: skip


GOOD: dict[str, list[Many]] = {
    "web_checkout": _checkouts(failed=12),
    "call_queue": [
        (95, {"outcome": "ok", "segment": "new", "wait_s": 8, "duration_s": 200, "system_wait_s": 30}),
        (5, {"outcome": "abandoned", "segment": "new", "wait_s": 60}),
    ],
    "store": [
        (60, {"outcome": "ok", "segment": "new", "wait_s": 30, "location": "helsinki", "duration_s": 400}),
        (40, {"outcome": "ok", "segment": "business", "wait_s": 30, "location": "oulu"}),
        (2, {"outcome": "ok", "segment": "business", "wait_s": 200, "location": "oulu"}),
    ],
    "warehouse": [(998, {"outcome": "ok"}), (2, {"outcome": "failed", "reason": "damaged"})],
    "delivery": [
        (490, {"outcome": "ok", "segment": "new", "partner": "postnord"}),
        (10, {"outcome": "wow", "segment": "new", "partner": "matkahuolto"}),
    ],
    "feedback": [
        (300, {"outcome": "asked", "channel": "email"}),
        (6, {"outcome": "followed_up"}),
        *_answers("nps", promoter=40, passive=12, detractor=4),
    ],
    "staff_pulse": _answers("csat", well=9, badly=1),
}
JOURNEYS = {
    "closed/met/new": 1_800, "closed/met/business": 461, "closed/missed/new": 39,
    "score/1/new": 2_000, "score/0.5/new": 300,
    "hit/web_checkout/new": 12, "hit/store/business": 2,
    "weakest/web_checkout/new": 210, "weakest/store/business": 90,
    "promise/delivery_window/postnord/due": 2_261, "promise/delivery_window/postnord/kept": 2_200,
    "promise/delivery_window/postnord/late": 40, "promise/delivery_window/postnord/missed": 21,
    "promise/follow_up/none/due": 30, "promise/follow_up/none/kept": 24, "promise/follow_up/none/missed": 6,
    "handoff/warehouse/delivery/postnord/sent": 2_300, "handoff/warehouse/delivery/postnord/lost": 3,
    "contact/call_queue/first": 90, "contact/call_queue/repeat": 10,
    "moved/web/phone": 80, "moved/app/other": 2, "labyrinth/new": 1, "lost/web/phone": 1,
    "fix/stage:web_checkout/none": 170, "fix/stage:store/none": 60,
    "fix/handoff:warehouse>delivery/promise:delivery_window": 21, "fix/promise:delivery_window/none": 19,
    "noticed/company": 30, "noticed/customer": 60, "noticed/nobody": 10,
    "critical/delivery/bad_detractor": 40, "critical/delivery/bad_other": 20,
    "critical/delivery/ok_detractor": 20, "critical/delivery/ok_other": 300,
    "critical/store/bad_detractor": 2,
    "gap/delivery/ok_inside_bad_outside": 12, "gap/delivery/ok_inside_ok_outside": 288,
}  # fmt: skip

HEALTHY = World(GOOD, JOURNEYS)
WORLDS: dict[str, World | None] = {
    "healthy": HEALTHY,
    "degraded": replace(
        HEALTHY,
        events=GOOD | {"web_checkout": _checkouts(failed=600), "feedback": _answers("nps", detractor=3)},
        overdue=(*(("promise/delivery_window", "postnord"),) * 2, ("handoff/warehouse/delivery", "")),
    ),
    "silent": replace(HEALTHY, quiet=("call_queue",)),
    "behind": replace(HEALTHY, behind_s=90),
    "not ready": replace(HEALTHY, ready=False),
    "counts lost": replace(HEALTHY, lost_h=2),
    "nothing yet": World(),
    "no worker": None,
}
