"""What several boards ask and show alike: state, attainment, alerts, whether the monitor can be trusted."""

from collections.abc import Iterable
from typing import Any

from monitor.boards.panels import (
    COLORED,
    COUNT,
    NO_EVENTS,
    POINTS,
    Json,
    against,
    high_is_bad,
    link,
    names,
    now,
    override,
    plain,
    query,
    ref_ids,
    rows,
    stat,
    table,
    thresholds,
    wide_enough,
    words,
)
from monitor.counting import metrics
from monitor.counting.figures import BLUE, GREY, ORANGE, PURPLE, VERMILLION
from monitor.counting.measures import HEADLINE_MIN_N, HEADLINE_WINDOWS
from monitor.counting.metrics import ALERTS
from monitor.counting.windows import WINDOW_LABELS
from monitor.journey_file import links
from monitor.journey_file.model import ALL, OTHER, Experience, Journey, Stage
from monitor.rules.alerts import CAUSES
from monitor.rules.limits import MIN_N, fast_limits
from monitor.rules.promql import number, select
from monitor.rules.verdict import BELOW_MIN_N, MIN_SEGMENT_EVENTS, SEVERITY, State

CHOSEN = "$stage"
"""The stage chosen on its board."""

SAME = "on (stage, experience, segment) group_left ()"
TARGET = f"max by (stage, experience, segment) ({metrics.TARGET.name})"


def headline(series: str, **about: str | tuple[str, ...]) -> str:
    """The series in the window of the headline figure: the shortest that holds enough (live page)."""
    picks = [
        f"{select(series, **about, window=window)} and "
        f"{select(metrics.EVENTS_SUM, **about, window=window)} >= {HEADLINE_MIN_N}"
        for window in HEADLINE_WINDOWS[:-1]
    ]
    picks.append(select(series, **about, window=HEADLINE_WINDOWS[-1]))
    joined = "\n or ignoring (window) ".join(picks)
    return f"max by (stage, experience, segment) ({joined})"


def state(journey: Journey, stage: str) -> str:
    """What `verdict.state` says of the weakest experience, or that the stage is silent, as a number; -1 while
    the monitor is blind."""
    about = {"stage": stage, "segment": ALL}
    fast = {
        limit.window: None
        for one in journey.stages
        for experience in one.experiences
        for limit in fast_limits(experience.target)
    }
    longest = select(metrics.EVENTS_SUM, **about, window=HEADLINE_WINDOWS[-1])
    enough = f"max by (stage, experience, segment) ({longest}) >= {BELOW_MIN_N}"
    below = f"{headline(metrics.BAD_WILSON, **about)} > {SAME} (1 - {TARGET}) and {enough}"
    degraded = select(metrics.DEGRADED, **about, window=tuple(fast))
    bad = select(metrics.BAD_SUM, **about, window=HEADLINE_WINDOWS[-1])
    quality = f"max by (stage, experience, segment) (({longest} - {bad}) / ({longest} < {MIN_N}))"
    cases = {
        -1: f'label_replace(count({select(metrics.BLIND, stage=(ALL, stage))}), "stage", "{stage}", "", "")',
        SEVERITY[State.SILENT]: f"count by (stage) ({select(metrics.SILENT, stage=stage)})",
        SEVERITY[State.DEGRADED]: f"count by (stage) ({degraded})",
        SEVERITY[State.BELOW]: f"count by (stage) ({below})",
        SEVERITY[State.TOO_FEW]: f"count by (stage) ({quality} < {SAME} {TARGET})",
        SEVERITY[State.GOOD]: f"count by (stage) ({longest} > 0)",
        SEVERITY[State.QUIET]: f"count by (stage) ({select(metrics.TARGET.name, stage=stage)})",
    }
    return "\nor ".join(f"(0 * {expr} + {code})" for code, expr in cases.items())


STATES = {
    "-1": ("not judged: monitor blind", PURPLE),
    str(SEVERITY[State.QUIET]): (NO_EVENTS, GREY),
    str(SEVERITY[State.GOOD]): ("good", BLUE),
    str(SEVERITY[State.TOO_FEW]): ("too few to tell", GREY),
    str(SEVERITY[State.BELOW]): ("below target", ORANGE),
    str(SEVERITY[State.SILENT]): ("silent", VERMILLION),
    str(SEVERITY[State.DEGRADED]): ("degraded", VERMILLION),
}
STATE_STEPS = thresholds(
    (None, PURPLE), (SEVERITY[State.QUIET], GREY), (SEVERITY[State.GOOD], BLUE),
    (SEVERITY[State.TOO_FEW], GREY), (SEVERITY[State.BELOW], ORANGE), (SEVERITY[State.SILENT], VERMILLION),
    (SEVERITY[State.DEGRADED], VERMILLION),
)  # fmt: skip
STATES_MEAN = (
    "Good: every experience keeps its target. Below target: one misses it beyond chance. Too few to tell: "
    f"one misses it, but fewer than {MIN_N} came. Degraded: so bad that people are woken up. Silent: nothing "
    "comes where events are expected. It counts the last minute, or the last 5 minutes or hour when fewer "
    f"than {HEADLINE_MIN_N} came."
)
WEAKEST_MEANS = (
    "The weakest experience is the one furthest below its target; its figure is the share of good encounters "
    "now, blue when it meets the target named beside it."
)
ONE = "{{stage}}/{{experience}}"
"""The name of an experience's series: two stages may have experiences of one name."""


