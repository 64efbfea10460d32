"""The board of the voice of the customer: what people answer when asked, with how sure the numbers are.

Beside it stands what customers feel before anybody asks them: whether channels and places are alike, how
much of their time tools take, and how often they meet more than they were promised.
"""

from collections.abc import Iterator
from typing import Any

from monitor.boards import inferred
from monitor.boards.panels import (
    COUNT,
    FEW_COUNTED,
    LINES,
    NEUTRAL,
    WIDTH,
    Json,
    against,
    chart,
    fixed,
    heading,
    names,
    override,
    query,
    rows,
    stat,
    thresholds,
    words,
)
from monitor.boards.parts import windows_table
from monitor.boards.tables import COLORED, table, tall_enough, values
from monitor.boards.titles import segment_titles
from monitor.counting import metrics
from monitor.counting.display import BLUE, GREY, ORANGE
from monitor.counting.judging import ANSWER_CLASSES, ASKED, asked_channels, counts_answers
from monitor.counting.measures import KINDS, Z
from monitor.counting.staff import MIN_GROUP
from monitor.journey_file.model import ALL, FOLLOW_UP, NONE, OTHER, Experience, Journey, Stage
from monitor.rules.plan import Plan
from monitor.rules.series import Values, number, select, wilson_lower
from monitor.rules.verdict import MIN_SEGMENT_EVENTS

WINDOW = "1d"
"""Opinions change in days, and answers are few."""

SURE_N = 100
"""With as many answers, a share is known to some ten points either way."""


MORE_PROMOTERS = thresholds((None, ORANGE), (0, BLUE))
Ends = tuple[str, str, str]
"""A figure, and the lower and the upper end of what it lies in."""


def panels(plan: Plan) -> Iterator[Json]:
    """What customers answer, what staff answer, then what shows without asking."""
    asking = [stage for stage in plan.journey.stages if counts_answers(stage)]
    if not asking:
        yield stat(
            "Scores",
            "No stage of the journey file is of kind `feedback` or `staff` or judges by a score, so there is "
            "nothing to show. A stage that does appears here, and asking is good.",
            query(f"count({metrics.TARGET.name}) * 0", "scores"),
            unit=COUNT,
            size=(WIDTH, 5),
            mappings=words({"0": ("nobody is asked", GREY)}),
        )
    for stage in asking:
        yield heading(stage.title)
        if stage.kind == "staff":
            for kind in _kinds(stage):
                yield from _pulse(stage, kind)
            continue
        if ASKED in stage.outcomes:
            yield _asked(plan.journey, stage)
            yield from _asked_by_channel(plan, stage)
        for kind in _kinds(stage):
            yield from _figure(plan, stage, kind)
        for experience in stage.experiences:
            if _is_scored(experience):
                yield from _against_target(plan, stage, experience)
    yield from inferred.panels(plan)


def _is_scored(experience: Experience) -> bool:
    return any(one.field.startswith("score.") for one in (*experience.judges, *experience.good))


def _kinds(stage: Stage) -> tuple[str, ...]:
    """The kinds of score its experiences name; all when they name none."""
    named = {
        kind
        for experience in stage.experiences
        for one in experience.judges
        if one.field == "score.kind"
        for kind in one.one_of or ()
    }
    return tuple(kind for kind in KINDS if kind in named or not named)


# -- figures of answers ----------------------------------------------------------------------------------


def answers(by: str, stage: str, kind: Values = "", answer: Values = "") -> str:
    """How many answers the last day brought, of a kind and class if given."""
    given = {"kind": kind, "class": answer}
    about = {"stage": stage, **{name: value for name, value in given.items() if value}, "window": WINDOW}
    return f"sum by ({by}) ({select(metrics.WINDOW_ANSWERS.name, **about)})"


def nps(by: str, stage: str, least: int = MIN_SEGMENT_EVENTS) -> tuple[str, str]:
    """`measures.nps` by some labels: the score, and its margin to either side."""
    promoters, detractors = (answers(by, stage, "nps", one) for one in ("promoter", "detractor"))
    n = f"({answers(by, stage, 'nps')} >= {least})"
    mean = f"({promoters} - {detractors}) / {n}"
    variance = f"clamp_min(({promoters} + {detractors}) / {n} - ({mean}) ^ 2, 0)"
    return f"100 * {mean}", f"{number(100 * Z)} * sqrt({variance} / {n})"


def share(by: str, stage: str, kind: str, least: int = MIN_SEGMENT_EVENTS) -> Ends:
    """The share of good answers by some labels, and the ends of its 95 % interval (Wilson)."""
    n = f"({answers(by, stage, kind)} >= {least})"
    good = f"({answers(by, stage, kind, ANSWER_CLASSES[kind][0][0])} / {n})"
    return good, wilson_lower(good, n, Z), f"1 - {wilson_lower(f'(1 - {good})', n, Z)}"


