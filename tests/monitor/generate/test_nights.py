"""Silence is of opening hours by the clock on the wall, when the clock is changed too: judged three ways."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monitor.counting.panes import SHORT
from tests.monitor.generate.histories import told
from tests.monitor.generate.situations import DAY, HOUR, Situation, opening, silence
from tests.monitor.generate.test_three_ways import differences, judged

pytestmark = pytest.mark.full

STEP = 30

NIGHTS = {
    ("Europe/Helsinki", "2026-03-29"): 3,
    ("Europe/Helsinki", "2026-10-25"): 5,
    ("Australia/Lord_Howe", "2026-04-05"): 4.5,
    ("Australia/Lord_Howe", "2026-10-04"): 3.5,
}
"""From 01:00 to 05:00 on the wall it is so many hours: on Lord Howe Island half an hour is skipped or comes
twice."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("zone", "night"), NIGHTS)
def test_silence_is_of_opening_hours(zone: str, night: str, tmp_path: Path) -> None:
    """A shop that is open from 01:00 to 05:00 hears nothing all night. Some minutes after it opens it is
    silent, until it closes."""
    opens = datetime.fromisoformat(f"{night}T01:00").replace(tzinfo=ZoneInfo(zone))
    start = int(opens.timestamp() * 1000) // SHORT.ms - HOUR
    length = int(NIGHTS[zone, night] * HOUR)
    situation = Situation(
        silence(("shop",), -10, DAY),
        replace(opening("01:00-05:00"), timezone=zone),
        t0=start,
        watched=length + 2 * HOUR,
        step=STEP,
    )
    found = told(night, situation)
    both = judged(tmp_path, situation, found)
    assert not differences(situation, found, both)
    silent = [
        datetime.fromtimestamp((start + at + 1) * SHORT.ms / 1000, ZoneInfo(zone))
        for at, alerts in both.prometheus.items()
        if any(one.name == "StageSilent page shop" for one in alerts)
    ]
    first, last = silent[0], silent[-1]
    assert len(silent) == (last.timestamp() - first.timestamp()) / (STEP * SHORT.ms / 1000) + 1
    assert (first.hour, last.hour) == (1, 4)
    assert first.replace(tzinfo=None) - opens.replace(tzinfo=None) <= timedelta(minutes=10)
    assert last.replace(tzinfo=None) - opens.replace(tzinfo=None) >= timedelta(hours=3, minutes=55)
