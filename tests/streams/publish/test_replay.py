"""History is replayed as it happened: each time shifted alike, and nothing left out unsaid."""

import base64
import gzip
import io
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.counting.event import Codec, Event
from monitor.errors import UserError
from streams.files import reread
from streams.publish.lines import key
from streams.publish.replay import History
from streams.settings import Settings
from tests.kit.shipped import SHIPPED as JOURNEY

CODEC = Codec(JOURNEY, JOURNEY.stage("web_checkout"))
NOW_MS = 1_800_000_000_000
TIME, DUE = "2026-05-04T10:00:00Z", "2026-05-05T10:00:00Z"
BOM = b"\xef\xbb\xbf"


def event(**fields: Any) -> dict[str, Any]:
    """A checkout that promises something."""
    promise = {"id": "p", "kind": "delivery_window", "due": DUE}
    told = {"id": "e", "time": TIME, "stage": "web_checkout", "outcome": "ok", "promise": promise}
    return told | fields


def envelope(**fields: Any) -> dict[str, Any]:
    """The context of a CloudEvent."""
    return {"specversion": "1.0", "id": "c", "time": TIME} | fields


def line(value: dict[str, Any]) -> bytes:
    """As it stands in a file."""
    return json.dumps(value).encode()


def known(*some: bytes, until_now: bool = True) -> History:
    """A history of these lines."""
    stream = io.BytesIO(b"\n".join(some))
    return History(JOURNEY, Settings(), stream, NOW_MS, until_now=until_now)


FRAMINGS = {
    "plain": line(event()),
    "byte-order mark": BOM + line(event()),
    "schema id": b"\0\0\0\0\1" + line(event()),
    "leap second": line(event(time="2026-05-04T09:59:60Z")).replace(b'"e"', b'"e", "n": 1e999'),
    "lower case": line(event(time="2026-05-04t10:00:00z")),
    "structured": line(envelope(data=event(time=None, id=None))),
    "structured, time inside": line({"specversion": "1.0", "data": event()}),
    "structured, both": line(envelope(data=event())),
    "structured, base64": line(envelope(data_base64=base64.b64encode(line(event())).decode())),
}


@pytest.mark.parametrize("told", FRAMINGS.values(), ids=FRAMINGS)
def test_every_time_of_an_event_is_shifted(told: bytes) -> None:
    """Event and promise move alike, whatever they are wrapped in; the newest event is of now."""
    history = known(told)
    [again] = history.again()
    shifted = CODEC.decode(again.line)
    assert isinstance(shifted, Event), shifted
    assert abs(shifted.at_ms - NOW_MS) <= 1000
    assert shifted.promise is not None
    assert shifted.promise.due is not None
    assert abs((shifted.promise.due.timestamp() - NOW_MS / 1000) - 86_400) <= 1
    assert (history.report.refused, again.topic) == (0, "touchpoint.web-checkout.v1")


def test_events_of_an_encounter_have_one_key() -> None:
    """Its beginning is read without its journey, and its end with it; both must come to one worker."""
    told = [event(id=one, outcome=one, encounter_id="n") for one in ("queued", "started", "ok")]
    told[-1] |= {"journey_id": "j"}
    read = [CODEC.decode(line(one)) for one in told]
    assert [key(one) for one in read if isinstance(one, Event)] == [b"n"] * 3


def test_what_is_not_a_time_stays_as_it_was() -> None:
    """Numbers beyond every float, fields nobody knows, and what is called `time` and is none."""
    some = b'{"big": 123456789012345678901234567890, "none": 1e999, "data": {"time": "soon"}, "time": 1}'
    told = line(event())[:-1] + b', "attributes": ' + some + b', "data": {"time": "soon"}}'
    [again] = known(told).again()
    assert some in again.line
    assert b'"data":{"time":"soon"}' in again.line


def test_without_a_shift_lines_stay_byte_for_byte() -> None:
    """History goes as it stands."""
    told = BOM + b'{ "id":"e" , "time":"2016-12-31T23:59:60Z", "stage":"store", "outcome":"ok"}'
    [again] = known(told, until_now=False).again()
    assert (again.line, again.topic) == (told, "touchpoint.store.v1")


def at(minutes_ago: float, **fields: Any) -> bytes:
    """An event so long before now."""
    when = datetime.fromtimestamp(NOW_MS / 1000 - 60 * minutes_ago, UTC).isoformat()
    return line({"id": "e", "time": when, "stage": "store", "outcome": "ok"} | fields)


