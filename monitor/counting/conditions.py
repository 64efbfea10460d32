"""What a journey file says of events, as functions: nothing is looked up or compared twice for an event."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from monitor.counting.event import Event
from monitor.journey_file.model import Condition, Experience

Rule = Callable[[Event], bool | None]


def rule_of(experience: Experience) -> Rule:
    """What an experience says of an event: good, bad, or not judged."""
    judges = tuple(test_of(condition) for condition in experience.judges)
    ignores = tuple(test_of(condition) for condition in experience.ignores)
    good = tuple(test_of(condition) for condition in experience.good)

    def rule(event: Event) -> bool | None:
        """True is good, False is bad, None is not judged."""
        for test in judges:
            if not test(event):
                return None
        if ignores and all(test(event) for test in ignores):
            return None
        undecided = False
        for test in good:
            holds = test(event)
            if holds is None:
                undecided = True
            elif not holds:
                return False
        return None if undecided else True

    return rule


def test_of(condition: Condition) -> Rule:
    """Whether a condition holds of an event; None when its field is missing."""
    read = _reader(condition.field)
    known = condition.one_of if condition.is_true is None else {condition.is_true}
    if known is not None:

        def is_one_of(event: Event) -> bool | None:
            value = read(event)
            return None if value is None else value in known

        return is_one_of
    if condition.at_least is None and (most := condition.at_most) is not None:

        def is_at_most(event: Event) -> bool | None:
            """The most usual condition, asked of every event."""
            value = read(event)
            return None if value is None else value <= most

        return is_at_most
    low = float("-inf") if condition.at_least is None else condition.at_least
    high = float("inf") if condition.at_most is None else condition.at_most

    def is_between(event: Event) -> bool | None:
        value = read(event)
        return None if value is None else low <= value <= high

    return is_between


def _reader(field: str) -> Callable[[Event], Any]:
    outer, _, inner = field.partition(".")
    if not inner:
        return attrgetter(outer)

    def read(event: Event) -> Any:
        value = getattr(event, outer)
        return None if value is None else getattr(value, inner)

    return read
