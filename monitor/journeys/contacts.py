"""Contacts of a case: each is the first or a repeat, by when it happened, in whatever order they are read."""

from bisect import bisect_left, insort
from heapq import heappop, heappush

from monitor.journeys.counters import Effect, name
from monitor.journeys.step import Contact

REPEAT_MS = 7 * 86_400_000
"""A further contact within so long is a repeat: the first did not solve the matter (MEASURES: FCR)."""

MAX_CONTACTS = 200
"""More than any case has; a service that gives all its events one case would fill the memory."""


class Cases:
    """Cases and their contacts, each judged once time has passed it, among all that are known by then."""

    def __init__(self) -> None:
        self._contacts: dict[str, list[Contact]] = {}
        self._ahead: list[Contact] = []
        """Those that time has not passed: a heap."""

    def knows(self, case: str) -> bool:
        """Whether a contact of the case is kept."""
        return case in self._contacts

    def is_full(self, case: str) -> bool:
        """Whether the case takes no more contacts."""
        return len(self._contacts.get(case, ())) >= MAX_CONTACTS

    def holds(self, contact: Contact) -> bool:
        """Whether the event is known: published again it is no other contact, whatever time it names."""
        known = self._contacts.get(contact.case, ())
        return any(one.id == contact.id and one.stage == contact.stage for one in known)

    def add(self, contact: Contact, *, is_judged: bool = False) -> None:
        """Keep a contact that is not held yet; unless it has been judged before, it will be."""
        insort(self._contacts.setdefault(contact.case, []), contact)
        if not is_judged:
            heappush(self._ahead, contact)

    def pass_time(self, clock_ms: int) -> list[Effect]:
        """Judge what happened up to then, in the order of its time."""
        effects = []
        while self._ahead and self._ahead[0].at_ms <= clock_ms:
            contact = heappop(self._ahead)
            what = "repeat" if self._is_repeat(contact) else "first"
            effects.append(Effect(contact.at_ms, (name("contact", contact.stage, what),)))
        return effects

    def _is_repeat(self, contact: Contact) -> bool:
        known = self._contacts[contact.case]
        before = bisect_left(known, contact) - 1
        return before >= 0 and contact.at_ms - known[before].at_ms <= REPEAT_MS

    def forget(self, contact: Contact) -> None:
        """Keep a contact no longer."""
        known = self._contacts[contact.case]
        known.remove(contact)
        if not known:
            del self._contacts[contact.case]
