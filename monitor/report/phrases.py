"""How the digest says what figures mean: targets met or missed, by chance or not, times and titles."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from monitor.counting.display import aimed, percent
from monitor.counting.measures import Share
from monitor.journey_file.model import Journey
from monitor.report.digest import Judged, is_met, is_surely_missed
from monitor.report.document import Mood
from monitor.rules.plan import Plan

LEAST_DAYS = 2
"""A picture of fewer days shows nothing that its sentence does not say."""


def verdict(share: Share, target: Decimal) -> str:
    """Whether it met its target, in the words used everywhere."""
    return f"target {aimed(target)} {'met' if is_met(share, target) else 'missed'}"


def against(one: Judged) -> str:
    """How many were good, against the target."""
    return f"{percent(one.share, one.target)} of {one.share.n:,} good, {verdict(one.share, one.target)}"


def chance(share: Share, target: Decimal) -> str:
    """Whether a target that was missed may have been missed by chance."""
    return "That is more than chance." if is_surely_missed(share, target) else "That may be chance."


def mood(is_good: bool | None) -> Mood:
    """Of what was held to a target, or, None, to none."""
    if is_good is None:
        return "plain"
    return "good" if is_good else "bad"


def title(plan: Plan, stage: str) -> str:
    """What people call a stage, or whole journeys; its name when the journey file does not know it."""
    return {one.name: one.title for one in plan.stages}.get(stage, stage)


def local(journey: Journey, at_s: int, form: str) -> str:
    """A moment, Unix time in seconds, in the journey's time zone, as `strftime` is told to write it."""
    return datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(journey.timezone)).strftime(form)
