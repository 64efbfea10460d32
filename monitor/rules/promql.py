"""The rules as PromQL, step by step: from BAD_RATIO to DEGRADED (a limit is crossed), REASON (nothing
explains it), GOING (it is not over yet) and WORST, what the alert names. GOING and WORST also read what was
recorded of both at the evaluation before.

Recorded series have the labels stage, experience, segment (`all` is everybody), window; of whole journeys
some have partner, channels or at_stage in its place. Formulas are those of `measures` and `limits`, operation
by operation.
"""

from collections.abc import Iterator

from monitor.counting import metrics
from monitor.counting.windows import WINDOWS
from monitor.journey_file.model import ALL, NONE, STEPS_TOPIC, WHOLE, Journey, Stage
from monitor.rules.journeys import GOAL
from monitor.rules.limits import (
    FAST_WINDOWS,
    PAGE_RECOVERY,
    PAGE_WINDOWS,
    TICKET_RECOVERY,
    Limit,
    Recovery,
    outage_ratio,
)
from monitor.rules.plan import (
    EXPLAINS_S,
    JOURNEYS_LAG_S,
    LAG_S,
    NEW_S,
    SETTLE_S,
    SILENT_WINDOWS,
    SURE_S,
    Plan,
    Quality,
    Severity,
    pages_for,
    severities,
    silence_severity,
)
from monitor.rules.series import (
    ANY,
    COUNTED,
    JOB,
    ONE,
    SECONDS,
    WHOSE,
    WILSON,
    Recording,
    Values,
    critical_share,
    held,
    lately,
    number,
    of_each,
    select,
    settled,
    silence,
    silences_of_partners,
    silent,
    sums_of_whole_journeys,
    surely_fewer,
    unless_in_trouble,
    wilson_lower,
)


def recordings(plan: Plan) -> Iterator[Recording]:
    """Every recorded series, each after those it needs."""
    journey = plan.journey
    yield from _sums()
    yield from sums_of_whole_journeys(plan.watched)
    yield from _ratios()
    yield from _blind(journey)
    for quality in plan.qualities:
        labels = {"severity": quality.severity, "experience": quality.experience.name}
        labels |= {"stage": quality.stage.name, "target": number(quality.target)}
        if quality.recovery is not None:
            yield Recording(metrics.BELOW, _below(quality, quality.recovery), labels)
            yield Recording(metrics.STILL_BAD, _still_bad(quality, quality.recovery), labels)
            yield from _ongoing(quality, quality.recovery, labels)
        yield Recording(metrics.DEGRADED, degraded(quality), labels)
    if journey.journeys is not None:
        yield from _raised(journey)
    for stage in journey.stages:
        yield Recording(metrics.SILENT, silent(stage), {"stage": stage.name})
        yield from silences_of_partners(stage)
    yield from _troubles(journey)
    for stage in journey.stages:
        yield from silence(stage, unless_in_trouble(plan.upstream[stage.name]))
    for stage in plan.stages:
        for severity in severities(stage):  # a ticket waits for the page, so the page comes first
            explained = unless_in_trouble(plan.explaining(stage, severity))
            about = {"stage": stage.name, "severity": severity}
            yield Recording(metrics.REASON, _reason(plan, stage, severity) + explained, about)
            for whose in _whose(journey, severity):
                of_all = {"segment": ALL} if whose.get("segment") == ALL else {}
                yield Recording(metrics.GOING, _going(journey, stage, severity, whose), about | of_all)
            yield Recording(metrics.WORST, _worst(stage, severity), about)
    yield from _told(plan)


def _sums() -> Iterator[Recording]:
    events, good = metrics.WINDOW_EVENTS.name, metrics.WINDOW_GOOD.name
    by_segment, over_all = "sum by (stage, experience, segment, window)", "sum by (stage, experience, window)"
    yield Recording(metrics.EVENTS_SUM, f'{by_segment} ({events}{{segment!="{ALL}"}})')
    yield Recording(metrics.EVENTS_SUM, f"{over_all} ({events})", {"segment": ALL})
    yield Recording(metrics.BAD_SUM, f"{by_segment} ({events} - {good})")
    yield Recording(metrics.BAD_SUM, f"{over_all} ({events} - {good})", {"segment": ALL})
    yield Recording(metrics.OUTCOMES_SUM, f"sum by (stage, window) ({metrics.WINDOW_OUTCOMES.name})")


