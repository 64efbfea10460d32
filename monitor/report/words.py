"""The digest in sentences that anyone reads in two minutes, the most important first."""

import math
from collections.abc import Iterator

from monitor.counting.display import aimed, counted, percent
from monitor.counting.measures import KINDS, Share
from monitor.report.digest import Answered, Digest, is_met, weakest_of
from monitor.report.document import UNKNOWN, Document, Item, Section
from monitor.report.phrases import local, mood, title, verdict
from monitor.report.words_journeys import astray, fixes, promises, weights
from monitor.report.words_monitor import alerts, untold
from monitor.report.words_stages import evenness, stages
from monitor.rules.verdict import MIN_SEGMENT_EVENTS


def document(digest: Digest) -> Document:
    """The digest in words."""
    journey, period = digest.plan.journey, digest.period
    ends = " to ".join(local(journey, at_s, "%Y-%m-%d %H:%M") for at_s in (period.from_s, period.end_s))
    days = "The last day" if period.days == 1 else f"The last {period.days} days"
    return Document(
        journey.title,
        f"{days}: {ends} ({journey.timezone})",
        (
            Section("In short", tuple(_short(digest))),
            Section(
                "Stage by stage",
                tuple(stages(digest)),
                "Of each stage only what did worst against its target.",
            ),
            Section(
                "The three fixes worth most",
                tuple(fixes(digest)),
                "Of journeys that one thing made bad, or two: a stage, a promise, a hand-over.",
            ),
            Section("Promises and hand-overs", tuple(promises(digest))),
            Section("Where people get lost", tuple(astray(digest))),
            Section(
                "What goes with unhappy customers",
                tuple(weights(digest)),
                "What happens together need not be cause and effect. φ says how closely it goes together: "
                "0 not at all, 1 always.",
            ),
            Section("Who is served worse", tuple(evenness(digest))),
            Section("Alerts", tuple(alerts(digest))),
            Section("What could not be told", tuple(untold(digest))),
        ),
    )


def _short(digest: Digest) -> Iterator[Item]:
    yield _journeys(digest)
    yield _weakest(digest)
    for one in digest.answered:
        kind = f"{KINDS[one.kind][0]} ({one.stage.title})"
        yield Item(kind, _answers(one), "plain" if one.figure is not None else "unknown")
    if not digest.answered:
        yield Item("Customers' answers", "Nobody answered, or nothing is known of it.", "unknown")


def _journeys(digest: Digest) -> Item:
    found, rules = digest.outcome, digest.plan.journey.journeys
    if rules is None:
        return Item("Journeys", "The journey file says nothing of whole journeys.", "unknown")
    if found is None:
        return Item("Journeys", UNKNOWN, "unknown")
    if not found.over:
        return Item("Journeys", "None has ended.", "unknown")
    goals, target = found.goals, rules.target
    said = [f"{counted(found.over)} ended."]
    if goals.n:
        reached = f"{percent(goals, target)} of the {goals.n:,} that had a goal reached it"
        said.append(f"{reached}, {verdict(goals, target)}.")
        if found.visits:
            said.append(f"The other {found.visits:,} were visits without a goal.")
    else:
        said.append("They were visits without a goal.")
    if found.scored:
        good = Share(found.all_good, found.scored - found.all_good)
        said.append(f"{percent(good)} of all went without one bad encounter.")
    return Item("Journeys", " ".join(said), mood(is_met(goals, target) if goals.n else None))


def _weakest(digest: Digest) -> Item:
    """The stage furthest below its target, and where journeys most often were at their weakest."""
    said, how = [], mood(None)
    worst = weakest_of([one.weakest for one in digest.stages if one.weakest is not None])
    if worst is not None and worst.share.n < MIN_SEGMENT_EVENTS:
        said.append("Too few events to tell.")
    elif worst is not None:
        how = mood(worst.is_met)
        below = f"{percent(worst.share, worst.target)} instead of {aimed(worst.target)}"
        furthest = f"Furthest below its target is {worst.stage.title}: {below}."
        said.append("No stage with enough events missed a target." if worst.is_met else furthest)
    if digest.outcome is not None and digest.outcome.weakest:
        stage, n = digest.outcome.weakest[0]
        weakest = f"The weakest moment of a journey was most often at {title(digest.plan, stage)}"
        said.append(f"{weakest}: in {counted(n)}.")
    return Item("Stages", " ".join(said), how) if said else Item("Stages", UNKNOWN, "unknown")


def _answers(one: Answered) -> str:
    if one.figure is None:
        return f"Too few answers to tell ({one.n})."
    if one.kind == "nps":
        score, either = round(one.figure), math.ceil(one.upper - one.figure)
        return f"{score}, give or take {either} ({counted(one.n, 'answer')}; 95 % sure)."
    ends = f"{math.floor(one.lower * 100)} to {math.ceil(one.upper * 100)} %"
    good = f"{percent(Share(one.best, one.n - one.best))} of {counted(one.n, 'answer')} good"
    return f"{good}; had everybody answered, {ends} (95 % sure)."
