"""What a worker knows of whole journeys at one moment, as plain data."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitor.journey import NONE
from monitor.windows import Numbers, StageWindows

AGES_MS = {"1h": 3_600_000, "1d": 86_400_000, "3d": 259_200_000, "+Inf": None}
"""Upper bounds of how long something has been overdue."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far one partition is behind."""

    partition: int
    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class JourneysSnapshot:
    """Journeys. `sums` are columns of counters named by `column`; none while not ready.

    `overdue` is by what (`promise/<kind>` or `handoff/<from>/<to>`), partner and age.
    """

    topic: str
    column: Mapping[str, int]
    sums: Mapping[str, Numbers]
    results: Mapping[str, int]
    open_journeys: int
    overdue: Mapping[tuple[str, str, str], int]
    lags: tuple[PartitionLag, ...]

    def count(self, name: str, window: str) -> int:
        """A counter's sum over a window."""
        return int(self.sums[window][self.column[name]]) if self.sums else 0


def journeys_snapshot(
    windows: StageWindows | None,
    now_ms: int,
    *,
    topic: str,
    results: Mapping[str, int],
    open_journeys: int,
    overdue: Iterable[tuple[str, str, int]],
    lags: tuple[PartitionLag, ...],
) -> JourneysSnapshot:
    """Journeys as they are now; `overdue` says what, of which partner, and since when (ms)."""
    ages: Counter[tuple[str, str, str]] = Counter()
    for what, partner, due_ms in overdue:
        age_ms = now_ms - due_ms
        age = next(name for name, bound_ms in AGES_MS.items() if bound_ms is None or age_ms <= bound_ms)
        ages[what, partner or NONE, age] += 1
    return JourneysSnapshot(
        topic=topic,
        column=windows.column if windows else {},
        sums=windows.sums(now_ms) if windows else {},
        results=dict(results),
        open_journeys=open_journeys,
        overdue=ages,
        lags=lags,
    )
