"""What was promised to a customer, whose it is to keep, and what has become of it.

All is what the journey's steps say in the order of their time. What the newest step says is added; when an
older one comes they are read anew. What falls due is counted when every step from before then has been read.
What is read even later takes back what was counted, if that is no longer so, and it is counted anew. So no
order of arrival matters.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import inf

from monitor.counting.times import epoch_ms
from monitor.journey_file.model import FOLLOW_UP, OTHER, Journey, Stage
from monitor.journeys.closing import is_unhappy, matches
from monitor.journeys.counters import Effect, nobody_yet, taken_back
from monitor.journeys.pledge import Pledge
from monitor.journeys.step import Step


class Promises:
    """What a journey file says about promises. Stateless."""

    def __init__(self, journey: Journey) -> None:
        rules = journey.journeys
        assert rules is not None  # noqa: S101 - the caller has looked
        owing = {kind.name: journey.stage(kind.stage) for kind in rules.promises}
        self._follows_up = nobody_yet(owing.pop(FOLLOW_UP, None))
        self._owing = owing
        self._rules = rules

    def take(
        self, pledges: list[Pledge], steps: Sequence[Step], step: Step, *, is_newest: bool
    ) -> tuple[bool, list[Effect]]:
        """Note what this step, already one of `steps`, says or changes.

        Returns whether that changes what was waited for before the step's time, and what is taken back.
        """
        about = _about(step)
        made = None
        if about is not None and all(one.about != about for one in pledges):
            made = self._made(about, step, steps)
        anew = [
            pledge
            for pledge in pledges
            if self._concerns(pledge, step, about)
            and not (is_newest and self._hear(pledge, step, told=about == pledge.about))
        ]
        reaches_back, effects = not is_newest, list[Effect]()
        if anew:
            waited = [_waited(pledge, step.at_ms) for pledge in anew] if is_newest else []
            effects += self._read_anew(anew, steps, step.at_ms)
            reaches_back = reaches_back or waited != [_waited(pledge, step.at_ms) for pledge in anew]
        if made is not None:
            pledges.append(made)
        effects += self._follow(pledges, steps, step)
        return reaches_back, effects

    def _read_anew(self, pledges: list[Pledge], steps: Sequence[Step], at_ms: int) -> list[Effect]:
        """Read what is told of them; what a step of that moment reaches back to, as if it were not counted.
        Returns what is taken back."""
        counted = [
            (pledge, pledge.counted(), pledge.is_settled) for pledge in pledges if at_ms <= pledge.counted_ms
        ]
        for pledge, _, _ in counted:
            pledge.reopen()
        self.read(pledges, steps)
        return [effect for one in counted for effect in _taken_back(*one)]

    def _made(self, about: tuple[str, str], step: Step, steps: Sequence[Step]) -> Pledge:
        """What no other step tells of."""
        (id_, kind), at_ms = about, step.at_ms
        owing = self._owing.get(kind)
        if owing is None:
            pledge = Pledge(id_, OTHER, at_ms, partner=nobody_yet(None), told_kind=kind)
        else:
            pledge = Pledge(id_, kind, at_ms)
        _set_deadline(pledge, (step,))
        _set_word(pledge, (step,))
        if owing is not None:
            pledge.partner = _partner(pledge, owing, [step, *_deciding(owing, steps)])
        return pledge

    def _concerns(self, pledge: Pledge, step: Step, about: tuple[str, str] | None) -> bool:
        if about == pledge.about:
            return True
        owing = self._owing.get(pledge.kind)
        return owing is not None and (step.handoff is not None or step.stage == owing.name)

    def _hear(self, pledge: Pledge, step: Step, *, told: bool) -> bool:
        """Add what the newest step says of a promise, if it has `told` of it; False when all steps have to be
        read for it.

        They need not be for the first word of it, with its deadline once more or without.
        """
        if step.at_ms <= pledge.counted_ms:
            return False
        if pledge.is_settled:
            return True
        owing = self._owing.get(pledge.kind)
        if told and step.promise is not None:
            if pledge.word_ms is not None or _sets_deadline(pledge, step):
                return False
            if step.promise.kept is not None:
                pledge.word_ms, pledge.kept = step.at_ms, step.promise.kept
        return owing is None or pledge.is_counted or _hear_partner(pledge, owing, step)

    def read(self, pledges: Sequence[Pledge], steps: Sequence[Step]) -> None:
        """What has been counted stays: the deadline, whose it was, and the word if there was one.

        The steps are gone through once, not once for each pledge: a journey may have 200 of both.
        """
        told_of: defaultdict[tuple[str, str], list[Step]] = defaultdict(list)
        for one in steps:
            if (about := _about(one)) is not None:
                told_of[about].append(one)
        deciding: dict[str, list[Step]] = {}
        for pledge in pledges:
            told = told_of[pledge.about]
            if not told or pledge.is_settled:
                continue
            if not pledge.is_counted:
                pledge.made_ms = told[0].at_ms
                _set_deadline(pledge, told)
                owing = self._owing.get(pledge.kind)
                if owing is not None:
                    if owing.name not in deciding:
                        deciding[owing.name] = _deciding(owing, steps)
                    pledge.partner = _partner(pledge, owing, [*told, *deciding[owing.name]])
            _set_word(pledge, told)

    def _follow(self, pledges: list[Pledge], steps: Sequence[Step], step: Step) -> list[Effect]:
        """An unhappy customer's answer is to be followed up; what follows up may have been read before it.
        Returns what is taken back."""
        rule, effects = self._rules.follow_up, list[Effect]()
        if rule is None:
            return effects
        if is_unhappy(self._rules.unhappy, step.score):
            at_ms, due_ms = step.at_ms, step.at_ms + rule.within_ms
            pledges.append(Pledge(f"{FOLLOW_UP}/{at_ms}", FOLLOW_UP, at_ms, self._follows_up, due_ms))
            for one in steps:
                if matches(rule.match, one):
                    _followed(pledges[-1], one.at_ms)
        if matches(rule.match, step):
            for pledge in pledges:
                if pledge.kind == FOLLOW_UP:
                    effects += _followed(pledge, step.at_ms)
        return effects

    def fall_due(self, pledge: Pledge, at_ms: int) -> list[Effect]:
        """The deadline has come, or the journey is over before it."""
        pledge.is_counted = True
        what = ["due"]
        if pledge.moved_to_ms is not None:
            what.append("rescheduled")
        result = pledge.result(at_ms)
        pledge.is_settled = result is not None
        if result is not None:
            what.append(result)
        return [Effect(at_ms, tuple(pledge.counter(one) for one in what))]

    def count_word(self, pledge: Pledge, at_ms: int) -> list[Effect]:
        """The word that had not come by the deadline."""
        pledge.is_settled = True
        result = pledge.result(at_ms)
        assert result is not None  # noqa: S101 - it has come by then
        return [Effect(at_ms, (pledge.counter(result),))]

    def close(self, pledge: Pledge, at_ms: int) -> list[Effect]:
        """The journey is over."""
        effects = self.fall_due(pledge, at_ms) if pledge.is_pending else []
        if pledge.is_awaited:
            effects.append(Effect(at_ms, (pledge.counter("missed"),)))
        if pledge.due_ms is None and pledge.word_ms is not None:
            effects.append(Effect(at_ms, (pledge.counter("unpromised"),)))
        return effects


def _about(step: Step) -> tuple[str, str] | None:
    """Id and kind of the promise that a step tells of."""
    return None if step.promise is None else (step.promise.id, step.promise.kind)


def _waited(pledge: Pledge, before_ms: int) -> tuple[int, int, int | None] | None:
    """Since when and until when it was waited for and when it was kept, as far as that is before a moment."""
    since_ms, until_ms, kept_ms = pledge.waits_from_ms, pledge.waits_until_ms, pledge.kept_ms
    if until_ms is None or since_ms >= before_ms:
        return None
    return since_ms, until_ms, kept_ms if kept_ms is not None and kept_ms < before_ms else None


def _set_deadline(pledge: Pledge, told: Sequence[Step]) -> None:
    """The first deadline told judges; a later one takes its place only as the customer's own wish.

    What is told when a deadline has passed changes it no more.
    """
    pledge.due_from_ms = pledge.due_ms = pledge.moved_to_ms = pledge.promised_ms = None
    for step in told:
        assert step.promise is not None  # noqa: S101 - the caller has looked
        if step.promise.due is None:
            continue
        due_ms = epoch_ms(step.promise.due)
        if pledge.due_ms is not None and step.at_ms > pledge.due_ms:
            return
        if pledge.due_ms is None or step.initiator == "customer":
            due_from = step.promise.due_from
            pledge.due_from_ms = None if due_from is None else epoch_ms(due_from)
            if pledge.due_ms is None and step.at_ms > pledge.made_ms:
                pledge.promised_ms = step.at_ms
            pledge.due_ms, pledge.told_ms = due_ms, step.at_ms
        elif due_ms != pledge.due_ms:
            pledge.moved_to_ms = max(due_ms, pledge.moved_to_ms or 0)


def _sets_deadline(pledge: Pledge, step: Step) -> bool:
    """Whether a step that tells of a promise made before may change when it is due."""
    assert step.promise is not None  # noqa: S101 - the caller has looked
    due = step.promise.due
    return due is not None and (step.initiator == "customer" or epoch_ms(due) != pledge.due_ms)


def _set_word(pledge: Pledge, told: Sequence[Step]) -> None:
    """That it was kept, if that is said by the deadline; otherwise the first word there is."""
    first = None
    for one in told:
        if one.promise is None or one.promise.kept is None:
            continue
        if one.promise.kept and (pledge.due_ms is None or one.at_ms <= pledge.due_ms):
            pledge.word_ms, pledge.kept = one.at_ms, True
            return
        first = first or (one.at_ms, one.promise.kept)
    if first is not None:
        pledge.word_ms, pledge.kept = first


def _deciding(owing: Stage, steps: Sequence[Step]) -> list[Step]:
    """The only steps that can say who has to keep a promise told elsewhere: the first that hands over to the
    stage, and the first of the stage, that name a partner, and the first of either that name one it has."""
    found: dict[tuple[str, bool], Step] = {}
    for one in steps:
        for what, partner in (("handed", _handed_to(one, owing)), ("named", _named(one, owing))):
            if partner is not None:
                found.setdefault((what, partner in owing.partners), one)
    return list(found.values())


def _partner(pledge: Pledge, owing: Stage, steps: Sequence[Step]) -> str:
    """The partner who has to keep it: whom it was handed over to, else whom the stage that owes it names.

    `steps` are those that tell of the promise, whose word comes first, then what is said elsewhere in the
    journey. `other` for one that the journey file does not name; a stage without partners has none.
    """
    if not owing.partners:
        return nobody_yet(owing)
    until_ms = inf if pledge.due_ms is None else pledge.due_ms
    partner = nobody_yet(owing)
    for names in (_handed_to, _named):
        for one in steps:
            if one.at_ms <= until_ms and (named := names(one, owing)) is not None:
                if named in owing.partners:
                    return named
                partner = OTHER
    return partner


def _hear_partner(pledge: Pledge, owing: Stage, step: Step) -> bool:
    """As `_partner`, of the newest step; False when what others say may matter, too."""
    is_in_time = pledge.due_ms is None or step.at_ms <= pledge.due_ms
    said = {_handed_to(step, owing), _named(step, owing)} - {None}
    return not is_in_time or not said or (said == {pledge.partner} and pledge.partner in owing.partners)


def _named(step: Step, owing: Stage) -> str | None:
    """Whom an event of that stage names."""
    return step.partner if step.stage == owing.name else None


def _handed_to(step: Step, owing: Stage) -> str | None:
    """Whom a hand-over to that stage names: its receiver, or the partner of who hands over."""
    if step.handoff is None:
        return None
    if step.handoff.to == owing.name:
        return step.partner
    return step.handoff.to if step.handoff.to in owing.partners else None


def _followed(pledge: Pledge, at_ms: int) -> list[Effect]:
    """Somebody who was unhappy has been contacted; the first time counts. Returns what is taken back."""
    if at_ms < pledge.made_ms or (pledge.word_ms is not None and pledge.word_ms <= at_ms):
        return []
    before, is_counted, is_settled = pledge.counted(), pledge.is_counted, pledge.is_settled
    pledge.word_ms, pledge.kept = at_ms, True
    return _taken_back(pledge, before, is_settled) if is_counted else []


def _taken_back(pledge: Pledge, before: list[Effect], is_settled: bool) -> list[Effect]:
    """Leave what was counted as it was, if that is still so; otherwise take it back, to be counted anew."""
    pledge.is_counted, pledge.is_settled = True, is_settled
    if pledge.counted() == before:
        return []
    pledge.reopen()
    return taken_back(before)
