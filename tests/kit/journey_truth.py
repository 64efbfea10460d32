"""What journeys must come to, worked out the slow and plain way: all events at hand, one journey at a time.

Shares no code with what it judges but the verdict on a single event (`monitor.judging`, tested by itself) and
the names of counters.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson

from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.journey_file.model import Journey
from streams.demo.simulator import SimulatedEvent

DAY_MS = 86_400_000
UNHAPPY = {"nps": 6, "csat": 2, "ces": 2}

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

    def add(self, published: SimulatedEvent) -> None:
        """Note an event."""
        codec, judge = self._judges[published.topic]
        event = codec.decode(published.value)
        assert isinstance(event, Event)
        if event.journey_id is not None:
            verdict = judge.judge(event)
            fact = orjson.loads(published.value)
            fact |= {"at": at_ms(fact["time"]), "judged": verdict.judged, "bad": len(verdict.bad_for)}
            self._facts[event.journey_id].append(fact)

    @property
    def journeys(self) -> int:
        """How many there are."""
        return len(self._facts)

    def counters(self) -> Counter[str]:
        """Every counter, once all journeys are over."""
        found: Counter[str] = Counter()
        for facts in self._facts.values():
            found.update(self._journey_counters(sorted(facts, key=lambda fact: (fact["at"], fact["stage"]))))
        return found

    def _journey_counters(self, facts: list[Fact]) -> Iterable[str]:
        promises, handoffs = self._promises(facts), self._handoffs(facts)
        end = self._end(facts, promises, handoffs)
        inside = [fact for fact in facts if fact["at"] <= end]
        segment = next((f["segment"] for f in inside if f.get("segment") in self._journey.segments), "other")
        for stage in {fact["stage"] for fact in facts if fact["bad"]}:
            yield f"hit/{stage}/{segment}"
        yield from self._closing(inside, segment)
        for promise in promises:
            if promise["made"] > end:
                continue
            head = f"promise/{promise['kind']}/{promise['partner']}"
            done, due = promise["done"], promise["due"]
            yield f"{head}/due"
            if done is not None and done <= min(due, end) and promise["kept"]:
                yield f"{head}/kept"
            elif done is not None and done <= end:
                yield f"{head}/late"
            else:
                yield f"{head}/missed"
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
            waits = [p["due"] for p in promises if p["made"] <= now and not (p["done"] or 9e15) <= now]
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
                    {"kind": kind, "made": fact["at"], "due": None, "done": None, "kept": False},
                )
                told = (fact.get("partner"), (fact.get("handoff") or {}).get("to"))
                known = [partner for partner in told if kind in owing and partner in owing[kind].partners]
                if kind in owing and fact["stage"] == owing[kind].name and fact.get("partner"):
                    known.append("other")
                is_due_yet = one["due"] is not None and one["due"] < fact["at"]
                if one.get("partner", "none") in ("none", "other") and not is_due_yet:
                    one["partner"] = known[0] if known else one.get("partner", "none")
                if one["due"] is None and promise.get("due"):
                    one["due"] = at_ms(promise["due"])
                if promise.get("kept") is not None and one["done"] is None:
                    one["done"], one["kept"] = fact["at"], promise["kept"]
                    one["due"] = fact["at"] if one["due"] is None else one["due"]
            follow_up = self._rules.follow_up
            if follow_up is not None and _is_unhappy(fact):
                after = [f["at"] for f in facts if f["at"] >= fact["at"] and _is(follow_up.match.fields, f)]
                found[f"follow up {number}"] = {
                    "kind": "follow_up", "partner": "none", "made": fact["at"],
                    "due": fact["at"] + follow_up.within_ms, "done": min(after, default=None), "kept": True,
                }  # fmt: skip
        return list(found.values())

    def _handoffs(self, facts: list[Fact]) -> list[Fact]:
        found: dict[str, Fact] = {}
        for fact in facts:
            told = fact.get("handoff") or {"from": None, "to": None}
            for edge in self._rules.edges:
                partners = self._journey.stage(edge.receiver).partners
                if told["from"] != edge.sender or told["to"] not in (edge.receiver, *partners):
                    continue
                named = told["to"] if told["to"] in partners else fact.get("partner")
                partner = named if named in partners else ("none" if named is None else "other")
                one = found.setdefault(
                    told["id"], {"edge": edge, "partner": partner, "sent": None, "received": None}
                )
                if fact["stage"] == edge.sender and one["sent"] is None:
                    one["partner"] = partner
                    one["sent"], one["due"] = fact["at"], fact["at"] + edge.within_ms
                if fact["stage"] == edge.receiver and one["received"] is None:
                    one["received"] = fact["at"]
        return list(found.values())

    def _closing(self, facts: list[Fact], segment: str) -> Iterable[str]:
        met = any(_is(self._rules.goal.fields, fact) for fact in facts)
        started = any(_is(self._rules.starts.fields, fact) for fact in facts)
        yield f"closed/{'met' if met else 'missed' if started else 'visit'}/{segment}"
        scores = [1 - fact["bad"] / fact["judged"] if fact["judged"] else 1 for fact in facts]
        bounds = ("0", "0.25", "0.5", "0.75", "0.99", "1")
        yield f"score/{next(bound for bound in bounds if min(scores) <= float(bound))}/{segment}"
        if min(scores) < 1:
            yield f"weakest/{facts[scores.index(min(scores))]['stage']}/{segment}"
        yield from self._labyrinth(facts, segment, met=met)
        contacts = [f for f in facts if f["stage"] in self._rules.contacts]
        own = [fact for fact in contacts if fact.get("initiator") != "company"]
        for earlier, fact in pairwise([None, *own]):
            assert fact is not None
            repeat = earlier is not None and fact["at"] - earlier["at"] <= 7 * DAY_MS
            yield f"contact/{fact['stage']}/{'repeat' if repeat else 'first'}"
        wrong = [fact["at"] for fact in facts if fact["bad"]]
        if wrong:
            spoke = [fact for fact in contacts if fact["at"] > wrong[0]]
            yield f"noticed/{(spoke[0].get('initiator') or 'customer') if spoke else 'nobody'}"
        answers = [fact for fact in facts if fact.get("score")]
        if answers:
            yield from self._critical(facts, "detractor" if _is_unhappy(answers[-1]) else "other")

    def _labyrinth(self, facts: list[Fact], segment: str, *, met: bool) -> Iterable[str]:
        customer = {stage.name for stage in self._journey.stages if stage.kind == "customer"}
        known = self._journey.channels
        channels = [f["channel"] for f in facts if f["stage"] in customer and f.get("channel")]
        channels = [channel if channel in known else "other" for channel in channels]
        moves = [move for move in pairwise(channels) if move[0] != move[1]]
        for move in moves:
            yield "moved/" + "/".join(move)
        back = any(moves[i][1] in [left for left, _ in moves[:i]] for i in range(len(moves)))
        if (back or len(moves) >= 3) and not met and facts[-1]["bad"]:
            yield f"labyrinth/{segment}"
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


def _is(fields: Iterable[tuple[str, frozenset[str]]], fact: Fact) -> bool:
    return all(fact.get(field) in values for field, values in fields)


def _is_unhappy(fact: Fact) -> bool:
    score = fact.get("score")
    return score is not None and score["value"] <= UNHAPPY[score["kind"]]
