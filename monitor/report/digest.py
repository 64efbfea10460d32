"""What the digest of the last days tells, as plain data. None is: nothing known, never 0 or 100 %."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from monitor.counting.measures import Share, wilson_lower
from monitor.journey_file.model import Experience, Stage
from monitor.journeys.counters import PROMISED
from monitor.rules.critical import Touchpoint
from monitor.rules.journeys import HANDED_KNOWN
from monitor.rules.plan import Plan
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

DAY_S = 86_400

BY_SEGMENT = "segment"
"""What a spread is between, beside `judging.BY_CHANNEL` and `judging.BY_LOCATION`."""

SPANS = (("7d", 7), ("1d", 1))
"""Windows that every metric has, widest first, and their days."""


class Period(NamedTuple):
    """So many times 24 hours before `end_s`, Unix time in seconds."""

    end_s: int
    days: int

    @property
    def from_s(self) -> int:
        """When it begins, in Unix time."""
        return self.end_s - self.days * DAY_S

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """The windows that cover it, the newest first: label, days, when they end."""
        ago = 0
        for label, days in SPANS:
            while self.days - ago >= days:
                yield label, days, self.end_s - ago * DAY_S
                ago += days

    def day_ends(self) -> list[int]:
        """When each day ends, the oldest first."""
        return [self.end_s - ago * DAY_S for ago in range(self.days - 1, -1, -1)]


def is_met(share: Share, target: Decimal) -> bool:
    """Whether so many good ones meet the target: exactly, without rounding."""
    return share.good >= target * share.n


def is_surely_missed(share: Share, target: Decimal) -> bool:
    """Whether it is below target beyond chance."""
    return bool(wilson_lower(share.bad, share.n) > float(1 - target))


@dataclass(frozen=True, slots=True)
class Judged:
    """How one experience went for those it is told of, held to one target."""

    stage: Stage
    experience: Experience
    share: Share
    target: Decimal
    segment: str | None = None

    @property
    def is_met(self) -> bool:
        """Whether it met its target."""
        return is_met(self.share, self.target)

    @property
    def attainment(self) -> float:
        """Quality against target; of something that was judged."""
        found = self.share.attainment(self.target)
        assert found is not None  # noqa: S101 - nothing else is judged
        return found

    @property
    def allowed(self) -> int:
        """How many bad ones the target allows: one more misses it."""
        return int((1 - self.target) * self.share.n)


def weakest_of(judged: Sequence[Judged]) -> Judged | None:
    """The one furthest below its target, or least above it; one of few events only if all are."""
    enough = [one for one in judged if one.share.n >= MIN_SEGMENT_EVENTS]
    return min(enough or judged, key=lambda one: one.attainment, default=None)


@dataclass(frozen=True, slots=True)
class StageFound:
    """A stage. `days` are of its weakest experience, oldest first; `minutes` alerts fired, by severity."""

    stage: Stage
    is_heard: bool
    """Whether it is counted at all, be it that nothing came."""
    weakest: Judged | None
    days: tuple[Share | None, ...]
    minutes: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Journeys that were over."""

    goals: Share
    visits: int
    scored: int
    all_good: int
    weakest: tuple[tuple[str, int], ...]
    """Stage and journeys whose weakest encounter was there, most first."""

    @property
    def over(self) -> int:
        """How many there are, visits among them."""
        return self.goals.n + self.visits


@dataclass(frozen=True, slots=True)
class Answered:
    """What customers or staff answered at a stage: NPS, or the share of good answers of another kind."""

    stage: Stage
    kind: str
    n: int
    best: int
    """Promoters, or good answers."""
    figure: float | None
    """None where too few answered to tell."""
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Fix:
    """What would have made journeys good: a thing, or two together (`counters.fixable`)."""

    things: tuple[str, ...]
    a_week: float
    """How many journeys, over the days that are known."""


@dataclass(frozen=True, slots=True)
class Promised:
    """Promises of a kind that fell due, of a partner or, without one, of all. Only a kind of the journey file
    has a target."""

    kind: str
    partner: str | None
    target: Decimal | None
    due: int
    kept: int
    early: int
    broken: int
    late: int
    missed: int
    rescheduled: int
    unpromised: int

    @property
    def share(self) -> Share:
        """Good is a promise kept."""
        return Share(self.kept, self.due - self.kept)


