"""The monitor in words: the alerts it raised, and what it could not see."""

from collections.abc import Iterator

from monitor.counting.display import duration
from monitor.report.digest import DAY_S, Digest, Firings
from monitor.report.document import Item
from monitor.report.phrases import LEAST_DAYS, local, title
from monitor.rules.monitor import CAUSES
from monitor.rules.plan import Plan

ALERTS_TOLD = 10
"""Alerts with a line of their own; more nobody reads."""


def alerts(digest: Digest) -> Iterator[Item]:
    """Alerts, the most urgent and longest first."""
    if digest.alerts is None:
        yield Item("Alerts", "Nothing known: no rules were evaluated here.", "unknown")
        return
    if not digest.alerts:
        yield Item("Alerts", "None fired.", "good")
    for one in digest.alerts[:ALERTS_TOLD]:
        yield Item(_alert(digest.plan, one), _times(one), "bad" if one.severity == "page" else "plain")
    if more := digest.alerts[ALERTS_TOLD:]:
        minutes = duration(60 * sum(one.minutes for one in more))
        yield Item(f"And {len(more)} more", f"Together {minutes}, all shorter or less urgent.")


def _alert(plan: Plan, one: Firings) -> str:
    about = title(plan, one.stage) if one.stage else ""
    about += f", {_experience(plan, one)}" if one.experience and one.severity == "ticket" else ""
    return f"{one.severity.capitalize()} {one.name}{f' ({about})' if about else ''}"


def _experience(plan: Plan, one: Firings) -> str:
    titles = {(stage.name, each.name): each.title for stage in plan.stages for each in stage.experiences}
    return titles.get((one.stage, one.experience), one.experience)


def _times(one: Firings) -> str:
    if not one.times:
        return f"Fired since before the period, for {duration(60 * one.minutes)} of it."
    times = {1: "Once", 2: "Twice"}.get(one.times, f"{one.times:,} times")
    return f"{times}, {duration(60 * one.minutes)} in all."


def untold(digest: Digest) -> Iterator[Item]:
    """What nobody saw, so that a silence is not taken for good news."""
    unseen = list(_unseen(digest))
    for lead, text in unseen:
        yield Item(lead, text, "unknown")
    if not unseen:
        yield Item("Nothing", f"All {digest.period.days * 24} hours were seen.", "good")


def _unseen(digest: Digest) -> Iterator[tuple[str, str]]:
    """What is not known at all, or not of the whole period."""
    seen, days = digest.seen, digest.period.days
    if seen.others:
        names = ", ".join(seen.others)
        yield "Another journey", f"Prometheus measures {names}, not {digest.plan.journey.name}."
    if not seen.days:
        yield "Counts", "Prometheus has no counts of this journey: is it the one that scrapes the workers?"
    elif seen.days < days:
        yield "Counts", f"Known of {seen.days} of {days} days; sums and shares are of those."
    if seen.days and seen.pictured < days and days >= LEAST_DAYS:
        few = f"Prometheus kept figures of {seen.pictured} of {days} days"
        open_ = "; a day without is left open" if seen.pictured >= LEAST_DAYS else ", too few for a picture"
        yield "Pictures", f"{few}{open_}."
    yield from _unjudged(digest)
    quiet = [one.stage.title for one in digest.stages if one.weakest is None]
    if quiet and len(quiet) < len(digest.stages):
        yield "Stages without events", f"{', '.join(quiet)}."
    if seen.blind:
        told = "; ".join(
            f"{CAUSES.get(cause, cause)}: {duration(60 * n)}" for cause, n in sorted(seen.blind.items())
        )
        yield "The monitor was blind", f"{told}. Alerts may be missing there."


def _unjudged(digest: Digest) -> Iterator[tuple[str, str]]:
    """When no rules were evaluated."""
    seen = digest.seen
    if seen.judged_s is None:
        yield "Alerts", "Prometheus evaluates no rules of this journey, or keeps no alerts."
        return
    if seen.judged_s - digest.period.from_s > DAY_S // 24:
        since = local(digest.plan.journey, seen.judged_s, "%Y-%m-%d %H:%M")
        yield "Alerts", f"Known since {since} only: Prometheus kept no longer, or began then."
    if seen.unjudged_minutes > 1:  # a step may fall on either side of an end
        yield "Gaps", f"For {duration(60 * seen.unjudged_minutes)} no rules were evaluated."
