"""The alerts of a journey, one by one, in no product's format.

An alert on a degraded stage asks for `metrics.WORST`, to which `promql.recordings` leads step by step from
counts and limits. The target is in the limits that `metrics.DEGRADED` compares with, not in the expression.
`monitor.generate.prometheus` writes expressions as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from monitor.counting import metrics
from monitor.counting.panes import SHORT
from monitor.journey_file import links
from monitor.journey_file.model import (
    FOLLOW_UP,
    NONE,
    UNASSIGNED,
    WHOLE,
    Experience,
    Journey,
    Journeys,
    Stage,
)
from monitor.journeys.alerted import CRITICAL
from monitor.rules.facts import (
    Alert,
    Asked,
    Chosen,
    Fact,
    Own,
    fill,
    literal,
    named,
    of_its_stage,
    stage_labels,
    stage_links,
)
from monitor.rules.journeys import Watched, WholeName
from monitor.rules.monitor import dead_letters, journeys_full, monitor_blind, steps_skipped, watchdog
from monitor.rules.plan import HOLD_S, LAG_S, Plan, Severity, pages_for, severities, silence_severity
from monitor.rules.promql import UNJUDGED
from monitor.rules.series import number, of_each, select, with_stage


def alerts(plan: Plan) -> Iterator[Alert]:
    """Every alert of the journey: the monitor's own, then stage by stage in the order of the journey, whole
    journeys last."""
    journey = plan.journey
    yield watchdog(journey)
    yield monitor_blind(journey)
    if journey.journeys is not None:
        yield journeys_full(journey)
        yield steps_skipped(journey)
    whole = {one.experience.name: one for one in plan.watched}
    for stage in plan.stages:
        if stage.name != WHOLE:
            yield _silent(journey, stage)
            for partner in stage.partners:
                yield _partner_silent(journey, stage, partner)
            yield dead_letters(journey, stage)
        for severity in severities(stage):
            if severity == "page":
                together: Iterable[tuple[Experience, ...]] = [pages_for(stage)]
            else:
                together = ((experience,) for experience in stage.experiences)
            for experiences in together:
                if stage.name == WHOLE:
                    yield _whole_degraded(journey, stage, severity, whole[experiences[0].name])
                else:
                    yield _degraded(journey, stage, severity, experiences)
    if journey.journeys is not None:
        yield _critical(journey, journey.journeys)


@dataclass(frozen=True, slots=True)
class Inhibitor:
    """An alert that nobody is told of: while it fires, Alertmanager holds others back. Unlike those that
    people are told of it is not held, so that it hides nothing for longer than the expressions do."""

    expr: str
    because: Literal["blind", "silent", "trouble"]


INHIBITOR, NOBODY = "Inhibitor", "none"
"""Name and severity of all of them."""


def inhibitors() -> Iterator[Inhibitor]:
    """Each has a series for each stage, or for `all`, that holds back others."""
    yield Inhibitor(f"max by (stage) ({select(metrics.BLIND, cause=UNJUDGED)})", "blind")
    yield Inhibitor(f"max by (stage) ({metrics.SILENT})", "silent")
    yield Inhibitor(metrics.TROUBLE, "trouble")


DEGRADED_SUMMARY = (
    "{title} (segment {segment}): {bad} of {n} in {window} were bad ({share}), at most {allowed} may be. "
    "Measured: {measured}."
)
UNHEARD = "as long as the workers run"
"""How long no event has come of a stage of which they have counted none."""

SILENT_SUMMARY = "{title}: no event for {last}; {expected} were expected in the last {window}."
PARTNER_SUMMARY = (
    "{title}: no event of partner {partner} in {window}, of others some; {expected} were expected."
)


def _degraded(
    journey: Journey, stage: Stage, severity: Severity, experiences: tuple[Experience, ...]
) -> Alert:
    """One alert for what is worst of these experiences."""
    about = _about(stage, severity, experiences)
    return Alert(
        "StageDegraded",
        _worst(about),
        stage_labels(stage, severity) | about,
        {
            "summary": fill(DEGRADED_SUMMARY, title=stage.title),
            "description": (
                "Most frequent reason at this stage: {reason}. Most bad events: segment {hits}. "
                "{journeys}{critical}{changed}"
            ),
            **named("n", "bad", "window", "share", "allowed", "target", "reason", "hits", "change"),
            **stage_links(journey, stage, "StageDegraded"),
            "where_url": literal(links.where(journey, stage.name)),
        },
        of_its_stage(
            _degraded_facts(journey, about, experiences)
            | {"segment": Own("segment")}
            | {"hits": Asked(select(metrics.WORST_SEGMENT, **about), label="hits", text="{label}")}
            | _journey_facts(journey, stage)
        ),
    )


def _about(stage: Stage, severity: Severity, experiences: tuple[Experience, ...]) -> dict[str, str]:
    """What one alert is about: a page stands for all of the stage, a ticket for one experience."""
    about = {"stage": stage.name, "severity": severity}
    return about if severity == "page" else about | {"experience": experiences[0].name}


def _worst(about: Mapping[str, str], labels: Iterable[str] = ("segment",)) -> str:
    return f"max by ({', '.join(('stage', 'experience', *labels))}) ({select(metrics.WORST, **about)})"


def _journey_facts(journey: Journey, stage: Stage) -> dict[str, Fact]:
    """What the stage means for customers' whole journeys."""
    if journey.journeys is None:
        return dict.fromkeys(("journeys", "critical"), Chosen((({}, ""),)))
    hit = f"sum by (stage) ({select(metrics.WINDOW_HIT.name, stage=stage.name, window='5m')})"
    weighs = "Of those who speak ill of us, {value} would not, were it not for this stage. "
    return {
        "journeys": Asked(hit, text="Journeys hit in 5m: {value}. ", otherwise=""),
        "critical": Asked(
            select(metrics.CRITICAL_SHARE, stage=stage.name), "share", text=weighs, otherwise=""
        ),
    }


