"""Whole journeys in words: promises, hand-overs, where people get lost, what goes with unhappy customers."""

from collections.abc import Iterator, Sequence

from monitor.counting.display import counted, percent
from monitor.counting.measures import Share
from monitor.journey_file.model import NONE, OTHER, UNASSIGNED
from monitor.journeys.counters import fixable
from monitor.report.digest import Digest, Gap, HandedOver, Promised, Weight, by_kind, is_met
from monitor.report.document import UNKNOWN, Item
from monitor.report.phrases import chance, mood, title, verdict
from monitor.rules.critical import MIN_BAD, MIN_DETRACTORS
from monitor.rules.plan import Plan

WEIGHTS_TOLD = 5


def fixes(digest: Digest) -> Iterator[Item]:
    """What would have made most journeys good."""
    words = fixable(digest.plan.journey)
    for rank, one in enumerate(digest.fixes or (), 1):
        what = " and ".join(words.get(name, name) for name in one.things)
        had = "this" if len(one.things) == 1 else "both"
        journeys = counted(round(one.a_week)) if one.a_week >= 1 else "Less than one journey"
        yield Item(f"{rank}. {what}", f"{journeys} a week would have been good, had {had} been good.")
    if not digest.fixes:
        known = "No journey was made bad by one thing or two."
        yield Item("Fixes", UNKNOWN if digest.fixes is None else known, "unknown")


def promises(digest: Digest) -> Iterator[Item]:
    """Promises by kind and partner, and what stages hand over to each other."""
    found = digest.promises
    if found is None:
        yield Item("Promises", UNKNOWN, "unknown")
    elif not found:
        yield Item("Promises", "None fell due.", "unknown")
    for kind in by_kind(found or ()):
        yield _promise(kind, [one for one in found or () if one.kind == kind.kind])
    if (worst := digest.worst_partner) is not None and worst.target is not None:
        kept = f"{worst.partner} kept {percent(worst.share, worst.target)} of {worst.due:,} ({_kind(worst)})"
        held = verdict(worst.share, worst.target)
        yield Item(
            "Partner furthest below target",
            f"{kept}, {held}. {chance(worst.share, worst.target)}",
            mood(is_good=False),
        )
    if digest.handed_over is None:
        yield Item("Hand-overs", UNKNOWN, "unknown")
    elif not digest.handed_over:
        yield Item("Hand-overs", "Nothing was handed over.", "unknown")
    for edge in digest.handed_over or ():
        yield _hand_over(digest.plan, edge)


def _kind(one: Promised) -> str:
    return one.kind.replace("_", " ")


def _promise(one: Promised, partners: Sequence[Promised]) -> Item:
    kept = f"{percent(one.share, one.target)} of the {one.due:,} that fell due were kept"
    held = f", {verdict(one.share, one.target)}" if one.target is not None else ""
    parts = [(one.late, "came late"), (one.missed, "never came")]
    parts += [(one.early, "came too early"), (one.broken, "were called off")]
    known = one.kept + sum(n for n, _ in parts)
    parts.append((one.due - known, "may still come"))
    broken = ", ".join(f"{n:,} {what}" for n, what in parts if n > 0)
    said = [f"{kept}{held}.", f"{broken}." if broken else ""]
    if one.rescheduled:
        said.append(f"We moved the deadline of {one.rescheduled:,}.")
    if len(partners) > 1:
        said.append(f"By partner: {'; '.join(_partner(each) for each in partners)}.")
    is_kept = is_met(one.share, one.target) if one.target is not None else None
    return Item(_kind(one).capitalize(), " ".join(filter(None, said)), mood(is_kept))


def _partner(one: Promised) -> str:
    name = {NONE: "no partner", UNASSIGNED: "not yet with a partner", OTHER: "others"}.get(
        one.partner or "", one.partner
    )
    return f"{name} kept {percent(one.share, one.target)} of {one.due:,}"


