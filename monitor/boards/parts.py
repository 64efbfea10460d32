"""What several boards ask and show alike: state, attainment, alerts, whether the monitor can be trusted."""

from collections.abc import Iterable
from typing import Any, get_args

from monitor.boards.panels import (
    COUNT,
    FEW_COUNTED,
    LINES,
    POINTS,
    WIDTH,
    Json,
    against,
    high_is_bad,
    link,
    names,
    now,
    override,
    plain,
    query,
    rows,
    stat,
    thresholds,
    words,
)
from monitor.boards.tables import ABSENT, COLORED, table, tall_enough, values, wide_enough
from monitor.boards.titles import (
    experience_titles,
    group_titles,
    segment_titles,
    stage_titles,
)
from monitor.counting import metrics
from monitor.counting.display import BLUE, GREY, ORANGE, PURPLE, VERMILLION
from monitor.counting.measures import HEADLINE_MIN_N, HEADLINE_WINDOWS
from monitor.counting.metrics import ALERTS
from monitor.counting.windows import WINDOW_LABELS
from monitor.journey_file import links
from monitor.journey_file.model import ALL, Experience, Stage
from monitor.rules.facts import Name
from monitor.rules.journeys import AT_STAGE, BETWEEN
from monitor.rules.limits import MIN_N, fast_limits
from monitor.rules.plan import SILENT_OVER, Plan
from monitor.rules.series import Values, number, select
from monitor.rules.verdict import MIN_SEGMENT_EVENTS, SEVERITY, State

CHOSEN = "$stage"
"""The stage chosen on its board."""

SAME = "on (stage, experience, segment) group_left ()"
TARGET = f"max by (stage, experience, segment) ({metrics.TARGET.name})"


def headline(series: str, **about: Values) -> str:
    """The series in the window of the headline figure: the shortest that holds enough (live page)."""
    picks = [
        f"{select(series, **about, window=window)} and "
        f"{select(metrics.EVENTS_SUM, **about, window=window)} >= {HEADLINE_MIN_N}"
        for window in HEADLINE_WINDOWS[:-1]
    ]
    picks.append(select(series, **about, window=HEADLINE_WINDOWS[-1]))
    joined = "\n or ignoring (window) ".join(picks)
    return f"max by (stage, experience, segment) ({joined})"


def _enough(**about: Values) -> str:
    longest = select(metrics.EVENTS_SUM, **about, window=HEADLINE_WINDOWS[-1])
    return f"max by (stage, experience, segment) ({longest}) >= {MIN_N}"


def state(plan: Plan, stage: str) -> str:
    """What `verdict.state` says of the weakest experience, or that the stage is silent, as a number; -1 while
    the monitor is blind."""
    about = {"stage": stage, "segment": ALL}
    fast = {
        limit.window: None
        for one in plan.journey.stages
        for experience in one.experiences
        for limit in fast_limits(experience.target)
    }
    longest = select(metrics.EVENTS_SUM, **about, window=HEADLINE_WINDOWS[-1])
    enough = _enough(**about)
    below = f"{headline(metrics.BAD_WILSON, **about)} > {SAME} (1 - {TARGET}) and {enough}"
    events, bad = headline(metrics.EVENTS_SUM, **about), headline(metrics.BAD_SUM, **about)
    by_chance = f"({events} - {bad}) / {events} < {SAME} {TARGET} and {enough}"
    degraded = select(metrics.DEGRADED, **about, window=tuple(fast))
    going_on = " or ".join(select(one, stage=stage) for one in (metrics.SILENT_REASON, metrics.STILL_SILENT))
    blind = f'label_replace(count({select(metrics.BLIND, stage=(ALL, stage))}), "stage", "{stage}", "", "")'
    cases = (
        (State.SILENT, select(metrics.SILENT, stage=stage)),
        (State.DEGRADED, degraded),
        (State.BELOW, below),
        (State.TOO_FEW, going_on),  # what a silence goes on about is not good
        (State.WITHIN_CHANCE, by_chance),
        (State.GOOD, enough),
        (State.TOO_FEW, f"{longest} > 0"),
        (State.QUIET, select(metrics.TARGET.name, stage=stage)),
    )
    found = [f"(0 * {blind} + -1)"]
    found += [f"(0 * count by (stage) ({expr}) + {SEVERITY[one]})" for one, expr in cases]
    return "\nor ".join(found)


