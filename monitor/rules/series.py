"""PromQL that everybody writes: selectors, numbers as exact decimals, joins by labels, formulas."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from monitor.counting import metrics
from monitor.counting.measures import Z
from monitor.counting.windows import WINDOWS
from monitor.journey_file.model import ALL, WHOLE, Stage
from monitor.journeys.counters import CRITICAL_CELLS
from monitor.rules import critical
from monitor.rules.journeys import AT_STAGE, OWN_LABELS, Term, Watched
from monitor.rules.limits import (
    FAST_Z,
    STOPPED_EXPECTED,
    STOPPED_IN,
    STOPPED_OF,
    STOPPED_OVER,
    SURELY_BETTER,
)
from monitor.rules.plan import (
    HOLD_S,
    SETTLED,
    SILENT_EXPECTED,
    SILENT_OVER,
    SILENT_WINDOWS,
    Severity,
    silence_severity,
)

JOB = "touchpoint"
"""The scrape job of the workers."""

COUNTED = f"sum({metrics.OWNED.name} and on (instance, job) {metrics.READY.name} == 1)"
"""How many partitions ready workers count; empty while none is ready."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


def number(value: Decimal) -> str:
    """An exact decimal as PromQL reads it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"


Values = str | tuple[str, ...]
"""The value that a label must have, or several that it may have."""

SECONDS = {window.label: window.ms // 1000 for window in WINDOWS}

ANY = ".+"
"""Whatever value a label has, if it has one. No name of a journey file is written so."""


def select(series: str, **labels: Values) -> str:
    """A selector; several values of a label are alternatives."""
    return f"{series}{{{', '.join(_matcher(label, values) for label, values in labels.items())}}}"


def _matcher(label: str, values: Values) -> str:
    alternatives = (values,) if isinstance(values, str) else values
    if len(alternatives) == 1 and values != ANY:
        return f'{label}="{alternatives[0]}"'
    return f'{label}=~"{"|".join(alternatives)}"'


WHOSE = ", ".join(("experience", "segment", *OWN_LABELS))
"""Labels by which an experience tells whom it hits; those that are of others are empty."""

ONE = f"stage, {WHOSE}, severity"


def sum_of(terms: tuple[Term, ...], by: tuple[str, ...]) -> str:
    """The terms by window, and by the values of these labels."""
    found, labels = "", [AT_STAGE if label == "stage" else label for label in by]
    for term in terms:
        series = select(term.metric.name, **term.labels) if term.labels else term.metric.name
        if by == ("stage",):
            series = f'label_replace({series}, "{AT_STAGE}", "$1", "stage", "(.*)")'
        sign = {1: " + ", -1: " - "}[term.sign] if found else ""
        found += f"{sign}sum by ({', '.join((*labels, 'window'))}) ({series})"
    return found


def sums_of_whole_journeys(held_to: tuple[Watched, ...]) -> Iterator[Recording]:
    """Events and bad of all that whole journeys are held to, and where next to nothing is bad any more."""
    for one in held_to:
        about = {"stage": WHOLE, "experience": one.experience.name}
        for record, terms in ((metrics.EVENTS_SUM, one.events), (metrics.BAD_SUM, one.bad)):
            yield Recording(record, sum_of(terms, one.by), about)
            if not one.groups:
                yield Recording(record, sum_of(terms, ()), about | {"segment": ALL})
        if one.stops:
            yield Recording(metrics.STOPPED, _stopped(one), about)


def _stopped(one: Watched) -> str:
    """Written as `limits.stopped` is, operation by operation."""

    def bad(window: str) -> str:
        return select(metrics.BAD_SUM, stage=WHOLE, experience=one.experience.name, window=window)

    def came(window: str) -> str:
        return f"on () group_left () sum({select(metrics.WINDOW_JOURNEYS.name, window=window)})"

    over, least = number(STOPPED_OVER), number(STOPPED_EXPECTED)
    before = f"{bad(STOPPED_OF)} / {came(STOPPED_OF)}"
    return "\nor ".join(
        f"{bad(window)} < ignoring (window) {over} * ({before} * {came(window)} >= {least})"
        for window in STOPPED_IN
    )


def of_each(worst: str, expr: str, *, by: str, brings: str) -> str:
    """The value of `expr` for each of the worst, with its labels and the label that `expr` brings.

    PromQL joins labels only by calculating with both values, so one must be made neutral: `* 0 + 1` turns
    every worst ratio into a 1, which leaves the value of the other side as it is.
    """
    return f"({worst} * 0 + 1) * on ({by}) group_left ({brings}) {expr}"


def with_stage(expr: str, stage: Stage) -> str:
    """The series with the stage's label: by its labels an alert finds its facts."""
    return f'label_replace({expr}, "stage", "{stage.name}", "", "")'