OF_WHOLE: dict[WholeName, tuple[str, str]] = {
    "JourneyDegraded": (
        "Journeys (segment {segment}): {bad} of {n} that ended in {window} missed their goal ({share}), at "
        "most {allowed} may.",
        "Most frequent cause: {reason}. {changed}",
    ),
    "PromisesOverdue": (
        "{noun} ({whom}): {bad} of {n} due in {window} were broken ({share}), at most {allowed} may be.",
        "{overdue}{changed}",
    ),
    "HandoversLost": (
        "{noun} ({whom}): {bad} of {n} in {window} did not arrive in time ({share}), at most {allowed} may.",
        "{overdue}{changed}",
    ),
    "CustomersLost": (
        "Customers who changed channel ({from_channel} to {to_channel}): {bad} of {n} whose journey ended in "
        "{window} found no solution ({share}), at most {allowed} may.",
        "{changed}",
    ),
    "UnderstandingGap": (
        "Stage {at_stage}: {bad} of {n} answered journeys that ended in {window} went well by our own "
        "records and badly for the customer ({share}), at most {allowed} may.",
        "{changed}",
    ),
}
"""Summary and description of each alert on whole journeys."""

FOLLOW_UP_SUMMARY = (
    "Unhappy customers ({whom}): {bad} of {n} whose contact fell due in {window} were not contacted in time "
    "({share}), at most {allowed} may be."
)

NO_PARTNER = {NONE: "no partner named", UNASSIGNED: "not yet with a partner"}
"""Partners that are none, in words."""


def _whole_degraded(journey: Journey, stage: Stage, severity: Severity, one: Watched) -> Alert:
    """One alert for what is worst of one experience of whole journeys."""
    about = _about(stage, severity, (one.experience,))
    summary, description = OF_WHOLE[one.alert]
    if one.experience.name == f"promise_{FOLLOW_UP}":
        summary = FOLLOW_UP_SUMMARY
    return Alert(
        one.alert,
        _worst(about, one.labels),
        stage_labels(stage, severity) | about | one.about | {"owner": one.owner},
        {
            "summary": fill(summary, noun=one.noun),
            "description": description,
            **named("n", "bad", "window", "share", "allowed", "target", "change"),
            **named(*one.labels),
            "dashboard_url": literal(f"{journey.links.grafana}{links.board(links.CUSTOMERS_BOARD)}"),
            "failures_url": _meant(journey, one.experience.name, one.labels),
            "runbook_url": literal(stage.runbook or links.runbook(journey, one.alert)),
            "alert_runbook_url": literal(links.runbook(journey, one.alert)),
        },
        of_its_stage(
            _degraded_facts(journey, about, (one.experience,))
            | {label: Own(label) for label in one.labels}
            | _partner_facts(stage, about, one)
        ),
        board=links.CUSTOMERS_BOARD,
    )


def _critical(journey: Journey, rules: Journeys) -> Alert:
    """Nothing to mend at once: a finding for whoever decides what is to be improved."""
    return Alert(
        "CriticalTouchpoint",
        f"max by (stage) ({metrics.CRITICAL_SHARE})",
        {"severity": "finding", "owner": rules.owner},
        {
            "summary": (
                "Stage {stage} weighs on what customers say: {share} of those who speak ill of us would not, "
                "were it never bad. It goes together, which does not prove a cause."
            ),
            **named("share"),
            "dashboard_url": literal(f"{journey.links.grafana}{links.board(links.CUSTOMERS_BOARD)}"),
            "failures_url": _meant(journey, CRITICAL, ("stage",)),
            "runbook_url": literal(links.runbook(journey, "CriticalTouchpoint")),
        },
        lambda stage: {
            "stage": Own("stage"),
            "share": Asked(f"max by (stage) ({select(metrics.CRITICAL_SHARE, stage=stage)})", "share"),
        },
        board=links.CUSTOMERS_BOARD,
    )


def _meant(journey: Journey, experience: str, labels: Iterable[str]) -> str:
    """The address of the journeys meant; the alert's own labels say of which partner, stage or segment."""
    return literal(links.meant(journey, experience)) + "".join(f"&{one}={{{one}}}" for one in labels)


