"""Whole journeys over history: what they add to, in event time, whatever the order its events come in."""

from collections import defaultdict
from collections.abc import Iterator

from monitor.journey_file.model import Journey
from monitor.journeys.contacts import Cases
from monitor.journeys.counters import Effect
from monitor.journeys.open import KEEP_MS, JourneyRules, OpenJourney
from monitor.journeys.step import Contact, Step

END_MS = 2**63
"""After all that happened: a contact is over when it has been."""


class JourneysHistory:
    """The steps of every journey; all are kept until they are counted, some 500 bytes each."""

    def __init__(self, journey: Journey) -> None:
        self._rules = JourneyRules(journey)
        self._steps: defaultdict[str, list[Step]] = defaultdict(list)
        self._cases = Cases()

    def add(self, step: Step) -> None:
        """Take a step."""
        self._steps[step.journey_id].append(step)

    def add_contact(self, contact: Contact) -> None:
        """Take a contact; one published again counts once."""
        if not self._cases.holds(contact) and not self._cases.is_full(contact.case):
            self._cases.add(contact)

    def effects(self) -> Iterator[Effect]:
        """What all journeys add to, up to the last step of any; what is under way then stays so."""
        end_ms = max((step.at_ms for steps in self._steps.values() for step in steps), default=0)
        yield from self._cases.pass_time(END_MS)
        for steps in self._steps.values():
            yield from self._effects_of(sorted(steps, key=lambda step: step.order), end_ms)

    def _effects_of(self, steps: list[Step], end_ms: int) -> Iterator[Effect]:
        held = OpenJourney()
        for step in steps:
            yield from self._rules.pass_time(held, step.at_ms - 1) if held.steps else ()
            if held.closed_ms is not None and step.at_ms > held.closed_ms + KEEP_MS:
                held = OpenJourney()
            yield from self._rules.take(held, step) or ()
        yield from self._rules.pass_time(held, end_ms)