def _ends(by: str, stage: str, kind: str, least: int = MIN_SEGMENT_EVENTS) -> Ends:
    """Figure, lower and upper end of any kind."""
    if kind != "nps":
        return share(by, stage, kind, least)
    score, margin = nps(by, stage, least)
    return score, f"{score} - {margin}", f"{score} + {margin}"


def _looks(kind: str) -> dict[str, Any]:
    """Unit and decimals of a kind's figure."""
    return (
        {"unit": COUNT, "field": {"decimals": 0}}
        if kind == "nps"
        else {"unit": "percentunit", "field": {"decimals": 1, "max": 1}}
    )


def _figure(plan: Plan, stage: Stage, kind: str) -> Iterator[Json]:
    title, means = KINDS[kind]
    small = f"Hidden below {MIN_SEGMENT_EVENTS} answers."
    steps = MORE_PROMOTERS if kind == "nps" else NEUTRAL
    ends, look = _ends("stage", stage.name, kind), _looks(kind)
    yield _today(
        title,
        f"{means} With so many people asked, the true figure lies between the two ends (95 % sure). {small}",
        ends,
        size=(12, 5),
        steps=steps,
        nothing=FEW_COUNTED,
        **look,
    )
    yield stat(
        f"{title}: answers, last day",
        f"How many answers the figures beside rest on; {SURE_N} or more are good enough to tell ten points "
        "apart.",
        query(answers("stage", stage.name, kind), "answers"),
        unit=COUNT,
        size=(12, 5),
        steps=thresholds((None, GREY), (MIN_SEGMENT_EVENTS, ORANGE), (SURE_N, BLUE)),
    )
    height = max(9, tall_enough(1 + max(len(plan.journey.segments), len(plan.journey.channels))))
    yield _over_time(
        title,
        f"{means} Each moment looks back a day; the band is what it lies in (95 % sure). {small}",
        ends,
        size=(8, height),
        steps=steps,
        nothing=FEW_COUNTED,
        **look,
    )
    for by, heads in (
        ("segment", segment_titles(plan)),
        ("channel", channel_titles(plan)),
    ):
        figure, lower, upper = _ends(by, stage.name, kind)
        yield table(
            f"{title} by {by}",
            f"{means} Where the ends of two rows overlap, chance may be all that is between them. {small}",
            {by: by.capitalize(), **values(title, "At least", "At most", "Answers")},
            rows(figure),
            rows(lower),
            rows(upper),
            rows(f"{answers(by, stage.name, kind)} >= {MIN_SEGMENT_EVENTS}"),
            size=(8, height),
            steps=steps,
            nothing=FEW_COUNTED,
            overrides=[
                override(by, mappings=names(heads)),
                override("Value #A", **COLORED),
                override("Value #D", unit=COUNT, decimals=0),
            ],
            **look,
        )


def _today(title: str, about: str, ends: Ends, **more: Any) -> Json:
    figure, lower, upper = ends
    queries = query(figure, title), query(lower, "at least"), query(upper, "at most")
    return stat(f"{title}, last day", about, *queries, textMode="value_and_name", **more)


def _over_time(title: str, about: str, ends: Ends, **more: Any) -> Json:
    figure, lower, upper = ends
    queries = query(upper, "at most"), query(figure, title), query(lower, "at least")
    return chart(f"{title} over time", about, *queries, overrides=_band(title), **more)


def channel_titles(plan: Plan) -> dict[str, str]:
    """Names of channels for people."""
    return {**{one: one for one in plan.journey.channels}, NONE: "not told", OTHER: "other"}


def _band(title: str) -> list[Json]:
    """A line within its two ends."""
    end = fixed(GREY)
    return [
        override(title, color=fixed(LINES[0])),
        override("at least", color=end, custom_lineWidth=1),
        override(
            "at most", color=end, custom_lineWidth=1, custom_fillBelowTo="at least", custom_fillOpacity=20
        ),
    ]