def lately(selector: str, seconds: int) -> str:
    """Each series as it was last within this time, also one that has ended since."""
    return f"last_over_time({selector}[{seconds}s])"


def held(selector: str, severity: Severity) -> str:
    """Each reason for as long as it keeps an alert going."""
    return lately(selector, HOLD_S[severity])


def while_open(stage: Stage) -> str:
    """What keeps a rule from a stage with opening hours while it is closed."""
    if not stage.hours:
        return ""
    return f"\nunless on (stage) max by (stage) ({select(metrics.OPEN.name, stage=stage.name)}) == 0"


def unless_in_trouble(stages: tuple[str, ...]) -> str:
    """What these stages explain is no reason to alert."""
    return f"\nunless on () {select(metrics.TROUBLE, stage=stages)}" if stages else ""


def silent(stage: Stage) -> str:
    """How many events were expected in each window that has none, if the monitor has seen all of it and the
    stage is open. By the declared rhythm; without one, by what came a week ago."""
    return f"{_enough_expected(stage)}\n  and {_came(stage)} == 0{_if_seen(stage)}"


def silence(stage: Stage, explained: str) -> Iterator[Recording]:
    """Where SILENT is a reason to alert, and until when; `explained` is what keeps it from being one."""
    about = {"stage": stage.name}
    few = _few(_came(stage), _enough_expected(stage), "stage")
    yield Recording(metrics.STILL_SILENT, f"({few}){explained}", about)
    begins, before, still = (
        select(one, **about) for one in (metrics.SILENT, metrics.SILENT_REASON, metrics.STILL_SILENT)
    )
    going = _going(stage, begins + explained, before, held(still, silence_severity(stage)))
    yield Recording(metrics.SILENT_REASON, going, about)


def silences_of_partners(stage: Stage) -> Iterator[Recording]:
    """The same of each of its partners, beside the others."""
    if not stage.partners:
        return
    about, expected, by = {"stage": stage.name}, _expected_of_partners(stage), "stage, partner"
    came = select(metrics.PARTNER_EVENTS_SUM, **about, partner=stage.partners)
    yield Recording(metrics.PARTNER_EVENTS_SUM, _events_of_partners(stage), about)
    yield Recording(metrics.PARTNER_SILENT, f"{expected}\n  and {came} == 0{_if_seen(stage)}", about)
    yield Recording(metrics.PARTNER_STILL_SILENT, _few(came, f"({expected})", by), about)
    begins, before, still = (
        select(one, **about)
        for one in (metrics.PARTNER_SILENT, metrics.PARTNER_REASON, metrics.PARTNER_STILL_SILENT)
    )
    yield Recording(metrics.PARTNER_REASON, _going(stage, begins, before, held(still, "ticket")), about)


def _few(came: str, expected: str, by: str) -> str:
    """The narrowest window that expects enough, while next to nothing has come in it."""
    return f"{came} < on ({by}, window) {number(SILENT_OVER)} * bottomk by ({by}) (1, {expected})"


def _going(stage: Stage, begins: str, before: str, still: str) -> str:
    """A silence, from its beginning on while next to nothing comes (`still`), as long as the stage is open;
    `before` is what was recorded of it."""
    return f"({begins}\nor ({before} and on (stage, partner) {still})){while_open(stage)}"


def _came(stage: Stage) -> str:
    return select(metrics.OUTCOMES_SUM, stage=stage.name, window=SILENT_WINDOWS)