def _partner_facts(stage: Stage, about: Mapping[str, str], one: Watched) -> dict[str, Fact]:
    """Who had to keep it, and how many are overdue now, with whom most of them."""
    if not one.overdue:
        return {}
    by_partner = f"sum by (partner) ({select(metrics.OVERDUE.name, what=one.overdue)}) > 0"
    most = f"(topk(1, {by_partner}) * 0 + 1) * on () group_left () sum({by_partner})"
    most = (
        f'label_replace({most}, "with", "with $1", "partner", "(.*)")'  # the alert has a partner of its own
    )
    for partner, words in {**NO_PARTNER, NONE: f"with {NO_PARTNER[NONE]}"}.items():
        most = f'label_replace({most}, "with", "{words}", "partner", "{partner}")'
    told = "Overdue now: {value}, most of them {label}. "
    asked = of_each(select(metrics.WORST, **about), with_stage(most, stage), by="stage", brings="with")
    return {
        "whom": Chosen(
            tuple(({"partner": name}, NO_PARTNER.get(name, f"partner {name}")) for name in one.groups)
        ),
        "overdue": Asked(asked, label="with", text=told, otherwise=""),
    }


def _degraded_facts(
    journey: Journey, about: dict[str, str], experiences: tuple[Experience, ...]
) -> dict[str, Fact]:
    def worst(series: str) -> str:
        return select(series, **about)

    targets = tuple(_by_target(journey, experiences))
    return {
        "share": Asked(worst(metrics.WORST), "share"),
        "window": Asked(worst(metrics.WORST), label="window", text="{label}"),
        "n": Asked(worst(metrics.WORST_EVENTS)),
        "bad": Asked(worst(metrics.WORST_BAD)),
        "allowed": Chosen(tuple((labels, _percent(1 - target)) for labels, target in targets)),
        "target": Chosen(tuple((labels, _percent(target)) for labels, target in targets)),
        "measured": Chosen(tuple(({"experience": one.name}, one.title) for one in experiences)),
        "reason": Asked(worst(metrics.WORST_REASON), label="reason", text="{label}"),
        **_change_facts(worst(metrics.WORST_CHANGE)),
    }


def _by_target(
    journey: Journey, experiences: Iterable[Experience]
) -> Iterator[tuple[dict[str, str], Decimal]]:
    """Labels and the target for them, the special ones first."""
    for one in experiences:
        for segment in journey.segments:
            if one.target_for(segment) != one.target:
                yield {"experience": one.name, "segment": segment}, one.target_for(segment)
        yield {"experience": one.name}, one.target


def _percent(share: Decimal) -> str:
    return f"{number(share * 100)}%"


def _change_facts(changed: str) -> dict[str, Fact]:
    told, age = "Last change: {label} ({value} ago).", f"time() - {changed}"
    return {
        "change": Asked(age, label="title", text="{label}", otherwise="none known"),
        "changed": Asked(age, "age", "title", told, "No change known."),
    }


def _silent(journey: Journey, stage: Stage) -> Alert:
    severity = silence_severity(stage)
    about = {"stage": stage.name}
    quiet = select(metrics.SILENT_REASON, **about)
    shortest = f"topk(1, -{quiet})"
    since = f"time() - max by (stage) ({select(metrics.LAST_EVENT.name, **about)})"
    # Of the time that an alert is held and windows may lag, or it would tell the age of the event that has
    # ended the silence.
    longest = f"max_over_time(({since})[{HOLD_S[severity] + LAG_S}s:{SHORT.ms // 1000}s])"
    return Alert(
        "StageSilent",
        f"max by (stage) ({quiet})",
        stage_labels(stage, severity),
        {
            "summary": fill(SILENT_SUMMARY, title=stage.title),
            "description": "{changed}",
            "n": "0",
            **named("last", "expected", "window", "change"),
            **stage_links(journey, stage, "StageSilent"),
        },
        of_its_stage(
            {
                "expected": Asked(f"-{shortest}"),
                "window": Asked(shortest, label="window", text="{label}"),
                "last": Asked(longest, "age", otherwise=UNHEARD),
                **_change_facts(select(metrics.CHANGED, **about)),
            }
        ),
    )


def _partner_silent(journey: Journey, stage: Stage, partner: str) -> Alert:
    """A ticket: others deliver, and nobody is waked for what one partner does not."""
    about = {"stage": stage.name, "partner": partner}
    quiet = select(metrics.PARTNER_REASON, **about)
    shortest = f"topk(1, -{quiet})"
    return Alert(
        "PartnerSilent",
        f"max by (stage, partner) ({quiet})",
        stage_labels(stage, "ticket") | {"partner": partner},
        {
            "summary": fill(PARTNER_SUMMARY, title=stage.title, partner=partner),
            "description": "{changed}",
            "n": "0",
            **named("expected", "window", "change"),
            **stage_links(journey, stage, "PartnerSilent"),
        },
        of_its_stage(
            {
                "expected": Asked(f"-{shortest}"),
                "window": Asked(shortest, label="window", text="{label}"),
                **_change_facts(select(metrics.CHANGED, stage=stage.name)),
            }
        ),
    )
