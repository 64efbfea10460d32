"""Stages in words: how each did against its target, and who was served worse at it."""

from collections.abc import Iterator

from monitor.counting.display import FLOORS, LEAST_N, duration, percent
from monitor.journey_file.model import Journey
from monitor.report.digest import BY_SEGMENT, DAY_S, Digest, Judged, Period, Spread, StageFound, is_met
from monitor.report.document import Bar, Item, Picture
from monitor.report.phrases import LEAST_DAYS, against, chance, local, mood, verdict
from monitor.rules.verdict import MIN_SEGMENT_EVENTS


def stages(digest: Digest) -> Iterator[Item]:
    """Each stage of the journey."""
    for one in digest.stages:
        yield _stage(digest.plan.journey, digest.period, one)


def _stage(journey: Journey, period: Period, one: StageFound) -> Item:
    alerts = _alerting(one)
    if one.weakest is None:
        why = "No event was judged." if one.is_heard else "Nothing known of its quality."
        return Item(one.stage.title, f"{why} {alerts}".strip(), "unknown")
    worst = one.weakest
    said = [f"{worst.experience.title}: {against(worst)}."]
    if worst.share.n < MIN_SEGMENT_EVENTS:
        said.append("That is too few to say much.")
    else:
        said.append(f"{worst.share.bad:,} went badly, the target allows {worst.allowed:,}.")
    picture = _picture(journey, period, one, worst)
    if picture is not None and not worst.is_met:
        known = [bar for bar in picture.bars if bar.quality is not None]
        said.append(f"Worst day: {min(known, key=lambda bar: bar.quality or 0.0).words}.")
    said.append(alerts)
    return Item(one.stage.title, " ".join(filter(None, said)), mood(worst.is_met), picture)


def _alerting(one: StageFound) -> str:
    if one.minutes is None:
        return ""
    told = [f"{severity} for {duration(60 * n)}" for severity, n in one.minutes.items() if n]
    return f"Alerts: {', '.join(told)}." if told else "No alerts."


def _picture(journey: Journey, period: Period, one: StageFound, judged: Judged) -> Picture | None:
    if sum(day is not None for day in one.days) < LEAST_DAYS:
        return None
    target = float(judged.target)
    enough = [day.good / day.n for day in one.days if day is not None and day.n >= LEAST_N]
    low = min(enough, default=0.0)
    floor = max(floor for floor in FLOORS if floor == 0 or (floor <= low and floor < target - (1 - target)))
    bars = []
    for end_s, day in zip(period.day_ends(), one.days, strict=True):
        when = local(journey, end_s - DAY_S, "%a %d %b")
        if day is None:
            bars.append(Bar(f"{when}, nothing known", None, is_met=False))
        else:
            said = f"{when}, {percent(day, judged.target)} of {day.n:,}"
            bars.append(Bar(said, day.good / day.n, is_met(day, judged.target)))
    return Picture(tuple(bars), target, floor)


# -- who is served worse ---------------------------------------------------------------------------------


def evenness(digest: Digest) -> Iterator[Item]:
    """The segment below its target, if there is one; how far apart segments, channels and locations lie."""
    known = {one.by for one in digest.spreads}
    if digest.worst_segment is not None:
        yield _worst_segment(*digest.worst_segment)
    elif BY_SEGMENT not in known:
        yield Item("Segments", "Nothing known: no two segments have enough events to compare.", "unknown")
    for one in digest.spreads:
        if one.by != BY_SEGMENT or digest.worst_segment is None:
            yield _spread(one)
    if not known - {BY_SEGMENT}:
        yield Item("Spread", "Nothing known: no two channels or locations have enough events.", "unknown")


def _worst_segment(worst: Judged, best: Judged) -> Item:
    served = f"{worst.segment} at {worst.stage.title} ({worst.experience.title}): {against(worst)}"
    other = f"{best.segment}, {percent(best.share, best.target)}, {verdict(best.share, best.target)}"
    return Item(
        "Segment furthest below target",
        f"{served}. {chance(worst.share, worst.target)} Best against its target: {other}.",
        mood(worst.is_met),
    )


def _spread(one: Spread) -> Item:
    (best_name, best), (name, worst) = one.best, one.worst
    lead = f"Spread between {one.by}s"
    shown, other = percent(worst), percent(best)
    if shown == other:
        said = "None to speak of: all went alike."
    else:
        at = f"{one.stage.title} ({one.experience.title})"
        said = f"Widest at {at}: from {shown} good ({name}) to {other} ({best_name})."
    met = " Every segment that could be compared met its targets." if one.by == BY_SEGMENT else ""
    return Item(lead, f"{said}{met}", "good" if met else "plain")
