"""What comes now against a journey file: each difference as the line of a journey file that would mend it.

The lines are those of `learn` for the same events, with counts beside them; what no file can mend, such as a
field that services do not send, is a comment.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor.counting.conditions import rule_of
from monitor.counting.display import aimed
from monitor.counting.event import Event, Reason
from monitor.counting.explained import listed_names, undecided
from monitor.counting.measures import wilson_lower
from monitor.journey_file.hours import QUARTER_MS, hourly, is_open
from monitor.journey_file.model import OUTCOMES, WHOLE, Experience, Journey, Journeys, Stage
from monitor.journey_file.nodes import UNIT_MS
from monitor.learn.journeys import HandedOver, Owed, handoffs, promises
from monitor.learn.propose import RARE, frequent, kind_of
from monitor.learn.rhythm import TOLD_EVENTS, WEEK_HOURS, Rhythm, as_hours, rhythm
from monitor.learn.seen import Names, Seen, SeenStage
from monitor.learn.targets import Achieved, Key, Target
from monitor.learn.written import (
    GUESS,
    RHYTHM_DAYS,
    UNKNOWN,
    Learned,
    expects_lines,
    handoff_line,
    promise_line,
    stage_lines,
    told,
)
from monitor.rules.journeys import GOAL
from monitor.rules.limits import MIN_N
from monitor.rules.plan import Plan

FAR = 2
"""Twice as many bad as a target allows; half, or twice, as many events as are expected, or as make an hour of
the week open. What is nearer may be another month's chance."""


class Lacking:
    """Events that an experience could not judge, by the field that they lack."""

    def __init__(self, journey: Journey) -> None:
        self._rules = {
            stage.name: (stage.outcomes, [(one, rule_of(one)) for one in stage.experiences])
            for stage in journey.stages
        }
        self.n: Counter[Key] = Counter()
        """Events that are the experience's to judge."""
        self.fields: defaultdict[Key, Counter[str]] = defaultdict(Counter)

    def add(self, event: Event) -> None:
        """Count an event; one that a worker refuses, or that begins an encounter, is nobody's to judge."""
        outcomes, rules = self._rules.get(event.stage, ((), []))
        for experience, rule in rules if event.outcome in outcomes else ():
            lacks = undecided(experience, event) if rule(event) is None else ()
            if lacks is not None:
                self.n[event.stage, experience.name] += 1
                self.fields[event.stage, experience.name].update(one.field for one in lacks)


@dataclass(frozen=True, slots=True)
class Came:
    """Events as they came: what they hold, what they achieve by the file, and what cannot be judged by it."""

    seen: Seen
    achieved: Mapping[Key, Achieved]
    lacking: Lacking
    refused: Counter[Reason]
    """What a worker with this file refuses."""
    counted: int
    """What it counts."""
    topics: Mapping[str, str]
    """Those of stages, if they were read from such."""


def drift(plan: Plan, came: Came) -> list[str]:
    """The lines of a journey file that say what differs from that of the plan; none where nothing does."""
    journey = plan.journey
    found = [*_refused(came), *_names(journey, came.seen)]
    if rules := journey.journeys:
        (whole,) = (stage for stage in plan.stages if stage.name == WHOLE)
        found += _under("journeys:", _journeys(rules, whole, came))
    stages = [line for stage in journey.stages for line in _stage(journey, stage, came)]
    known = {stage.name for stage in journey.stages}
    learned = Learned(journey.name, journey.timezone, came.seen, topics=came.topics)
    for name, stage in came.seen.stages.items():
        if name not in known and stage.n >= RARE * came.seen.n:
            stages += stage_lines(learned, name, kind_of(stage, came.seen))
    return found + _under("stages:", stages)


def _under(heading: str, found: Iterator[str] | Sequence[str]) -> list[str]:
    """The lines below their heading; nothing without lines."""
    lines = list(found)
    return [heading, *lines] if lines else []


def _refused(came: Came) -> Iterator[str]:
    n = came.refused.total()
    if n and n >= RARE * (n + came.counted):
        reasons = ", ".join(f"{reason} {of:,}" for reason, of in came.refused.most_common())
        yield f"# refused are {n:,} of {n + came.counted:,} events: {reasons}"


