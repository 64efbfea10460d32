"""Moments are milliseconds since 1970; outside they are RFC 3339, which is written here and nowhere else."""

from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_MS = timedelta(milliseconds=1)


def epoch_ms(time: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (time - EPOCH) // _MS


def rfc3339(at_ms: int) -> str:
    """The moment in UTC, always to the millisecond, so that texts sort as moments do.

    OverflowError for one before the year 1 or after the year 9999.
    """
    # Added up, for a float of seconds is not exact enough from the year 2500 on.
    at = EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at_ms: int, zone: tzinfo) -> str:
    """The moment on the clocks of a zone, to the second, with its offset: `2026-10-25 03:10:10+02:00`."""
    at = EPOCH + timedelta(milliseconds=at_ms)
    return at.astimezone(zone).isoformat(" ", "seconds")
