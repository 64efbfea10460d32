"""The newest of each list is kept, in bounded memory, and comes back from the changelog."""

from random import Random

import msgspec
import pytest

from streams.state.latest import MAX_SAID, MOST, Entry, Latest


def entry(number: int, said: str = "{}") -> Entry:
    """One of many."""
    return Entry(1_000 + number, f"id-{number}", said)


def test_the_newest_are_kept_in_any_order() -> None:
    """Whatever order they come in, and whoever reads what was written."""
    numbers = list(range(3 * MOST))
    Random(1).shuffle(numbers)
    held, again = Latest(), Latest()
    for number in numbers:
        held.add("a", entry(number))
        if number % 7 == 0:
            for key, value in held.take_changes():
                again.restore(key, value)
    for key, value in held.take_changes():
        again.restore(key, value)
    assert held.take_changes() == []
    for latest in (held, again):
        assert latest.newest("a") == [entry(number) for number in reversed(range(2 * MOST, 3 * MOST))]
        assert latest.newest("b") == []


def test_one_stands_once_with_what_was_said_last() -> None:
    """Also where two owners gave it two places."""
    held = Latest()
    held.add("a", entry(1))
    held.add("a", entry(2, "overdue"))
    held.add("a", Entry(5_000, "id-2", "late"))
    assert [one.said for one in held.newest("a")] == ["late", "{}"]
    late = held.take_changes()
    assert {key for key, _ in late} == {b"l:0:a", b"l:1:a"}
    held.restore(b"l:7:a", dict(late)[b"l:0:a"])
    assert [one.id for one in held.newest("a")] == ["id-2", "id-1"]


def test_what_nobody_says_is_not_taken_over() -> None:
    """An earlier version wrote an event's words at any length: a new owner leaves them in the changelog."""
    held, again = Latest(), Latest()
    for number, length in enumerate((MAX_SAID, MAX_SAID + 1)):
        held.add("a", entry(number, "x" * length))
    (_, kept), (key, fat) = held.take_changes()
    again.restore(key, kept)
    with pytest.raises(msgspec.ValidationError):
        again.restore(key, fat)
    assert [len(one.said) for one in again.newest("a")] == [MAX_SAID]
