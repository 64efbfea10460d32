"""Contacts of a case count once and are judged alike, whatever crashes, lingers or is forgotten."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest

from monitor.counting.panes import LONG
from monitor.journeys.contacts import MAX_CONTACTS, REPEAT_MS
from monitor.journeys.counters import CounterTally
from monitor.journeys.open import JourneyRules
from monitor.journeys.step import Contact, Steps
from streams.journeys.contacts import EACH_BYTES, Contacts
from streams.journeys.partition import JourneyPartition
from streams.state.partition import PaneRecord, Partition, Run
from tests.kit.shipped import SHIPPED

RULES = JourneyRules(SHIPPED)
STAGE = "call_queue"
START = 1_700_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
HORIZON = 8 * DAY


def record(mark_ms: int, *contacts: Contact) -> Steps:
    """What one source sends."""
    return Steps(STAGE, 0, mark_ms, (), contacts)


def log(random: Random) -> list[Steps]:
    """Contacts of forty days in few cases, two a record; some come days late, some twice."""
    arrivals: list[tuple[int, Contact]] = []
    for number in range(600):
        at_ms = START + random.randrange(40 * DAY)
        contact = Contact(at_ms, STAGE, str(number), f"case:{random.randrange(60)}")
        for _ in range(random.choice([1, 1, 2])):
            arrivals.append((at_ms + random.choice([0, 0, HOUR, random.randrange(HORIZON - DAY)]), contact))
    arrivals.sort()
    pairs = zip(arrivals[::2], arrivals[1::2], strict=False)
    records = [record(two[0], one[1], two[1]) for one, two in pairs]
    return [*records, record(START + 100 * DAY)]


def oracle(records: Iterable[Steps]) -> Counter[str]:
    """The plain way: nothing is ever forgotten, and all that is known is searched."""
    known: dict[str, Contact] = {}
    judged: set[str] = set()
    found: Counter[str] = Counter()
    for one in records:
        for contact in one.contacts:
            known.setdefault(contact.id, contact)
        for id_, contact in known.items():
            if id_ not in judged and contact.at_ms <= one.mark_ms:
                judged.add(id_)
                earlier = (
                    other.case == contact.case
                    and other.id != id_
                    and 0 <= contact.at_ms - other.at_ms <= REPEAT_MS
                    for other in known.values()
                )
                found[f"contact/{STAGE}/{'repeat' if any(earlier) else 'first'}"] += 1
    return found


class Keeper:
    """A worker that keeps one partition, and its changelog, compacted."""

    def __init__(self, changelog: dict[bytes, bytes], generation: int) -> None:
        self.changelog = changelog
        self.held = JourneyPartition(RULES, frozenset({(STAGE, 0)}), HORIZON)
        self.held.panes = Partition(365 * DAY)  # forty days are compared, and panes would expire
        for key, value in changelog.items():
            self.held.restore(PaneRecord(key, value))
        asyncio.run(self.held.own(generation, lambda: True))

    def fold(self, offset: int, steps: Steps) -> None:
        """As `streams.journeys.processor` does."""
        taken = self.held.take(offset, steps)
        self.held.panes.fold(Run.of(taken.made), CounterTally, self.held.clock_ms)

    def write(self, records: Iterable[PaneRecord]) -> None:
        """To the changelog."""
        for key, value in records:
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value

    def totals(self) -> Counter[str]:
        """Every contact that was counted."""
        panes = (Counter(counts) for key, counts in self.held.panes.panes() if key.grain_ms == LONG.ms)
        return sum(panes, Counter())


@pytest.mark.parametrize("seed", range(8))
def test_crashes_and_forgetting_change_no_count(seed: int) -> None:
    """Workers die in the midst of a write; what they deleted or wrote too early is missed by no successor."""
    random = Random(seed)
    records = log(random)
    keeper, generation, offset, committed = Keeper({}, 1), 1, 0, 0
    while offset < len(records):
        for _ in range(random.randint(1, 30)):
            if offset < len(records):
                keeper.fold(offset, records[offset])
                offset += 1
        dies_after = random.choice([0, 1, 2, 3, 9, 9])
        for number, lists in enumerate(keeper.held.take_changes()):
            if number == dies_after:
                keeper.write(random.sample(lists, random.randint(0, len(lists))))
                break
            keeper.write(lists)
        else:
            committed = committed if dies_after == 3 else offset
        if dies_after != 9:
            generation += 1
            keeper, offset = Keeper(keeper.changelog, generation), committed
    wanted = oracle(records)
    assert keeper.totals() == wanted
    assert min(wanted.values()) > 100
    keeper.fold(offset, record(START + 101 * DAY))
    for lists in keeper.held.take_changes():
        keeper.write(lists)
    assert not [key for key in keeper.changelog if key.startswith(b"k:")]


def test_an_event_published_again_after_its_worker_died_is_no_repeat() -> None:
    """By another service, into another partition, eight days later: the successor knows it."""
    first = Contact(START, STAGE, "e-1", "case:k")
    keeper = Keeper({}, 1)
    keeper.fold(0, record(START + HOUR, first))
    for lists in keeper.held.take_changes():
        keeper.write(lists)
    successor = Keeper(keeper.changelog, 2)
    again = successor.held.take(1, record(START + HORIZON, first))
    assert (again.made, again.duplicate) == ([], 1)
    assert successor.totals() == {f"contact/{STAGE}/first": 1}


def test_what_is_kept_is_bounded() -> None:
    """By the memory journeys may take, by two hundred contacts a case, and by time."""
    contacts = Contacts(HORIZON)
    known, new = (Contact(START, STAGE, str(n), f"case:{n}") for n in range(2))
    assert contacts.take(0, [known], "all").refused == 0
    assert contacts.kept_bytes == EACH_BYTES
    assert contacts.take(1, [new], "known").refused == 1
    assert contacts.take(2, [Contact(START, STAGE, "2", "case:0")], "known").refused == 0
    assert contacts.take(3, [Contact(START, STAGE, "3", "case:0")], "none").refused == 1
    many = [Contact(START, STAGE, str(n), "case:0") for n in range(4, 4 + MAX_CONTACTS)]
    assert contacts.take(4, many, "all").refused == 2
    contacts.pass_time(START + REPEAT_MS + HORIZON)
    assert contacts.kept_bytes == EACH_BYTES * MAX_CONTACTS
    contacts.pass_time(START + REPEAT_MS + HORIZON + HOUR)
    assert contacts.kept_bytes == 0
    new_records, stale = contacts.take_changes()
    assert {one.key for one in new_records} == {one.key for one in stale}


@pytest.mark.parametrize("key", [b"k:", b"k:1", b"k:x:1", b"k:1:2:3"])
def test_a_record_of_others_is_none_of_ours(key: bytes) -> None:
    """Whoever reads it passes over it with a warning."""
    contacts = Contacts(HORIZON)
    with pytest.raises(ValueError, match=r"."):
        contacts.restore(PaneRecord(key, None))
