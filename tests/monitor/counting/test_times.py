"""A moment is the same in milliseconds and as RFC 3339, from the year 1 to the year 9999."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.counting.times import epoch_ms, rfc3339

FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
MINUTES = st.integers(-23 * 60 - 59, 23 * 60 + 59)
ZONES = st.builds(lambda m: timezone(timedelta(minutes=m)), MINUTES)


@given(st.datetimes(timezones=ZONES))
def test_milliseconds_enclose_the_time(time: datetime) -> None:
    """A time lies in its millisecond, neither before nor after it."""
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    lower = timedelta(milliseconds=epoch_ms(time))
    assert lower <= since < lower + timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_800_000_030_250, "2027-01-15T08:00:30.250Z"),
        (FIRST_MS, "0001-01-01T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_moments_are_written_in_one_format(at_ms: int, text: str) -> None:
    """In UTC, with milliseconds even where they are none."""
    assert rfc3339(at_ms) == text


@given(st.integers(FIRST_MS, LAST_MS))
@example(LAST_MS)
def test_what_is_written_is_exact(at_ms: int) -> None:
    """To the millisecond, in any year."""
    assert epoch_ms(datetime.fromisoformat(rfc3339(at_ms))) == at_ms


@pytest.mark.parametrize("at_ms", [FIRST_MS - 1, LAST_MS + 1, 2**63 - 1, -(2**63), 10**30])
def test_what_cannot_be_written_is_an_error(at_ms: int) -> None:
    """A moment in no year of four digits is not written as another."""
    with pytest.raises(OverflowError):
        rfc3339(at_ms)
