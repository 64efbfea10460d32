"""The board of one stage, chosen at its top: how good, for whom, since when, and why."""

from collections.abc import Iterator

from monitor.boards.panels import (
    COUNT,
    DASHED,
    FEW_COUNTED,
    LINES,
    POINTS,
    SOLID,
    WIDTH,
    Json,
    against,
    bars,
    chart,
    fixed,
    heading,
    heatmap,
    link,
    names,
    now,
    override,
    plain,
    query,
    rows,
    stat,
    titled,
)
from monitor.boards.parts import (
    CHOSEN,
    LABELS,
    ONE,
    alerts_firing,
    alerts_table,
    bad_encounters,
    cells,
    headline,
    one_name,
    state_and_weakest,
    windows_table,
    with_targets,
)
from monitor.boards.tables import COLORED, table, tall_enough, values
from monitor.boards.titles import partner_titles
from monitor.counting import metrics
from monitor.counting.display import GREY
from monitor.counting.judging import ABANDONED, reason_labels, touchpoint_labels
from monitor.counting.metrics import Metric
from monitor.journey_file import links
from monitor.journey_file.model import ALL, NONE, OTHER, QUEUED, STARTED
from monitor.rules.plan import Plan
from monitor.rules.series import Values, select
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

MINUTES = 5
"""Of the window that events are counted in."""

MOST_ROWS = 20

OF_CHOSEN = (CHOSEN, ALL)
"""What holds of all stages holds of the chosen one."""


def panels(plan: Plan) -> Iterator[Json]:
    """How it stands first, then each experience, then causes."""
    yield state_and_weakest(plan, CHOSEN, "The stage now", (11, 6))
    yield bad_encounters(
        "Bad encounters, last 5 minutes",
        "How many encounters of the last 5 minutes were bad, by the experience with most. 0 is best; what "
        "the target allows is never quite 0.",
        "bad",
        CHOSEN,
    )
    yield alerts_firing(
        "How many pages and tickets fire about this stage, or about all. None is good.",
        (7, 6),
        stage=OF_CHOSEN,
    )
    yield heading("Each experience against its exact target")
    yield stat(
        "Share of good encounters now",
        "Good of all judged, for each experience of the stage, coloured by its own target: blue meets it. "
        "Over the last minute, or the last 5 minutes or hour when few came.",
        query(f"1 - {headline(metrics.BAD_RATIO, stage=CHOSEN, segment=ALL)}", ONE),
        unit="percentunit",
        size=(WIDTH, 5),
        textMode="value_and_name",
        overrides=with_targets(plan.journey.stages, stage_too=False),
    )
    yield _against_target(plan)
    most = max(len(stage.experiences) for stage in plan.journey.stages)
    yield windows_table(
        plan,
        "By experience, segment and time span",
        "Each segment against its own target, from the last 20 seconds to the last 7 days.",
        (WIDTH, tall_enough(most * (1 + len(plan.journey.segments)))),
        stage=CHOSEN,
    )
    yield alerts_table(plan, stage=OF_CHOSEN)
    yield heading("Why")
    yield _reasons(plan)
    yield _failures(plan)
    yield _partners(plan)
    yield _flow()
    for title, metric, field in (
        ("How long encounters take (No data: no event says)", metrics.WINDOW_DURATION, "duration_s"),
        ("How long customers wait (No data: no event says)", metrics.WINDOW_WAIT, "wait_s"),
    ):
        buckets = select(f"{metric.name}_bucket", stage=CHOSEN, window="5m")
        yield heatmap(
            title,
            f"{metric.help.removesuffix('.')}: the brighter, the more of them took so long. Each moment "
            "looks back 5 minutes. Good is a band that stays low and narrow. "
            f"No data: no event of the stage has a `{field}`, or none came.",
            f"sum by (le) ({buckets}) and on () sum({buckets}) > 0",
            unit="s",
            size=(12, 9),
        )
    yield _queue()
    yield _waits(plan)
    if any(stage.touchpoints for stage in plan.journey.stages):
        yield _left(plan)