def _raised(journey: Journey) -> Iterator[Recording]:
    """What would open a ticket on a critical stage is a page."""
    yield Recording(metrics.CRITICAL_SHARE, critical_share())
    for stage in journey.stages:
        if "page" in severities(stage):
            tickets = select(metrics.DEGRADED, stage=stage.name, severity="ticket")
            raised = f"{tickets} and on (stage) {_is_critical(stage)}"
            yield Recording(metrics.DEGRADED, raised, {"stage": stage.name, "severity": "page"})


def _is_critical(stage: Stage) -> str:
    """Whether a stage that has been seen for long enough is."""
    return f"({metrics.CRITICAL_SHARE} and on () {settled(metrics.OUTCOMES_SUM, stage=stage.name)})"


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


def degraded(quality: Quality) -> str:
    """The bad ratio in each window whose limit is crossed, by segment, while the monitor is not blind."""
    crossed = "\nor\n".join(_crossed(quality, limit) for limit in quality.limits)
    found = f"(\n{crossed}\n)\nunless on () {_unjudged(quality.stage)}"
    if quality.stage.name == WHOLE and quality.experience.name == GOAL:
        found += f"\nand on () {settled(metrics.WINDOW_JOURNEYS.name)}"
    return found


def _unjudged(stage: Stage) -> str:
    return select(metrics.BLIND, cause=UNJUDGED, stage=(ALL, stage.name))


def _of(quality: Quality, series: str, window: Values, **labels: Values) -> str:
    """A series of whom a rule judges, in these windows."""
    about: dict[str, Values] = {"stage": quality.stage.name, "experience": quality.experience.name}
    if quality.segments:
        about["segment"] = quality.segments
    return select(series, **about, **labels, window=window)


def _crossed(quality: Quality, limit: Limit) -> str:
    gate, bad_ratio = limit.window, number(limit.bad_ratio)
    tests = [
        f"{_of(quality, metrics.BAD_RATIO, gate)} >= {bad_ratio}",
        f"{_of(quality, metrics.EVENTS_SUM, gate)} >= {limit.min_n}",
        f"{_of(quality, metrics.BAD_SUM, gate)} >= {limit.min_bad}",
        f"{_of(quality, WILSON[limit.z], gate)} > {number(limit.sure)}",
    ]
    if limit.max_n is not None:
        tests.append(f"{_of(quality, metrics.EVENTS_SUM, gate)} < {limit.max_n}")
    crossed = "\n  and ".join(tests)
    for window in limit.windows[1:]:
        crossed += f"\n  and ignoring (window) {_of(quality, metrics.BAD_RATIO, window)} >= {bad_ratio}"
    if quality.recovery is not None and (within := quality.recovery.within(limit)):
        below = _of(quality, metrics.BELOW, within, severity=quality.severity)
        short_s = SECONDS[limit.windows[-1]] + 1  # a sample just on the edge counts, for Prometheus 3 too
        crossed += f"\n  unless on ({WHOSE}) {lately(below, short_s)}"
    return f"({crossed})"


def _below(quality: Quality, recovery: Recovery) -> str:
    """Written as `Recovery.below` is, operation by operation."""
    n, p = (_of(quality, name, recovery.windows) for name in (metrics.EVENTS_SUM, metrics.BAD_RATIO))
    bounds = [f"({number(one.ratio)} - {p}) * sqrt({n}) > {number(one.spread)}" for one in recovery.bounds]
    found = "\n  and ".join([*bounds, f"{n} >= {recovery.min_n}"])
    if recovery.contrast is not None:
        ns = [_of(quality, metrics.EVENTS_SUM, window) for window in recovery.contrast]
        ps = [_of(quality, metrics.BAD_RATIO, window) for window in recovery.contrast]
        few = f"{ps[0]} <= {number(recovery.allowed)} and {ns[0]} >= {recovery.gone_n}"
        found += f"\n  or ({few}\n    and ignoring (window) {surely_fewer(ps, ns)})"
    return f"({found})\nunless on () {_unjudged(quality.stage)}"


