"""What people call what stands in labels: stages, segments, partners, experiences."""

from collections.abc import Iterable

from monitor.journey_file.model import ALL, NONE, OTHER, WHOLE, Stage
from monitor.rules.journeys import BETWEEN
from monitor.rules.plan import Plan


def stage_titles(plan: Plan) -> dict[str, str]:
    """Titles by name, of whole journeys too."""
    return {stage.name: stage.title for stage in plan.stages} | {ALL: "all stages"}


def segment_titles(plan: Plan) -> dict[str, str]:
    """What segments are called, by label."""
    return {ALL: "everybody", **{one: one for one in plan.journey.segments}, OTHER: "other"}


def group_titles(plan: Plan) -> dict[str, str]:
    """What takes the place of segments in alerts on whole journeys, too: a partner, a change of channel, a
    stage."""
    moves = {name: name.replace(BETWEEN, " to ") for one in plan.watched for name in one.groups}
    return moves | stage_titles(plan) | segment_titles(plan) | partner_titles(plan)


def partner_titles(plan: Plan) -> dict[str, str]:
    """What partners are called, by label."""
    return {NONE: "no partner", **{one: one for one in plan.journey.partners}, OTHER: "other"}


def experience_titles(stages: Iterable[Stage]) -> dict[str, str]:
    """Titles by name; a name that means several things is its own title."""
    found: dict[str, str] = {}
    for stage in stages:
        for experience in stage.experiences:
            title = experience.title if stage.name != WHOLE else experience.title.replace("_", " ")
            spoken = experience.name.replace("_", " ")
            found[experience.name] = title if found.get(experience.name, title) == title else spoken
    return found