def test_what_is_too_old_is_told_beforehand() -> None:
    """Of journeys what is more than an hour old, of all what is beyond the horizon of 8 days; exactly as old
    is not too old."""
    some = [
        at(60.01, journey_id="j"),
        at(60, journey_id="j"),
        at(1, journey_id="j"),
        at(8 * 1440),
        at(8 * 1440 + 0.01),
    ]
    journeys, refused = known(*some, until_now=False).too_old("january.jsonl", 0)
    assert journeys == (
        "1 of 3 events of journeys happened more than 1 h ago. A running monitor counts them at their stage, "
        "but opens no journey for them. For whole journeys of any age: touchpoint backtest january.jsonl"
    )
    assert refused == (
        "1 of 5 events happened more than 8 d ago, before the `horizon` of the journey file. Workers refuse "
        "them as too_old. Raise the horizon, or shift them with --until-now"
    )


def test_what_is_shifted_may_be_too_old_still() -> None:
    """The newest is of now, and what came two hours before opens no journey."""
    some = [at(100_120, journey_id="a"), at(100_000, journey_id="b")]
    [journeys] = known(*some).too_old("january.jsonl", 0)
    assert journeys.startswith("1 of 2 events of journeys ")
    assert not list(known(at(1, journey_id="a"), at(0)).too_old("january.jsonl", 0))
    [refused] = known(at(9 * 1440), at(0)).too_old("january.jsonl", 0)
    assert refused.endswith("Workers refuse them as too_old. Raise the horizon")


@pytest.mark.parametrize(("speed", "late"), [(0, 1), (1.5, 2), (1, 3), (60, 1)])
def test_what_grows_too_old_on_the_way_is_told(speed: float, late: int) -> None:
    """Of 90 minutes, shifted to now: at their own pace each is 90 minutes old when it is published."""
    some = [at(minutes, journey_id="j") for minutes in (190, 130, 100)]
    [journeys] = known(*some).too_old("january.jsonl", speed)
    assert journeys.startswith(f"{late} of 3 events of journeys ")


def test_what_staff_answer_is_no_step_of_a_journey() -> None:
    """Nothing of a journey is lost with it."""
    answer = at(61, journey_id="j", stage="staff_pulse")
    assert not list(known(answer, at(0), until_now=False).too_old("january.jsonl", 0))


def test_what_lies_ahead_is_refused_by_its_line() -> None:
    """A worker would refuse it; at its own pace, a replay would wait for it for ever."""
    history = known(b"", line(event(time="9999-12-31T23:59:59-05:00")), line(event()), until_now=False)
    assert [one.event.time for one in history.again()] == [datetime(2026, 5, 4, 10, tzinfo=UTC)]
    [problem] = history.report.problems
    assert problem.startswith("line 2: bad_time: ")


def test_a_time_that_no_calendar_has_is_refused_by_its_line() -> None:
    """A promise for the end of all calendars cannot be moved on."""
    late = event(promise={"id": "p", "kind": "call", "due": "9998-12-31T00:00:00Z"})
    history = known(line(late), line(event()))
    assert len(list(history.again())) == 1
    assert history.report.problems == [
        "line 1: bad_time: the year is 9999: leave out a time that is not known - at `$.promise.due`"
    ]
    history = known(line(late | {"time": "2020-01-01T00:00:00Z"}))
    assert list(history.again()) == []
    assert history.report.problems == ["line 1: bad_time: a time cannot be moved to now"]


def test_one_wrong_time_is_named_before_anything_is_sent() -> None:
    """The year 9999 as now would move all others to before the calendar began."""
    with pytest.raises(UserError, match=r"^the events span 7\d\d\d years, .*: is a time wrong\?$"):
        known(line(event()), line(event(time="9999-12-31T23:59:59Z")))


def test_events_of_one_wrong_year_are_moved_as_any() -> None:
    """They span a second, not the years between theirs and now."""
    times = ["9998-12-30T23:59:57Z", "9998-12-30T23:59:58Z"]
    history = known(*(line(event(time=time, promise=None)) for time in times))
    assert len(list(history.again())) == 2


def test_what_a_pipe_gives_is_read_twice(tmp_path: Path) -> None:
    """As of `replay <(zcat history.gz)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(line(event()),))
    writing.start()
    with reread(pipe) as stream:
        writing.join()
        known = History(JOURNEY, Settings(), stream, NOW_MS, until_now=True)
        assert [len(list(known.again())) for _ in range(2)] == [1, 1]


def test_packed_history_is_read(tmp_path: Path) -> None:
    """As `backtest` reads it; a file that is cut short is told by its name."""
    packed = tmp_path / "history.jsonl.gz"
    packed.write_bytes(gzip.compress(line(event())))
    with reread(packed) as stream:
        known = History(JOURNEY, Settings(), stream, NOW_MS, until_now=True)
        assert [len(list(known.again())) for _ in range(2)] == [1, 1]
    packed.write_bytes(packed.read_bytes()[:-9])
    with (
        pytest.raises(UserError, match=r"history.jsonl.gz: is cut short, or is not a gzip file$"),
        reread(packed),
    ):
        pass
