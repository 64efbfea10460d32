"""The digest in sentences that anyone reads in two minutes, in no format: labels are in it as they came.

Shares of good ones are rounded down: nothing that missed its target looks as if it had met it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from monitor.alerts import CAUSES
from monitor.backtest_picture import FLOORS, LEAST_N
from monitor.board_voice import KINDS
from monitor.critical import MIN_BAD, MIN_DETRACTORS
from monitor.journey import NONE, OTHER, Journey
from monitor.judging import BY_CHANNEL
from monitor.measures import Share
from monitor.promql import number
from monitor.report import by_kind
from monitor.report_found import DAY_S, Answered, Digest, Fired, HandedOver, Judged, Promised, StageFound
from monitor.rules import judged
from monitor.snapshot import MIN_SEGMENT_EVENTS

Mood = Literal["good", "bad", "plain", "unknown"]

UNKNOWN = "Nothing known."

ALERTS_TOLD = 10
"""Alerts with a line of their own; more nobody reads."""

WEIGHTS_TOLD = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of a picture: what to say of it, its quality if known, and whether it met the target."""

    words: str
    quality: float | None
    is_met: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Quality day by day, oldest first, from `floor` up to 1."""

    bars: tuple[Bar, ...]
    target: float
    floor: float


@dataclass(frozen=True, slots=True)
class Item:
    """A few sentences about one thing. The mood says nothing that the words do not."""

    lead: str
    text: str
    mood: Mood = "plain"
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs together; `note` explains it."""

    title: str
    items: tuple[Item, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """The digest as read from top to bottom."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def document(digest: Digest) -> Document:
    """The digest in words."""
    period = digest.period
    ends = " to ".join(_local(digest, at_s, "%Y-%m-%d %H:%M") for at_s in (period.from_s, period.end_s))
    return Document(
        digest.journey.title,
        f"{'The last day' if period.days == 1 else f'The last {period.days} days'}: {ends} "
        f"({digest.journey.timezone})",
        (
            Section("In short", tuple(_short(digest))),
            Section(
                "Stage by stage",
                tuple(_stage(digest, one) for one in digest.stages),
                "Each by its weakest experience. Budget is the share of failures that the target allows.",
            ),
            Section("Promises and hand-overs", tuple(_promises(digest))),
            Section("Where people get lost", tuple(_astray(digest))),
            Section(
                "What goes with unhappy customers",
                tuple(_weights(digest)),
                "Association, not cause: what happens together need not bring about one another.",
            ),
            Section("Who is served worse", tuple(_evenness(digest))),
            Section("Alerts", tuple(_alerts(digest))),
            Section("What could not be told", tuple(_untold(digest))),
        ),
    )


# -- sections --------------------------------------------------------------------------------------------


def _short(digest: Digest) -> Iterator[Item]:
    yield _journeys(digest)
    yield _weakest(digest)
    for one in digest.answered:
        title = f"{KINDS[one.kind][0]} ({one.stage.title})"
        yield Item(title, _figure(one), "plain" if one.figure is not None else "unknown")
    if not digest.answered:
        yield Item("Customers' answers", "Nobody answered, or nothing is known of it.", "unknown")


def _journeys(digest: Digest) -> Item:
    found, rules = digest.outcome, digest.journey.journeys
    if rules is None:
        return Item("Journeys", "The journey file says nothing of whole journeys.", "unknown")
    if found is None:
        return Item("Journeys", UNKNOWN, "unknown")
    if not found.over:
        return Item("Journeys", "None was over.", "unknown")
    said = [f"{_n(found.over, 'was', 'were')} over."]
    mood: Mood = "plain"
    goals = found.goals
    if goals.n:
        is_met = goals.good >= rules.target * goals.n
        mood = _mood(is_met)
        target = f"{'as many as' if is_met else 'fewer than'} the {_target(rules.target)} aimed at"
        said.append(
            f"Of {goals.n:,} that had a goal {_share(goals)} met it, {target}"
            + (f"; {found.visits:,} were visits without one." if found.visits else ".")
        )
    else:
        said.append("None of them had a goal.")
    if found.scored:
        said.append(
            f"{_share(Share(found.all_good, found.scored - found.all_good))} had not one bad encounter."
        )
    return Item("Journeys", " ".join(said), mood)


def _weakest(digest: Digest) -> Item:
    said = []
    if digest.outcome is not None and digest.outcome.weakest:
        stage, n = digest.outcome.weakest[0]
        said.append(f"{_title(digest.journey, stage)} was most often the weakest encounter: in {_n(n)}.")
    judged = [one.weakest for one in digest.stages if one.weakest is not None]
    if judged:
        worst = min(judged, key=lambda one: one.attainment)
        if worst.is_met:
            said.append("Every stage met its targets.")
        else:
            said.append(
                f"Furthest below its target is {worst.stage.title}: {_share(worst.share)} "
                f"instead of {_target(worst.target)}."
            )
        return Item("Weakest stage", " ".join(said), _mood(worst.is_met))
    return Item("Weakest stage", " ".join(said) or UNKNOWN, "plain" if said else "unknown")


def _figure(one: Answered) -> str:
    if one.figure is None:
        return f"Too few answers to tell ({one.n})."
    sure = f"95 % sure, {one.n:,} answers"
    if one.kind == "nps":
        return f"{one.figure:.0f}, give or take {one.upper - one.figure:.0f} ({sure})."
    ends = f"between {one.lower * 100:.1f} and {one.upper * 100:.1f} %"
    return f"{one.figure * 100:.1f} % good, {ends} ({sure})."


def _stage(digest: Digest, one: StageFound) -> Item:
    title = one.stage.title
    alerts = _alerting(one)
    if one.weakest is None:
        why = "No event was judged." if one.is_heard else "Nothing known of its quality."
        return Item(title, f"{why} {alerts}".strip(), "unknown")
    worst = one.weakest
    said = [f"{_against(worst)} ({worst.experience.title})."]
    if worst.share.n < MIN_SEGMENT_EVENTS:
        said.append(f"Only {worst.share.n} were judged, too few to say much.")
    if worst.budget_used is not None:
        said.append(f"{worst.budget_used * 100:.0f} % of the budget used.")
    said.append(alerts)
    picture = _picture(digest, one, worst)
    known = [bar for bar in picture.bars if bar.quality is not None]
    if len(known) > 1 and not worst.is_met:
        said.append(f"Worst day: {min(known, key=lambda bar: bar.quality or 0.0).words}.")
    return Item(title, " ".join(filter(None, said)), _mood(worst.is_met), picture if known else None)


def _alerting(one: StageFound) -> str:
    if one.minutes is None:
        return ""
    told = [f"{severity} for {_long(n)}" for severity, n in one.minutes.items() if n]
    return f"Alerts: {', '.join(told)}." if told else "No alerts."


def _picture(digest: Digest, one: StageFound, judged: Judged) -> Picture:
    target = float(judged.target)
    enough = [day.good / day.n for day in one.days if day is not None and day.n >= LEAST_N]
    low = min(enough, default=0.0)
    floor = max(floor for floor in FLOORS if floor == 0 or (floor <= low and floor < target - (1 - target)))
    bars = []
    for end_s, day in zip(digest.period.day_ends(), one.days, strict=True):
        when = _local(digest, end_s - DAY_S, "%a %d %b")
        if day is None:
            bars.append(Bar(f"{when}, nothing known", None, is_met=False))
        else:
            is_met = day.good >= judged.target * day.n
            bars.append(Bar(f"{when}, {_share(day)} of {day.n:,}", day.good / day.n, is_met))
    return Picture(tuple(bars), target, floor)


def _promises(digest: Digest) -> Iterator[Item]:
    found, rules = digest.promises, digest.journey.journeys
    targets = {kind.name: kind.target for kind in rules.promises} if rules is not None else {}
    if found is None:
        yield Item("Promises", UNKNOWN, "unknown")
    elif not found:
        yield Item("Promises", "None fell due.")
    else:
        for kind in by_kind(found):
            target = targets.get(kind.kind)
            is_met = None if target is None else kind.kept >= target * kind.due
            aimed = "" if target is None else f" (target {_target(target)})"
            own = [one for one in found if one.kind == kind.kind]
            partners = "; ".join(_partner(one) for one in own) if len(own) > 1 else ""
            yield Item(
                kind.kind.replace("_", " ").capitalize(),
                f"{_kept(kind, aimed)}{' By partner: ' + partners + '.' if partners else ''}",
                "plain" if is_met is None else _mood(is_met),
            )
    if (worst := digest.worst_partner) is not None:
        share = _share(Share(worst.kept, worst.due - worst.kept))
        aimed = f" (target {_target(targets[worst.kind])})" if worst.kind in targets else ""
        text = f"{worst.partner}: {share} kept of {worst.kind.replace('_', ' ')}{aimed}."
        yield Item("Worst partner", text)
    if digest.handed_over is None:
        yield Item("Hand-overs", UNKNOWN, "unknown")
    for edge in digest.handed_over or ():
        yield _hand_over(digest.journey, edge)


def _kept(one: Promised, aimed: str) -> str:
    told = f"{one.due:,} fell due, {_share(Share(one.kept, one.due - one.kept))} were kept{aimed}"
    open_ = one.due - one.kept - one.late - one.missed
    silent = f", of {open_:,} no word has come" if open_ > 0 else ""
    return f"{told}. {one.late:,} were late, {one.missed:,} missed{silent}."


def _partner(one: Promised) -> str:
    name = {NONE: "no partner named", OTHER: "others"}.get(one.partner or "", one.partner)
    late = f"{one.late:,} late, {one.missed:,} missed"
    return f"{name} kept {_share(Share(one.kept, one.due - one.kept))} of {one.due:,}, {late}"


def _hand_over(journey: Journey, one: HandedOver) -> Item:
    edges = journey.journeys.edges if journey.journeys is not None else ()
    target = next(
        (edge.target for edge in edges if (edge.sender, edge.receiver) == (one.sender, one.receiver)), None
    )
    lead = f"{_title(journey, one.sender)} to {_title(journey, one.receiver)}"
    if not one.lost:
        return Item(lead, f"{one.sent:,} handed over, none lost.", "plain" if target is None else "good")
    late = f"; {one.late:,} of them came later" if one.late else ""
    allowed = f", at most {_target(1 - target)} may be" if target is not None else ""
    is_met = None if target is None else one.lost <= (1 - target) * one.known
    return Item(
        lead,
        f"{one.sent:,} handed over, {one.lost:,} lost, which is not there in time "
        f"({_rounded(one.lost, one.known)} of those whose fate is known{allowed}){late}.",
        "plain" if is_met is None else _mood(is_met),
    )


def _astray(digest: Digest) -> Iterator[Item]:
    astray = digest.astray
    if astray.journeys is None:
        yield Item("Labyrinths", UNKNOWN, "unknown")
    elif not astray.over:
        yield Item("Labyrinths", "No journey was over.", "unknown")
    else:
        share = f"{astray.journeys:,} of {astray.over:,} journeys went from channel to channel unsolved"
        edge = ""
        if astray.edge is not None:
            came, went, n = astray.edge
            edge = f" Most get lost between {came} and {went} ({n:,})."
        yield Item("Labyrinths", f"{share}.{edge}", "plain" if astray.journeys else "good")
    repeats = astray.repeats
    if repeats is None or not repeats.n:
        said = UNKNOWN if repeats is None else "There were no contacts."
        yield Item("Repeat contacts", said, "unknown")
    else:
        of = f"{_rounded(repeats.bad, repeats.n)} of {repeats.n:,} contacts"
        yield Item("Repeat contacts", f"{of} came within 7 days of an earlier one.")
    if astray.noticed is not None and astray.noticed.n:
        first = f"When something went wrong, we spoke first in {_share(astray.noticed)}"
        yield Item("Who spoke first", f"{first} of {_n(astray.noticed.n)}.")


def _weights(digest: Digest) -> Iterator[Item]:
    least = f"{MIN_BAD} bad journeys and {MIN_DETRACTORS} detractors"
    if digest.weights is None:
        yield Item("Critical touchpoints", UNKNOWN, "unknown")
    elif not digest.weights:
        yield Item("Critical touchpoints", f"No stage has enough answers: it takes {least}.", "unknown")
    weighing = [one for one in digest.weights or () if one.share > 0]
    if digest.weights and not weighing:
        yield Item("Critical touchpoints", "At no stage do bad encounters go with more detractors.", "good")
    for rank, one in enumerate(weighing[:WEIGHTS_TOLD], 1):
        yield Item(
            f"{rank}. {_title(digest.journey, one.stage)}",
            f"{_percent(one.share)} of detractors are attributable to bad encounters here: those who had one "
            f"are detractors {one.lift:.1f} times as often as all (phi {one.phi:.2f}, "
            f"{_n(one.touchpoint.bad, noun='bad journey')}).",
        )
    if not digest.gaps:
        said = UNKNOWN if digest.gaps is None else "Too few answers to tell."
        yield Item("Understanding gap", said, "unknown")
        return
    widest = digest.gaps[0]
    title = _title(digest.journey, widest.stage)
    if widest.points <= 0:
        yield Item("Understanding gap", "No stage thinks better of itself than its customers do.", "good")
        return
    inside, outside = (_share(Share(fine, widest.n - fine)) for fine in (widest.inside, widest.outside))
    yield Item(
        "Understanding gap",
        f"Widest at {title}: fine by its own word in {inside}, by customers' in {outside}. "
        f"{widest.believed:,} of {widest.n:,} were fine inside and bad outside.",
    )


def _evenness(digest: Digest) -> Iterator[Item]:
    if digest.worst_segment is None:
        yield Item("Segments", "Nothing known: no two segments have enough events to compare.", "unknown")
    else:
        worst, best = digest.worst_segment
        sure = "Below its target beyond chance." if worst.is_surely_missed else "It may be chance."
        if worst.is_met:
            sure = "It still meets its target."
        yield Item(
            "Worst served segment",
            f"{worst.segment} at {worst.stage.title} ({worst.experience.title}): {_against(worst)}; "
            f"{best.segment} got {_share(best.share)}. {sure}",
            "bad" if worst.is_surely_missed else "plain",
        )
    for one in digest.spreads:
        (best_name, best_share), (name, share) = one.best, one.worst
        kind = "channels" if one.by == BY_CHANNEL else "locations"
        yield Item(
            f"Spread between {kind}",
            f"Widest at {one.stage.title} ({one.experience.title}): {best_name} {_share(best_share)}, "
            f"{name} {_share(share)}, {one.points * 100:.1f} points apart.",
        )
    if not digest.spreads:
        yield Item("Spread", "Nothing known: no two channels or locations have enough events.", "unknown")


def _alerts(digest: Digest) -> Iterator[Item]:
    if digest.alerts is None:
        yield Item("Alerts", "Nothing known: no rules were evaluated here.", "unknown")
        return
    if not digest.alerts:
        yield Item("Alerts", "None fired.", "good")
    for one in digest.alerts[:ALERTS_TOLD]:
        yield Item(_alert(digest.journey, one), _times(one), "bad" if one.severity == "page" else "plain")
    if more := digest.alerts[ALERTS_TOLD:]:
        minutes = _long(sum(one.minutes for one in more))
        yield Item(f"And {len(more)} more", f"Together {minutes}, all shorter or less urgent.")


def _alert(journey: Journey, one: Fired) -> str:
    about = _title(journey, one.stage) if one.stage else ""
    about += f", {_experience(journey, one)}" if one.experience and one.severity == "ticket" else ""
    return f"{one.severity.capitalize()} {one.name}{f' ({about})' if about else ''}"


def _experience(journey: Journey, one: Fired) -> str:
    titles = {(stage.name, each.name): each.title for stage in judged(journey) for each in stage.experiences}
    return titles.get((one.stage, one.experience), one.experience)


def _times(one: Fired) -> str:
    if not one.times:
        return f"Fired since before the period, for {_long(one.minutes)} of it."
    times = {1: "Once", 2: "Twice"}.get(one.times, f"{one.times:,} times")
    return f"{times}, {_long(one.minutes)} in all."


def _untold(digest: Digest) -> Iterator[Item]:
    seen, days = digest.seen, digest.period.days
    is_whole = True
    for lead, text in _unseen(digest):
        is_whole = False
        yield Item(lead, text, "unknown")
    quiet = [one.stage.title for one in digest.stages if one.weakest is None]
    if quiet and len(quiet) < len(digest.stages):
        is_whole = False
        yield Item("No events", f"Of {', '.join(quiet)}.", "unknown")
    if seen.blind:
        is_whole = False
        told = "; ".join(f"{CAUSES.get(cause, cause)}: {_long(n)}" for cause, n in sorted(seen.blind.items()))
        yield Item("The monitor was blind", f"{told}. Alerts may be missing there.", "unknown")
    if is_whole:
        yield Item("Nothing", f"All of the {days * 24} hours was seen.", "good")


def _unseen(digest: Digest) -> Iterator[tuple[str, str]]:
    """What is not known at all, or not of the whole period."""
    seen, days = digest.seen, digest.period.days
    if seen.others:
        names = ", ".join(seen.others)
        yield "Another journey", f"Prometheus measures {names}, not {digest.journey.name}."
    if not seen.days:
        yield "Counts", "Prometheus has no counts of this journey: is it the one that scrapes the workers?"
    elif seen.days < days:
        yield "Counts", f"Known of {seen.days} of {days} days; sums and shares are of those."
    if seen.days and seen.pictured < days:
        yield (
            "Pictures",
            f"Prometheus kept figures of {seen.pictured} of {days} days; a day without is left open.",
        )
    if seen.judged_s is None:
        yield "Alerts", "Prometheus evaluates no rules of this journey, or keeps no alerts."
        return
    if seen.judged_s - digest.period.from_s > DAY_S // 24:
        since = _local(digest, seen.judged_s, "%Y-%m-%d %H:%M")
        yield "Alerts", f"Known since {since} only: Prometheus kept no longer, or began then."
    if seen.unjudged_minutes > 1:  # a step may fall on either side of an end
        yield "Gaps", f"For {_long(seen.unjudged_minutes)} no rules were evaluated."


# -- words -----------------------------------------------------------------------------------------------


def _mood(is_good: bool) -> Mood:
    return "good" if is_good else "bad"


def _against(judged: Judged) -> str:
    kept = "met" if judged.is_met else "missed"
    return f"{_share(judged.share)} of {judged.share.n:,} good, target {_target(judged.target)} {kept}"


def _share(share: Share) -> str:
    """Rounded down, from whole numbers: 99.96 % is no 100 %."""
    tenths = share.good * 1000 // share.n
    return f"{tenths // 10}.{tenths % 10} %"


def _rounded(part: int, n: int) -> str:
    """A share of bad ones: few are not none."""
    return "under 0.1 %" if 0 < part * 1000 < n else _percent(part / n)


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.1f} %"


def _target(target: Decimal) -> str:
    return f"{number(target * 100)} %"


def _n(n: int, one: str = "", many: str = "", *, noun: str = "journey") -> str:
    counted = f"{n:,} {noun if n == 1 else f'{noun}s'}"
    return f"{counted} {one if n == 1 else many}".strip()


def _long(minutes: int) -> str:
    """A length of time in its two largest units."""
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (rest, "min")]
    told = [f"{n} {unit}" for n, unit in parts if n][:2]
    return " ".join(told) or "0 min"


def _title(journey: Journey, stage: str) -> str:
    return {one.name: one.title for one in judged(journey)}.get(stage, stage)


def _local(digest: Digest, at_s: int, form: str) -> str:
    at = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(digest.journey.timezone))
    return at.strftime(form)