def _hand_over(plan: Plan, one: HandedOver) -> Item:
    lead = f"{title(plan, one.sender)} to {title(plan, one.receiver)}"
    sent = f"{one.sent:,} handed over"
    if not one.share.n:
        return Item(lead, f"{sent}, of none is it known yet whether it arrived.", "unknown")
    is_kept = is_met(one.share, one.target) if one.target is not None else None
    if not one.lost:
        return Item(lead, f"{sent}, none lost.", mood(is_kept))
    arrived = f"{percent(one.share, one.target)} of the {one.share.n:,} whose fate is known arrived in time"
    held = f", {verdict(one.share, one.target)}" if one.target is not None else ""
    late = f", {one.late:,} of them came later" if one.late else ""
    return Item(lead, f"{sent}. {arrived}{held}. {one.lost:,} did not{late}.", mood(is_kept))


def astray(digest: Digest) -> Iterator[Item]:
    """Journeys from channel to channel, repeated contacts, and who spoke first."""
    found = digest.astray
    if found.journeys is None:
        yield Item("Labyrinths", UNKNOWN, "unknown")
    elif not found.over:
        yield Item("Labyrinths", "No journey has ended.", "unknown")
    else:
        lost = f"{found.journeys:,}" if found.journeys else "None"
        said = f"{lost} of {counted(found.over)} went from channel to channel without a solution."
        if found.edge is not None:
            came, went, n = found.edge
            said += f" The last change was most often from {came} to {went} ({n:,})."
        yield Item("Labyrinths", said, "plain" if found.journeys else "good")
    if found.repeats is None or not found.repeats.n:
        said = UNKNOWN if found.repeats is None else "There were no contacts."
        yield Item("Repeat contacts", said, "unknown")
    else:
        of = f"{percent(Share(found.repeats.bad, found.repeats.good))} of {found.repeats.n:,} contacts"
        yield Item("Repeat contacts", f"{of} came within 7 days of an earlier one of the same case.")
    if found.noticed is not None and found.noticed.n:
        first = f"When something went wrong, we spoke first in {percent(found.noticed)}"
        yield Item("Who spoke first", f"{first} of {counted(found.noticed.n)}.")


def weights(digest: Digest) -> Iterator[Item]:
    """How stages weigh on what customers say, and where stages are mistaken about themselves."""
    weighing = [one for one in digest.weights or () if one.share > 0]
    if digest.weights is None:
        yield Item("Critical touchpoints", UNKNOWN, "unknown")
    elif not digest.weights:
        least = f"{MIN_BAD} bad journeys and {MIN_DETRACTORS} unhappy customers"
        yield Item("Critical touchpoints", f"No stage has enough answers: it takes {least}.", "unknown")
    elif not weighing:
        none = "Nowhere do those who had a bad encounter speak ill of us more often than others."
        yield Item("Critical touchpoints", none, "good")
    for rank, one in enumerate(weighing[:WEIGHTS_TOLD], 1):
        yield Item(f"{rank}. {title(digest.plan, one.stage)}", _weight(one))
    yield _gap(digest.plan, digest.gaps)


def _weight(one: Weight) -> str:
    at = one.touchpoint
    bad = (
        f"Of {counted(at.bad, 'customer')} who had a bad encounter here, {at.bad_detractor:,} speak ill of us"
    )
    often = f"{at.lift:.1f} times as many as usual"
    share = f"about {round(one.share * at.detractors):,} of all {at.detractors:,} who do"
    return f"{bad}: {often} (φ {one.phi:.2f}). That accounts for {share}."


def _gap(plan: Plan, gaps: Sequence[Gap] | None) -> Item:
    if not gaps:
        return Item("Understanding gap", UNKNOWN if gaps is None else "Too few answers to tell.", "unknown")
    widest = gaps[0]
    if widest.points <= 0:
        said = "No stage thinks better of itself than its customers do."
        return Item("Understanding gap", said, "good")
    inside, outside = (percent(Share(fine, widest.n - fine)) for fine in (widest.inside, widest.outside))
    stage, answered = title(plan, widest.stage), f"{counted(widest.n, 'answered journey')}"
    return Item(
        "Understanding gap",
        f"Widest at {stage}: by its own word {inside} of {answered} went well, by customers' {outside}. "
        f"In {widest.believed:,} it saw nothing wrong and the customer did.",
    )