def _names(journey: Journey, seen: Seen) -> Iterator[str]:
    partners = Names()
    for stage in journey.stages:
        if stage.partners and stage.name in seen.stages:
            partners.update(seen.stages[stage.name].partners)
    yield from _listed("segments", seen.segments, journey.segments)
    yield from _listed("channels", seen.channels, journey.channels)
    yield from _listed("partners", partners, journey.partners)


def _listed(key: str, names: Names, known: Sequence[str]) -> Iterator[str]:
    """The names of a list with those that come and are not in it; a file without the list asks for none."""
    if known and (new := [name for name in frequent(names) if name not in known]):
        counts = ", ".join(f"{name} {names[name]:,}" for name in new)
        yield f"{key}: [{', '.join((*known, *new))}]   # counts as `other`: {counts}, of {names.total():,}"


def _stage(journey: Journey, stage: Stage, came: Came) -> list[str]:
    seen = came.seen.stages.get(stage.name)
    if seen is None:
        return []  # who compares one topic need not be told of the other stages
    found = [*_further(stage, seen.outcomes)]
    for name, known in listed_names(journey, stage).items():
        if name not in ("segment", "channel"):
            found += (f"    {line}" for line in _listed(f"{name}s", getattr(seen, f"{name}s"), known))
    found += _times(journey, stage, seen, came.seen)
    experiences = (line for one in stage.experiences for line in _experience(stage, one, came))
    return _under(f"  {stage.name}:", [*found, *_under("    experiences:", experiences)])


def _further(stage: Stage, outcomes: Names) -> Iterator[str]:
    known = (*stage.outcomes, *stage.openings)
    if new := [name for name in frequent(outcomes) if name not in known]:
        further = [one for one in (*stage.outcomes, *new) if one not in OUTCOMES]
        counts = ", ".join(f"{name} {outcomes[name]:,}" for name in new)
        yield f"    outcomes: [{', '.join(further)}]   # refused: {counts}, of {outcomes.total():,}"


