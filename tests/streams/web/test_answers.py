"""What the API says of stages is made from a snapshot alone."""

from dataclasses import replace

import pytest

from monitor.counting.event import Event, Score
from monitor.counting.judging import counter_name
from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.staff import MIN_GROUP
from monitor.counting.windows import StageWindows
from monitor.journeys.counters import counter_names
from monitor.journeys.encounters import UnderWay
from monitor.live.journeys import JourneysSnapshot, PartitionLag, ages
from monitor.live.snapshot import Snapshot, stage_snapshot
from monitor.rules.plan import JOURNEYS_LAG_S
from streams.web.answers import failures_answer, stages_answer
from streams.web.group import Member
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.snapshots import FAILURES, GOOD, NOW, READY, held, snapshot


def test_stages() -> None:
    """The API gives each stage's state, its weakest experience and whom it hits, in journey order."""
    body = stages_answer(READY)
    assert {key: body[key] for key in ("journey", "ready", "at", "worker", "partitions", "problems")} == {
        "journey": "chair",
        "ready": True,
        "at": "2027-01-15T08:00:30.000Z",
        "worker": "w1",
        "partitions": {"owned": 4, "of": 8},
        "problems": (),
    }
    assert [stage["stage"] for stage in body["stages"]] == [stage.name for stage in CHAIR.stages]
    checkout, quiet = body["stages"][:2]
    trend = checkout.pop("trend")
    assert checkout == {
        "stage": "web_checkout",
        "title": "Web checkout",
        "kind": "customer",
        "owner": "web-team",
        "runbook": "https://runbooks.example.com/web-checkout",
        "depends_on": (),
        "state": "degraded",
        "silent": None,
        "last_event": "2027-01-15T08:00:30.000Z",
        "whole_since": None,
        "window": "1m",
        "quality": 0.6,
        "target": 0.95,
        "weakest": {
            "experience": "checkout_completed",
            "title": "Customers who start the checkout finish it",
            "segment": "new",
        },
        "n": 50,
        "bad": 20,
        "journeys_hit": None,
        "events_per_minute": 10.0,
        "top_reason": "payment_error",
        "open": None,
    }
    last_s = NOW // 60_000 * 60
    assert trend == [[last_s - 60 * back, 0.6 if back == 0 else None] for back in range(59, -1, -1)]
    assert (quiet["state"], quiet["n"]) == ("quiet", 0)
    assert {quiet["quality"], quiet["target"], quiet["weakest"]} == {None}


def with_journeys(ready: bool = True, *, clock_ms: int = NOW - 60_000) -> Snapshot:
    """A worker that keeps journeys: 3 over, 2 hit at the store lately, a promise overdue."""
    windows = StageWindows(counter_names(CHAIR))
    counts = {"closed/met/new": 2, "closed/missed/new": 1, "hit/store/new": 2, "weakest/store/new": 1}
    for grain in (SHORT, LONG):
        windows.add(PaneKey(grain.ms, grain.start_of(NOW)), counts)
    overdue = [("promise/delivery_window", "postnord", NOW - 1000)]
    journeys = JourneysSnapshot(
        topic="steps",
        column=windows.column,
        sums=windows.sums(NOW),
        results={},
        open_journeys=9,
        overdue=ages(overdue, NOW),
        clocks_ms={0: clock_ms},
        slowest={0: ("store", 3)},
        lags=(PartitionLag(0, 0, 0), PartitionLag(1, 0, 0, 0, NOW - 1_000)),
    )
    return replace(snapshot(ready=ready), journeys=journeys)


