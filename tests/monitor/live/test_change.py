"""Any bytes are a change or what is wrong in words, without quoting them; each stage keeps its latest."""

import itertools
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.counting.event import AHEAD_MS
from monitor.counting.formats import Unreadable
from monitor.live.change import KEPT_MS, MAX_TITLE, Change, LatestChanges, read, written
from tests.kit.shipped import SHIPPED as CHAIR

AT_MS = int(datetime(2026, 7, 1, 12, 30, tzinfo=UTC).timestamp() * 1000)
DEPLOY = {"id": "d1", "time": "2026-07-01T12:30:00Z", "kind": "deploy", "title": "checkout 4.2"}


def record(**fields: Any) -> bytes:
    """A good record but for these fields; None leaves one out."""
    return orjson.dumps({key: value for key, value in (DEPLOY | fields).items() if value is not None})


def test_a_change_is_read() -> None:
    """With a stage or for all of them; unknown fields are tolerated, times are any offset's."""
    assert read(record(), CHAIR, AT_MS) == Change(AT_MS, "d1", "all", "deploy", "checkout 4.2")
    store = record(stage="store", kind="incident", time="2026-07-01T15:30:00+03:00", more=[1])
    assert read(store, CHAIR, AT_MS) == Change(AT_MS, "d1", "store", "incident", "checkout 4.2")
    assert isinstance(read(record(title="x" * MAX_TITLE), CHAIR, AT_MS), Change)
    assert read(b"\xef\xbb\xbf" + store, CHAIR, AT_MS) == read(store, CHAIR, AT_MS)


def test_what_is_written_is_read() -> None:
    """What the command publishes is a change."""
    assert read(written("d1", AT_MS, "other", "tills updated", "store"), CHAIR, AT_MS) == Change(
        AT_MS, "d1", "store", "other", "tills updated"
    )
    assert b"stage" not in written("d1", AT_MS, "other", "tills updated", None)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (None, "the record has no value"),
        (b"", "the record has no value"),
        (Unreadable("it has 129 headers", 7), "it cannot be read: it has 129 headers"),
        (b"{", "the value is not JSON text"),
        (b'{"id":"\xff"}', "the value is not JSON text"),
        (b'{"id":' + b"[" * 9_000, "Expected `str`, got `array` - at `$.id`"),
        (b" " * 10_001, "10001 bytes, at most 10000 are read"),
        (b"[]", "Expected `object`, got `array`"),
        (record(id=None), "Object missing required field `id`"),
        (record(time="secret"), "Invalid RFC3339 encoded datetime - at `$.time`"),
        (record(time="2026-07-01T12:30:00"), "Expected `datetime` with a timezone component - at `$.time`"),
        (record(kind="secret"), "not one of the known values - at `$.kind`"),
        (record(stage="secret"), "the journey file names no such stage - at `$.stage`"),
        (record(title=""), "Expected `str` of length >= 1 - at `$.title`"),
        (record(title="x" * 81), "Expected `str` of length <= 80 - at `$.title`"),
        (record(title="secret\nline"), "blank, or cannot be shown in one line - at `$.title`"),
        (record(title="  "), "blank, or cannot be shown in one line - at `$.title`"),
    ],
)
def test_what_is_no_change(value: bytes | None, wrong: str) -> None:
    """Each fault is named with its place."""
    assert read(value, CHAIR, AT_MS) == wrong


@given(st.binary() | st.text().map(str.encode) | st.builds(lambda text: record(title=text), st.text()))
@example(b"\x00")
def test_any_bytes(value: bytes) -> None:
    """Nothing raises; a title is one line."""
    found = read(value, CHAIR, AT_MS)
    assert isinstance(found, str) or (found.title.isprintable() and 1 <= len(found.title) <= MAX_TITLE)


def test_the_future_is_refused() -> None:
    """Ahead of when the record was written by more than clocks run: it would hide everything until then."""
    assert isinstance(read(record(), CHAIR, AT_MS - AHEAD_MS), Change)
    assert read(record(), CHAIR, AT_MS - AHEAD_MS - 1) == "ahead of the clock - at `$.time`"


def test_the_latest_stays_in_whatever_order() -> None:
    """One change for each stage, whatever the order and however often they are read."""
    changes = [
        Change(AT_MS, "a", "store", "deploy", "one"),
        Change(AT_MS + 1, "b", "store", "incident", "two"),
        Change(AT_MS, "c", "all", "other", "three"),
        Change(AT_MS, "d", "all", "other", "four"),
    ]
    for order in itertools.permutations(changes):
        latest = LatestChanges()
        for change in (*order, *order):
            latest.add(change)
        assert latest.since(AT_MS + 5) == (changes[3], changes[1])


def test_what_is_older_than_a_week_is_not_shown() -> None:
    """Seven days later it explains nothing any more."""
    latest = LatestChanges()
    latest.add(Change(AT_MS, "a", "store", "deploy", "one"))
    assert latest.since(AT_MS + KEPT_MS - 1)
    assert not latest.since(AT_MS + KEPT_MS)