def _still_bad(quality: Quality, recovery: Recovery) -> str:
    n, p = (_of(quality, name, recovery.windows) for name in (metrics.EVENTS_SUM, metrics.BAD_RATIO))
    return f"{p} > {number(recovery.ratio)} and {n} >= {recovery.min_n}"


def _ongoing(quality: Quality, recovery: Recovery, labels: dict[str, str]) -> Iterator[Recording]:
    """What `Recovery.over` is not, by the narrowest window alone and by all."""
    narrowest = recovery.windows[0]
    sure = _of(quality, metrics.BELOW, narrowest, severity=quality.severity)
    some = _of(quality, metrics.EVENTS_SUM, recovery.widest)
    yield Recording(metrics.ONGOING, f"{some}\n  unless on ({WHOSE}) {sure}", labels | {"window": narrowest})
    p = _of(quality, metrics.BAD_RATIO, recovery.widest)
    found = f"{some} >= {recovery.gone_n}"
    for at, window in enumerate(recovery.windows):
        says = _of(quality, metrics.BELOW, window, severity=quality.severity)
        if window == recovery.widest:
            says += f" or on ({WHOSE}) {p} <= {number(recovery.allowed)}"
        if narrower := recovery.windows[:at]:
            told = f"{_of(quality, metrics.EVENTS_SUM, narrower)} >= {recovery.tells}"
            bad = _of(quality, metrics.STILL_BAD, narrower, severity=quality.severity)
            says = f"({says})\n    unless on ({WHOSE}) ({told} or {bad})"
        found += f"\n  unless on ({WHOSE}) ({says})"
    yield Recording(metrics.ONGOING, found, labels)


def _going(journey: Journey, stage: Stage, severity: Severity, whose: dict[str, Values]) -> str:
    """What is or was (GOING at the evaluation before) a reason until it is over; while the monitor is blind
    nothing is. A page of a critical stage may stand for a ticket, and is over when that would be. When
    everybody's page is over, so is that of a segment that is not bad itself."""
    about = {"stage": stage.name, "severity": severity}
    before, ongoing = select(metrics.GOING, **about, **whose), _ongoing_lately(stage, severity)
    if journey.journeys is not None and stage.name != WHOLE and severity == "page":
        is_critical = f"on (stage) {_is_critical(stage)}"
        tickets = _ongoing_lately(stage, "ticket")
        ongoing = f"(({ongoing} unless {is_critical})\n    or ({tickets} and {is_critical}))"
    if whose.get("segment", ALL) != ALL:
        of_all = select(metrics.GOING, **about, segment=ALL)
        ended = f"({held(of_all, severity)} unless on (experience) {of_all})"
        bad = select(metrics.STILL_BAD, **about, **whose, window=PAGE_RECOVERY[0])
        ongoing += f"\n  and on ({WHOSE}) ({bad} or ({before} unless on (experience) {ended}))"
    stopped = _unless_stopped(stage, severity)
    return (
        f"max by ({WHOSE}) ({held(select(metrics.REASON, **about, **whose), severity)}){stopped}\n"
        f"or on ({WHOSE}) ({before} and on ({WHOSE}) {ongoing}{stopped})\n"
        f"or on ({WHOSE}) ({before} and on () {_unjudged(stage)})"
    )


def _unless_stopped(stage: Stage, severity: Severity) -> str:
    """What keeps a ticket on whole journeys from what is hardly bad any more, or was lately: not all the time
    enough is expected to say so."""
    is_asked = (stage.name, severity) == (WHOLE, "ticket")
    return f"\nunless on ({WHOSE}) {held(metrics.STOPPED, severity)}" if is_asked else ""


def _whose(journey: Journey, severity: Severity) -> Iterator[dict[str, Values]]:
    """Pages of everybody come before those of segments, which end with them."""
    if severity == "ticket":
        yield {}
        return
    yield {"segment": ALL}
    if journey.segments:
        yield {"segment": journey.segments}


def _ongoing_lately(stage: Stage, severity: Severity) -> str:
    """Over where the narrowest window is sure for a minute; wider ones must say so for as long as a page is
    held, for the last minutes may be worse."""
    about = {"stage": stage.name, "severity": severity}
    windows = PAGE_RECOVERY if severity == "page" else TICKET_RECOVERY
    narrowest, widest = (select(metrics.ONGOING, **about, window=windows[end]) for end in (0, -1))
    return f"({held(widest, 'page')} and on ({WHOSE}) {lately(narrowest, SURE_S)})"