def _times(journey: Journey, stage: Stage, seen: SeenStage, all_: Seen) -> Iterator[str]:
    """Opening hours and rhythm, where enough came to tell."""
    found = rhythm(seen.quarters, all_.first_ms, all_.last_ms, journey.timezone)
    named = {
        (day, hour)
        for day, spans in enumerate(stage.hours)
        for start, end in spans
        for hour in range(start // 60, -(-end // 60))
    }
    busy = found.busy or {}
    opened = {hour for hour, times in busy.items() if times >= FAR and hour not in named}
    shut = {hour for hour in named if busy.get(hour, FAR) < 1 / FAR}
    if stage.hours and opened | shut:
        closed = sum(n for at, n in seen.quarters.items() if not is_open(journey, stage, at * QUARTER_MS))
        spans = ", ".join(f'{days}: "{spans}"' for days, spans in as_hours(named - shut | opened).items())
        why = f"{closed:,} of {seen.n:,} came while closed; next to none in {len(shut)} open hours of a week"
        yield f"    hours: {{{spans}}}   # {why}"
    if stage.per_hour is None or all_.days < RHYTHM_DAYS or seen.n < TOLD_EVENTS * WEEK_HOURS:
        return
    expected = hourly(stage.per_hour, stage.by_hour)
    if stage.hours:
        expected = [
            n if any((day, hour) in named for day in range(7)) else 0 for hour, n in enumerate(expected)
        ]
    if _is_off(expected, found):
        yield f"    # the file expects {sum(expected) / 24:.3g} an hour, in its own rhythm; {seen.n:,} came"
        yield from expects_lines(found)


def _is_off(expected: Sequence[float], found: Rhythm) -> bool:
    """Whether more than half of the greater lies between them, hour by hour."""
    both = list(zip(expected, found.by_hour, strict=True))
    return sum(abs(a - b) for a, b in both) > sum(map(max, both)) / FAR


def _experience(stage: Stage, experience: Experience, came: Came) -> list[str]:
    key = stage.name, experience.name
    n = came.lacking.n[key]
    found = [
        f"        # {lacking:,} of {n:,} lack `{name}`, and are not judged: their service has to send it"
        for name, lacking in came.lacking.fields[key].most_common()
        if lacking >= RARE * n
    ]
    if (achieved := came.achieved.get(key)) is not None:
        found += (f"        {line}" for line in _targets(experience, achieved, came.seen))
    return _under(f"      {experience.name}:", found)


def _targets(experience: Experience, achieved: Achieved, seen: Seen) -> Iterator[str]:
    if _is_missed(achieved.all, experience):
        yield f"target: {achieved.all.target}   # {_asked(achieved.all, experience, seen)}"
    segments = (
        f"  {name}: {own.target}   # {_asked(own, experience, seen, name)}"
        for name, own in achieved.segments.items()
        if _is_missed(own, experience, name)
    )
    yield from _under("targets:", segments)


def exceeded(plan: Plan, came: Came) -> Iterator[str]:
    """Targets of which surely less than half as many are bad as may be. Who promises less than is kept has
    nothing to change: no difference."""
    for stage in plan.stages:
        for one in stage.experiences:
            achieved = came.achieved.get((stage.name, one.name))
            if achieved is None or (share := achieved.all.share).n < MIN_N:
                continue
            if 1 - wilson_lower(share.good, share.n) < float(1 - one.target) / FAR:
                asked = _asked(achieved.all, one, came.seen)
                yield f"{stage.name} {one.name}: {achieved.all.target} would do, {asked}"


def _is_missed(own: Target, experience: Experience, segment: str = "") -> bool:
    """Whether surely (Wilson, 95 %) more than twice as many are bad as may be."""
    may_be = float(1 - experience.target_for(segment))
    return own.share.n >= MIN_N and bool(wilson_lower(own.share.bad, own.share.n) > FAR * may_be)


def _asked(own: Target, experience: Experience, seen: Seen, segment: str = "") -> str:
    return f"{told(own, seen)}; the file asks {aimed(experience.target_for(segment))}"


def _journeys(rules: Journeys, whole: Stage, came: Came) -> Iterator[str]:
    """Targets that are surely missed, and kinds of promises and hand-overs that are known to nobody."""
    missed: dict[str, tuple[str, str]] = {}
    for one in whole.experiences:
        achieved = came.achieved.get((WHOLE, one.name))
        if achieved is not None and _is_missed(achieved.all, one):
            missed[one.name] = str(achieved.all.target), _asked(achieved.all, one, came.seen)
    if GOAL in missed:
        yield "  target: {}   # {}".format(*missed[GOAL])
    owed = [Owed(one.name, one.stage) for one in rules.promises]
    kinds = {one.kind for one in owed}
    lines = [promise_line(one, *missed[one.experience]) for one in owed if one.experience in missed]
    for promise in promises(came.seen):
        if promise.kind not in kinds:
            why = f"counts as `other`: {came.seen.due[promise.kind]:,} of {came.seen.due.total():,}; {GUESS}"
            lines.append(promise_line(promise, UNKNOWN, why))
    yield from _under("  promises:   # beside the others of the file", lines)
    edges = [HandedOver(one.sender, one.receiver, _named(one.within_ms)) for one in rules.edges]
    ways = {(one.sender, one.receiver) for one in edges}
    lines = [handoff_line(one, *missed[one.experience]) for one in edges if one.experience in missed]
    for handoff in handoffs(came.seen):
        if (handoff.sender, handoff.receiver) not in ways:
            why = f"no file knows {handoff.n:,} of them; {GUESS}"
            lines.append(handoff_line(handoff, UNKNOWN, why))
    yield from _under("  handoffs:   # beside the others of the file", lines)
    if "moves" in missed:
        yield "  moves: {{target: {}}}   # {}".format(*missed["moves"])


def _named(ms: int) -> str:
    """A time in the greatest unit that it is a whole number of."""
    return next(f"{ms // unit}{name}" for name, unit in reversed(UNIT_MS.items()) if not ms % unit)
