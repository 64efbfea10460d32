"""The rules as PromQL: recorded series step by step, each from the one before, and what alerts ask of them.

Recorded series have the labels stage, experience, segment (`all` is everybody), window. Numbers are written
as exact decimals. Formulas are those of `measures` and `limits`, operation by operation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from monitor import metrics
from monitor.journey import ALL, Journey, Stage
from monitor.limits import FAST_Z, Limit
from monitor.measures import Z
from monitor.rules import HOLD_S, LAG_S, SILENT_EXPECTED, SILENT_WINDOWS, Quality, qualities, silence_severity

JOB = "touchpoint"
"""The scrape job of the workers."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


def number(value: Decimal) -> str:
    """An exact decimal as PromQL reads it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"


def select(series: str, **labels: str | tuple[str, ...]) -> str:
    """A selector; several values of a label are alternatives."""
    matchers = [
        f'{label}="{value}"' if isinstance(value, str) else f'{label}=~"{"|".join(value)}"'
        for label, value in ((key, _single(value)) for key, value in labels.items())
    ]
    return f"{series}{{{', '.join(matchers)}}}"


def _single(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def recordings(journey: Journey) -> Iterator[Recording]:
    """Every recorded series, each after those it needs."""
    yield from _sums()
    yield from _ratios()
    for quality in qualities(journey):
        labels = {"severity": quality.severity, "experience": quality.experience.name}
        labels |= {"stage": quality.stage.name, "target": number(quality.target)}
        yield Recording(metrics.DEGRADED, degraded(quality), labels)
    yield from _facts(journey)
    for stage in journey.stages:
        yield Recording(metrics.SILENT, silent(stage), {"stage": stage.name})
    yield from _troubles(journey)
    yield from _blind(journey)


def _sums() -> Iterator[Recording]:
    events, good = metrics.WINDOW_EVENTS.name, metrics.WINDOW_GOOD.name
    by_segment, over_all = "sum by (stage, experience, segment, window)", "sum by (stage, experience, window)"
    yield Recording(metrics.EVENTS_SUM, f'{by_segment} ({events}{{segment!="{ALL}"}})')
    yield Recording(metrics.EVENTS_SUM, f"{over_all} ({events})", {"segment": ALL})
    yield Recording(metrics.BAD_SUM, f"{by_segment} ({events} - {good})")
    yield Recording(metrics.BAD_SUM, f"{over_all} ({events} - {good})", {"segment": ALL})
    yield Recording(metrics.OUTCOMES_SUM, f"sum by (stage, window) ({metrics.WINDOW_OUTCOMES.name})")


def _ratios() -> Iterator[Recording]:
    some = f"({metrics.EVENTS_SUM} > 0)"
    yield Recording(metrics.BAD_RATIO, f"{metrics.BAD_SUM} / {some}")
    for z, record in WILSON.items():
        yield Recording(record, wilson_lower(metrics.BAD_RATIO, some, z))
    target = f"max by (stage, experience, segment) ({metrics.TARGET.name})"
    yield Recording(
        metrics.ATTAINMENT,
        f"(1 - {metrics.BAD_RATIO}) / on (stage, experience, segment) group_left () {target}",
    )


WILSON = {Z: metrics.BAD_WILSON, FAST_Z: metrics.BAD_WILSON_FAST}


def wilson_lower(p: str, n: str, z: Decimal) -> str:
    """The Wilson lower bound of a bad ratio `p` of `n` events."""
    once, zz, half, quarter = (number(one) for one in (z, z * z, z * z / 2, z * z / 4))
    spread = f"{once} * sqrt({p} * (1 - {p}) / {n} + {quarter} / {n} ^ 2)"
    return f"({p} + {half} / {n} - {spread}) / (1 + {zz} / {n})"


def degraded(quality: Quality) -> str:
    """The bad ratio in each window whose limit is crossed, by segment."""
    return "\nor\n".join(_crossed(quality, limit) for limit in quality.limits)


def _crossed(quality: Quality, limit: Limit) -> str:
    def series(name: str, window: str) -> str:
        return select(
            name,
            stage=quality.stage.name,
            experience=quality.experience.name,
            segment=quality.segments,
            window=window,
        )

    gate, bad_ratio = limit.window, number(limit.bad_ratio)
    tests = [
        f"{series(metrics.BAD_RATIO, gate)} >= {bad_ratio}",
        f"{series(metrics.EVENTS_SUM, gate)} >= {limit.min_n}",
        f"{series(metrics.BAD_SUM, gate)} >= {limit.min_bad}",
        f"{series(WILSON[limit.z], gate)} > {number(limit.sure)}",
    ]
    if limit.max_n is not None:
        tests.append(f"{series(metrics.EVENTS_SUM, gate)} < {limit.max_n}")
    crossed = "\n  and ".join(tests)
    for window in limit.windows[1:]:
        crossed += f"\n  and ignoring (window) {series(metrics.BAD_RATIO, window)} >= {bad_ratio}"
    return f"({crossed})"


def _facts(journey: Journey) -> Iterator[Recording]:
    """What is to be said of each experience that is degraded, of the window in which it is worst."""
    one = "stage, experience, segment"
    now = f"topk by ({one}, severity) (1, {metrics.DEGRADED})"
    lately = f"topk by ({one}, severity) (1, {held(metrics.DEGRADED)})"
    yield Recording(metrics.WORST, f"{now}\nor on ({one}, severity) {lately}")
    each = f"({metrics.WORST} * 0 + 1) * on"
    for record, counts in ((metrics.WORST_EVENTS, metrics.EVENTS_SUM), (metrics.WORST_BAD, metrics.BAD_SUM)):
        yield Recording(record, f"{each} ({one}, window) group_left () {counts}")
    reasons = f"sum by (stage, reason, window) ({metrics.WINDOW_REASONS.name}) > 0"
    yield Recording(
        metrics.WORST_REASON,
        f"{each} (stage, window) group_left (reason) topk by (stage, window) (1, {reasons})",
    )
    segments = f'label_replace({metrics.BAD_SUM}{{segment!="{ALL}"}} > 0, "hits", "$1", "segment", "(.*)")'
    yield Recording(
        metrics.WORST_SEGMENT,
        f"{each} (stage, experience, window) group_left (hits)"
        f" topk by (stage, experience, window) (1, {segments})",
    )
    for stage in journey.stages:
        changes = select(metrics.LAST_CHANGE.name, stage=(stage.name, ALL))
        yield Recording(metrics.CHANGED, f"topk(1, max by (kind, title) ({changes}))", {"stage": stage.name})
    yield Recording(metrics.WORST_CHANGE, f"{each} (stage) group_left (title) {metrics.CHANGED}")


def silent(stage: Stage) -> str:
    """How many events were expected in each window that has none.

    By the declared rhythm; without one, by what came a week ago, in opening hours.
    """
    came = select(metrics.OUTCOMES_SUM, stage=stage.name, window=SILENT_WINDOWS)
    if stage.per_hour is not None:
        declared = select(metrics.EXPECTED.name, stage=stage.name, window=SILENT_WINDOWS)
        expected = f"max by (stage, window) ({declared})"
    else:
        is_open = f"max by (stage) ({select(metrics.OPEN.name, stage=stage.name)}) == 1"
        expected = f"({came} offset 1w and on (stage) {is_open})"
    waiting = select(metrics.CONSUMER_LAG.name, topic=stage.topic)
    return (
        f"{expected} >= {number(SILENT_EXPECTED)}\n  and {came} == 0\n"
        f"unless on () sum({waiting}) > 0"  # what waits to be read was not silent
    )


def _troubles(journey: Journey) -> Iterator[Recording]:
    """Something for each stage that pages, whether or not the page is suppressed."""
    for stage in journey.stages:
        if silence_severity(stage) != "page":
            continue
        bad = select(metrics.WORST, stage=stage.name, segment=ALL, severity="page")
        quiet = held(select(metrics.SILENT, stage=stage.name))
        yield Recording(metrics.TROUBLE, f"count by (stage) ({bad} or {quiet})", {"stage": stage.name})


def held(selector: str) -> str:
    """The series as it was at its highest within `HOLD_S`."""
    return f"max_over_time({selector}[{HOLD_S}s])"


def _blind(journey: Journey) -> Iterator[Recording]:
    ready = metrics.READY.name
    counted = f"sum({metrics.OWNED.name} and on (instance, job) {ready} == 1)"
    causes = {
        "no_worker": f"absent({ready})",
        "scrape_failed": f'count(up{{job="{JOB}"}} == 0)',
        "not_ready": f"count({ready} == 0)",
        "not_counted": f"max({metrics.PARTITIONS.name}) - ({counted} or vector(0)) > 0",
    }
    for cause, expr in causes.items():
        yield Recording(metrics.BLIND, expr, {"cause": cause, "stage": ALL})
    for stage in journey.stages:
        lag = select(metrics.EVENT_LAG.name, topic=stage.topic)
        yield Recording(metrics.BLIND, f"count({lag} > {LAG_S})", {"cause": "lag", "stage": stage.name})


# -- what alerts ask -------------------------------------------------------------------------------------


UNJUDGED = ("no_worker", "not_counted", "lag")
"""Causes of blindness that leave windows short. A spare worker that is down is told of, but hides nothing:
what it counted others count now."""


def unless_explained(expr: str, stage: Stage, upstream: tuple[str, ...]) -> str:
    """The expression, silent while the monitor is blind or a stage before this one is in trouble."""
    expr = f"{expr}\nunless on () {select(metrics.BLIND, cause=UNJUDGED, stage=(ALL, stage.name))}"
    return f"{expr}\nunless on () {select(metrics.TROUBLE, stage=upstream)}" if upstream else expr
