"""What journeys must come to, worked out the slow and plain way: all events at hand, one journey at a time.

Shares no code with what it judges but the verdict on a single event (`monitor.judging`, tested by itself) and
the names of counters.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from random import Random
from typing import Any

import orjson

from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.journey_file.model import Journey, Stage
from streams.demo.simulator import SimulatedEvent

DAY_MS = 86_400_000

Fact = dict[str, Any]
"""An event as it was published, with `at` (ms), `judged` and `bad`."""


def at_ms(text: str) -> int:
    """Of an RFC 3339 time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Truth:
    """Collects what is published."""

    def __init__(self, journey: Journey) -> None:
        assert journey.journeys is not None
        self._journey = journey
        self._rules = journey.journeys
        self._judges = {s.topic: (Codec(journey, s), Judge(journey, s)) for s in journey.stages}
        self._facts: dict[str, list[Fact]] = defaultdict(list)
        self._contacts: dict[tuple[str, str], list[Fact]] = defaultdict(list)

    def add(self, published: SimulatedEvent) -> None:
        """Note an event."""
        codec, judge = self._judges[published.topic]
        event = codec.decode(published.value)
        assert isinstance(event, Event)
        verdict = judge.judge(event)
        fact = orjson.loads(published.value)
        fact |= {"at": at_ms(fact["time"]), "judged": verdict.judged, "bad": len(verdict.bad_for)}
        if "journey_id" in fact:
            self._facts[fact["journey_id"]].append(fact)
        if fact["stage"] in self._rules.contacts and fact.get("initiator") != "company":
            case = next(((key, fact[key]) for key in ("case_id", "journey_id") if key in fact), None)
            if case is not None:
                self._contacts[case].append(fact)

    @property
    def journeys(self) -> int:
        """How many there are."""
        return len(self._facts)

    def counters(self) -> Counter[str]:
        """Every counter, once all journeys are over."""
        found: Counter[str] = Counter()
        for facts in self._facts.values():
            found.update(self._journey_counters(sorted(facts, key=lambda fact: (fact["at"], fact["stage"]))))
        for facts in self._contacts.values():
            found.update(_contact_counters(facts))
        return found

    def _journey_counters(self, facts: list[Fact]) -> Iterable[str]:
        promises, handoffs = self._promises(facts), self._handoffs(facts)
        end = self._end(facts, promises, handoffs)
        inside = [fact for fact in facts if fact["at"] <= end]
        handoffs = self._handoffs(inside)
        segment = next((f["segment"] for f in inside if f.get("segment") in self._journey.segments), "other")
        for stage in {fact["stage"] for fact in facts if fact["bad"]}:
            yield f"hit/{stage}/{segment}"
        failures = [(f"promise/{p['kind']}", p["due"]) for p in promises if _is_broken(p, end)]
        failures += [
            (f"handoff/{h['edge'].sender}>{h['edge'].receiver}", h["due"])
            for h in handoffs
            if h["sent"] is not None and h["due"] <= end and not (h["received"] or 9e15) <= h["due"]
        ]
        yield from self._closing(inside, segment, failures)
        for promise in promises:
            if promise["made"] <= end:
                yield from _told_of(promise, end)
        for one in handoffs:
            head = f"handoff/{one['edge'].sender}/{one['edge'].receiver}/{one['partner']}"
            if one["sent"] is not None:
                yield f"{head}/sent"
            if one["received"] is not None:
                yield f"{head}/received"
            if one["sent"] is not None and one["due"] <= end:
                if one["received"] is None or one["received"] > one["due"]:
                    yield f"{head}/lost"
                if one["received"] is not None and one["received"] > one["due"]:
                    yield f"{head}/late"

    def _end(self, facts: list[Fact], promises: list[Fact], handoffs: list[Fact]) -> int:
        limit: int = facts[0]["at"] + self._rules.limit_ms
        end = limit
        for fact in facts:
            now: int = fact["at"]
            if now > end:
                break
            waits = [
                max(p["due"], p["moved"] or 0)
                for p in promises
                if p["made"] <= now and p["due"] is not None and not _word_of(p, 9e15)[0] <= now
            ]
            waits += [
                h["due"]
                for h in handoffs
                if h["sent"] is not None and h["sent"] <= now and not (h["received"] or 9e15) <= now
            ]
            quiet_from: int = max([now, *waits])
            if self._rules.ends is not None and _is(self._rules.ends.fields, fact):
                return min(quiet_from, limit)
            end = min(quiet_from + self._rules.quiet_ms, limit)
        return end

    def _promises(self, facts: list[Fact]) -> list[Fact]:
        owing = {kind.name: self._journey.stage(kind.stage) for kind in self._rules.promises}
        found: dict[str, Fact] = {}
        for number, fact in enumerate(facts):
            if promise := fact.get("promise"):
                kind = promise["kind"] if promise["kind"] in owing else "other"
                one = found.setdefault(
                    promise["id"],
                    {"kind": kind, "made": fact["at"], "due": None, "from": None, "moved": None, "words": []},
                )
                if promise.get("kept") is not None:
                    one["words"].append((fact["at"], promise["kept"]))
                if promise.get("due") and (one["due"] is None or fact["at"] <= one["due"]):
                    due = at_ms(promise["due"])
                    if one["due"] is None or fact.get("initiator") == "customer":
                        one["due"] = due
                        one["from"] = at_ms(promise["due_from"]) if promise.get("due_from") else None
                    elif due != one["due"]:
                        one["moved"] = max(due, one["moved"] or 0)
            follow_up = self._rules.follow_up
            if follow_up is not None and self._is_unhappy(fact):
                after = [f["at"] for f in facts if f["at"] >= fact["at"] and _is(follow_up.match.fields, f)]
                found[f"follow up {number}"] = {
                    "kind": "follow_up", "partner": "none", "made": fact["at"], "from": None, "moved": None,
                    "due": fact["at"] + follow_up.within_ms, "words": [(at, True) for at in after],
                }  # fmt: skip
        for id_, one in found.items():
            if "partner" not in one:
                one["partner"] = _owed_by(owing.get(one["kind"]), id_, one["due"], facts)
        return list(found.values())

    def _is_unhappy(self, fact: Fact) -> bool:
        score = fact.get("score")
        return score is not None and score["value"] <= self._rules.unhappy[score["kind"]]

    def _handoffs(self, facts: list[Fact]) -> list[Fact]:
        found: dict[tuple[str, str, str], Fact] = {}
        for fact in facts:
            told = fact.get("handoff") or {"from": None, "to": None}
            for edge in self._rules.edges:
                partners = self._journey.stage(edge.receiver).partners
                if told["from"] != edge.sender or told["to"] not in (edge.receiver, *partners):
                    continue
                named = told["to"] if told["to"] in partners else fact.get("partner")
                partner = named if named in partners else ("none" if named is None else "other")
                one = found.setdefault(
                    (told["id"], edge.sender, edge.receiver),
                    {"edge": edge, "partner": partner, "sent": None, "received": None},
                )
                if fact["stage"] == edge.sender and one["sent"] is None:
                    one["partner"] = partner
                    one["sent"], one["due"] = fact["at"], fact["at"] + edge.within_ms
                if fact["stage"] == edge.receiver and one["received"] is None:
                    one["received"] = fact["at"]
        return list(found.values())

    def _closing(self, facts: list[Fact], segment: str, failures: list[tuple[str, int]]) -> Iterable[str]:
        started = any(_is(self._rules.starts.fields, fact) for fact in facts)
        met = started and any(_is(self._rules.goal.fields, fact) for fact in facts)
        yield f"closed/{'met' if met else 'missed' if started else 'visit'}/{segment}"
        scores = [1 - fact["bad"] / fact["judged"] if fact["judged"] else 1 for fact in facts]
        bounds = ("0", "0.25", "0.5", "0.75", "0.99", "1")
        yield f"score/{next(bound for bound in bounds if min(scores) <= float(bound))}/{segment}"
        if min(scores) < 1:
            yield f"weakest/{facts[scores.index(min(scores))]['stage']}/{segment}"
        if started and not met:
            lost = sorted((at, what) for what, at in failures if what.startswith("handoff/"))
            broken = sorted((at, what) for what, at in failures if what.startswith("promise/"))
            weak = f"stage/{facts[scores.index(min(scores))]['stage']}" if min(scores) < 1 else "none/none"
            yield f"failed/{[*lost, *broken, (0, weak)][0][1]}/{segment}"
        yield from self._labyrinth(facts, segment, met=met, started=started)
        wrong = [fact["at"] for fact in facts if fact["bad"]] + [at for _, at in failures]
        if wrong:
            spoke = [f for f in facts if f["stage"] in self._rules.contacts or f["outcome"] == "followed_up"]
            spoke = [fact for fact in spoke if fact["at"] > min(wrong)]
            ours = [f["outcome"] == "followed_up" or f.get("initiator") == "company" for f in spoke[:1]]
            yield f"noticed/{('company' if ours[0] else 'customer') if ours else 'nobody'}"
        acting = {one.name for one in self._journey.stages if one.kind not in ("feedback", "staff")}
        at_fault = {f"stage:{fact['stage']}" for fact in facts if fact["bad"] and fact["stage"] in acting}
        at_fault |= {what.replace("/", ":", 1) for what, _ in failures}
        if at_fault and len(at_fault) < 3:
            yield "fix/" + "/".join([*sorted(at_fault), "none"][:2])
        answers = [fact for fact in facts if fact.get("score")]
        if answers:
            yield from self._critical(facts, "detractor" if self._is_unhappy(answers[-1]) else "other")

    def _labyrinth(self, facts: list[Fact], segment: str, *, met: bool, started: bool) -> Iterable[str]:
        customer = {stage.name for stage in self._journey.stages if stage.kind == "customer"}
        acts = [f for f in facts if f["stage"] in customer and f["outcome"] not in ("asked", "followed_up")]
        known = self._journey.channels
        named = [fact["channel"] for fact in acts if fact.get("channel")]
        named = [channel if channel in known else "other" for channel in named]
        moves = [move for move in pairwise(named) if move[0] != move[1]]
        for move in moves:
            yield "moved/" + "/".join(move)
        back = any(moves[i][1] in [left for left, _ in moves[: i + 1]] for i in range(len(moves)))
        places, channel = [], None
        for fact in acts:
            channel = (
                channel
                if not fact.get("channel")
                else fact["channel"]
                if fact["channel"] in known
                else "other"
            )
            places.append((channel, fact["stage"]))
        changes = sum(
            (one[0] is not None and one[0] != other[0]) or one[1] != other[1]
            for one, other in pairwise(places)
        )
        last_was_bad = bool(acts) and (acts[-1]["bad"] > 0 or acts[-1]["outcome"] in ("failed", "abandoned"))
        unresolved = not met and (started or last_was_bad)
        if (back or changes >= 3) and unresolved:
            yield f"labyrinth/{segment}"
            if moves:
                yield "lost/" + "/".join(moves[-1])

    def _critical(self, facts: list[Fact], who: str) -> Iterable[str]:
        for stage in self._journey.stages:
            if stage.kind in ("feedback", "staff"):
                continue
            here = [fact for fact in facts if fact["stage"] == stage.name]
            if any(fact["judged"] for fact in here):
                yield f"critical/{stage.name}/{'bad' if any(f['bad'] for f in here) else 'ok'}_{who}"
            said = [fact["internal_ok"] for fact in here if fact.get("internal_ok") is not None]
            if said:
                outside = "bad" if who == "detractor" else "ok"
                yield f"gap/{stage.name}/{'ok' if all(said) else 'bad'}_inside_{outside}_outside"