SKY, GREEN, YELLOW = LINES[0], LINES[2], LINES[3]
STATES = {
    "-1": ("not judged", PURPLE),
    str(SEVERITY[State.QUIET]): ("none to judge", GREY),
    str(SEVERITY[State.TOO_FEW]): ("too few to tell", SKY),
    str(SEVERITY[State.GOOD]): ("good", BLUE),
    str(SEVERITY[State.WITHIN_CHANCE]): ("within chance", GREEN),
    str(SEVERITY[State.BELOW]): ("below target", ORANGE),
    str(SEVERITY[State.SILENT]): ("silent", YELLOW),
    str(SEVERITY[State.DEGRADED]): ("degraded", VERMILLION),
}
STATE_STEPS = thresholds(
    *((None if code == "-1" else int(code), color) for code, (_, color) in STATES.items())
)
STATES_MEAN = (
    "Good: every experience keeps its target. Within chance: one misses it by so little that it may be "
    f"chance. Below target: by more. Too few to tell: fewer than {MIN_N} came, be they good or bad, or less "
    f"than {float(SILENT_OVER):.0%} of what is expected, or the alert of a silent stage still goes on. "
    "Degraded: so bad that people are woken up, for it or for a stage it depends on. Silent: nothing comes "
    "where events are expected. "
    "Not judged: the monitor is blind. It counts the last minute, or the last 5 minutes or hour when fewer "
    f"than {HEADLINE_MIN_N} came."
)
WEAKEST_MEANS = (
    "The weakest experience is the one furthest below its target; its figure is the share of good encounters "
    "now, blue when it meets the target named beside it."
)
ONE = "{{stage}}/{{experience}}"
"""The name of an experience's series: two stages may have experiences of one name."""


NO_ONE = "/"
"""What `ONE` gives where there is none: a state alone would be written too large for its tile."""


def one_name(stage: Stage, experience: Experience) -> str:
    """What `ONE` gives."""
    return ONE.replace("{{stage}}", stage.name).replace("{{experience}}", experience.name)


def weakest(stage: str) -> str:
    """The quality of the weakest experience of a stage that has enough events to tell, or of any: nothing is
    averaged."""
    about = {"stage": stage, "segment": ALL}
    attainment = headline(metrics.ATTAINMENT, **about)
    known = f"bottomk by (stage) (1, {attainment} and {_enough(**about)})"
    chosen = f"({known} or on (stage) bottomk by (stage) (1, {attainment}))"
    return f"(1 - {headline(metrics.BAD_RATIO, **about)}) and {chosen}"


def weakest_of_all() -> str:
    """The same of the journey, of experiences with enough events to tell."""
    chosen = f"bottomk(1, {headline(metrics.ATTAINMENT, segment=ALL)} and {_enough(segment=ALL)})"
    return f"(1 - {headline(metrics.BAD_RATIO, segment=ALL)}) and {chosen}"


def with_targets(stages: Iterable[Stage], stage_too: bool) -> list[Json]:
    """Each experience by title, with its target in words and in colours."""
    return [
        override(
            one_name(stage, experience),
            displayName=plain(
                f"{f'{stage.title}: ' if stage_too else ''}{experience.title}, "
                f"target {number(experience.target * 100)}\N{NO-BREAK SPACE}%"
            ),
            thresholds=against(experience.target),
            links=[to_stage(stage.name)],
        )
        for stage in stages
        for experience in stage.experiences
    ]


def firing(severity: str, **about: Values) -> str:
    """How many alerts fire; none at all only while the heartbeat proves that rules are evaluated."""
    heartbeat = select(ALERTS, alertstate="firing", severity="heartbeat")
    found = select(ALERTS, alertstate="firing", severity=severity, **about)
    return f"count({found}) or 0 * count({heartbeat})"


def to_stage(stage: str = "${__value.raw}") -> Json:
    """The way down to a stage; unless named, to the one in the table cell."""
    return link("Open the stage", f"{links.stage_board(stage)}&${{__url_time_range}}")