def _reason(plan: Plan, stage: Stage, severity: Severity) -> str:
    """What is degraded and not explained by the stage's own silence; of a page, only an outage after the last
    one has ended (GOING at the evaluations before); of a ticket, nothing while its page goes on."""
    about: dict[str, Values] = {"stage": stage.name, "severity": severity}
    reason = select(metrics.DEGRADED, **about)
    if severity == "page":
        going = select(metrics.GOING, **about)
        reason += f"\n  unless on () ({lately(going, NEW_S)} unless on () {going})"
        held_to = (one.target for one in plan.qualities if one.stage == stage and stage.name != WHOLE)
        for target in dict.fromkeys(held_to):
            fast = select(metrics.DEGRADED, **about, target=number(target), window=FAST_WINDOWS)
            sure = select(metrics.BAD_WILSON, stage=stage.name, window=FAST_WINDOWS)
            reason += f"\nor {fast} and on ({WHOSE}, window) {sure} >= {number(outage_ratio(target))}"
        reason = f"({reason})"
    if stage.name != WHOLE:
        reason += f"\nunless on () {select(metrics.SILENT, stage=stage.name)}"
    if severity == "ticket":
        of = "experience" if stage.name == WHOLE else ""
        reason += f"\nunless on ({of}) {select(metrics.WORST, stage=stage.name, severity='page')}"
    return reason + _unless_stopped(stage, severity)


def _worst(stage: Stage, severity: Severity) -> str:
    """What the alert names: as long as anything that it stands for is going, that which was worst when it
    began.

    WORST here means what was recorded at the evaluation before. So: what is named, if it is crossed now;
    or else what was told of it, while anything is going; or else what begins, everybody together before the
    segments, and of two that are equally bad the experience that the journey file names first.
    """
    about = {"stage": stage.name, "severity": severity}
    some, before = select(metrics.REASON, **about), select(metrics.WORST, **about)
    by = "stage" if severity == "page" else "stage, experience"  # what alerts are told apart by
    everybody = "\n  or ".join(
        select(metrics.REASON, **about, experience=experience.name, segment=ALL)
        for experience in (pages_for(stage) if severity == "page" else stage.experiences)
    )
    of_all = select(metrics.REASON, **about, segment=ALL)
    return (
        f"topk by ({by}) (1, {some} and on ({WHOSE}) {before})\n"
        f"or on ({by}) ({before} and on ({by}) {select(metrics.GOING, **about)})\n"
        f"or on ({by}) topk by ({by}) (1, {everybody}\n  or ({some} unless on (experience) {of_all}))"
    )


def _told(plan: Plan) -> Iterator[Recording]:
    """What is to be said of the worst, as it was when its limit was last crossed."""
    for record, counts in ((metrics.WORST_EVENTS, metrics.EVENTS_SUM), (metrics.WORST_BAD, metrics.BAD_SUM)):
        yield Recording(record, _when_crossed(record, counts, by=f"stage, {WHOSE}, window"))
    reasons = f"sum by (stage, reason, window) ({metrics.WINDOW_REASONS.name}) > 0"
    if plan.journey.journeys is not None:
        failed = (
            f'label_join({metrics.WINDOW_FAILED.name}{{cause!="{NONE}"}}, "reason", " ", "cause", "about")'
        )
        failed = f'label_replace({failed}, "stage", "{WHOLE}", "", "")'
        reasons = f"({reasons} or sum by (stage, reason, window) ({failed}) > 0)"
    most = f"topk by (stage, window) (1, {reasons})"
    yield Recording(
        metrics.WORST_REASON,
        _when_crossed(metrics.WORST_REASON, most, by="stage, window", brings="reason"),
    )
    one = f'{{segment!~"{ALL}|"}}'
    segments = f'label_replace({metrics.BAD_SUM}{one} > 0, "hits", "$1", "segment", "(.*)")'
    most = f"topk by (stage, experience, window) (1, {segments})"
    itself = f'label_replace({metrics.WORST_BAD}{one}, "hits", "$1", "segment", "(.*)")'
    others = _when_crossed(metrics.WORST_SEGMENT, most, by="stage, experience, window", brings="hits")
    yield Recording(metrics.WORST_SEGMENT, f"{itself}\nor on ({ONE}) {others}")
    for stage in plan.stages:
        changes = select(metrics.LAST_CHANGE.name, stage=ANY if stage.name == WHOLE else (stage.name, ALL))
        yield Recording(metrics.CHANGED, f"topk(1, max by (kind, title) ({changes}))", {"stage": stage.name})
    changed = of_each(metrics.WORST, metrics.CHANGED, by="stage", brings="title")
    yield Recording(metrics.WORST_CHANGE, changed)


