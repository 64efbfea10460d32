"""The board of the journey: every stage against its targets, readable on a wall screen and on a phone."""

from collections.abc import Iterator
from textwrap import shorten

from monitor.boards.panels import (
    COUNT,
    FEW_COUNTED,
    NAME_SIZE,
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
    thresholds,
    timeline,
    titled,
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
    state,
    state_and_weakest,
    to_stage,
    trusted,
    weakest_of_all,
    with_targets,
)
from monitor.boards.tables import COLORED, table, tall_for_bars
from monitor.boards.titles import stage_titles
from monitor.counting import metrics
from monitor.counting.display import BLUE, ORANGE, VERMILLION
from monitor.journey_file.model import ALL, OTHER
from monitor.rules.limits import FAST_POINTS, MIN_N
from monitor.rules.plan import Plan
from monitor.rules.series import select
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

FACING = ("customer", "partner")
"""Kinds of stages whose encounters are customers'."""

STRIP_LETTERS = 50
"""Of the name before a strip, seen in Grafana 9.4: it cuts the beginning of a longer one."""

WEAKEST_SIZE = 56
"""Pixels of the figure below the longest name: Grafana makes it so large that a name of two lines is cut."""

GAP_ORANGE = 0.05
"""Half of what pages when everybody is served so much worse."""


def panels(plan: Plan) -> Iterator[Json]:
    """From across the room first, then stage by stage, then the rest."""
    stages = plan.journey.stages
    titles = [
        override(
            one.name,
            links=[to_stage(one.name)],
            displayName=shorten(plain(one.title), STRIP_LETTERS, placeholder="…"),
        )
        for one in stages
    ]
    yield stat(
        "Weakest stage now",
        "The stage of the weakest experience of all: the journey is as good as this. Left out is what had "
        f"fewer than {MIN_N} events in the last hour. {WEAKEST_MEANS}",
        now(weakest_of_all(), ONE),
        unit="percentunit",
        size=(5, 6),
        textMode="value_and_name",
        text={"titleSize": NAME_SIZE, "valueSize": WEAKEST_SIZE},
        nothing=FEW_COUNTED,
        overrides=with_targets(stages, stage_too=True),
    )
    facing = tuple(one.name for one in stages if one.kind in FACING) or tuple(one.name for one in stages)
    yield bad_encounters(
        "Customers hit, last 5 minutes",
        "Bad encounters at stages that customers meet: per stage those of the experience with most, added "
        "up. Who is hit at two stages counts twice, who is hit twice by one stage too. 0 is best; what the "
        "targets allow is never quite 0.",
        "customers",
        facing,
    )
    yield alerts_firing(
        "How many pages (somebody is woken up) and tickets (mended in working hours) fire. None is good.",
        (7, 6),
    )
    yield trusted((6, 6))
    yield alerts_table(plan)
    yield heading("Each stage against its targets")
    width = WIDTH // min(4, len(stages))
    for stage in stages:
        yield state_and_weakest(plan, stage.name, stage.title, (width, 5), links=[to_stage(stage.name)])
    yield heading("Since when, for whom, and what is left")
    yield timeline(
        "Stages in the order of the journey",
        f"Each stage over time, judged by its weakest experience. {STATES_MEAN}",
        *(query(state(plan, stage.name), stage.name) for stage in stages),
        unit=COUNT,
        size=(WIDTH, 3 + len(stages)),
        steps=STATE_STEPS,
        mappings=words(STATES),
        overrides=titles,
    )
    yield _budget(plan)
    yield _gap(plan)


def _budget(plan: Plan) -> Json:
    used = f"{select(metrics.BAD_RATIO, segment=ALL, window='7d')} / {SAME} (1 - {TARGET})"
    return bars(
        "Budget left, last 7 days",
        "What share of the failures that the target allows is not used up yet, for the worst experience of "
        "each stage over 7 days. 100 %: nothing failed. 0 %: exactly on target. Below: overspent.",
        now(f"sort(1 - max by (stage) ({used}))", "{{stage}}"),
        unit="percentunit",
        size=(8, tall_for_bars(len(plan.journey.stages), 9)),
        steps=thresholds((None, VERMILLION), (0, ORANGE), (0.25, BLUE)),
        overrides=titled(stage_titles(plan)),
        field={"min": 0, "max": 1, "decimals": 0},
    )


def _gap(plan: Plan) -> Json:
    about = {"window": "1h"}
    named = f'segment!~"{ALL}|{OTHER}"'
    enough = f'{metrics.EVENTS_SUM}{{{named}, window="1h"}} >= {MIN_SEGMENT_EVENTS}'
    good = f"max by (stage, experience, segment) ((1 - {select(metrics.BAD_RATIO, **about)}) and {enough})"
    target = f"max by (stage, experience, segment) ({metrics.TARGET.name}{{{named}}})"
    distance = f"({good} - {target})"
    gap = f"(max by (stage, experience) ({distance}) - on (stage, experience) group_right () {distance})"
    worst = f"(topk by (stage) (1, {gap}) > 0)"
    return table(
        "Worst served segment of each stage",
        "The worst served segment, in the experience where it lies furthest behind the best served one, over "
        "the last hour: its share of good encounters, its target, and how many points more it is below its "
        f"target than the best served segment. Each needs {MIN_SEGMENT_EVENTS} events. 0 % is best.",
        {**LABELS, "Value #B": "Good", "Value #C": "Target", "Value #A": "Behind the best"},
        rows(f"sort_desc({worst})"),
        rows(f"{good} and {worst}"),
        rows(f"{target} and {worst}"),
        unit="percentunit",
        size=(16, 9),
        nothing="none known",
        steps=high_is_bad(GAP_ORANGE, float(FAST_POINTS)),
        overrides=[*cells(plan), override("Value #A", **COLORED)],
    )
