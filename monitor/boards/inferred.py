"""The inferred part of the voice of the customer, known without asking: evenness, time lost to tools, wow."""

from collections.abc import Iterator

from monitor.boards.panels import (
    FEW_COUNTED,
    WIDTH,
    Json,
    bars,
    heading,
    high_is_bad,
    names,
    now,
    override,
    rows,
    titled,
)
from monitor.boards.parts import LABELS, cells
from monitor.boards.tables import COLORED, table, tall_enough, tall_for_bars, values
from monitor.counting import metrics
from monitor.counting.judging import BY_CHANNEL, BY_LOCATION, spread_cells
from monitor.journey_file.model import OTHER
from monitor.rules.plan import Plan
from monitor.rules.series import select
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

WINDOW = "1d"
"""The same as of the answers beside."""


def panels(plan: Plan) -> Iterator[Json]:
    """Channels and locations against each other, waiting for tools, and how many encounters are more than
    agreed."""
    yield from _spread(plan)
    yield heading("Time lost to tools, everyday and wow")
    yield _tools(plan)
    met = tuple(stage.name for stage in plan.journey.stages if stage.kind not in ("feedback", "staff"))
    if met:
        yield _everyday(plan, met)


def _spread(plan: Plan) -> Iterator[Json]:
    """Even encounters, whatever the channel and the place."""
    compared = {
        (stage.name, experience, by)
        for stage in plan.journey.stages
        for experience, by, _ in spread_cells(plan.journey, stage)
    }
    if not compared:
        return
    size = (WIDTH, tall_enough(len(compared)))
    yield heading("Evenness: channels and locations")
    named = "stage, experience, by, name"
    events, good = (
        f'sum by ({named}) ({metric.name}{{name!="{OTHER}", window="{WINDOW}"}})'
        for metric in (metrics.WINDOW_SPREAD_EVENTS, metrics.WINDOW_SPREAD_GOOD)
    )
    shares = f"{good} / ({events} >= {MIN_SEGMENT_EVENTS})"
    by = "by (stage, experience, by)"
    several = f"count {by} ({shares}) > 1"
    labels = {"stage": LABELS["stage"], "experience": LABELS["experience"], "by": "Between"}
    kinds = {BY_CHANNEL: "channels", BY_LOCATION: "locations"}
    gap = f"max {by} ({shares}) - min {by} ({shares}) and {several}"
    yield table(
        "Best to worst, last day",
        "How far the best and the worst channel or location of each experience lie apart, in shares of good "
        f"encounters. 0 % is best: the same wherever one goes. {MIN_SEGMENT_EVENTS} encounters each, at "
        "least.",
        labels | values("Gap", "Best", "Worst"),
        rows(f"sort_desc({gap})"),
        rows(f"max {by} ({shares}) and {several}"),
        rows(f"min {by} ({shares}) and {several}"),
        unit="percentunit",
        size=size,
        nothing="nothing to compare",
        overrides=[
            *cells(plan),
            override("by", mappings=names(kinds)),
            override("Value #A", **COLORED, thresholds=high_is_bad(0.05, 0.1)),
        ],
    )
    yield table(
        "The weakest channel or location, last day",
        "Which channel or location has the lowest share of good encounters of each experience. A gap of 0 % "
        "beside it is good: then being last means little. The lowest first.",
        labels | {"name": "Weakest", "Value": "Good"},
        rows(f"sort(bottomk {by} (1, {shares}) and on (stage, experience, by) {several})"),
        unit="percentunit",
        size=size,
        nothing="nothing to compare",
        overrides=[*cells(plan), override("by", mappings=names(kinds))],
    )


def _tools(plan: Plan) -> Json:
    tool, of = (
        f"sum by (stage) ({select(metric.name, window=WINDOW)})"
        for metric in (metrics.WINDOW_TOOL, metrics.WINDOW_TOOL_OF)
    )
    return bars(
        "Time lost to tools, last day",
        "The share of an encounter in which customer and employee wait for the system, of encounters that "
        "tell both times. 0 % is best: nobody likes to watch the person serving them struggle with a screen.",
        now(f"sort_desc({tool} / ({of} > 0))", "{{stage}}"),
        unit="percentunit",
        size=(12, tall_for_bars(len(plan.journey.stages), 9)),
        steps=high_is_bad(0.2, 0.4),
        overrides=titled({stage.name: stage.title for stage in plan.journey.stages}),
        field={"min": 0, "max": 1},
    )


def _everyday(plan: Plan, met: tuple[str, ...]) -> Json:
    """Doing what was agreed is called everyday; good is something unexpected."""

    def outcomes(*chosen: str) -> str:
        series = select(metrics.WINDOW_OUTCOMES.name, stage=met, outcome=chosen, window=WINDOW)
        return f"sum by (stage) ({series})"

    bad, everyday, wow = ("failed", "abandoned"), ("ok",), ("wow",)
    n = f"({outcomes(*bad, *everyday, *wow)} >= {MIN_SEGMENT_EVENTS})"
    return table(
        "Bad, everyday and wow, last day",
        "Of all encounters, how many failed or were given up, how many went as agreed, which is everyday, "
        "and how many surprised the customer for the better. Much wow and little bad is good.",
        {"stage": LABELS["stage"], **values("Bad", "Everyday", "Wow")},
        *(rows(f"{outcomes(*one)} / {n}") for one in (bad, everyday, wow)),
        unit="percentunit",
        size=(12, tall_enough(len(met))),
        nothing=FEW_COUNTED,
        overrides=cells(plan)[:1],
    )