def one_name(stage: Stage, experience: Experience) -> str:
    """What `ONE` gives."""
    return ONE.replace("{{stage}}", stage.name).replace("{{experience}}", experience.name)


def weakest(by: str = "(stage)", **about: str) -> str:
    """The quality of the weakest experience of each stage, or of all: nothing is averaged."""
    quality = f"(1 - {headline(metrics.BAD_RATIO, **about, segment=ALL)})"
    chosen = f"bottomk by {by} (1, {headline(metrics.ATTAINMENT, **about, segment=ALL)})"
    return f"{quality} and {chosen}"


def with_targets(stages: Iterable[Stage], stage_too: bool) -> list[Json]:
    """Each experience by title, with its target in words and in colours."""
    return [
        override(
            one_name(stage, experience),
            displayName=plain(
                f"{f'{stage.title}: ' if stage_too else ''}{experience.title}, "
                f"target {number(experience.target * 100)} %"
            ),
            thresholds=against(experience.target),
            links=[to_stage(stage.name)],
        )
        for stage in stages
        for experience in stage.experiences
    ]


def firing(severity: str, **about: str | tuple[str, ...]) -> str:
    """How many alerts fire; none at all only while the heartbeat proves that rules are evaluated."""
    heartbeat = select(ALERTS, alertstate="firing", severity="heartbeat")
    found = select(ALERTS, alertstate="firing", severity=severity, **about)
    return f"count({found}) or 0 * count({heartbeat})"


def to_stage(stage: str = "${__value.raw}") -> Json:
    """The way down to a stage; unless named, to the one in the table cell."""
    return link("Open the stage", f"{links.stage_board(stage)}&${{__url_time_range}}")


def stage_titles(journey: Journey) -> dict[str, str]:
    """Titles by name."""
    return {stage.name: stage.title for stage in journey.stages}


def segment_titles(journey: Journey) -> dict[str, str]:
    """What segments are called, by label."""
    return {ALL: "everybody", **{one: one for one in journey.segments}, OTHER: "other"}


def experience_titles(journey: Journey) -> dict[str, str]:
    """Titles by name, of names that mean one thing only."""
    found: dict[str, str] = {}
    for experience in (one for stage in journey.stages for one in stage.experiences):
        same = found.get(experience.name, experience.title) == experience.title
        found[experience.name] = experience.title if same else experience.name
    return found


def cells(journey: Journey) -> list[Json]:
    """Titles and links in the columns of tables."""
    return [
        override(
            "stage", mappings=names(stage_titles(journey)), links=[to_stage()],
            custom_minWidth=wide_enough(stage_titles(journey).values()),
        ),
        override(
            "experience", mappings=names(experience_titles(journey)),
            custom_minWidth=wide_enough(experience_titles(journey).values()),
        ),
        override(
            "segment", mappings=names(segment_titles(journey)),
            custom_minWidth=wide_enough(segment_titles(journey).values()),
        ),
    ]  # fmt: skip


LAST_HOUR = "1h"

LABELS = {"stage": "Stage", "experience": "Experience", "segment": "Segment"}


def alerts_table(journey: Journey, size: tuple[int, int], **about: str | tuple[str, ...]) -> Json:
    """Pages and tickets that fire, each with the way to what it is about and what to do."""
    firing = select(ALERTS, alertstate="firing", severity=("page", "ticket"), **about)
    return table(
        "Alerts firing now",
        "Pages wake somebody up, tickets wait for working hours. No row is good. A click on an alert opens "
        "what to do about it. These are the alerts of Prometheus.",
        {"severity": "Severity", "alertname": "Alert", **LABELS, "cause": "Cause"},
        rows(f"max by (severity, alertname, stage, experience, segment, cause) ({firing})"),
        unit=COUNT, size=size, steps=high_is_bad(1, 1),
        overrides=[
            *cells(journey),
            override(
                "severity", **COLORED,
                mappings=words({"page": ("page", VERMILLION), "ticket": ("ticket", ORANGE)}),
            ),
            override("alertname", links=[link("What to do", links.runbook(journey, "${__value.raw}"))]),
            override("cause", mappings=names(CAUSES)),
        ],
        nothing="none",
    )  # fmt: skip