def _left(plan: Plan) -> Json:
    """A stage of several steps loses people at one of them."""
    known = {one for stage in plan.journey.stages for one in touchpoint_labels(stage)}
    titles = {one: one.replace("_", " ").capitalize() for one in sorted(known)}
    left = select(metrics.WINDOW_TOUCHPOINTS.name, stage=CHOSEN, window="1h", outcome=("failed", ABANDONED))
    return bars(
        "Where people leave, last hour",
        "At which step of the stage customers gave up or failed, most first. Short bars are good; one far "
        "ahead of the others is where to begin. None known: none left, or the stage names no steps.",
        now(f"sort_desc(sum by (touchpoint) ({left}) > 0)", "{{touchpoint}}"),
        unit=COUNT, size=(12, 9), overrides=titled(titles | {NONE: "not told", OTHER: "elsewhere"}),
        field={"decimals": 0, "min": 0},
    )  # fmt: skip


def _queue() -> Json:
    """A queue that grows shows before anybody has been served late."""

    def of(metric: Metric, **about: Values) -> str:
        return select(metric.name, stage=CHOSEN, **about)

    window = f"{MINUTES}m"
    queued = f"sum({of(metrics.OPEN_ENCOUNTERS, opening=QUEUED)})"
    started = f"sum({of(metrics.WINDOW_BEGUN, opening=STARTED, window=window)})"
    gave_up = f"sum({of(metrics.WINDOW_OUTCOMES, outcome=ABANDONED, window=window)})"
    left = f"(({started} + {gave_up}) or sum({of(metrics.WINDOW_OUTCOMES, window=window)}))"
    return stat(
        "Who waits now",
        "How many customers are in the queue, for how long the first of them, how long who comes now will "
        f"wait if as many leave it as in the last {MINUTES} minutes, and how many are being served. Good is "
        "a short queue. None known: no service of the stage publishes when encounters begin.",
        query(queued, "in the queue"),
        query(f"max({of(metrics.OLDEST_ENCOUNTER, opening=QUEUED)})", "longest wait"),
        query(f"{60 * MINUTES} * {queued} / ({left} > 0)", "expected wait"),
        query(f"sum({of(metrics.OPEN_ENCOUNTERS, opening=STARTED)})", "being served"),
        unit=COUNT,
        size=(WIDTH, 5),
        textMode="value_and_name",
        overrides=[override(name, unit="s") for name in ("longest wait", "expected wait")],
        field={"decimals": 0},
    )


def _waits(plan: Plan) -> Json:
    """A call that is given up early must not make those that are answered look quick."""
    answered = sorted({one for stage in plan.journey.stages for one in stage.outcomes} - {ABANDONED})

    def mean(outcome: Values) -> str:
        about = {"stage": CHOSEN, "window": "1h", "outcome": outcome}
        waited, n = (
            f"sum({select(one.name, **about)})" for one in (metrics.WINDOW_WAITED, metrics.WINDOW_WAITS)
        )
        return f"{waited} / ({n} > 0)"

    return stat(
        "Average wait, last hour",
        "How long customers waited until they were answered (the average speed of answer; no wait counts as "
        "0), and how long those waited who gave up. Good is short, and giving up rare. "
        "None known: no event of the stage says.",
        query(mean(tuple(answered)), "until answered"), query(mean(ABANDONED), "until they gave up"),
        unit="s", size=(12, 9), textMode="value_and_name", field={"decimals": 1},
    )  # fmt: skip


def _against_target(plan: Plan) -> Json:
    overrides = []
    for stage in plan.journey.stages:
        for index, experience in enumerate(stage.experiences):
            color, title = fixed(LINES[index % len(LINES)]), plain(experience.title)
            overrides += [
                override(
                    one_name(stage, experience),
                    displayName=title,
                    color=color,
                    custom_lineStyle=SOLID,
                    thresholds=against(experience.target),
                ),
                override(
                    f"{one_name(stage, experience)} target",
                    displayName=f"{title}: target",
                    color=color,
                    custom_lineStyle=DASHED,
                    custom_lineWidth=1,
                    thresholds=against(experience.target),
                ),
            ]
    target = select(metrics.TARGET.name, stage=CHOSEN, segment=ALL)
    return chart(
        "Share of good encounters, and targets",
        "Good of all judged over the last 5 minutes, for each experience of the stage (solid), and its "
        "target (dashed, same colour). Good is solid above dashed.",
        query(f"1 - {select(metrics.BAD_RATIO, stage=CHOSEN, segment=ALL, window='5m')}", ONE),
        query(f"max by (stage, experience) ({target})", f"{ONE} target"),
        unit="percentunit",
        size=(WIDTH, 9),
        overrides=overrides,
        field={"max": 1},
    )


