"""A worker of the shipped journey at one moment, whose checkout has counted 30 good and 20 failed events."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from monitor.counting.event import Event
from monitor.counting.judging import Judge
from monitor.counting.staff import stage_tally, stage_windows
from monitor.journey_file.model import Stage
from monitor.live.snapshot import Seen, Snapshot, StageSnapshot, stage_snapshot
from streams.state.latest import Shown
from streams.state.stage import shown_failure
from tests.kit.shipped import SHIPPED as CHAIR

NOW = 1_800_000_030_000
GOOD = Event(stage="web_checkout", outcome="ok", segment="new")
FAILED = Event(
    id="e1",
    time=datetime(2026, 7, 1, 12, 30, 0, 250_000, tzinfo=UTC),
    stage="web_checkout",
    outcome="failed",
    segment="new",
    reason="payment_error",
    journey_id="j1",
)
FAILURES = [shown_failure(FAILED, ("checkout_completed",))]
MEANT: list[Shown] = [
    {"journey_id": "j1", "time": "2026-07-01T12:30:00.250Z", "what": "overdue", "partner": "postnord"}
]


def held(
    stage: Stage, events: Iterable[Event], at_ms: int = NOW, more: Mapping[str, int] | None = None
) -> StageSnapshot:
    """A stage at `NOW` that counted these events at `at_ms`, and in each pane `more` of other counters."""
    windows, tally = stage_windows(CHAIR, stage), stage_tally(stage, Judge(CHAIR, stage))({})
    for event in events:
        tally.add([event], [at_ms])
    for key, counts in tally.panes():
        windows.add(key, {**counts, **(more or {})})
    return stage_snapshot(CHAIR, stage, windows, NOW, Seen(began_ms=NOW - 9 * 86_400_000))


def snapshot(ready: bool = True) -> Snapshot:
    """The worker, one of two; or what it knows while it waits for Kafka."""
    if ready:
        checkouts = {"web_checkout": [GOOD] * 30 + [FAILED] * 20}
        stages = [held(stage, checkouts.get(stage.name, ())) for stage in CHAIR.stages]
    else:
        stages = [stage_snapshot(CHAIR, stage, None, NOW) for stage in CHAIR.stages]
    problems = () if ready else ("waiting for Kafka at nowhere:1",)
    return Snapshot(
        CHAIR, NOW, ready, tuple(stages), "1", partitions=8, owned=4, worker="w1", problems=problems
    )


READY = snapshot()