def state_and_weakest(journey: Journey, stage: str, title: str, size: tuple[int, int], **more: Any) -> Json:
    """How a stage stands: its state in words, and the quality of its weakest experience beside its target."""
    stages = [one for one in journey.stages if stage in (one.name, CHOSEN)]
    return stat(
        title,
        f"State of the stage and its weakest experience. {STATES_MEAN} {WEAKEST_MEANS}",
        now(state(journey, stage), "state"),
        now(weakest(stage=stage), ONE),
        unit="percentunit", size=size, textMode="value_and_name",
        overrides=[
            override("state", mappings=words(STATES), thresholds=STATE_STEPS, unit=COUNT),
            *with_targets(stages, stage_too=False),
        ],
        field={"decimals": 1}, **more,
    )  # fmt: skip


def alerts_firing(description: str, **about: str) -> Json:
    """How many pages and tickets fire; known only while the heartbeat does."""
    return stat(
        "Alerts firing",
        description,
        query(firing("page", **about), "pages"), query(firing("ticket", **about), "tickets"),
        unit=COUNT, size=(6, 5), mappings=words({"0": ("none", BLUE)}), nothing="nothing known",
        overrides=[
            override("pages", thresholds=high_is_bad(1, 1)),
            override("tickets", thresholds=thresholds((None, BLUE), (1, ORANGE))),
        ],
    )  # fmt: skip


def bad_encounters(title: str, description: str, series: str, stages: str | tuple[str, ...]) -> Json:
    """How many encounters were bad in the last minutes, and how that number came about."""
    return stat(
        title,
        description,
        query(hit(stage=stages), series),
        unit=COUNT, size=(6, 5), graphMode="area", colorMode="value", field={"decimals": 0},
    )  # fmt: skip


def blind(**about: str) -> str:
    """1 while the monitor is blind; 0 only while recorded series prove that rules are evaluated."""
    causes = select(metrics.BLIND, **about) if about else metrics.BLIND
    return f"0 * count({causes}) + 1 or 0 * count({metrics.EVENTS_SUM})"


def trusted(size: tuple[int, int]) -> Json:
    """Good only while recorded series prove that Prometheus evaluates the rules."""
    return stat(
        "Can these boards be trusted?",
        "Whether every event is counted in time, which is good. Blind: a worker is missing, not ready, "
        "cannot be reached or is behind; the board Monitor says which. Until then no other figure is to be "
        "trusted.",
        query(blind(), "monitor"),
        unit=COUNT, size=size, steps=high_is_bad(1, 1),
        mappings=words({"0": ("sees everything", BLUE), "1": ("blind", VERMILLION)}),
        links=[link("Open the monitor's board", f"{links.board(links.MONITOR_BOARD)}?${{__url_time_range}}")],
        nothing="nothing known",
    )  # fmt: skip


def hit(**about: str | tuple[str, ...]) -> str:
    """How many encounters were bad in 5 minutes: per stage those of the experience with most."""
    return f"sum(max by (stage) ({select(metrics.BAD_SUM, **about, segment=ALL, window='5m')}))"


def windows_table(
    journey: Journey, title: str, description: str, size: tuple[int, int], **about: str
) -> Json:
    """Quality by experience and segment, with a column for each window, beside its target.

    Every column has the rows of the widest window, so that they merge; a small group is not shown. Rows have
    targets of their own, so what is coloured is the distance from it.
    """
    by = "max by (experience, segment)"

    def known(series: str, window: str) -> str:
        enough = f"{select(metrics.EVENTS_SUM, **about, window=window)} >= {MIN_SEGMENT_EVENTS}"
        return f"{by} ({select(series, **about, window=window)} and {enough})"

    every = known(metrics.BAD_RATIO, WINDOW_LABELS[-1])
    target = f"{by} ({select(metrics.TARGET.name, **about)})"
    qualities = [f"1 - {known(metrics.BAD_RATIO, window)}" for window in WINDOW_LABELS]
    distance = f"1 - {known(metrics.BAD_RATIO, LAST_HOUR)} - {target}"
    found = [f"{target} and {every}", *(f"({one}) or {every} * NaN" for one in (distance, *qualities))]
    headings = ("Target", "From target, 1h", *WINDOW_LABELS)
    columns = dict(zip((f"Value #{ref}" for ref in ref_ids()), headings, strict=False))
    labels = {name: LABELS[name] for name in ("experience", "segment") if name not in about}
    return table(
        title,
        f"{description} The share of good encounters over each time span, beside its target, and how far it "
        "was above or below in the last hour, in points: blue meets the target. A dash: fewer than "
        f"{MIN_SEGMENT_EVENTS} events, too few to say.",
        labels | columns,
        *map(rows, found),
        unit="percentunit", size=size, nothing="-",
        overrides=[
            *cells(journey),
            override("Value #B", thresholds=POINTS, custom_minWidth=wide_enough([headings[1]]), **COLORED),
        ],
        field={"decimals": 1},
        hide=[] if "experience" not in about else ["experience"],
    )  # fmt: skip
