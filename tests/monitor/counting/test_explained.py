"""What `touchpoint validate` says of an event is what a worker makes of it, and why."""

from itertools import islice
from typing import Any

import orjson
import pytest

from monitor.counting.event import Codec, Refused
from monitor.counting.explained import Explained, explained
from monitor.counting.judging import Judge
from monitor.counting.times import rfc3339
from monitor.journey_file.grammar import parse
from streams.demo.simulator import Simulator
from streams.settings import SHIPPED_JOURNEY
from tests.kit.shipped import SHIPPED as JOURNEY

NOW = 1_800_000_000_000
EVENT = {"id": "e", "time": rfc3339(NOW), "segment": "new"}
CALL = EVENT | {"stage": "call_queue", "outcome": "ok"}


def of(event: dict[str, Any], stage: str = "call_queue", now_ms: int = NOW) -> Explained | Refused:
    """What is said of it on that stage's topic."""
    return explained(Codec(JOURNEY, JOURNEY.stage(stage)), orjson.dumps(event), now_ms)


def warnings(event: dict[str, Any], stage: str = "call_queue") -> list[str]:
    """Of an event that is counted."""
    found = of(event, stage)
    assert isinstance(found, Explained)
    return found.warnings


def said(event: dict[str, Any], stage: str = "call_queue") -> dict[str, tuple[str, str]]:
    """What each experience says of it, and why."""
    found = of(event, stage)
    assert isinstance(found, Explained)
    return {one.experience: (one.said, one.why) for one in found.judged}


def test_it_agrees_with_the_judge_on_every_event_of_a_day() -> None:
    """Each is good, bad or not judged as the worker's own judge says; only names that count as `other` are
    warned of."""
    codecs = {one.topic: (Codec(JOURNEY, one), Judge(JOURNEY, one)) for one in JOURNEY.stages}
    seen: set[tuple[str, str]] = set()
    for event in islice(Simulator(JOURNEY, seed=3, start_ms=NOW, rate=0.01, compress=1_000).events(), 5_000):
        codec, judge = codecs[event.topic]
        found, read = explained(codec, event.value, event.at_ms), codec.decode(event.value)
        assert isinstance(found, Explained)
        assert not isinstance(read, Refused)
        verdict = judge.judge(read)
        assert tuple(one.experience for one in found.judged if one.said == "bad") == verdict.bad_for
        assert sum(one.said != "not judged" for one in found.judged) == verdict.judged
        assert all("counts as `other`" in one or "closed" in one for one in found.warnings), found.warnings
        seen |= {(found.stage, one.said) for one in found.judged}
    assert {stage for stage, told in seen if told == "bad"} >= {"web_checkout", "call_queue", "delivery"}


def test_a_bad_event_says_which_limit_it_missed() -> None:
    """And a good one what it met."""
    answered = '`outcome` is "ok", asked is failed or ok or wow'
    assert said(CALL | {"wait_s": 45})["service_level"] == ("bad", "`wait_s` is 45.0, asked is at most 20")
    met = f"{answered}; `wait_s` is 5.0, asked is at most 20"
    assert said(CALL | {"wait_s": 5})["service_level"] == ("good", met)


def test_a_field_that_is_missing_is_why_nothing_is_judged() -> None:
    """An answered call that does not tell its wait."""
    assert said(CALL)["service_level"] == ("not judged", "`wait_s` is missing, asked is at most 20")
    hung_up = said(CALL | {"outcome": "abandoned", "wait_s": 3})["service_level"]
    ignored = '`outcome` is "abandoned", asked is abandoned; `wait_s` is 3.0, asked is at most 5'
    assert hung_up == ("not judged", f"ignored, for {ignored}")


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("journeyId", "is `journey_id` meant?"),
        ("wait", "is `wait_s` meant?"),
        ("Partner", "is `partner` meant?"),
        ("zodiac", "what is your own belongs into `attributes`"),
    ],
)
def test_a_field_that_nobody_reads_is_told(field: str, meant: str) -> None:
    """With what may have been meant; also within a CloudEvent, and within a promise."""
    told = f"nobody reads the field `{field}`: {meant}"
    assert warnings(CALL | {field: "x"}) == [told]
    envelope = {"specversion": "1.0", "id": "e", "time": rfc3339(NOW), "source": "s", "type": "t"}
    inside = {key: value for key, value in CALL.items() if key not in ("id", "time")}
    assert warnings(envelope | {"data": inside | {field: "x"}}) == [told]
    promise = {"id": "p", "kind": "call_back", "Due": rfc3339(NOW)}
    assert warnings(CALL | {"promise": promise}) == [
        "nobody reads the field `promise.Due`: is `promise.due` meant?"
    ]


@pytest.mark.parametrize("before", [b"\0\0\0\0\5", b"\xef\xbb\xbf", b"\0\0\0\0\5\xef\xbb\xbf"])
def test_what_stands_before_the_text_is_no_matter(before: bytes) -> None:
    """A prefix of a schema registry, a byte-order mark: a worker passes over both."""
    codec = Codec(JOURNEY, JOURNEY.stage("call_queue"))
    assert explained(codec, before + orjson.dumps(CALL), NOW) == of(CALL)


def test_what_is_free_is_no_warning() -> None:
    """`attributes` holds what a service likes."""
    assert warnings(CALL | {"attributes": {"zodiac": "leo"}}) == []


def test_a_strange_name_counts_as_other() -> None:
    """Whichever names the file knows."""
    paid = {"id": "e", "time": rfc3339(NOW), "stage": "web_checkout", "outcome": "failed", "partner": "acme"}
    assert warnings(paid, "web_checkout") == [
        f"the partner counts as `other`; known are {', '.join(JOURNEY.stage('web_checkout').partners)}",
        f"without a segment it counts as `other`; known are {', '.join(JOURNEY.segments)}",
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"outcome": "odd"}, "unknown_outcome"),
        ({"stage": "store"}, "wrong_topic"),
        ({"id": None}, "missing_field"),
        ({"time": rfc3339(NOW - 400 * 86_400_000)}, "too_old"),
    ],
)
def test_what_a_worker_refuses_is_refused(change: dict[str, Any], reason: str) -> None:
    """For the same reason; an event's age is that at the time asked for."""
    found = of(CALL | change)
    assert isinstance(found, Refused)
    assert found.reason == reason


def test_a_closed_stage_judges_nothing() -> None:
    """The event is counted all the same. 15 January 2027 is a Friday."""
    title = "    title: Call queue\n"
    journey = parse(SHIPPED_JOURNEY.read_text().replace(title, f"{title}    hours: {{mon: '09:00-10:00'}}\n"))
    found = explained(Codec(journey, journey.stage("call_queue")), orjson.dumps(CALL), NOW)
    assert found == Explained(
        "call_queue", [], ["the stage is closed at that time: the event is judged for nothing"]
    )