def _when_crossed(record: str, expr: str, *, by: str, brings: str = "") -> str:
    """The value of `expr` for each worst window that is crossed now, or else what was recorded before."""
    now = of_each(f"({metrics.WORST} and {metrics.REASON})", expr, by=by, brings=brings)
    return f"{now}\nor on ({ONE}) ({record} and on ({ONE}, window) {metrics.WORST})"


def _troubles(journey: Journey) -> Iterator[Recording]:
    """Something for each stage that pages, whether or not the page is suppressed. What pages only because the
    stage is critical goes on for days, and explains nothing."""
    for stage in journey.stages:
        if silence_severity(stage) != "page":
            continue
        about: dict[str, Values] = {"stage": stage.name, "segment": ALL, "severity": "page"}
        bad = lately(select(metrics.DEGRADED, **about, window=PAGE_WINDOWS), EXPLAINS_S)
        quiet = lately(select(metrics.SILENT, stage=stage.name), EXPLAINS_S)
        yield Recording(metrics.TROUBLE, f"count by (stage) ({bad} or {quiet})", {"stage": stage.name})


def _blind(journey: Journey) -> Iterator[Recording]:
    ready, clock, owned = metrics.READY.name, metrics.CLOCK.name, metrics.OWNED.name
    causes = {
        "no_worker": f"absent({ready})",
        "scrape_failed": f'count(up{{job="{JOB}"}} == 0)',
        "not_ready": f"count({ready} == 0)",
        "not_counted": f"max({metrics.PARTITIONS.name}) - ({COUNTED} or vector(0)) > 0",
        "clock": f"count(abs({clock} - timestamp({clock})) > {LAG_S} and on (instance) {owned} > 0)",
    }
    for cause, expr in causes.items():
        yield Recording(metrics.BLIND, expr, {"cause": cause, "stage": ALL})
    for stage in journey.stages:
        yield from _behind(stage.name, f'{{topic="{stage.topic}"}}')
    if journey.journeys is not None:
        yield from _behind(WHOLE, f'{{topic=~".+-{STEPS_TOPIC}"}}')
        held_up = f"count(time() - {metrics.JOURNEYS_JUDGED.name} > {JOURNEYS_LAG_S})"
        yield Recording(metrics.BLIND, held_up, {"cause": "held_up", "stage": WHOLE})
    for window in WINDOWS:
        if window.label in SILENT_WINDOWS:
            blind = f"{select(metrics.BLIND, cause=UNJUDGED)}[{window.ms // 1000 + SETTLE_S}s]"
            counted = f"sum by (stage) (count_over_time({blind}))"
            yield Recording(metrics.BLIND_LATELY, counted, {"window": window.label})


def _behind(stage: str, read: str) -> Iterator[Recording]:
    """Partitions that are not read in time, and of these each that waits behind an open transaction."""
    late = f"count({metrics.EVENT_LAG.name}{read} > {LAG_S})"
    yield Recording(metrics.BLIND, late, {"cause": "lag", "stage": stage})
    blocked = f"count by (partition) ({metrics.OPEN_TRANSACTION.name}{read} > {LAG_S})"
    yield Recording(metrics.BLIND, blocked, {"cause": "open_transaction", "stage": stage})


UNJUDGED = ("no_worker", "not_counted", "clock", "lag", "open_transaction", "held_up")
"""Causes of blindness that leave windows short, or journeys unjudged. A spare worker that is down is told of,
but hides nothing: what it counted others count now."""
