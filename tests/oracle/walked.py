"""What one journey comes to, by the README files alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tests.oracle.events import FAR, SCORES, Event, File, Rows, matches, moment, name_of, span


@dataclass
class Owed:
    """What is owed in a journey, and what became of it: a promise, a follow-up or a hand-over."""

    kind: str
    partner: str
    due: datetime
    result: str = ""
    rescheduled: int = 0
    waits_until: datetime | None = None
    """Until when the journey waits for it."""


@dataclass
class Journey:
    """Its steps in the order in which they happened, as far as they count."""

    file: File
    at: datetime
    steps: list[Event] = field(default_factory=list)
    over: datetime = FAR
    """When it is over, if nothing more comes."""
    hit: set[str] = field(default_factory=set)
    """Stages of bad encounters, of those after its end too: they count when they are read."""
    ended: bool = False
    """Whether a step has ended it. What is owed until then is waited for, and nothing that comes later."""

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.over <= self.at

    def add(self, step: Event) -> bool:
        """Take the next step; False if the journey was over before it."""
        if self.is_bad(step):
            self.hit.add(step["stage"])
        if self.steps and moment(step["time"]) > self.over:
            return False
        self.steps.append(step)
        self.over = self._end()
        return True

    def _end(self) -> datetime:
        now = moment(self.steps[-1]["time"])
        limit = moment(self.steps[0]["time"]) + span(self.file.journeys["limit"])
        if self.ended:
            return self.over
        waits = [owed.waits_until for owed in self.owed() if owed.waits_until]
        self.ended = self.matches(self.steps[-1], "ends")
        quiet = span(self.file.journeys["quiet"])
        return min(limit, max([now, *waits]) + (timedelta() if self.ended else quiet))

    def matches(self, step: Event, what: str) -> bool:
        """Whether a step is one of `starts`, `goal` or `ends`."""
        return matches(step, self.file.journeys[what])

    def owed(self) -> list[Owed]:
        """Promises, follow-ups and hand-overs."""
        return [*self.promises(), *self.follow_ups(), *self.handoffs()]

    def _told(self, what: str) -> dict[tuple[str, str], list[Event]]:
        told: dict[tuple[str, str], list[Event]] = defaultdict(list)
        for step in self.steps:
            if step.get(what):
                told[step[what].get("kind", ""), step[what]["id"]].append(step)
        return told

    def promises(self) -> Iterator[Owed]:
        """Of each kind and id for which a deadline was told."""
        for (kind, _), steps in self._told("promise").items():
            dues = [step for step in steps if step["promise"].get("due")]
            known = self.file.journeys["promises"]
            named = kind if kind in known else "other"
            stage = known[kind]["stage"] if kind in known else None
            if not dues:
                partner = self._owner(stage, steps, self.over) if stage else "none"
                yield Owed(named, partner, FAR, "unpromised")
                continue
            judging, rescheduled = dues[0], 0
            for step in dues[1:]:
                told = step["promise"]["due"]
                if moment(step["time"]) > moment(judging["promise"]["due"]):
                    break
                if step.get("initiator") == "customer":
                    judging = step
                elif told != judging["promise"]["due"]:
                    rescheduled = 1
            due = moment(judging["promise"]["due"])
            partner = self._owner(stage, steps, due) if stage else "none"
            owed = Owed(named, partner, due, rescheduled=rescheduled)
            since = judging["promise"].get("due_from")
            owed.result = self._result(steps, moment(since) if since else None, due)
            if owed.result in ("", "broken"):
                owed.waits_until = max(moment(step["promise"]["due"]) for step in dues)
            yield owed

    def _result(self, steps: list[Event], since: datetime | None, due: datetime) -> str:
        words = [
            (moment(step["time"]), step["promise"]["kept"])
            for step in steps
            if step["promise"].get("kept") is not None
        ]
        in_time = [(time, kept) for time, kept in words if time <= due]
        kept = [time for time, kept in in_time if kept]
        if kept:
            return "early" if since and kept[0] < since else "kept"
        if not words:
            return ""
        return "late" if words[0][1] else "broken"

    def _owner(self, stage: str, steps: list[Event], due: datetime) -> str:
        names = self.file.tree["stages"][stage].get("partners")
        if not names:
            return "none"
        by = min(due, self.over)
        told, all_ = ([step for step in each if moment(step["time"]) <= by] for each in (steps, self.steps))
        handed = [self._receiver(step) for step in (*told, *all_) if self._is_handed_to(step, stage)]
        said = [step.get("partner") for step in (*told, *all_) if step["stage"] == stage]
        named = [partner for partner in (*handed, *said) if partner]
        known = [partner for partner in named if partner in names]
        return known[0] if known else "other" if named else "unassigned"

    def _edges(self) -> dict[str, Any]:
        return {edge["from"]: edge for edge in self.file.journeys.get("handoffs", [])}

    def _handed_to(self, step: Event) -> str | None:
        """The stage to which a step hands something over."""
        edge = self._edges().get(step["stage"])
        sends = edge and step.get("handoff") and step["handoff"]["from"] == step["stage"]
        return edge["to"] if edge and sends and self._is_known(step, edge) else None

    def _is_handed_to(self, step: Event, stage: str) -> bool:
        """Whether sender or receiver tell of a hand-over to that stage, or to a partner of it."""
        to = (stage, *self.file.tree["stages"][stage].get("partners", ()))
        return bool(step.get("handoff")) and step["handoff"]["to"] in to

    def _is_known(self, step: Event, edge: Any) -> bool:
        names = self.file.tree["stages"][edge["to"]].get("partners", ())
        return step["handoff"]["to"] in (edge["to"], *names)

    def _receiver(self, step: Event) -> str | None:
        """The partner whom the sender names."""
        to: str = step["handoff"]["to"]
        partner: str | None = step.get("partner") if to in self.file.tree["stages"] else to
        return partner

    def handoffs(self) -> Iterator[Owed]:
        """What one stage handed over to another."""
        told: dict[tuple[str, str], list[Event]] = defaultdict(list)
        for step in self.steps:
            if step.get("handoff"):
                told[step["handoff"]["id"], step["handoff"]["from"]].append(step)
        for steps in told.values():
            edge = self._edges().get(steps[0]["handoff"]["from"])
            if not edge:
                continue
            arrived = [step for step in steps if step["stage"] == edge["to"] and self._is_known(step, edge)]
            received = [moment(step["time"]) for step in arrived]
            sent = next((step for step in steps if self._handed_to(step)), None)
            names = self.file.tree["stages"][edge["to"]].get("partners")
            about = f"{edge['from']}/{edge['to']}"
            if not sent and not arrived:
                continue
            partner = name_of(self._receiver(sent or arrived[0]), names) if names else "none"
            if not sent:
                yield Owed(about, partner, FAR, "unsent")
                continue
            due = moment(sent["time"]) + span(edge["within"])
            result = "" if not received else "received" if received[0] <= due else "late"
            waits = None if received else due
            yield Owed(about, partner, due, result, waits_until=waits)

    def follow_ups(self) -> Iterator[Owed]:
        """Of each unhappy answer: somebody has to speak to the customer."""
        rule = self.file.journeys.get("follow_up")
        for number, step in enumerate(self.steps):
            if not rule or not self.file.is_unhappy(step):
                continue
            due = moment(step["time"]) + span(rule["within"])
            after = [moment(each["time"]) for each in self.steps[number:] if self._follows_up(each)]
            result = "" if not after else "kept" if after[0] <= due else "late"
            partner = self._owner(rule["stage"], [step], due)
            yield Owed("follow_up", partner, due, result, waits_until=None if after else due)

    def _follows_up(self, step: Event) -> bool:
        rule = self.file.journeys["follow_up"]
        return step["stage"] == rule["stage"] and step["outcome"] in rule["outcome"]

    # What it comes to

    @cached_property
    def segment(self) -> str:
        """The first known one that a step names."""
        named = (step["segment"] for step in self.steps if step.get("segment") in self.file.tree["segments"])
        return next(named, "other")

    def result(self) -> str:
        """Visit, met or missed."""
        if not any(self.matches(step, "starts") for step in self.steps):
            return "visit"
        return "met" if any(self.matches(step, "goal") for step in self.steps) else "missed"

    def weakest(self) -> tuple[float, str]:
        """The score of the weakest encounter, 1 if none was judged; its stage, the first of several."""
        worst, stage = 1.0, ""
        for step in self.steps:
            verdicts = self.file.verdicts(step).values()
            score = sum(verdicts) / len(verdicts) if verdicts else 1.0
            if score < worst:
                worst, stage = score, step["stage"]
        return worst, stage

    def is_bad(self, step: Event) -> bool:
        """Whether it was bad for some experience."""
        return False in self.file.verdicts(step).values()

    def lost(self) -> list[Owed]:
        """Hand-overs that were not received in time, in the order of their time."""
        return self._overdue(self.handoffs(), ("", "late"))

    def not_kept(self) -> list[Owed]:
        """Promises that were not kept, in the order of their deadlines."""
        return self._overdue(self.promises(), ("", "late", "broken", "early"))

    def _overdue(self, owed: Iterable[Owed], results: tuple[str, ...]) -> list[Owed]:
        return sorted(
            (each for each in owed if each.result in results and each.due <= self.over),
            key=lambda each: (each.due, each.kind),
        )

    def rows(self) -> Rows:
        """Everything that the journey adds."""
        rows: Rows = Counter()
        for stage in self.hit:
            rows["window_journeys_hit", stage, self.segment] += 1
        self._count_owed(rows)
        if self.closed:
            self._count_result(rows)
            self._count_moves(rows)
            self._count_answer(rows)
            self._count_fix(rows)
            if by := self.noticed():
                rows["window_noticed", by] += 1
        else:
            rows[("open_journeys",)] += 1
        return rows

    def _count_owed(self, rows: Rows) -> None:
        for owed in [*self.promises(), *self.follow_ups()]:
            label = ("window_promises", owed.kind, owed.partner)
            if owed.result == "unpromised":
                rows[(*label, owed.result)] += self.closed
                continue
            if self.closed or owed.due <= self.at:
                rows[(*label, "due")] += 1
                rows[(*label, "rescheduled")] += owed.rescheduled
                if owed.result or self.closed:
                    rows[(*label, owed.result or "missed")] += 1
        for owed in self.handoffs():
            edge = ("window_handoffs", *owed.kind.split("/"), owed.partner)
            if owed.result == "unsent":
                rows[(*edge, "received")] += self.closed
                continue
            rows[(*edge, "sent")] += 1
            if owed.result:
                rows[(*edge, "received")] += 1
            if owed.result == "late":
                rows[(*edge, "late")] += 1
            if owed.result != "received" and (self.closed or owed.due <= self.at):
                rows[(*edge, "lost")] += 1

    def _count_result(self, rows: Rows) -> None:
        segment, result = self.segment, self.result()
        rows["window_journeys", result, segment] += 1
        score, stage = self.weakest()
        most = next(most for most in SCORES if score <= most)
        rows["window_journey_scores", f"{most:g}", segment] += 1
        if stage:
            rows["window_weakest", stage, segment] += 1
        if result == "missed":
            lost, not_kept = self.lost(), self.not_kept()
            cause = (
                ("handoff", lost[0].kind.replace("/", ">"))
                if lost
                else ("promise", not_kept[0].kind)
                if not_kept
                else ()
            )
            cause = cause or (("stage", stage) if stage else ("none", "none"))
            rows[("window_failed_journeys", *cause, segment)] += 1

    def contacts(self) -> list[Event]:
        """Steps at which the customer is met, in a channel or a unit."""
        return [step for step in self.steps if self.file.stage(step)["kind"] == "customer"]

    def _count_moves(self, rows: Rows) -> None:
        channel = unit = ""
        left: set[str] = set()
        changes, came_back = 0, False
        last: tuple[str, ...] = ()
        for step in self.contacts():
            now = self.file.label(step, "channel") if step.get("channel") else channel
            here = step["stage"] if self.file.stage(step)["kind"] == "customer" else unit
            changes += bool(unit and here != unit) or bool(channel and now != channel)
            if channel and now != channel:
                last = (channel, now)
                rows[("window_channel_moves", *last)] += 1
                left.add(channel)
                came_back |= now in left
            channel, unit = now, here
        if (came_back or changes >= 3) and self._is_unresolved():
            rows["window_labyrinths", self.segment] += 1
            if last:
                rows[("window_lost_between", *last)] += 1

    def _is_unresolved(self) -> bool:
        if (result := self.result()) != "visit":
            return result == "missed"
        last = self.contacts()[-1]
        return last["outcome"] in ("failed", "abandoned") or self.is_bad(last)

    def noticed(self) -> str | None:
        """Who spoke first after the first thing that went wrong; None if nothing did."""
        wrong = [moment(step["time"]) for step in self.steps if self.is_bad(step)]
        wrong += [owed.due for owed in [*self.lost(), *self.not_kept()]]
        if not wrong:
            return None
        for step in self.steps:
            if moment(step["time"]) <= min(wrong):
                continue
            if self._follows_up(step):
                return "company"
            if step["stage"] in self.file.journeys["contacts"]:
                return "company" if step.get("initiator") == "company" else "customer"
        return "nobody"

    def _count_fix(self, rows: Rows) -> None:
        """The one thing that would have had to be good, or the two."""
        wrong = {"handoff:" + owed.kind.replace("/", ">") for owed in self.lost()}
        wrong |= {"promise:" + owed.kind for owed in self.not_kept()}
        for step in self.steps:
            if self.is_bad(step) and self.file.stage(step)["kind"] not in ("feedback", "staff"):
                wrong.add("stage:" + step["stage"])
        match sorted(wrong):
            case [one]:
                rows["window_fixable_journeys", one, "none"] += 1
            case [one, other]:
                rows["window_fixable_journeys", one, other] += 1

    def _count_answer(self, rows: Rows) -> None:
        answers = [step for step in self.steps if step.get("score")]
        if not answers:
            return
        unhappy = self.file.is_unhappy(answers[-1])
        for stage in {step["stage"] for step in self.steps if self.file.verdicts(step)}:
            here = [step for step in self.steps if step["stage"] == stage]
            if self.file.stage(here[0])["kind"] != "feedback":
                bad = "bad" if any(self.is_bad(step) for step in here) else "ok"
                rows["window_critical", stage, f"{bad}_{'detractor' if unhappy else 'other'}"] += 1
        for stage in {step["stage"] for step in self.steps if step.get("internal_ok") is not None}:
            said = [step.get("internal_ok") for step in self.steps if step["stage"] == stage]
            inside, outside = "bad" if False in said else "ok", "bad" if unhappy else "ok"
            rows["window_gap", stage, f"{inside}_inside_{outside}_outside"] += 1