def _asked(journey: Journey, stage: Stage) -> Json:
    """Whether anybody was asked, whether it was worth asking, whether anybody cared."""
    about = {"stage": stage.name, "window": WINDOW}
    asked = f"sum by (stage) ({select(metrics.WINDOW_OUTCOMES.name, outcome=ASKED, **about)})"
    shares = [query(f"{answers('stage', stage.name)} / ({asked} > 0)", "answered")]
    told = ""
    promises = journey.journeys.promises if journey.journeys is not None else ()
    if (FOLLOW_UP, stage.name) in [(kind.name, kind.stage) for kind in promises]:
        kept, due = (
            f"sum({select(metrics.WINDOW_PROMISES.name, kind=FOLLOW_UP, result=one, window=WINDOW)})"
            for one in ("kept", "due")
        )
        shares.append(query(f"{kept} / ({due} > 0)", "unhappy contacted"))
        told = ", and how many of the unhappy whose contact fell due were contacted in time (100 % is best)"
    return stat(
        "Asked, answered, followed up, last day",
        f"How many customers were asked, how many of them answered{told}. Asking at all is good. Answers "
        "follow days later, so their share of a day may pass 100 %.",
        query(asked, "asked"),
        *shares,
        unit="percentunit",
        size=(WIDTH, 5),
        textMode="value_and_name",
        field={"decimals": 0},
        overrides=[
            override("asked", unit=COUNT, thresholds=thresholds((None, ORANGE), (1, BLUE))),
            override("answered", thresholds=NEUTRAL),
            override("unhappy contacted", thresholds=thresholds((None, ORANGE), (0.8, BLUE))),
        ],
    )


def _asked_by_channel(plan: Plan, stage: Stage) -> Iterator[Json]:
    """A channel in which nobody is asked is one in which nobody is heard."""
    if not asked_channels(plan.journey, stage):
        return
    everywhere = f"sum by (channel) ({select(metrics.WINDOW_ASKED.name, stage=stage.name, window=WINDOW)})"
    named = select(metrics.WINDOW_ASKED.name, stage=stage.name, window=WINDOW, channel=plan.journey.channels)
    asked = f"sum by (channel) ({named}) or ({everywhere} > 0)"
    answered = answers("channel", stage.name)
    yield table(
        "Asked and answered by channel, last day",
        "How many customers were asked in each channel, and how many answered there. Asking at all is good; "
        "0 is a channel in which nobody is heard. Answers follow days later, so their share may pass 100 %.",
        {"channel": "Channel", **values("Asked", "Answered", "Share")},
        rows(asked), rows(f"{answered} and on (channel) ({asked})"), rows(f"{answered} / ({everywhere} > 0)"),
        unit=COUNT, size=(WIDTH, tall_enough(len(plan.journey.channels))),
        overrides=[
            override("channel", mappings=names(channel_titles(plan))),
            override("Value #A", thresholds=thresholds((None, ORANGE), (1, BLUE)), **COLORED),
            override("Value #C", unit="percentunit", decimals=0),
        ],
        field={"decimals": 0},
    )  # fmt: skip


def _against_target(plan: Plan, stage: Stage, experience: Experience) -> Iterator[Json]:
    about = {"stage": stage.name, "experience": experience.name}
    everybody = about | {"segment": ALL, "window": WINDOW}
    n = f"({select(metrics.EVENTS_SUM, **everybody)} >= {MIN_SEGMENT_EVENTS})"
    good = f"(1 - {select(metrics.BAD_RATIO, **everybody)})"
    target = f"{number(experience.target * 100)} %"
    yield stat(
        "Answers that keep the target, last day",
        f"{experience.title}: the share that is good, and the two ends it lies between (95 % sure). The "
        f"target is {target}; all three in blue meet it surely. Hidden below {MIN_SEGMENT_EVENTS} answers.",
        query(f"{good} and {n}", "share"),
        query(wilson_lower(good, n, Z), "at least"),
        query(f"1 - {select(metrics.BAD_WILSON, **everybody)} and {n}", "at most"),
        unit="percentunit",
        size=(8, 9),
        steps=against(experience.target),
        textMode="value_and_name",
        nothing=FEW_COUNTED,
    )
    yield windows_table(
        plan,
        "Answers against target, by segment and time span",
        f"{experience.title}; the target is {target}. Each segment against its own target.",
        (16, 9),
        **about,
    )


def _pulse(stage: Stage, kind: str) -> Iterator[Json]:
    """Staff: the future of customers. Of a small group nothing is shown, of a larger one sums only."""
    title, _ = KINDS[kind]
    ends = _ends("stage", stage.name, kind, MIN_GROUP)
    look = _looks(kind) | {"size": (12, 7), "nothing": FEW_COUNTED}
    hidden = f"Hidden below {MIN_GROUP} answers, so that nobody is known by theirs."
    leads = "What staff say today, customers say tomorrow; higher is good."
    lies = f"{leads} The figure, and the two ends it lies between (95 % sure). {hidden}"
    yield _today(title, lies, ends, **look)
    band = f"{leads} Each moment looks back a day; the band is what it lies in (95 % sure). {hidden}"
    yield _over_time(title, band, ends, **look)
