"""The board of the journey: every stage against its targets, readable on a wall screen and on a phone."""

from collections.abc import Iterator

from monitor.boards.panels import (
    COLORED,
    COUNT,
    WIDTH,
    Json,
    bars,
    heading,
    high_is_bad,
    now,
    override,
    plain,
    query,
    rows,
    stat,
    table,
    thresholds,
    timeline,
    titled,
    wide_enough,
    words,
)
from monitor.boards.parts import (
    LABELS,
    ONE,
    SAME,
    STATE_STEPS,
    STATES,
    STATES_MEAN,
    TARGET,
    WEAKEST_MEANS,
    alerts_firing,
    alerts_table,
    bad_encounters,
    cells,
    stage_titles,
    state,
    state_and_weakest,
    to_stage,
    trusted,
    weakest,
    with_targets,
)
from monitor.counting import metrics
from monitor.counting.figures import BLUE, ORANGE, VERMILLION
from monitor.journey_file.model import ALL, OTHER, Journey
from monitor.rules.limits import FAST_POINTS
from monitor.rules.promql import select
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

FACING = ("customer", "partner")
"""Kinds of stages whose encounters are customers'."""

GAP_ORANGE = 0.05
"""Half of what pages when everybody is served so much worse."""


def panels(journey: Journey) -> Iterator[Json]:
    """From across the room first, then stage by stage, then the rest."""
    stages = journey.stages
    titles = [override(one.name, displayName=plain(one.title), links=[to_stage(one.name)]) for one in stages]
    yield stat(
        "Weakest stage now",
        f"The stage of the weakest experience of all: the journey is as good as this. {WEAKEST_MEANS}",
        now(weakest("()"), ONE),
        unit="percentunit", size=(6, 5), textMode="value_and_name",
        overrides=with_targets(stages, stage_too=True),
        field={"decimals": 1},
    )  # fmt: skip
    facing = tuple(one.name for one in stages if one.kind in FACING) or tuple(one.name for one in stages)
    yield bad_encounters(
        "Customers hit, last 5 minutes",
        "Bad encounters at stages that customers meet: per stage those of the experience with most, added "
        "up. Who is hit at two stages counts twice, who is hit twice by one stage too. 0 is best; what the "
        "targets allow is never quite 0.",
        "customers", facing,
    )  # fmt: skip
    yield alerts_firing(
        "How many pages (somebody is woken up) and tickets (mended in working hours) fire. None is good."
    )
    yield trusted((6, 5))
    yield heading("Each stage against its targets")
    width = WIDTH // min(4, len(stages))
    for stage in stages:
        yield state_and_weakest(journey, stage.name, stage.title, (width, 5), links=[to_stage(stage.name)])
    yield heading("Since when, who, and what is left")
    yield timeline(
        "Stages in the order of the journey",
        f"Each stage over time, judged by its weakest experience. {STATES_MEAN}",
        *(query(state(journey, stage.name), stage.name) for stage in stages),
        unit=COUNT, size=(WIDTH, 3 + len(stages)), steps=STATE_STEPS, mappings=words(STATES),
        overrides=titles,
    )  # fmt: skip
    yield alerts_table(journey, (WIDTH, 8))
    yield _budget(journey)
    yield _gap(journey)


def _budget(journey: Journey) -> Json:
    used = f"{select(metrics.BAD_RATIO, segment=ALL, window='7d')} / {SAME} (1 - {TARGET})"
    return bars(
        "Budget left, last 7 days",
        "What share of the failures that the target allows is not used up yet, for the worst experience of "
        "each stage over 7 days. 100 %: nothing failed. 0 %: exactly on target. Below: overspent.",
        now(f"sort(1 - max by (stage) ({used}))", "{{stage}}"),
        unit="percentunit", size=(12, 9),
        steps=thresholds((None, VERMILLION), (0, ORANGE), (0.25, BLUE)),
        overrides=titled(stage_titles(journey)),
        field={"min": 0, "max": 1, "decimals": 0},
    )  # fmt: skip


def _gap(journey: Journey) -> Json:
    named = f'segment!~"{ALL}|{OTHER}", window="1h"'
    served = f"({metrics.ATTAINMENT}{{{named}}} and {metrics.EVENTS_SUM}{{{named}}} >= {MIN_SEGMENT_EVENTS})"
    gap = f"max by (stage, experience) ({served}) - on (stage, experience) group_right () {served}"
    behind = "Behind the best served"
    return table(
        "Worst served segment of each stage",
        "How much further from its own target the worst served segment is than the best served one, in the "
        "experience where they differ most, over the last hour. Each segment needs "
        f"{MIN_SEGMENT_EVENTS} events. No row: all are served alike. 0 % is best.",
        {**LABELS, "Value": behind},
        rows(f"sort_desc(max by (stage, experience, segment) (topk by (stage) (1, {gap}) > 0))"),
        unit="percentunit", size=(12, 9),
        steps=high_is_bad(GAP_ORANGE, float(FAST_POINTS)),
        overrides=[*cells(journey), override("Value", custom_minWidth=wide_enough([behind]), **COLORED)],
        field={"decimals": 1},
    )  # fmt: skip
