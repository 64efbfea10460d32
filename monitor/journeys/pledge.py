"""A promise of one journey: when it was made, until when it is to be kept, and the word that decides."""

from math import inf

from msgspec import Struct

from monitor.journeys.counters import Effect, name, nobody_yet
from monitor.journeys.step import KeptMs


class Pledge(Struct, array_like=True, gc=False):
    """A promise of this journey, made at `made_ms`, and the word that decides how it went.

    It is to be kept from `due_from_ms`, if that was said, until `due_ms`; without a `due_ms` nothing was ever
    promised. It `is_counted` since it was due, and `is_settled` since what became of it was counted.
    """

    id: str
    kind: str
    made_ms: KeptMs
    partner: str | None = None
    due_ms: KeptMs | None = None
    is_counted: bool = False
    word_ms: KeptMs | None = None
    kept: bool = False
    is_settled: bool = False
    due_from_ms: KeptMs | None = None
    moved_to_ms: KeptMs | None = None
    """The latest deadline the company has put in the place of the one that judges."""
    told_ms: KeptMs = 0
    """When the deadline that judges was told."""
    promised_ms: KeptMs | None = None
    """When the first deadline was told, if something was told of it before."""
    told_kind: str | None = None
    """How a service calls it, where the journey file does not know that kind."""

    @property
    def about(self) -> tuple[str, str]:
        """What tells it from others of the journey: its id, and its kind as a service calls it."""
        return self.id, self.told_kind or self.kind

    @property
    def is_pending(self) -> bool:
        """Whether its deadline is still to come."""
        return self.due_ms is not None and not self.is_counted

    @property
    def is_awaited(self) -> bool:
        """Whether its deadline has passed without a word by then."""
        return self.is_counted and not self.is_settled

    @property
    def is_overdue(self) -> bool:
        """Whether its deadline has passed and nothing has been heard."""
        return self.is_awaited and self.word_ms is None

    @property
    def next_ms(self) -> float:
        """When it is to be counted next: at its deadline, then with the word that had not come by then."""
        if not self.is_counted:
            return inf if self.due_ms is None else max(self.due_ms, self.told_ms)
        return inf if self.is_settled or self.word_ms is None else max(self.word_ms, self.falls_due_ms)

    @property
    def falls_due_ms(self) -> float:
        """When its deadline is counted. One that had passed when it was told is when it was told."""
        return inf if self.due_ms is None else max(self.due_ms, self.told_ms)

    @property
    def counted_ms(self) -> float:
        """Up to when steps tell of what has been counted."""
        if not self.is_counted or self.due_ms is None:
            return -inf
        return max(self.falls_due_ms, self.word_ms or 0) if self.is_settled else self.falls_due_ms

    @property
    def kept_ms(self) -> int | None:
        """Since when it is kept. That it will not be is no reason to wait no longer: it may be kept yet."""
        return self.word_ms if self.kept else None

    @property
    def waits_from_ms(self) -> int:
        """Since when the journey waits for it, if it ever does: there is a deadline."""
        return self.made_ms if self.promised_ms is None else self.promised_ms

    @property
    def waits_until_ms(self) -> int | None:
        """Until when the journey waits for it: its latest deadline."""
        return self.due_ms if self.due_ms is None else max(self.due_ms, self.moved_to_ms or 0)

    def result(self, by_ms: int) -> str | None:
        """What had become of it by then: `kept`, `early`, `broken`, `late`; None when nothing was heard."""
        if self.word_ms is None or self.due_ms is None or self.word_ms > by_ms:
            return None
        if not self.kept:
            return "broken"
        if self.word_ms > self.due_ms:
            return "late"
        return "early" if self.due_from_ms is not None and self.word_ms < self.due_from_ms else "kept"

    def failed_ms(self, by_ms: int) -> int | None:
        """Since when the customer knows that it is not kept; None if it is, or may still be."""
        if self.due_ms is None or self.due_ms > by_ms or self.result(self.due_ms) == "kept":
            return None
        return self.due_ms

    def counter(self, what: str) -> str:
        """Name of one of its counters."""
        return name("promise", self.kind, self.partner or nobody_yet(None), what)

    def counted(self) -> list[Effect]:
        """What has been added to for it, as long as the journey is under way."""
        if not self.is_counted or self.due_ms is None:
            return []
        what = ["due"] if self.moved_to_ms is None else ["due", "rescheduled"]
        due_ms = max(self.due_ms, self.told_ms)
        effects = [Effect(due_ms, tuple(self.counter(one) for one in what))]
        if self.is_settled and self.word_ms is not None and (result := self.result(self.word_ms)):
            effects.append(Effect(max(self.word_ms, due_ms), (self.counter(result),)))
        return effects

    def reopen(self) -> None:
        """What was counted is taken back."""
        self.is_counted = self.is_settled = False