def _contact_counters(facts: list[Fact]) -> Iterable[str]:
    """Of one case, each event once."""
    events = {(fact["stage"], fact["id"]): fact for fact in facts}.values()
    ordered = sorted(events, key=lambda fact: (fact["at"], fact["stage"], fact["id"]))
    for earlier, fact in pairwise([None, *ordered]):
        assert fact is not None
        repeat = earlier is not None and fact["at"] - earlier["at"] <= 7 * DAY_MS
        yield f"contact/{fact['stage']}/{'repeat' if repeat else 'first'}"


def sharing_cases(published: SimulatedEvent, random: Random, cases: int) -> list[SimulatedEvent]:
    """The event as an untidy service publishes it: one of few cases for customers' contacts of many journeys,
    sometimes no case, no journey or neither, now and then twice. Other events stay as they are."""
    fact = orjson.loads(published.value)
    if "case_id" not in fact:
        return [published]
    fact["case_id"] = f"case-{random.randrange(cases)}"
    for key in ("case_id", "journey_id"):
        if random.random() < 0.2:
            fact.pop(key, None)
    return [replace(published, value=orjson.dumps(fact))] * random.choice([1, 1, 1, 2])


def _word_of(promise: Fact, by: float) -> tuple[float, bool | None]:
    """The word that decides, and when it came: that it was kept, in time, or else the first there is."""
    due = promise["due"] if promise["due"] is not None else 9e15
    in_time = [word for word in promise["words"] if word[1] and word[0] <= min(due, by)]
    words = [word for word in promise["words"] if word[0] <= by]
    return next(iter([*in_time, *words]), (9e15, None))