def test_whole_journeys() -> None:
    """The API says what whole journeys come to, and by stage how many are hit now; of staff, none can be."""
    body = stages_answer(with_journeys())
    assert body["journeys"] == {
        "judged_until": "2027-01-15T07:59:30.000Z",
        "held_up_by": None,
        "whole_since": "2027-01-15T08:00:29.000Z",
        "open": 9,
        "over": {window: {"met": 2, "missed": 1, "visit": 0} for window in ("1h", "1d")},
        "hit": {s.name: 2 if s.name == "store" else 0 for s in CHAIR.stages if s.kind != "staff"},
        "weakest": {"stage": "store", "title": "Store", "journeys": 1},
        "overdue": {"postnord": 1},
        "labyrinths": 0,
        "handoffs_lost": 0,
    }
    hit = {stage["stage"]: stage["journeys_hit"] for stage in body["stages"]}
    assert (hit["store"], hit["delivery"], hit["staff_pulse"]) == (2, 0, None)


@pytest.mark.parametrize(
    ("clock_ms", "is_held_up"),
    [(NOW - JOURNEYS_LAG_S * 1000, False), (NOW - JOURNEYS_LAG_S * 1000 - 1, True), (0, True)],
)
def test_what_holds_journeys_up_is_named(clock_ms: int, is_held_up: bool) -> None:
    """As soon as `MonitorBlind` calls them held up, by what the slowest partition waits for."""
    known = stages_answer(with_journeys(clock_ms=clock_ms))["journeys"]
    by = {"stage": "store", "title": "Store", "partition": 3} if is_held_up else None
    assert known["held_up_by"] == by
    assert (known["judged_until"] is None) == (clock_ms == 0)


def test_whole_journeys_unknown() -> None:
    """While not ready nothing is known of journeys; where the file asks for none there is nothing to know."""
    body = stages_answer(with_journeys(ready=False))
    assert set(body["journeys"]) == set(stages_answer(with_journeys())["journeys"])
    assert set(body["journeys"].values()) == {stage["journeys_hit"] for stage in body["stages"]} == {None}
    without = replace(with_journeys(), journey=replace(CHAIR, journeys=None), journeys=None)
    assert stages_answer(without)["journeys"] is None


@pytest.mark.parametrize("n", [1, MIN_GROUP - 1, MIN_GROUP])
def test_a_small_group_of_staff_is_not_shown(n: int) -> None:
    """What fewer than the least group answered to this worker is as if nobody had; nor is it in the trend."""
    pulse = CHAIR.stage("staff_pulse")
    scores = [Score(kind="csat", value=1), *[Score(kind="csat", value=5)] * (n - 1)]
    events = [Event(stage=pulse.name, outcome="ok", reason="tools", score=score) for score in scores]
    said = stages_answer(replace(READY, stages=(held(pulse, events),)))["stages"][0]
    in_trend = [quality for _, quality in said["trend"] if quality is not None]
    if n < MIN_GROUP:
        assert (said["state"], said["quality"], said["n"], said["bad"]) == ("quiet", None, 0, 0)
        assert (said["weakest"], said["top_reason"], in_trend) == (None, None, [])
    else:
        assert (said["n"], said["bad"], in_trend) == (n, 1, [(n - 1) / n])


def test_a_silent_stage_says_what_was_expected() -> None:
    """Who counts all says silent, not quiet or good, where events are expected, and for how long."""
    store = CHAIR.stage("store")
    before = held(store, [Event(stage=store.name, outcome="ok")], NOW - 120_000)
    known = replace(READY, owned=8, stages=(*READY.stages[:2], before))
    checkout, _, silent = stages_answer(known)["stages"]
    text = "No event for 1 min 50 s; about 275 were expected."
    assert (checkout["state"], checkout["silent"]) == ("degraded", None)
    assert (silent["state"], silent["silent"]) == ("silent", {"window": "1m", "expected": 125, "text": text})
    assert (silent["last_event"], checkout["last_event"]) == (
        "2027-01-15T07:58:40.000Z",
        "2027-01-15T08:00:30.000Z",
    )
    unknown = replace(READY, stages=(stage_snapshot(CHAIR, store, None, NOW),))
    assert stages_answer(unknown)["stages"][0]["last_event"] is None


