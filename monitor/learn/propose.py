"""What a journey file may say of a history, before anybody knows which targets it meets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from monitor.journey_file.model import OUTCOMES, UNHAPPY, Kind
from monitor.learn.limits import SHORT_S, wait_limit
from monitor.learn.seen import Names, Seen, SeenStage, is_name

MAX_LISTED = 20
"""Names of one field: each is a series in every window, and a row that somebody reads."""

RARE = 0.001
"""Names in fewer of the events that have the field count as `other`."""

MOSTLY = 0.5
"""What most events of a stage have tells what kind it is."""

ASKED = "asked"

GOOD = ("ok", "wow")


@dataclass(frozen=True, slots=True)
class Proposed:
    """An experience. Conditions are as a journey file has them; `why` is the reason for them, if they need
    one."""

    name: str
    title: str
    judges: str
    good: str
    ignores: str = ""
    why: str = ""


def frequent(names: Names) -> tuple[str, ...]:
    """The names that a file lists, the most frequent first."""
    least = max(1, RARE * names.total())
    return tuple([name for name, n in names.most_common() if n >= least and is_name(name)][:MAX_LISTED])


def timezone_of(offsets: Mapping[timedelta, int]) -> str:
    """The zone whose clock is always as far from UTC as the events' clocks; UTC where these differ."""
    hours, rest = divmod(next(iter(offsets)), timedelta(hours=1))
    if len(offsets) > 1 or rest or not hours or not -12 <= hours <= 14:
        return "UTC"
    return f"Etc/GMT{-hours:+d}"  # POSIX counts the other way


def kind_of(stage: SeenStage, seen: Seen) -> Kind:
    """What kind of stage has such events: a guess."""
    if stage.scores.total() + stage.outcomes[ASKED] > MOSTLY * stage.n:
        return "feedback" if stage.customers else "staff"
    if stage.channels or stage.waits.n or stage.outcomes["abandoned"]:
        return "customer"
    if stage.partners.total() > MOSTLY * stage.n:
        return "partner"
    return "background" if seen.channels else "customer"


def experiences(stage: SeenStage, kind: Kind) -> tuple[Proposed, ...]:
    """What a stage can be held to, by what its events tell."""
    found = [*_answers(stage), *_promises(stage)]
    if not (found and kind in ("feedback", "staff")):
        found = [_succeeds(stage, kind), *_fast(stage), *found]
    return tuple({one.name: one for one in found}.values())


def _judged(stage: SeenStage) -> tuple[list[str], list[str]]:
    """The outcomes that are judged, and those that are good: the usual one where no good one is known."""
    known = [outcome for outcome in OUTCOMES if outcome in stage.outcomes]
    good = [outcome for outcome in GOOD if outcome in stage.outcomes]
    return (known, good) if good else (list(stage.outcomes), [stage.outcomes.most_common(1)[0][0]])


def _succeeds(stage: SeenStage, kind: Kind) -> Proposed:
    judged, good = _judged(stage)
    title = "Customers get what they came for" if kind == "customer" else "What customers wait for is done"
    why = "" if good[0] in GOOD else "a guess: its usual outcome is good"
    conditions = f"{{outcome: {_listed(judged)}}}", f"{{outcome: {_listed(good)}}}"
    return Proposed("succeeds", title, *conditions, _hung_up(stage), why)


def _fast(stage: SeenStage) -> Iterator[Proposed]:
    """Only where most events say how long customers waited, and somebody stayed."""
    limit = wait_limit(stage.waits) if stage.waits.n > MOSTLY * stage.n else None
    judged, _ = _judged(stage)
    stayed = [outcome for outcome in judged if outcome != "abandoned"]
    if limit is None or not stayed:
        return
    yield Proposed(
        "fast",
        f"Customers wait at most {limit.at_most_s} seconds",
        f"{{outcome: {_listed(judged)}}}",
        f"{{outcome: {_listed(stayed)}, wait_s: {{at_most: {limit.at_most_s}}}}}",
        _hung_up(stage),
        f"{limit.at_most_s} s: {limit.why}",
    )


def _hung_up(stage: SeenStage) -> str:
    """Those who left before anybody could answer are not held against a stage, as in contact centres."""
    return f"{{outcome: [abandoned], wait_s: {{at_most: {SHORT_S}}}}}" if sum(stage.waits.left) else ""


def _answers(stage: SeenStage) -> Iterator[Proposed]:
    for score in sorted(stage.scores):
        least = int(UNHAPPY[score]) + 1
        yield Proposed(
            f"{score}_not_unhappy",
            f"Answers are not unhappy ({score.upper()} {least} or more)",
            f"{{score.kind: [{score}]}}",
            f"{{score.value: {{at_least: {least}}}}}",
        )


def _promises(stage: SeenStage) -> Iterator[Proposed]:
    for promise in frequent(stage.kept):
        yield Proposed(
            f"{promise[:35]}_kept",
            f"{promise.replace('_', ' ').capitalize()}: the promise is kept",
            f"{{promise.kind: [{promise}]}}",
            "{promise.kept: true}",
        )


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"