def _is_broken(promise: Fact, end: int) -> bool:
    if promise["kind"] == "follow_up" or promise["due"] is None or promise["due"] > end:
        return False
    at, kept = _word_of(promise, promise["due"])
    return not kept or at < (promise["from"] or 0)


def _told_of(promise: Fact, end: int) -> Iterable[str]:
    head = f"promise/{promise['kind']}/{promise['partner']}"
    at, kept = _word_of(promise, end)
    if promise["due"] is None:
        if kept is not None:
            yield f"{head}/unpromised"
        return
    yield f"{head}/due"
    if promise["moved"]:
        yield f"{head}/rescheduled"
    if kept is None:
        yield f"{head}/missed"
    elif not kept:
        yield f"{head}/broken"
    elif at > promise["due"]:
        yield f"{head}/late"
    else:
        yield f"{head}/{'early' if at < (promise['from'] or 0) else 'kept'}"


def _owed_by(owing: Stage | None, id_: str, due: int | None, facts: list[Fact]) -> str:
    """Whom it was handed over to, else whom the owing stage names; said with the promise, else anywhere."""
    if owing is None:
        return "none"
    known = [fact for fact in facts if due is None or fact["at"] <= due]
    own = [fact for fact in known if (fact.get("promise") or {}).get("id") == id_]
    ordered = own + [fact for fact in known if fact not in own]
    handed = []
    for fact in ordered:
        if to := (fact.get("handoff") or {}).get("to"):
            handed.append(fact.get("partner") if to == owing.name else to)
    named = [f["partner"] for f in ordered if f["stage"] == owing.name and f.get("partner")]
    for partner in handed + named:
        if partner in owing.partners:
            return str(partner)
    return "other" if named else "unassigned" if owing.partners else "none"


def _is(fields: Iterable[tuple[str, frozenset[str]]], fact: Fact) -> bool:
    return all(fact.get(field) in values for field, values in fields)