def test_nothing_bad_hits_nobody() -> None:
    """Where nothing was bad for the weakest experience, nobody is hit and no reason is given."""
    bad_for_another_experience = {counter_name("reason", "unspecified"): 3}
    checkout = held(CHAIR.stages[0], [GOOD] * 50, more=bad_for_another_experience)
    said = stages_answer(replace(READY, stages=(checkout,)))["stages"][0]
    assert (said["n"], said["bad"]) == (50, 0)
    assert (said["weakest"]["segment"], said["top_reason"]) == (None, None)


def test_stages_while_not_ready() -> None:
    """While nothing is known the API says so, with every stage quiet and without a trend."""
    body = stages_answer(snapshot(ready=False))
    assert (body["ready"], body["problems"]) == (False, ("waiting for Kafka at nowhere:1",))
    assert {(stage["state"], len(stage["trend"])) for stage in body["stages"]} == {("quiet", 0)}
    assert body["stages"][0]["quality"] is None


def test_failures() -> None:
    """The latest failing encounters are given with what happened and the experiences it was bad for."""
    assert failures_answer(READY, [], "web_checkout", FAILURES) == {
        "stage": "web_checkout",
        "partitions": {"owned": 4, "of": 8},
        "only_part": "this worker counts 4 of 8 partitions; Grafana or Prometheus adds all workers up",
        "failures": [
            {
                "id": "e1",
                "time": "2026-07-01T12:30:00.250Z",
                "outcome": "failed",
                "reason": "payment_error",
                "segment": "new",
                "partner": None,
                "channel": None,
                "location": None,
                "journey_id": "j1",
                "experiences": ("checkout_completed",),
            }
        ],
    }
    assert failures_answer(READY, [], "store", [])["failures"] == []


def test_who_sees_a_part_says_so() -> None:
    """One of several workers says how much it counts; one that counts all, or is not ready, says nothing."""
    part = "this worker counts 4 of 8 partitions; Grafana or Prometheus adds all workers up"
    assert stages_answer(READY)["only_part"] == part
    for now in (replace(READY, owned=8), replace(READY, ready=False)):
        assert stages_answer(now)["only_part"] is None
        assert failures_answer(now, [], "web_checkout", FAILURES)["only_part"] is None


def test_whose_part_is_missing_stands_on_it() -> None:
    """Which workers answered; of one that did not, why; nothing is said when every partition is there."""
    members = [Member("w1"), Member("http://w2:8080", "it has not answered within 1.5 s")]
    said = stages_answer(READY, members)
    assert said["workers"] == [
        {"worker": "w1", "missing": None},
        {"worker": "http://w2:8080", "missing": "it has not answered within 1.5 s"},
    ]
    part = "4 of 8 partitions are counted here; http://w2:8080: it has not answered within 1.5 s"
    assert said["only_part"] == failures_answer(READY, members, "store", [])["only_part"] == part
    whole = stages_answer(replace(READY, owned=8), [Member("w1"), Member("w2")])
    assert (whole["only_part"], len(whole["workers"])) == (None, 2)


def test_who_waits_now() -> None:
    """Of a stage whose services say when encounters begin; one with nobody in the queue says 0."""
    calls = CHAIR.stage("call_queue")
    begun = [Event(stage="call_queue", outcome="queued", encounter_id=f"c-{n}") for n in range(3)]
    ended = [Event(stage="call_queue", outcome="ok", encounter_id=f"c-{n}") for n in range(2)]
    taken = held(calls, [*begun, *ended])
    cell = ("queued", "other")
    for known, told in (
        (UnderWay(), {"n": 0, "oldest_s": None, "expected_wait_s": 0}),
        (UnderWay({cell: 1}, {cell: NOW - 63_400}), {"n": 1, "oldest_s": 63.4, "expected_wait_s": 150}),
    ):
        one = replace(taken, under_way=known)
        said = stages_answer(replace(READY, stages=(one, *READY.stages[2:])))["stages"]
        assert [stage["open"] for stage in said[:2]] == [{"queued": told}, None]