def _reasons(plan: Plan) -> Json:
    reasons = {
        reason: reason.replace("_", " ") for stage in plan.journey.stages for reason in reason_labels(stage)
    }
    counted = select(metrics.WINDOW_REASONS.name, stage=CHOSEN, window="1h")
    return bars(
        "Reasons, most frequent first",
        "What bad encounters of the last hour gave as their reason. Short bars are good; one far ahead of "
        "the others is where to begin.",
        now(f"sort_desc(sum by (reason) ({counted}) > 0)", "{{reason}}"),
        unit=COUNT,
        size=(12, 9),
        overrides=titled(reasons),
        field={"min": 0},
    )


def _partners(plan: Plan) -> Json:
    about = {"stage": CHOSEN, "window": "1h"}
    by = "sum by (stage, experience, partner)"
    good = f"{by} ({select(metrics.WINDOW_GOOD.name, **about)})"
    judged = f"({by} ({select(metrics.WINDOW_EVENTS.name, **about)}) >= {MIN_SEGMENT_EVENTS})"
    target = f"max by (stage, experience) ({select(metrics.TARGET.name, stage=CHOSEN, segment=ALL)})"
    quality = f"({good} / {judged})"
    distance = f"{quality} - on (stage, experience) group_left () {target}"
    weakest = f"bottomk by (partner) (1, {distance})"
    return table(
        "Partners, weakest first",
        "Each partner's weakest experience over the last hour, when there were "
        f"{MIN_SEGMENT_EVENTS} encounters: the share that was good, its target, and how far it is above or "
        "below, in points: blue meets the target.",
        {"partner": "Partner", "experience": "Experience", **values("From target", "Good", "Target")},
        rows(f"sort({weakest})"),
        rows(f"{quality} and {weakest}"),
        rows(f"{quality} * 0 + on (stage, experience) group_left () {target} and {weakest}"),
        unit="percentunit",
        size=(12, 9),
        nothing=FEW_COUNTED,
        hide=["stage"],
        overrides=[
            *cells(plan),
            override("partner", mappings=names(partner_titles(plan))),
            override("Value #A", thresholds=POINTS, **COLORED),
        ],
    )


def _flow() -> Json:
    window = f"{MINUTES}m"
    came = select(metrics.OUTCOMES_SUM, stage=CHOSEN, window=window)
    expected = select(metrics.EXPECTED.name, stage=CHOSEN, window=window)
    return chart(
        "Events per minute, and how many are expected",
        f"All events over the last {MINUTES} minutes (solid), and what the declared rhythm and opening hours "
        "lead to expect (dashed, none without a rhythm). Good is solid near dashed; none at all is silence.",
        query(f"{came} / {MINUTES}", "came"),
        query(f"max by (stage) ({expected}) / {MINUTES}", "expected"),
        unit="suffix:/min",
        size=(12, 9),
        field={"min": 0},
        overrides=[
            override("came", color=fixed(LINES[0])),
            override("expected", color=fixed(GREY), custom_lineStyle=DASHED),
        ],
    )


def _failures(plan: Plan) -> Json:
    about = {"stage": CHOSEN, "window": "1h"}
    events, good = (select(one.name, **about) for one in (metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD))
    bad = f"sum by (experience, segment, partner) ({events} - {good})"
    labels = {name: LABELS[name] for name in ("experience", "segment")}
    one_by_one = link("The latest failing encounters, one by one", links.failures(plan.journey, "${stage}"))
    in_common = link("What they have in common", links.where(plan.journey, "${stage}"))
    return table(
        "Where encounters fail",
        "Bad encounters of the last hour by experience, segment and partner, most first. A click on a "
        "number lists the latest failing encounters one by one, or finds what those of the last 5 minutes "
        "have in common. No row is best.",
        {**labels, "partner": "Partner", "Value": "Bad"},
        rows(f"sort_desc(topk({MOST_ROWS}, {bad} > 0))"),
        unit=COUNT,
        size=(12, 9),
        overrides=[
            *cells(plan),
            override("partner", mappings=names(partner_titles(plan))),
            override("Value", links=[one_by_one, in_common], custom_align="left"),
        ],
    )
