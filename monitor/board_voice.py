"""The board of the voice of the customer: what people answer when asked, with how sure the numbers are.

Scores themselves are not counted yet, so nothing here is an NPS, CSAT or CES figure: it is the share of
answers that the journey file calls good.
"""

from collections.abc import Iterator

from monitor import metrics
from monitor.board_parts import windows_table
from monitor.journey import ALL, Experience, Journey, Stage
from monitor.measures import Z
from monitor.panels import (
    BLUE,
    GREY,
    LINES,
    ORANGE,
    WIDTH,
    Json,
    against,
    chart,
    fixed,
    heading,
    override,
    query,
    stat,
    thresholds,
    words,
)
from monitor.promql import number, select, wilson_lower
from monitor.snapshot import MIN_SEGMENT_EVENTS

WINDOW = "1d"
"""Opinions change in days, and answers are few."""

SURE_N = 100
"""With as many answers, the share is known to some ten points either way."""


def panels(journey: Journey) -> Iterator[Json]:
    """For each experience that is judged by scores: share, certainty, answers, segments."""
    found = [(stage, one) for stage in journey.stages for one in stage.experiences if _kinds(one) is not None]
    if not found:
        yield stat(
            "Scores",
            "No experience of the journey file is judged by a score, so there is nothing to show. An "
            "experience that judges `score.kind` or `score.value` appears here, and asking is good.",
            query(f"count({metrics.TARGET.name}) * 0", "scores"),
            unit="short", size=(WIDTH, 5), mappings=words({"0": ("nobody is asked", GREY)}),
        )  # fmt: skip
    for stage, experience in found:
        yield heading(f"{stage.title}: {experience.title}")
        yield from _asked(journey, stage, experience)


def _kinds(experience: Experience) -> tuple[str, ...] | None:
    """The kinds of score it is judged by, none for any; None when it is not judged by scores."""
    conditions = [one for one in (*experience.judges, *experience.good) if one.field.startswith("score.")]
    if not conditions:
        return None
    return tuple(sorted(kind for one in conditions if one.field == "score.kind" for kind in one.one_of or ()))


def _shown(experience: Experience) -> str:
    """What exactly is counted, for descriptions."""
    limits = [one for one in experience.good if one.field == "score.value"]
    least = [f"{one.at_least:g} or more" for one in limits if one.at_least is not None]
    most = [f"{one.at_most:g} or less" for one in limits if one.at_most is not None]
    kinds = ", ".join(kind.upper() for kind in _kinds(experience) or ()) or "any kind"
    good = " and ".join([*least, *most]) or "as the journey file says"
    return (
        f"Answers of {kinds}; good is a score of {good}; the target is {number(experience.target * 100)} %. "
        "This is a share of answers, not an NPS, CSAT or CES figure: scores themselves are not counted yet."
    )


def _asked(journey: Journey, stage: Stage, experience: Experience) -> Iterator[Json]:
    about = {"stage": stage.name, "experience": experience.name}
    everybody = about | {"segment": ALL, "window": WINDOW}
    n = f"({select(metrics.EVENTS_SUM, **everybody)} >= {MIN_SEGMENT_EVENTS})"
    good = f"(1 - {select(metrics.BAD_RATIO, **everybody)})"
    lower, share, upper = (
        wilson_lower(good, n, Z),
        f"{good} and {n}",
        f"1 - {select(metrics.BAD_WILSON, **everybody)} and {n}",
    )
    small = f"Hidden below {MIN_SEGMENT_EVENTS} answers."
    yield stat(
        "Good answers, last day",
        f"{_shown(experience)} {small}",
        query(share, "share"),
        unit="percentunit", size=(8, 5), steps=against(experience.target), graphMode="area",
        field={"decimals": 1}, nothing="too few answers",
    )  # fmt: skip
    yield stat(
        "Between (95 % sure), last day",
        "Lower and upper end of the 95 % interval (Wilson): with so few people asked, the true share lies "
        f"between. Good is both at or above the target of {number(experience.target * 100)} %. {small}",
        query(lower, "at least"), query(upper, "at most"),
        unit="percentunit", size=(8, 5), steps=against(experience.target), textMode="value_and_name",
        field={"decimals": 1}, nothing="too few answers",
    )  # fmt: skip
    yield stat(
        "Answers, last day",
        f"How many answers the figures beside rest on; {SURE_N} or more make them good to about ten points. "
        f"{small}",
        query(n, "answers"),
        unit="short", size=(8, 5),
        steps=thresholds((None, GREY), (MIN_SEGMENT_EVENTS, ORANGE), (SURE_N, BLUE)),
        field={"decimals": 0}, nothing="too few answers",
    )  # fmt: skip
    yield chart(
        "Good answers over time",
        f"{_shown(experience)} Each moment looks back a day; the band is the 95 % interval (Wilson), the "
        f"horizontal line the target. {small}",
        query(upper, "at most"), query(share, "share"), query(lower, "at least"),
        unit="percentunit", size=(12, 9), steps=against(experience.target),
        custom={"thresholdsStyle": {"mode": "line"}},
        overrides=[
            override("share", color=fixed(LINES[0])),
            override("at least", color=fixed(LINES[-1]), custom_lineWidth=1),
            override(
                "at most", color=fixed(LINES[-1]), custom_lineWidth=1, custom_fillBelowTo="at least",
                custom_fillOpacity=20,
            ),
        ],
        field={"max": 1},
    )  # fmt: skip
    yield windows_table(
        journey,
        "By segment and time span",
        f"{_shown(experience)} Each segment against its own target.",
        (12, 9),
        **about,
    )
