"""The bodies of the API's answers about stages, as plain data: pure functions of a snapshot."""

from collections.abc import Iterable, Sequence
from typing import Any

from monitor.counting.times import rfc3339
from monitor.journey_file.model import QUEUED
from monitor.live.journeys import JourneyFacts, PartitionLag, journey_facts
from monitor.live.snapshot import Snapshot, StageSnapshot
from monitor.rules.plan import JOURNEYS_LAG_S
from streams.state.latest import Shown
from streams.web.group import Member


def stages_answer(snapshot: Snapshot, members: Sequence[Member] = ()) -> dict[str, Any]:
    """The body of `/api/stages`; `members` are the workers whose counts the snapshot adds up, or lacks."""
    known = _facts(snapshot)
    return {
        "journey": snapshot.journey.name,
        "title": snapshot.journey.title,
        "ready": snapshot.ready,
        "at": rfc3339(snapshot.at_ms),
        "worker": snapshot.worker,
        "workers": [{"worker": one.worker, "missing": one.why} for one in members],
        **_seen(snapshot, members),
        "problems": snapshot.problems,
        "journeys": _journeys(snapshot, known),
        "stages": [_stage(snapshot, held, known) for held in snapshot.stages],
    }


def failures_answer(
    snapshot: Snapshot, members: Sequence[Member], stage: str, failures: list[Shown]
) -> dict[str, Any]:
    """The body of `/api/stages/<stage>/failures`."""
    return {"stage": stage, **_seen(snapshot, members), "failures": failures}


def meant_answer(
    snapshot: Snapshot, members: Sequence[Member], experience: str, journeys: list[Shown]
) -> dict[str, Any]:
    """The body of `/api/journeys?experience=<experience>`."""
    return {"experience": experience, **_seen(snapshot, members), "journeys": journeys}


def rescue_answer(
    snapshot: Snapshot, members: Sequence[Member], journeys: list[dict[str, Any]]
) -> dict[str, Any]:
    """The body of `/api/rescue`; `journeys` are in the order of what can still be done."""
    return {"at": rfc3339(snapshot.at_ms), **_seen(snapshot, members), "journeys": journeys}


def _facts(snapshot: Snapshot) -> JourneyFacts | None:
    """What is known of whole journeys; None while nothing is."""
    if snapshot.journeys is None or not snapshot.ready:
        return None
    return journey_facts(snapshot.journey, snapshot.journeys)


def _journeys(snapshot: Snapshot, known: JourneyFacts | None) -> dict[str, Any] | None:
    """Facts of whole journeys, each None while unknown; None where the journey file asks for none."""
    journey = snapshot.journey
    if journey.journeys is None:
        return None
    if known is None:
        names = ("judged_until", "held_up_by", "open", "over", "hit", "weakest", "overdue", "labyrinths")
        return dict.fromkeys((*names, "handoffs_lost", "whole_since"))
    weakest = None
    if known.weakest is not None:
        stage, n = known.weakest
        weakest = {"stage": stage, "title": journey.stage(stage).title, "journeys": n}
    return {
        "judged_until": known.judged_ms and rfc3339(known.judged_ms),
        "held_up_by": _held_up_by(snapshot, known),
        "open": known.open_journeys,
        "over": known.over,
        "hit": known.hit,
        "weakest": weakest,
        "overdue": known.overdue,
        "labyrinths": known.labyrinths,
        "handoffs_lost": known.handoffs_lost,
        "whole_since": _whole_since(snapshot.journeys.lags) if snapshot.journeys else None,
    }


def _held_up_by(snapshot: Snapshot, known: JourneyFacts) -> dict[str, Any] | None:
    """The partition of a stage that journeys wait for, once `MonitorBlind` calls them held up."""
    behind_ms = snapshot.at_ms - (known.judged_ms or 0)
    if known.slowest is None or behind_ms <= JOURNEYS_LAG_S * 1000:
        return None
    stage, partition = known.slowest
    return {"stage": stage, "title": snapshot.journey.stage(stage).title, "partition": partition}


def _seen(snapshot: Snapshot, members: Sequence[Member]) -> dict[str, Any]:
    """How much of the whole is here, and whose part is missing; nothing when all is. Without members only
    this worker was asked."""
    owned, total = snapshot.owned, snapshot.partitions
    part = f"{owned} of {total} partitions are counted here"
    if not members:
        part = f"this worker counts {owned} of {total} partitions; Grafana or Prometheus adds all workers up"
    missing = [f"{one.worker}: {one.why}" for one in members if one.why is not None]
    return {
        "partitions": {"owned": owned, "of": total},
        "only_part": "; ".join([part, *missing]) if snapshot.ready and (owned < total or missing) else None,
    }


def _stage(snapshot: Snapshot, held: StageSnapshot, known: JourneyFacts | None) -> dict[str, Any]:
    stage, weakest = held.stage, held.weakest
    share, silence = weakest.share, snapshot.silence(held)
    first_s = snapshot.at_ms // 60_000 * 60 - 59 * 60
    return {
        "stage": stage.name,
        "title": stage.title,
        "kind": stage.kind,
        "owner": stage.owner,
        "runbook": stage.runbook,
        "depends_on": stage.depends_on,
        "state": snapshot.state(held),
        "silent": silence
        and {"window": silence.window, "expected": round(silence.expected), "text": silence.text},
        "last_event": held.last_ms and rfc3339(held.last_ms),
        "whole_since": _whole_since(held.lags),
        "window": weakest.window,
        "quality": share.quality,
        "target": float(weakest.experience.target) if share.n else None,
        "weakest": {
            "experience": weakest.experience.name,
            "title": weakest.experience.title,
            "segment": held.worst_segment(weakest) if share.bad else None,
        }
        if share.n
        else None,
        "n": share.n,
        "bad": share.bad,
        "journeys_hit": known.hit.get(stage.name) if known is not None else None,
        "events_per_minute": held.events("5m") / 5,
        "top_reason": held.top_reason(weakest.window) if share.bad else None,
        "open": _open(snapshot, held),
        "trend": [[first_s + 60 * i, quality] for i, quality in enumerate(held.trend(weakest.experience))],
    }


def _open(snapshot: Snapshot, held: StageSnapshot) -> dict[str, Any] | None:
    """Who is in the queue now and who is being served; None where services do not say."""
    found = {}
    for opening in held.openings():
        n, since_ms = held.open_encounters(opening)
        oldest_s = None if since_ms is None else max(0, snapshot.at_ms - since_ms) / 1000
        found[opening] = {"n": n, "oldest_s": oldest_s}
    if QUEUED in found:
        found[QUEUED]["expected_wait_s"] = held.expected_wait_s()
    return found or None


def _whole_since(lags: Iterable[PartitionLag]) -> str | None:
    """Since when windows hold every event; None where they all do."""
    since_ms = max((lag.whole_since_ms for lag in lags), default=0)
    return rfc3339(since_ms) if since_ms else None
