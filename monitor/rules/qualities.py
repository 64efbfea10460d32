"""What a quality rule is, how loud it may be, how long its alert goes on; what a limit is stands in `limits`,
all rules of a journey in `plan`.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from monitor.journey_file.model import WHOLE, Experience, Stage
from monitor.rules.journeys import GOAL
from monitor.rules.limits import Limit, Recovery

Severity = Literal["page", "ticket"]

SILENT_EXPECTED = Decimal("20")
"""No event where so many were expected. By chance alone 6.9 would do once in a thousand times (e^-6.9,
Poisson), but it is asked thousands of times a day, and a rhythm is only roughly known: at 6.9 a healthy month
had hundreds of false silences, at 14 still some, at 20 none (`tests/bench/alert_quality.py`)."""

SILENT_WINDOWS = ("1m", "5m", "30m", "1h", "2h", "6h", "1d")

SILENT_OVER = Decimal("0.1")
"""A silence is over once so much of what the narrowest window expects has come: where an event came each time
that the window was about to be called silent again, each was a page of its own."""

HOLD_S: dict[Severity, int] = {"page": 299, "ticket": 3599}
"""An alert goes on for this long after its last reason, or it would end and begin anew all the time. Five
minutes; a ticket an hour, for its windows are hours and days long and linger around the limit: held like a
page, one fault was 23 tickets. A second less: a sample just on the edge counts for Prometheus 2 only."""

SURE_S = 59
"""The narrowest window must say for a minute that a page is over: asked every few seconds it says so by
chance. At a target of 95 %, 5,000 events an hour and a constant 11 % bad, two days had up to 10 pages, with
this at most 5. Two minutes would make it 3, and tell half of all ends a minute later. A second less, as
above."""

NEW_S = 1859
"""After a stage's page has ended only an outage begins another for half an hour, the widest short window of a
page, and a minute, by which windows may lag: until then it may be the same incident. A second less, as
above."""

EXPLAINS_S = 59
"""A stage in trouble explains what it drags along for a minute more, for that recovers a little later; any
longer, and the page for what stays bad would come late."""

SETTLE_S = 59
"""After the monitor was blind older events still arrive for a while: a window is not called silent before all
of it, and so much before it, was seen."""

SETTLED = ("7d", "3d")
"""Journeys are held to their goal once more were over in the first of these windows than in the second. Those
that fail are over before those that succeed: of the first that a new monitor sees all have missed it. A stage
has to have been seen for so long, too, before being critical makes pages of its tickets: in a new monitor's
windows of days a minute of failure weighs for hours."""

LAG_S = 60
"""Windows lag when the consumer does: beyond this a stage is not judged, and the monitor says so instead."""

JOURNEYS_LAG_S = 900
"""Whole journeys are judged up to a minute ago; up to ten minutes longer when one event came late
(`streams.state.steps.HOLD_MS`), and that alone is no reason to be told."""

TICKETS_ONLY = ("feedback", "staff")
"""Kinds of stages that never wake anybody: opinions and moods change in days, not in minutes."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One experience, held to one target in one severity, for all segments that share this target.

    The segment `all` is everybody together; its target is the experience's own. Of some experiences of whole
    journeys a partner or a change of channel takes the segment's place (`whole`).
    """

    stage: Stage
    experience: Experience
    severity: Severity
    target: Decimal
    segments: tuple[str, ...]
    """None of them named: whatever takes their place."""
    limits: tuple[Limit, ...]

    recovery: Recovery | None = None
    """What ends its alert, at the earliest `HOLD_S` after a limit was last crossed; None: that alone."""


def severities(stage: Stage) -> tuple[Severity, ...]:
    """How loud its degradation may be."""
    return ("ticket",) if stage.kind in TICKETS_ONLY else ("page", "ticket")


def silence_severity(stage: Stage) -> Severity:
    """How loud the silence of a stage is."""
    return "ticket" if stage.kind in TICKETS_ONLY else "page"


def pages_for(stage: Stage) -> tuple[Experience, ...]:
    """The experiences whose degradation wakes somebody up."""
    if stage.kind in TICKETS_ONLY:
        return ()
    return tuple(one for one in stage.experiences if stage.name != WHOLE or one.name == GOAL)