def by_kind(promises: Sequence[Promised]) -> Iterator[Promised]:
    """The same over all partners."""
    for kind, target in dict.fromkeys((one.kind, one.target) for one in promises):
        own = [one for one in promises if one.kind == kind]
        yield Promised(kind, None, target, *(sum(getattr(one, name) for one in own) for name in PROMISED))


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What one stage handed over to another."""

    sender: str
    receiver: str
    target: Decimal | None
    sent: int
    received: int
    lost: int
    late: int
    """Received after they were lost."""

    @property
    def share(self) -> Share:
        """Of those of which it is known what has become of them; good is what arrived in time."""
        known = sum(sign * int(getattr(self, result)) for result, sign in HANDED_KNOWN.items())
        return Share(known - self.lost, self.lost)


@dataclass(frozen=True, slots=True)
class Astray:
    """Journeys that went astray, where, and contacts."""

    journeys: int | None
    over: int
    edge: tuple[str, str, int] | None
    repeats: Share | None
    """Good is a contact that is no repeat."""
    noticed: Share | None
    """Good is a journey gone wrong in which the company spoke first."""


@dataclass(frozen=True, slots=True)
class Weight:
    """How a stage weighs on satisfaction, of those of which it can be told."""

    stage: str
    touchpoint: Touchpoint
    share: float
    """Of detractors, that there would not be, were the stage never bad."""

    @property
    def phi(self) -> float:
        """How closely bad and detractor go together, -1 to 1; of a stage whose share is not 0."""
        phi = self.touchpoint.phi
        assert phi is not None  # noqa: S101 - None goes with a share of 0 or None
        return phi


@dataclass(frozen=True, slots=True)
class Gap:
    """What a stage says of itself, and what customers say, over the same journeys."""

    stage: str
    n: int
    inside: int
    """Fine by the stage's own word."""
    outside: int
    """Fine by the customer's."""
    believed: int
    """Fine inside, bad outside: the alarming ones."""

    @property
    def points(self) -> float:
        """Understanding gap, -1 to 1; above 0 the stage thinks better of itself than customers do."""
        return (self.inside - self.outside) / self.n


@dataclass(frozen=True, slots=True)
class Spread:
    """The best and the worst segment, channel or location of an experience."""

    stage: Stage
    experience: Experience
    by: str
    best: tuple[str, Share]
    worst: tuple[str, Share]

    @property
    def points(self) -> float:
        """How far they lie apart, 0 to 1."""
        best, worst = self.best[1], self.worst[1]
        return best.good / best.n - worst.good / worst.n


@dataclass(frozen=True, slots=True)
class Firings:
    """All that one alert did in the period: how often it began in it, for how many minutes it fired."""

    name: str
    severity: str
    stage: str
    experience: str
    times: int
    minutes: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What Prometheus and the monitor saw of the period."""

    days: int
    """Days whose counts are known."""
    pictured: int
    """Days that single figures are known of."""
    judged_s: int | None
    """When rules were first evaluated, in Unix time; None when they never were."""
    unjudged_minutes: int
    """After that, minutes without."""
    blind: Mapping[str, int]
    """Minutes by cause."""
    others: tuple[str, ...]
    """Journeys that are measured there, if the one of the file is not."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything there is to tell. None is: nothing known."""

    plan: Plan
    period: Period
    outcome: Outcome | None
    answered: tuple[Answered, ...]
    stages: tuple[StageFound, ...]
    fixes: tuple[Fix, ...] | None
    """Those worth most, most first."""
    promises: tuple[Promised, ...] | None
    worst_partner: Promised | None
    """Of those who missed their target; None also when nobody did."""
    handed_over: tuple[HandedOver, ...] | None
    astray: Astray
    weights: tuple[Weight, ...] | None
    gaps: tuple[Gap, ...] | None
    worst_segment: tuple[Judged, Judged] | None
    """Of those that missed their target, and the best served of the same experience."""
    spreads: tuple[Spread, ...]
    """The widest between segments, channels and locations."""
    alerts: tuple[Firings, ...] | None
    seen: Seen