def cells(plan: Plan) -> list[Json]:
    """Titles and links in the columns of tables on encounters."""
    return [
        override("stage", mappings=names(stage_titles(plan)), links=[to_stage()]),
        override("experience", mappings=names(experience_titles(plan.journey.stages))),
        override("segment", mappings=names(segment_titles(plan))),
    ]


LAST_HOUR = "1h"

ALERT_NAMES = [name for one in get_args(Name) for name in get_args(one)]

UNKNOWN = "nothing known"
"""Said where the monitor cannot know, which is not the same as none."""

LABELS = {"stage": "Stage", "experience": "Experience", "segment": "Segment"}

ALERTS_SHOWN = 6
"""As many rows as the first look has room for; the next one is whole but for its lower line."""


def alerts_table(plan: Plan, **about: Values) -> Json:
    """Pages and tickets that fire, each with since when, whom it hits, whose it is and what to do."""
    owners = [stage.owner for stage in plan.stages]
    mostly = {f"{ALL}/{name}": f"everybody, mostly {title}" for name, title in segment_titles(plan).items()}
    return table(
        "Alerts firing now",
        "Pages wake somebody up, tickets wait for working hours. None known is good while these "
        "boards can be trusted. A click on an alert opens what to do about it. Mostly: the segment with "
        "most of what is bad. These are the alerts of Prometheus.",
        {"severity": "Severity", "stage": LABELS["stage"], "alertname": "Alert", "Value": "Began"}
        | {"experience": LABELS["experience"], "whom": "Whom", "owner": "Owner"},
        rows(_began(**about)),
        unit=COUNT,
        size=(WIDTH, tall_enough(ALERTS_SHOWN)),
        nothing="none known",
        sortBy=[{"displayName": "Severity", "desc": False}],
        hide=("segment", "hits"),
        overrides=[
            *cells(plan)[:1],
            override("experience", mappings=names(experience_titles(plan.stages))),
            override("whom", mappings=names(group_titles(plan) | mostly)),
            override(
                "severity",
                **COLORED,
                mappings=words({"page": ("page", VERMILLION), "ticket": ("ticket", ORANGE)}),
            ),
            override(
                "alertname",
                links=[link("What to do", links.runbook(plan.journey, "${__value.raw}"))],
                custom_minWidth=wide_enough(ALERT_NAMES),
            ),
            override("owner", custom_minWidth=wide_enough(owners)),
            override(
                "Value",
                unit="dateTimeFromNow",
                custom_align="left",
                custom_minWidth=wide_enough(["12 minutes ago"]),
            ),
        ],
    )


def _began(**about: Values) -> str:
    """When each alert that fires began, in ms; every row has every label, or columns would come and go."""
    severities = ("page", "ticket")
    firing = select(ALERTS, alertstate="firing", severity=severities, **about)
    since = (
        f"{select(f'{ALERTS}_FOR_STATE', severity=severities, **about)} and ignoring (alertstate) {firing}"
    )
    known = ", ".join(f'"{label}"' for label in ("segment", "partner", AT_STAGE, "move"))
    moved = f'label_join({since}, "move", "{BETWEEN}", "from_channel", "to_channel")'
    moved = f'label_replace({moved}, "move", "", "move", "{BETWEEN}")'  # of what has no channels
    whom = f'label_join({moved}, "whom", "", {known})'
    began = f"1000 * max by (severity, alertname, stage, experience, segment, whom, owner) ({whom})"
    same = "on (severity, stage, experience, segment)"
    most = select(metrics.WORST_SEGMENT, segment=ALL)
    worst = f"topk by (severity, stage, experience, segment) (1, {most})"
    mostly = f'label_join({began} + {same} group_left (hits) 0 * {worst}, "whom", "/", "segment", "hits")'
    found = f"{mostly} or ({began} unless {same} {worst})"
    for label in ("experience", "whom"):
        found = f'label_replace({found}, "{label}", "{ABSENT}", "{label}", "")'
    return found


