"""What a worker knows at one moment, as plain data: taken on the event loop, read anywhere. At /metrics
`exposition` writes it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from monitor.counting.display import duration
from monitor.counting.judging import ABANDONED, counter_name, reason_labels
from monitor.counting.measures import Share, headline_window
from monitor.counting.panes import Numbers
from monitor.counting.windows import WINDOW_LABELS, WINDOWS, Came, StageWindows
from monitor.journey_file.hours import expected
from monitor.journey_file.model import NONE, OTHER, QUEUED, STARTED, Experience, Journey, Stage
from monitor.journeys.encounters import UnderWay
from monitor.live.change import Change
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.shown import LAST_MS
from monitor.live.silence import Heard, is_seen
from monitor.rules.plan import SILENT_EXPECTED, SILENT_WINDOWS
from monitor.rules.verdict import MIN_SEGMENT_EVENTS, SEVERITY, State, state

NO_EVENTS = Share(0, 0)

WINDOW_MS = {window.label: window.ms for window in WINDOWS}


@dataclass(frozen=True, slots=True)
class Headline:
    """One experience as it is now: its share of good events in the window that says it best."""

    experience: Experience
    window: str
    share: Share
    state: State

    @property
    def attainment(self) -> float:
        """Quality against target; infinite without events, so that silence is never the weakest."""
        attainment = self.share.attainment(self.experience.target)
        return float("inf") if attainment is None else attainment


@dataclass(frozen=True)
class Seen:
    """What a worker knows of a stage's records besides the quality of its events."""

    results: Mapping[str, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    last_event_ms: Mapping[str, int] = field(default_factory=dict)
    lags: tuple[PartitionLag, ...] = ()
    under_way: UnderWay = field(default_factory=UnderWay)
    began_ms: int | None = None
    """When the group first counted it, as far as the worker knows."""


NOTHING_SEEN = Seen()


@dataclass(frozen=True, kw_only=True)
class StageSnapshot(Seen):
    """One stage. `sums` and `trend` are columns of counters named by `column`; none while not ready."""

    stage: Stage
    segments: tuple[str, ...]
    column: Mapping[str, int]
    sums: Mapping[str, Numbers]
    trend_sums: Numbers | None
    last_ms: int | None
    """When the last event counted happened: to the pane, if this worker did not take it itself."""
    came: Came = field(default_factory=dict)
    """How many events came pane by pane; nothing while not ready."""

    def count(self, name: str, window: str) -> int:
        """A counter's sum over a window."""
        return int(self.sums[window][self.column[name]]) if self.sums else 0

    def share(self, experience: Experience, window: str, segment: str | None = None) -> Share:
        """Good and bad of an experience, over all partners and, unless given, all segments."""
        return self._share(self.sums[window] if self.sums else None, experience, segment)

    def _share(self, row: Numbers | None, experience: Experience, segment: str | None = None) -> Share:
        if row is None:
            return NO_EVENTS
        cells = [
            (experience.name, one, partner)
            for one in (self.segments if segment is None else (segment,))
            for partner in self.stage.partner_labels
        ]
        return Share(
            int(sum(row[self.column[counter_name("good", *cell)]] for cell in cells)),
            int(sum(row[self.column[counter_name("bad", *cell)]] for cell in cells)),
        )

    def shares(self, experience: Experience) -> dict[str, Share]:
        """Good and bad of an experience by window label."""
        return {window: self.share(experience, window) for window in WINDOW_LABELS}

    @cached_property
    def headlines(self) -> dict[str, Headline]:
        """What is to be said of each experience now."""
        found = {}
        for experience in self.stage.experiences:
            shares = self.shares(experience)
            window = headline_window(shares)
            found[experience.name] = Headline(
                experience, window, shares[window], state(shares, experience.target)
            )
        return found

    @cached_property
    def weakest(self) -> Headline:
        """The stage's quality is that of its weakest experience against target, never a mean of them."""
        return min(self.headlines.values(), key=lambda known: (-SEVERITY[known.state], known.attainment))

    def worst_segment(self, headline: Headline) -> str | None:
        """The segment served worst against its own target; None when no segment says enough."""
        experience = headline.experience
        known = [
            (share.attainment(experience.target_for(segment)) or 0.0, segment)
            for segment in self.segments
            if segment != OTHER
            and (share := self.share(experience, headline.window, segment)).n >= MIN_SEGMENT_EVENTS
        ]
        return min(known)[1] if known else None

    def top_reason(self, window: str) -> str | None:
        """The most frequent reason of bad events."""
        counted = [(self.count(counter_name("reason", r), window), r) for r in reason_labels(self.stage)]
        n, reason = max(counted)
        return reason if n else None

    def events(self, window: str) -> int:
        """All events of the window, judged or not."""
        return sum(self.count(counter_name("outcome", outcome), window) for outcome in self.stage.outcomes)

    def openings(self) -> tuple[str, ...]:
        """`queued` and `started`, as far as services have said so lately."""
        longest = WINDOW_LABELS[-1]
        return tuple(one for one in self.stage.openings if self.count(counter_name("begun", one), longest))

    def open_encounters(self, opening: str) -> tuple[int, int | None]:
        """How many are `queued` or `started` now, and since when (ms) the oldest of them."""
        cells = [(opening, segment) for segment in self.segments]
        begun = [self.under_way.since_ms[cell] for cell in cells if cell in self.under_way.since_ms]
        return sum(self.under_way.n.get(cell, 0) for cell in cells), min(begun, default=None)

    def expected_wait_s(self) -> float | None:
        """How long who comes now waits if the queue goes on as in the last 5 minutes; None if none left."""
        left = self.events("5m")
        if STARTED in self.openings():
            begun, gave_up = counter_name("begun", STARTED), counter_name("outcome", ABANDONED)
            left = self.count(begun, "5m") + self.count(gave_up, "5m")
        return self.open_encounters(QUEUED)[0] * 300 / left if left else None

    def trend(self, experience: Experience) -> list[float | None]:
        """Quality of the experience minute by minute, oldest first."""
        if self.trend_sums is None:
            return []
        return [self._share(row, experience).quality for row in self.trend_sums]


@dataclass(frozen=True, slots=True)
class Silence:
    """No event of a stage in `window`, where `expected` should have come.

    Since its last event `lasted_ms` have passed, in which `missed` should have come; None if none is known.
    """

    window: str
    expected: float
    lasted_ms: int | None = None
    missed: float = 0.0

    @property
    def text(self) -> str:
        """The silence in words, the same for page, API and terminal."""
        if self.lasted_ms is None:
            window = duration(WINDOW_MS[self.window] // 1000)
            return f"No event so far; about {self.expected:,.0f} were expected in the last {window}."
        seconds = self.lasted_ms // 1000
        lasted = duration(seconds if seconds < 120 else seconds // 60 * 60)
        return f"No event for {lasted}; about {self.missed:,.0f} were expected."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A worker at `at_ms`."""

    journey: Journey
    at_ms: int
    ready: bool
    stages: tuple[StageSnapshot, ...]
    version: str
    partitions: int = 0
    owned: int = 0
    worker: str = ""
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()
    journeys: JourneysSnapshot | None = None

    def silence(self, held: StageSnapshot) -> Silence | None:
        """The narrowest window in which a stage is silent, as `StageSilent` begins to say it; None where it
        is not, or where this worker cannot know.

        It cannot without a declared rhythm, while others count some of the partitions, while records wait to
        be read, and of a window that began before the group did: a new monitor has not seen all of it.
        """
        if not self.ready or self.owned < self.partitions or any(lag.records for lag in held.lags):
            return None
        for window in WINDOWS:
            if window.label in SILENT_WINDOWS and not held.events(window.label):
                missed = expected(self.journey, held.stage, window.start_ms(self.at_ms), self.at_ms)
                if missed >= SILENT_EXPECTED and is_seen(window, self.at_ms, self._began_ms()):
                    return self._silence(held, Silence(window.label, missed))
        return None

    def _silence(self, held: StageSnapshot, silence: Silence) -> Silence:
        if held.last_ms is None:
            return silence
        missed = expected(self.journey, held.stage, held.last_ms, self.at_ms)
        return replace(silence, lasted_ms=self.at_ms - held.last_ms, missed=missed)

    def _began_ms(self) -> int:
        """A stage that was added later belongs to a group that has counted before."""
        known = (stage.began_ms for stage in self.stages if stage.began_ms is not None)
        return min(known, default=self.at_ms)

    def state(self, held: StageSnapshot) -> State:
        """The state of a stage: silent, or that of its weakest experience.

        While `StageSilent` may go on it is not called good, also where this worker cannot call it silent.
        """
        if self.silence(held) is not None:
            return State.SILENT
        found = held.weakest.state
        if found not in (State.GOOD, State.WITHIN_CHANCE):
            return found
        whole_since_ms = (lag.whole_since_ms for lag in held.lags)
        heard = Heard(
            self.journey, held.stage, held.came, self.at_ms, max(self._began_ms(), *whole_since_ms, 0)
        )
        return State.TOO_FEW if heard.may_be_silent() else found


def stage_snapshot(
    journey: Journey, stage: Stage, windows: StageWindows | None, now_ms: int, seen: Seen = NOTHING_SEEN
) -> StageSnapshot:
    """A stage as it is now; `windows` is None while its partitions are not recovered."""
    return StageSnapshot(
        *(dict(seen.results), dict(seen.refusals), dict(seen.last_event_ms)),
        *(seen.lags, seen.under_way, seen.began_ms),
        stage=stage,
        segments=journey.segment_labels,
        column=windows.column if windows else {},
        sums=windows.sums(now_ms, seen.under_way.late) if windows else {},
        trend_sums=windows.trend(now_ms, seen.under_way.late) if windows else None,
        last_ms=_last_ms(stage, windows, now_ms, seen) if windows else None,
        came=windows.arrivals(now_ms) if windows else {},
    )


def _last_ms(stage: Stage, windows: StageWindows, now_ms: int, seen: Seen) -> int | None:
    """What this worker took last, unless its panes say that another worker took a later event before."""
    pane = windows.newest((counter_name("outcome", one) for one in stage.outcomes), now_ms)
    if pane is None:
        return None
    start_ms, end_ms = pane
    taken = (at_ms for at_ms in seen.last_event_ms.values() if start_ms <= at_ms <= now_ms)
    return max(taken, default=min(end_ms, now_ms))


def last_events(journey: Journey, stage: Stage, windows: StageWindows) -> dict[str, int]:
    """By label of the partner, the end (ms) of the pane that holds the last event counted; `NONE` also has
    those that no experience judged, for panes do not tell whose they were."""
    segments, verdicts = journey.segment_labels, ("good", "bad")
    found: dict[str, int] = {}
    for partner in stage.partner_labels:
        judged = product(verdicts, (one.name for one in stage.experiences), segments, (partner,))
        if pane := windows.newest((counter_name(*cell) for cell in judged), LAST_MS):
            found[partner] = pane[1]
    all_events = [counter_name("outcome", one) for one in stage.outcomes]
    pane = windows.newest(all_events, LAST_MS)
    if pane and pane[1] > max(found.values(), default=-1):
        found[NONE] = pane[1]
    return found