def _enough_expected(stage: Stage) -> str:
    declared = select(metrics.EXPECTED.name, stage=stage.name, window=SILENT_WINDOWS)
    by_rhythm = f"max by (stage, window) ({declared})"
    expected = by_rhythm if stage.per_hour is not None else f"({_came(stage)} offset 1w)"
    return f"{expected} >= {number(SILENT_EXPECTED)}"


def _if_seen(stage: Stage) -> str:
    """What keeps windows without events from being called silent."""
    waiting = select(metrics.CONSUMER_LAG.name, topic=stage.topic)
    return (
        f"{while_open(stage)}\n"
        f"unless on () sum({waiting}) > 0\n"  # what waits to be read was not silent
        f"unless on (window) {select(metrics.BLIND_LATELY, stage=(ALL, stage.name))}"
    )


def _events_of_partners(stage: Stage) -> str:
    """Events judged by partner, of the experience that judges most."""
    events = select(metrics.WINDOW_EVENTS.name, stage=stage.name, window=SILENT_WINDOWS)
    by = "stage, partner, window"
    return f"max by ({by}) (sum by (experience, {by}) ({events}))"


def _expected_of_partners(stage: Stage) -> str:
    """What came of all now, times the partner's share a week ago. So few of all are few of the partner, and a
    stage that is silent itself expects none."""
    all_ = select(metrics.PARTNER_EVENTS_SUM, stage=stage.name)
    its = select(metrics.PARTNER_EVENTS_SUM, stage=stage.name, partner=stage.partners)
    now, then = (f"sum by (stage, window) ({all_}{ago})" for ago in ("", " offset 1w"))
    least = number(SILENT_EXPECTED)
    return (
        f"({its} offset 1w >= {least})\n  / on (stage, window) group_left () {then}\n"
        f"  * on (stage, window) group_left () {now} >= {least}"
    )


WILSON = {Z: metrics.BAD_WILSON, FAST_Z: metrics.BAD_WILSON_FAST}


def wilson_lower(p: str, n: str, z: Decimal) -> str:
    """The Wilson lower bound of a bad ratio `p` of `n` events."""
    once, zz, half, quarter = (number(one) for one in (z, z * z, z * z / 2, z * z / 4))
    spread = f"{once} * sqrt({p} * (1 - {p}) / {n} + {quarter} / {n} ^ 2)"
    return f"({p} + {half} / {n} - {spread}) / (1 + {zz} / {n})"


def grown(counter: str, window: str) -> str:
    """By how much a counter has, from 0 on where Prometheus had not seen it for a week before: `increase`
    leaves out what a new worker counted before its first scrape, and has what came before a restart."""
    seen, grew = f"last_over_time({counter}[1w] offset {window})", f"increase({counter}[{window}])"
    return f"(({counter} unless {seen}) >= {grew} or {grew})"


def surely_fewer(p: Sequence[str], n: Sequence[str]) -> str:
    """Whether of the first window, a part of the second, so few are bad by no chance (`Recovery.better`)."""
    share = f"(1 / {n[0]} - ignoring (window) 1 / {n[1]})"
    spread = f"sqrt({p[1]} * (1 - {p[1]}) * ignoring (window) {share})"
    return f"{p[1]} - ignoring (window) {p[0]} > {SURELY_BETTER} * {spread}"


def settled(series: str, **labels: Values) -> str:
    """Whether it has counted for as long as `SETTLED` says."""
    longer, shorter = (f"sum({select(series, **labels, window=window)})" for window in SETTLED)
    return f"{longer} > {shorter}"


def critical_share() -> str:
    """The attributable share of each stage that is critical (`critical.is_critical`)."""
    a, b, c, d = (
        f"sum by (stage) ({select(metrics.WINDOW_CRITICAL.name, cell=cell, window=critical.WINDOW)})"
        for cell in CRITICAL_CELLS
    )
    base = f"(({a} + {c}) / ({a} + {b} + {c} + {d}))"
    return (
        f"(1 - {c} / ({c} + {d}) / {base}) >= {number(critical.LEAST_SHARE)}\n"
        f"  and {a} / ({a} + {b}) / {base} >= {number(critical.LEAST_LIFT)}\n"
        f"  and {a} + {b} >= {critical.MIN_BAD}\n  and {a} + {c} >= {critical.MIN_DETRACTORS}"
    )