def state_and_weakest(plan: Plan, stage: str, title: str, size: tuple[int, int], **more: Any) -> Json:
    """How a stage stands: its state in words, and the quality of its weakest experience beside its target."""
    stages = [one for one in plan.journey.stages if stage in (one.name, CHOSEN)]
    return stat(
        title,
        f"State of the stage and its weakest experience. {STATES_MEAN} {WEAKEST_MEANS}",
        now(state(plan, stage), "state"),
        now(f"{weakest(stage)} or on () vector(NaN)", ONE),
        unit="percentunit",
        size=size,
        textMode="value_and_name",
        overrides=[
            override("state", mappings=words(STATES), thresholds=STATE_STEPS, unit=COUNT),
            *with_targets(stages, stage_too=False),
            override(NO_ONE, displayName="weakest experience"),
        ],
        **more,
    )


def alerts_firing(description: str, size: tuple[int, int], **about: Values) -> Json:
    """How many pages and tickets fire; known only while the heartbeat does."""
    return stat(
        "Alerts firing",
        description,
        query(firing("page", **about), "pages"),
        query(firing("ticket", **about), "tickets"),
        unit=COUNT,
        size=size,
        mappings=words({"0": ("none", BLUE)}),
        nothing=UNKNOWN,
        overrides=[
            override("pages", thresholds=high_is_bad(1, 1)),
            override("tickets", thresholds=thresholds((None, BLUE), (1, ORANGE))),
        ],
    )


def bad_encounters(title: str, description: str, series: str, stages: Values) -> Json:
    """How many encounters were bad in the last minutes, and how that number came about."""
    return stat(
        title,
        description,
        query(hit(stage=stages), series),
        unit=COUNT,
        size=(6, 6),
        graphMode="area",
        colorMode="value",
    )


def blind(**about: str) -> str:
    """1 while the monitor is blind; 0 only while recorded series prove that rules are evaluated."""
    causes = select(metrics.BLIND, **about) if about else metrics.BLIND
    return f"0 * count({causes}) + 1 or 0 * count({metrics.EVENTS_SUM})"


def trusted(size: tuple[int, int]) -> Json:
    """Good only while recorded series prove that Prometheus evaluates the rules."""
    lost = f"0 * count({metrics.WHOLE_SINCE.name}) + 2 and count({metrics.EVENTS_SUM})"
    return stat(
        "Can these boards be trusted?",
        "Whether every event is counted in time, which is good. Blind: a worker is missing, not ready, "
        "cannot be reached or is behind; the board Monitor says which. Until then no other figure is to be "
        "trusted. Windows not whole: counts were lost with a changelog; the board Monitor says since when "
        "windows are whole.",
        query(f"0 * count({metrics.BLIND}) + 1 or {lost} or {blind()}", "monitor"),
        unit=COUNT,
        size=size,
        steps=high_is_bad(1, 1),
        mappings=words(
            {
                "0": ("sees everything", BLUE),
                "1": ("blind", VERMILLION),
                "2": ("windows not whole", ORANGE),
            }
        ),
        links=[link("Open the monitor's board", f"{links.board(links.MONITOR_BOARD)}?${{__url_time_range}}")],
        nothing=UNKNOWN,
    )


def hit(**about: Values) -> str:
    """How many encounters were bad in 5 minutes: per stage those of the experience with most."""
    return f"sum(max by (stage) ({select(metrics.BAD_SUM, **about, segment=ALL, window='5m')}))"


def windows_table(plan: Plan, title: str, description: str, size: tuple[int, int], **about: str) -> Json:
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
    columns = values("Target", "From target, 1h", *WINDOW_LABELS)
    labels = {name: LABELS[name] for name in ("experience", "segment") if name not in about}
    return table(
        title,
        f"{description} The share of good encounters over each time span, beside its target, and how far it "
        "was above or below in the last hour, in points: blue meets the target. A dash: fewer than "
        f"{MIN_SEGMENT_EVENTS} events, too few to say.",
        labels | columns,
        *map(rows, found),
        unit="percentunit",
        size=size,
        nothing=FEW_COUNTED,
        overrides=[*cells(plan), override("Value #B", thresholds=POINTS, **COLORED)],
        hide=[] if "experience" not in about else ["experience"],
    )
