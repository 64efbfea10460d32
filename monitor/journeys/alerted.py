"""Which journeys an alert on whole journeys means, read off the counters that it is made of.

A list is named by the experience that the alert is about and by what tells its series apart, such as
`promise_delivery_window/postnord`. A journey stands in it once, with what was bad last.
"""

from collections.abc import Iterator, Mapping, Sequence

from monitor.journey_file.model import NONE
from monitor.journeys.counters import HANDOFF, PROMISE, STAGE, TAKEN_BACK, name

CRITICAL = "critical"
"""Of unhappy customers who had trouble at a stage; its alert is about no experience."""

HIT = "hit"
"""Of customers whose first bad encounter with a stage it was; no alert asks, who helps them does."""

KEPT = "kept"
"""A promise for which word came late that it had been kept in time: no alert means it any more."""


FAILED_BY = {
    HANDOFF: "hand-over {} lost",
    PROMISE: "promise {} not kept",
    STAGE: "bad at {}",
    NONE: "nothing bad was seen",
}
"""What made a journey miss its goal, in words."""


def meant(counters: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Lists in which a journey stands that adds to these at one moment, and what is said of it there."""
    by_promise: dict[str, list[str]] = {}
    for counter in counters:
        kind, *parts = counter.split("/")
        match kind, parts:
            case "promise", [promise, partner, what]:
                by_promise.setdefault(name(f"promise_{promise}", partner), []).append(what)
            case _, [promise, partner, "due"] if kind.startswith(TAKEN_BACK):  # what it is now comes after
                yield name(f"promise_{promise}", partner), KEPT
            case "handoff", [sender, receiver, partner, "lost" | "late" as what]:
                yield name(f"handoff_{sender}_{receiver}", partner), what
            case "hit", [stage, _]:
                yield name(HIT, stage), "bad"
            case "failed", [cause, about, segment]:
                yield name("goal", segment), FAILED_BY[cause].format(about)
            case "lost", [from_channel, to_channel]:
                yield name("moves", from_channel, to_channel), "not solved"
            case "gap", [stage, "ok_inside_bad_outside"]:
                yield name("understood", stage), "ok inside, bad outside"
            case "critical", [stage, "bad_detractor"]:
                yield name(CRITICAL, stage), "bad, and unhappy"
    yield from _meant_promises(by_promise)


def _meant_promises(by_promise: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The same of promises, by their list all that is said of one."""
    for listed, told in by_promise.items():
        result = next((one for one in told if one not in ("due", "rescheduled")), "overdue")
        if result != "unpromised" and (result != KEPT or "due" not in told):
            yield listed, result
