"""First or repeat, by the definition of `monitor/journeys/README.md`."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from monitor.counting.event import Event
from monitor.journeys.contacts import MAX_CONTACTS, REPEAT_MS, Cases
from monitor.journeys.step import Contact, contact_of

BEGIN = datetime(2026, 11, 2, 9, tzinfo=UTC)
AFTER_ALL_MS = 2**50


def call(id_: str, days: float = 0, **fields: Any) -> Event:
    """A call so long after the first, in a journey unless told otherwise."""
    at = BEGIN + timedelta(days=days)
    fields = {"journey_id": "j-81"} | fields
    return Event(id=id_, time=at, stage="call_queue", outcome="ok", **fields)


def judged(*events: Event) -> list[str]:
    """What each contact is, in the order of their time."""
    cases = Cases()
    for event in events:
        contact = contact_of(event)
        if contact is not None and not cases.holds(contact):
            cases.add(contact)
    return [name.split("/")[2] for effect in cases.pass_time(AFTER_ALL_MS) for name in effect.counters]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ((call("a", case_id="k"), call("b", 5, case_id="k", journey_id="j-82")), ["first", "repeat"]),
        ((call("a", case_id="k"), call("b", 5, case_id="k", journey_id=None)), ["first", "repeat"]),
        ((call("a", case_id="k"), call("b", 1, case_id="l")), ["first", "first"]),
        ((call("a"), call("b", 5)), ["first", "repeat"]),
        ((call("a"), call("b", 1, journey_id="j-82")), ["first", "first"]),
        ((call("a", case_id="j-81"), call("b", 1)), ["first", "first"]),
        ((call("a"), call("b", 7)), ["first", "repeat"]),
        ((call("a"), call("b", 7.001)), ["first", "first"]),
        ((call("a"), call("b", 6), call("c", 12)), ["first", "repeat", "repeat"]),
        ((call("a"), call("a")), ["first"]),
        ((call("a"), call("a", 1), call("b", 2)), ["first", "repeat"]),
        ((call("a"), call("b", 1, initiator="company")), ["first"]),
        ((call("a", journey_id=None),), []),
    ],
)
def test_a_repeat_is_a_contact_of_the_same_case_within_seven_days(
    events: tuple[Event, ...], wanted: list[str]
) -> None:
    """Across journeys, for as long as seven days, by journey where no case is given; each event once."""
    assert judged(*events) == wanted


def test_the_order_of_arrival_changes_nothing() -> None:
    """Nor do calls of the same moment."""
    events = (call("a"), call("b"), call("c", 3), call("d", 11), call("e", 18))
    wanted = ["first", "repeat", "repeat", "first", "repeat"]
    assert all(judged(*some) == wanted for some in permutations(events))


def test_time_has_to_pass_before_a_contact_is_judged() -> None:
    """An earlier one may still come. One behind time changes none, and is judged by what is known."""
    cases = Cases()
    cases.add(Contact(1000, "call_queue", "b", "case:k"))
    assert cases.pass_time(999) == []
    cases.add(Contact(900, "call_queue", "a", "case:k"))
    assert [effect.counters for effect in cases.pass_time(1000)] == [
        ("contact/call_queue/first",),
        ("contact/call_queue/repeat",),
    ]
    cases.add(Contact(800, "call_queue", "c", "case:k"))
    assert [effect.counters for effect in cases.pass_time(1000)] == [("contact/call_queue/first",)]
    assert cases.pass_time(AFTER_ALL_MS) == []


def test_what_is_forgotten_is_known_no_more() -> None:
    """A case without a contact is none."""
    cases = Cases()
    first, second = (Contact(n, "call_queue", str(n), "case:k") for n in (1, REPEAT_MS))
    cases.add(first)
    cases.add(second)
    assert cases.holds(first)
    cases.pass_time(REPEAT_MS)
    cases.forget(first)
    assert (cases.holds(first), cases.holds(second), cases.knows("case:k")) == (False, True, True)
    cases.forget(second)
    assert not cases.knows("case:k")


def test_one_case_for_all_events_is_full_from_a_point_on() -> None:
    """A service that does so would fill the memory."""
    cases = Cases()
    for number in range(MAX_CONTACTS):
        assert not cases.is_full("case:k")
        cases.add(Contact(number, "call_queue", str(number), "case:k"))
    assert cases.is_full("case:k")
    assert not cases.is_full("case:l")
