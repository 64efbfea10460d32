"""Both exposition formats say the same, and exactly the families that `metrics` declares."""

import itertools
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import msgspec
import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from monitor.counting import metrics
from monitor.counting.event import Event, Reason, Score
from monitor.counting.judging import BUCKETS, Judge, reason_labels
from monitor.counting.staff import MIN_GROUP, stage_tally, stage_windows
from monitor.counting.windows import WINDOW_LABELS, StageWindows
from monitor.journeys import counters as journey_counters
from monitor.journeys.counters import CounterTally
from monitor.journeys.encounters import UnderWay
from monitor.live.change import Change
from monitor.live.exposition import SLOW_WINDOWS, render
from monitor.live.journeys import JourneysSnapshot, PartitionLag, ages
from monitor.live.snapshot import Seen, Snapshot, stage_snapshot
from monitor.rules.plan import SILENT_WINDOWS
from tests.kit.shipped import SHIPPED as CHAIR

NOW = 1_800_000_030_000
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS = "text/plain; version=0.0.4"
WINDOW_FAMILIES = tuple(metric.name for metric in metrics.METRICS if "window" in metric.labels)

KLARNA = Event(stage="web_checkout", outcome="ok", segment="new", partner="klarna", duration_s=30)
EVENTS = {
    "web_checkout": [
        (3, KLARNA),
        (1, msgspec.structs.replace(KLARNA, duration_s=90.5)),
        (2, Event(stage="web_checkout", outcome="failed", segment="business", reason="payment_error")),
    ],
    "call_queue": [
        (4, Event(stage="call_queue", outcome="ok", wait_s=20)),
        (1, Event(stage="call_queue", outcome="ok", wait_s=1e6)),
        (3, Event(stage="call_queue", outcome="queued", encounter_id="c")),
    ],
}

CHANGES = (
    Change(NOW - 60_000, "d1", "all", "incident", 'a "quoted" \\ title'),
    Change(NOW - 500, "d2", "store", "deploy", "kassa 2.0 \u2013 uusi"),
)


Many = list[tuple[int, Event]]
"""How many of which event."""


def snapshot(ready: bool = True, **more: Many) -> Snapshot:
    """A worker that has counted the events above, and more by stage, a second ago."""
    stages = []
    for stage in CHAIR.stages:
        windows = stage_windows(CHAIR, stage)
        tally = stage_tally(stage, Judge(CHAIR, stage))({})
        for n, event in [*EVENTS.get(stage.name, []), *more.get(stage.name, [])]:
            for _ in range(n):
                tally.add([event], [NOW - 1_000])
        for key, counts in tally.panes():
            windows.add(key, counts)
        stages.append(
            stage_snapshot(
                CHAIR,
                stage,
                windows if ready else None,
                NOW,
                Seen(
                    {"counted": 7, "late": 0, "duplicate": 2, "refused": 1},
                    {Reason.NOT_JSON: 1},
                    {"klarna": NOW - 1_500} if stage.name == "web_checkout" else {},
                    (PartitionLag(0, 12, 0.25, 0.2, position=88), PartitionLag(3, 0, 0, 0, NOW - 5_000)),
                ),
            )
        )
    return Snapshot(
        CHAIR, NOW, ready, tuple(stages), version='1.2"3', partitions=28, owned=14, changes=CHANGES,
        journeys=journeys(ready),
    )  # fmt: skip


def journeys(ready: bool) -> JourneysSnapshot:
    """Three journeys are over, one of them missed its goal and went through checkout and store badly."""
    windows = StageWindows(journey_counters.counter_names(CHAIR))
    tally = CounterTally()
    tally.add([("closed/met/new", "closed/met/new", "closed/missed/business")], [NOW - 1_000])
    tally.add([("hit/web_checkout/business", "hit/store/business", "weakest/store/business")], [NOW - 1_000])
    tally.add([("promise/delivery_window/postnord/due",)], [NOW - 1_000])
    for key, counts in tally.panes():
        windows.add(key, counts)
    overdue = [
        ("promise/delivery_window", "postnord", NOW - 7_200_000),
        ("promise/delivery_window", "postnord", NOW - 7_100_000),
        ("handoff/warehouse/delivery", "", NOW - 60_000),
    ]
    return JourneysSnapshot(
        topic="monitor-journey-steps",
        column=windows.column if ready else {},
        sums=windows.sums(NOW) if ready else {},
        results={"counted": 9, "late": 1, "duplicate": 2, "refused": 0},
        open_journeys=17,
        overdue=ages(overdue, NOW),
        clocks_ms={1: NOW - 60_000},
        slowest={},
        lags=(PartitionLag(1, 3, 0.5),),
    )


def openmetrics_families(taken: Snapshot) -> dict[str, Family]:
    """What OpenMetrics says, by its own parser, which checks the format's rules."""
    body, content_type = render(taken, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    parse_text = openmetrics_parser.text_string_to_metric_families
    families = list(parse_text(body.decode()))  # type: ignore[no-untyped-call]
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


class Parsed(Collector):
    """What OpenMetrics says, for prometheus_client to write."""

    def __init__(self, taken: Snapshot) -> None:
        self._families = openmetrics_families(taken)

    def collect(self) -> Iterable[Family]:
        return self._families.values()


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(families: Iterable[Family]) -> Samples:
    """Every value by name and labels."""
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def text_samples(taken: Snapshot) -> Samples:
    """What the plain text format says."""
    body, content_type = render(taken, PROMETHEUS)
    assert content_type.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return samples(families)


@cache
def usual() -> Samples:
    """What it says of the events above, and of none besides."""
    return text_samples(snapshot())


def value(found: Samples, name: str, /, **labels: str) -> float:
    """One value."""
    return found[name, tuple(sorted(labels.items()))]


def test_families_are_those_declared() -> None:
    """Names, kinds, help and labels are those of `metrics.METRICS`: none missing, none besides."""
    families = openmetrics_families(snapshot())
    assert set(families) == {metric.name for metric in metrics.METRICS}
    for metric in metrics.METRICS:
        family = families[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, metric.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
            assert sample.timestamp is None


def test_metric_names_follow_the_rules() -> None:
    """Every metric has the prefix and a help text; no counter carries `_total` in its family name."""
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)
    for metric in metrics.METRICS:
        assert metric.name.startswith("touchpoint_")
        assert not metric.name.endswith(("_total", "_info"))
        assert metric.help.endswith(".")


def test_formats_agree() -> None:
    """Plain text and OpenMetrics hold the same values under the same names."""
    assert usual() == samples(openmetrics_families(snapshot()).values())


def test_text_is_that_of_the_client_library() -> None:
    """Byte for byte: parsed and written by prometheus_client it is the same, with other labels, too."""
    titles = ['100 % "sure" \\ %s', "two\nlines \u2028", "%(title)s {0}"]
    changes = tuple(Change(NOW - i, "d", "all", "deploy", title) for i, title in enumerate(titles))
    for taken in (snapshot(), replace(snapshot(ready=False), changes=changes)):
        parsed = Parsed(taken)
        for accept in (PROMETHEUS, OPENMETRICS, f"{OPENMETRICS}; escaping=dots"):
            encode, content_type = choose_encoder(accept)
            assert render(taken, accept) == (encode(parsed), content_type)


def test_values() -> None:
    """Values are those of the events counted."""
    found = usual()
    cell = {"stage": "web_checkout", "experience": "checkout_completed", "window": "1m"}
    business = cell | {"segment": "business", "partner": "none"}
    klarna = cell | {"segment": "new", "partner": "klarna"}
    assert value(found, "touchpoint_window_events", **klarna) == 4
    assert value(found, "touchpoint_window_good", **klarna) == 4
    assert value(found, "touchpoint_window_events", **business) == 2
    assert value(found, "touchpoint_window_good", **business) == 0
    fast = klarna | {"experience": "checkout_fast"}
    assert value(found, "touchpoint_window_events", **fast) == 4
    assert value(found, "touchpoint_window_good", **fast) == 3
    target = {"stage": "web_checkout", "experience": "checkout_completed"}
    assert value(found, "touchpoint_target_ratio", **target, segment="business") == 0.97
    assert value(found, "touchpoint_target_ratio", **target, segment="new") == 0.95
    assert value(found, "touchpoint_target_ratio", **target, segment="all") == 0.95
    checkout = {"stage": "web_checkout", "window": "1m"}
    for outcome, n in (("ok", 4), ("failed", 2), ("wow", 0), ("abandoned", 0)):
        assert value(found, "touchpoint_window_outcomes", **checkout, outcome=outcome) == n
    for reason, n in (("payment_error", 2), ("unspecified", 1), ("stock_gone", 0), ("other", 0)):
        assert value(found, "touchpoint_window_reasons", **checkout, reason=reason) == n
    changed = "touchpoint_last_change_timestamp_seconds"
    assert value(found, changed, stage="all", kind="incident", title='a "quoted" \\ title') == (
        (NOW - 60_000) / 1000
    )
    assert value(found, changed, stage="store", kind="deploy", title="kassa 2.0 \u2013 uusi") == (
        (NOW - 500) / 1000
    )
    assert value(found, "touchpoint_partitions") == 28
    assert value(found, "touchpoint_partitions_owned") == 14
    last = "touchpoint_last_event_timestamp_seconds"
    assert value(found, last, stage="web_checkout", partner="klarna") == (NOW - 1_500) / 1000
    topic = "touchpoint.web-checkout.v1"
    assert value(found, "touchpoint_records_total", topic=topic, result="counted") == 7
    assert value(found, "touchpoint_records_total", topic=topic, result="refused") == 1
    assert value(found, "touchpoint_dead_letters_total", topic=topic, reason="not_json") == 1
    assert value(found, "touchpoint_event_lag_seconds", topic=topic, partition="0") == 0.25
    assert value(found, "touchpoint_consumer_lag_records", topic=topic, partition="0") == 12
    assert value(found, "touchpoint_consumer_lag_records", topic=topic, partition="3") == 0
    assert value(found, "touchpoint_consumer_position", topic=topic, partition="0") == 88
    assert ("touchpoint_consumer_position", (("partition", "3"), ("topic", topic))) not in found
    assert value(found, "touchpoint_open_transaction_seconds", topic=topic, partition="0") == 0.2
    assert value(found, "touchpoint_open_transaction_seconds", topic=topic, partition="3") == 0
    since = "touchpoint_windows_whole_since_timestamp_seconds"
    assert value(found, since, topic=topic, partition="3") == (NOW - 5_000) / 1000
    assert (since, (("partition", "0"), ("topic", topic))) not in found
    assert value(found, "touchpoint_ready") == 1
    assert value(found, "touchpoint_build_info", version='1.2"3', journey="chair") == 1


def test_every_cell_is_there_from_the_start() -> None:
    """Each label set of the closed key space exists at 0 before its first event."""
    found = usual()
    for stage in CHAIR.stages:
        cells = itertools.product(
            stage.experiences, CHAIR.segment_labels, stage.partner_labels, WINDOW_LABELS
        )
        for experience, segment, partner, window in cells:
            labels = {"stage": stage.name, "experience": experience.name, "segment": segment}
            labels |= {"partner": partner, "window": window}
            for name in ("touchpoint_window_events", "touchpoint_window_good"):
                held = value(found, name, **labels)
                assert held == 0 or stage.name in EVENTS
        for outcome, window in itertools.product(stage.outcomes, WINDOW_LABELS):
            labels = {"stage": stage.name, "outcome": outcome, "window": window}
            assert value(found, "touchpoint_window_outcomes", **labels) == 0 or stage.name in EVENTS
        for label, window in itertools.product(reason_labels(stage), WINDOW_LABELS):
            labels = {"stage": stage.name, "reason": label, "window": window}
            assert value(found, "touchpoint_window_reasons", **labels) == 0 or stage.name in EVENTS
        for reason in Reason:
            refused = value(found, "touchpoint_dead_letters_total", topic=stage.topic, reason=reason)
            assert refused == (reason is Reason.NOT_JSON)
    cells_of = [len(stage.experiences) * len(stage.partner_labels) for stage in CHAIR.stages]
    expected = sum(cells_of) * len(CHAIR.segment_labels) * len(WINDOW_LABELS)
    assert sum(name == "touchpoint_window_events" for name, _ in found) == expected


def answer(
    kind: Literal["nps", "csat", "ces"], score: float, stage: str = "feedback", **fields: Any
) -> Event:
    """Somebody's answer."""
    return Event(stage=stage, outcome="ok", score=Score(kind=kind, value=score), **fields)


def test_answers_by_class_channel_and_segment() -> None:
    """Each answer stands once in each window that opinions need; where nobody is asked there are none."""
    feedback = [
        (3, answer("nps", 9, channel="app", segment="new")),
        (2, answer("nps", 3, channel="fax")),
        (1, answer("ces", 7, channel="app", segment="new")),
    ]
    found = text_samples(snapshot(feedback=feedback))
    name = metrics.WINDOW_ANSWERS.name
    for window in SLOW_WINDOWS:
        about = {"stage": "feedback", "window": window}
        new = about | {"channel": "app", "segment": "new"}
        assert value(found, name, **new, kind="nps", **{"class": "promoter"}) == 3
        assert value(found, name, **new, kind="ces", **{"class": "easy"}) == 1
        other = about | {"channel": "other", "segment": "other"}
        assert value(found, name, **other, kind="nps", **{"class": "detractor"}) == 2
        asked = {
            labels: n for (one, labels), n in found.items() if one == name and ("window", window) in labels
        }
        assert sum(asked.values()) == 6
        assert {dict(labels)["stage"] for labels in asked} == {"feedback"}
        assert len(asked) == 7 * (len(CHAIR.channels) + 2) * len(CHAIR.segment_labels)
    windows = {dict(labels)["window"] for one, labels in found if one == name}
    assert windows == set(SLOW_WINDOWS)


@pytest.mark.parametrize("n", [1, MIN_GROUP - 1, MIN_GROUP])
def test_of_a_small_group_of_staff_nothing_is_shown(n: int) -> None:
    """Below the least group neither an answer nor how it was judged is there; above it only sums are."""
    colleagues = [
        (n - 1, answer("csat", 5, "staff_pulse", segment="new", channel="email")),
        (1, answer("csat", 1, "staff_pulse", segment="new", channel="chat", location="oulu")),
        (1, answer("nps", 1, "staff_pulse")),
    ]
    families = openmetrics_families(snapshot(staff_pulse=colleagues)).values()
    told = {
        (name, labels): held
        for (name, labels), held in samples(families).items()
        if held and ("stage", "staff_pulse") in labels and "window" in dict(labels)
    }
    answers = {
        (dict(key[1])["class"], dict(key[1])["window"]): n
        for key, n in told.items()
        if "class" in dict(key[1])
    }
    judged = [held for (name, _), held in told.items() if name == metrics.WINDOW_EVENTS.name]
    if n < MIN_GROUP:
        assert (answers, judged) == ({}, [])
        assert {name for name, _ in told} == {metrics.EXPECTED.name}
        return
    assert answers == {
        (one, window): count for window in SLOW_WINDOWS for one, count in (("good", n - 1), ("other", 1))
    }
    assert set(judged) == {n}
    assert all(dict(labels).get("channel", "all") == "all" for _, labels in told)
    assert not any("spread" in name for name, _ in told)


def test_spread_by_channel_and_location() -> None:
    """What is judged by channel and by location; each experience adds up to those that name a place."""
    visits = [
        (4, Event(stage="store", outcome="ok", channel="store", location="oulu", wait_s=10)),
        (3, Event(stage="store", outcome="failed", channel="store", location="vaasa", wait_s=1e6)),
        (2, Event(stage="store", outcome="ok")),
    ]
    found = text_samples(snapshot(store=visits))
    events, good = metrics.WINDOW_SPREAD_EVENTS.name, metrics.WINDOW_SPREAD_GOOD.name
    for window in SLOW_WINDOWS:
        about = {"stage": "store", "experience": "store_wait", "window": window}
        for by, name, judged, well in (
            ("channel", "store", 7, 4),
            ("channel", "web", 0, 0),
            ("location", "oulu", 4, 4),
            ("location", "other", 3, 0),
        ):
            assert value(found, events, **about, by=by, name=name) == judged
            assert value(found, good, **about, by=by, name=name) == well
    assert {dict(labels)["window"] for name, labels in found if name == events} == set(SLOW_WINDOWS)
    stages = {dict(labels)["stage"] for name, labels in found if name == events}
    assert stages == {stage.name for stage in CHAIR.stages if stage.kind != "staff"}


def test_tools() -> None:
    """Seconds waited for tools, and the seconds of those encounters in all."""
    visits = [
        (2, Event(stage="store", outcome="ok", duration_s=100.5, system_wait_s=20.25)),
        (1, Event(stage="store", outcome="ok", duration_s=1000)),
        (1, Event(stage="store", outcome="ok", system_wait_s=1000)),
    ]
    found = text_samples(snapshot(store=visits))
    for window in WINDOW_LABELS:
        for name, of_store in ((metrics.WINDOW_TOOL.name, 40.5), (metrics.WINDOW_TOOL_OF.name, 201)):
            assert value(found, name, stage="store", window=window) == of_store
            assert value(found, name, stage="warehouse", window=window) == 0


def test_the_average_speed_of_answer_is_that_of_answered_calls() -> None:
    """Two were answered after 10 s, one at once, one gave up after 90 s, one tells no wait: 20 s by 3."""
    calls = [
        (2, Event(stage="store", outcome="ok", wait_s=10)),
        (1, Event(stage="store", outcome="failed", wait_s=0)),
        (1, Event(stage="store", outcome="abandoned", wait_s=90)),
        (1, Event(stage="store", outcome="ok")),
    ]
    found = text_samples(snapshot(store=calls))
    before = usual()

    def added(name: str, *outcomes: str) -> float:
        labels = [{"stage": "store", "outcome": outcome, "window": "5m"} for outcome in outcomes]
        return sum(value(found, name, **one) - value(before, name, **one) for one in labels)

    answered = ("ok", "failed", "wow")
    assert added(metrics.WINDOW_WAITED.name, *answered) == 20
    assert added(metrics.WINDOW_WAITS.name, *answered) == 3
    assert added(metrics.WINDOW_WAITED.name, "abandoned") == 90
    assert added(metrics.WINDOW_WAITS.name, "abandoned") == 1


def test_a_stage_says_at_which_step_people_leave() -> None:
    """By the touchpoints of the file; another is `other`, a missing one `none`. Others tell no steps."""
    steps = [
        (3, Event(stage="web_checkout", outcome="abandoned", touchpoint="payment")),
        (2, Event(stage="web_checkout", outcome="failed", touchpoint="payment")),
        (1, Event(stage="web_checkout", outcome="abandoned", touchpoint="cart")),
        (4, Event(stage="web_checkout", outcome="abandoned", touchpoint="gift_wrap")),
        (5, Event(stage="web_checkout", outcome="abandoned")),
        (6, Event(stage="store", outcome="abandoned", touchpoint="till")),
    ]
    found, before = (
        text_samples(snapshot(web_checkout=steps[:-1], store=steps[-1:])),
        usual(),
    )
    for touchpoint, outcome, n in (
        ("payment", "abandoned", 3), ("payment", "failed", 2), ("cart", "abandoned", 1),
        ("address", "abandoned", 0), ("other", "abandoned", 4), ("none", "abandoned", 5),
    ):  # fmt: skip
        labels = {"stage": "web_checkout", "touchpoint": touchpoint, "outcome": outcome, "window": "5m"}
        name = metrics.WINDOW_TOUCHPOINTS.name
        assert value(found, name, **labels) - value(before, name, **labels) == n
    named = {dict(labels)["stage"] for name, labels in found if name == metrics.WINDOW_TOUCHPOINTS.name}
    assert named == {"web_checkout"}


def test_asked_by_channel() -> None:
    """A channel in which nobody is asked is there with 0; an answer is no asking."""
    asked = [
        (7, Event(stage="feedback", outcome="asked", channel="email")),
        (2, Event(stage="feedback", outcome="asked", channel="pigeon")),
        (1, Event(stage="feedback", outcome="asked")),
        (4, Event(stage="feedback", outcome="ok", channel="web", score=Score("nps", 9))),
    ]
    found, before = text_samples(snapshot(feedback=asked)), usual()
    for channel, n in (("email", 7), ("web", 0), ("other", 2), ("none", 1)):
        labels = {"stage": "feedback", "channel": channel, "window": "1d"}
        name = metrics.WINDOW_ASKED.name
        assert value(found, name, **labels) - value(before, name, **labels) == n


@pytest.mark.parametrize("kind", ["duration", "wait"])
def test_buckets_are_cumulative(kind: str) -> None:
    """Buckets never fall, the last one equals the count, and the sum is in seconds."""
    found = usual()
    name = f"touchpoint_window_{kind}_seconds"
    for stage, window in itertools.product(CHAIR.stages, WINDOW_LABELS):
        labels = {"stage": stage.name, "window": window}
        counts = [value(found, f"{name}_bucket", **labels, le=le) for le in _les(found, name)]
        assert counts == sorted(counts)
        assert len(counts) == len(BUCKETS)
        assert counts[-1] == value(found, f"{name}_gcount", **labels)
    wait = {"stage": "call_queue", "window": "1m"}
    duration = {"stage": "web_checkout", "window": "1m"}
    if kind == "wait":
        assert value(found, f"{name}_bucket", **wait, le="10") == 0
        assert value(found, f"{name}_bucket", **wait, le="20") == 4
        assert value(found, f"{name}_bucket", **wait, le="604800") == 4
        assert value(found, f"{name}_gcount", **wait) == 5
        assert value(found, f"{name}_gsum", **wait) == 1_000_080
    else:
        assert value(found, f"{name}_bucket", **duration, le="90") == 3
        assert value(found, f"{name}_gcount", **duration) == 4
        assert value(found, f"{name}_gsum", **duration) == 180.5


def _les(found: Samples, name: str) -> list[str]:
    les = {dict(labels)["le"] for sample, labels in found if sample == f"{name}_bucket"}
    return sorted(les, key=float)


def test_open_encounters_are_shown_where_services_say_when_they_begin() -> None:
    """How many are open and for how long the oldest, in each segment; no series of other stages."""
    taken = snapshot()
    known = UnderWay({("queued", "new"): 2}, {("queued", "new"): NOW - 63_500}, given_up=1)
    stages = (replace(one, under_way=known) for one in taken.stages)
    found = samples(openmetrics_families(replace(taken, stages=tuple(stages))).values())
    about = {"stage": "call_queue", "opening": "queued"}
    assert value(found, "touchpoint_window_begun", **about, window="5m") == 3
    for segment, n, age_s in (("new", 2, 63.5), ("business", 0, 0), ("other", 0, 0)):
        assert value(found, "touchpoint_open_encounters", **about, segment=segment) == n
        assert value(found, "touchpoint_oldest_encounter_seconds", **about, segment=segment) == age_s
    assert value(found, "touchpoint_encounters_given_up_total", stage="call_queue") == 1
    left = sum(one.events("5m") for one in taken.stages if one.stage.name == "call_queue")
    assert value(found, "touchpoint_expected_wait_seconds", stage="call_queue") == 2 * 300 / left
    labels = [dict(labels) for name, labels in found if name.startswith("touchpoint_open_encounters")]
    assert {(one["stage"], one["opening"]) for one in labels} == {("call_queue", "queued")}


def test_windows_are_withheld_until_ready() -> None:
    """A worker that is not recovered shows no window family, rather than windows that look empty."""
    shown = openmetrics_families(snapshot(ready=False))
    withheld = {
        *WINDOW_FAMILIES,
        metrics.OPEN_ENCOUNTERS.name,
        metrics.OLDEST_ENCOUNTER.name,
        metrics.EXPECTED_WAIT.name,
        metrics.GIVEN_UP.name,
        metrics.OPEN_JOURNEYS.name,
        metrics.JOURNEYS_BYTES.name,
        metrics.JOURNEYS_MAX_BYTES.name,
        metrics.OVERDUE.name,
        metrics.JOURNEYS_JUDGED.name,
    }
    assert set(shown) == {metric.name for metric in metrics.METRICS} - withheld
    assert shown["touchpoint_ready"].samples[0].value == 0
    ready = snapshot()
    half = replace(ready, ready=False)
    assert not set(openmetrics_families(half)) & set(WINDOW_FAMILIES)


def test_journeys_are_shown_by_the_parts_of_their_counters() -> None:
    """Each part of a counter's name is a label; what alerts look at is there in every window."""
    found = usual()
    closed = {"result": "met", "segment": "new"}
    assert value(found, "touchpoint_window_journeys", **closed, window="1m") == 2
    assert value(found, "touchpoint_window_weakest", stage="store", segment="business", window="7d") == 1
    hit = {"stage": "web_checkout", "segment": "business"}
    assert value(found, "touchpoint_window_journeys_hit", **hit, window="20s") == 1
    promise = {"kind": "delivery_window", "partner": "postnord", "result": "due"}
    assert value(found, "touchpoint_window_promises", **promise, window="1h") == 1
    assert value(found, "touchpoint_open_journeys") == 17
    overdue = {"what": "promise/delivery_window", "partner": "postnord"}
    assert value(found, "touchpoint_overdue", **overdue, age="1d") == 2
    lost = {"what": "handoff/warehouse/delivery", "partner": "none"}
    assert value(found, "touchpoint_overdue", **lost, age="1h") == 1
    steps = {"topic": "monitor-journey-steps"}
    assert value(found, "touchpoint_records_total", **steps, result="late") == 1
    assert value(found, "touchpoint_consumer_lag_records", **steps, partition="1") == 3


def test_renders_what_is_not_known_yet() -> None:
    """Before Kafka is reached, readiness, targets and version are shown all the same."""
    stages = tuple(stage_snapshot(CHAIR, stage, None, NOW) for stage in CHAIR.stages)
    families = openmetrics_families(Snapshot(CHAIR, NOW, False, stages, version="1"))
    assert families["touchpoint_target_ratio"].samples
    for name in ("touchpoint_ready", "touchpoint_partitions", "touchpoint_partitions_owned"):
        assert [sample.value for sample in families[name].samples] == [0]


def test_events_expected_are_those_of_what_the_window_covers() -> None:
    """From the start of the oldest pane up to now: 30 s into a pane of 5 min, 2h is 1h 55m 30s."""
    found = usual()
    covered_s = {
        "20s": 10,
        "1m": 50,
        "5m": 290,
        "30m": 1790,
        "1h": 3590,
        "2h": 6930,
        "6h": 21330,
        "1d": 86130,
    }
    assert NOW % 300_000 == 30_000
    for stage in CHAIR.stages:
        assert stage.per_hour is not None
        for window in SILENT_WINDOWS:
            labels = {"stage": stage.name, "window": window}
            held = value(found, "touchpoint_window_expected_events", **labels)
            assert held == pytest.approx(stage.per_hour * covered_s[window] / 3600)
    expected = [labels for name, labels in found if name == "touchpoint_window_expected_events"]
    assert len(expected) == len(CHAIR.stages) * len(SILENT_WINDOWS)


def test_a_stage_is_open_in_its_hours() -> None:
    """1 in its hours, 0 outside, also while the worker is not ready; of a closed one nothing is expected."""
    always = ((0, 1440),)
    open_now, closed_now = (always,) * 7, ((),) * 7
    stages = [replace(stage, hours=closed_now) for stage in CHAIR.stages]
    stages[0] = replace(stages[0], hours=open_now)
    stages[1] = replace(stages[1], hours=(), per_hour=None)
    journey = replace(CHAIR, stages=tuple(stages))
    found = text_samples(replace(snapshot(), journey=journey))
    is_open = [value(found, "touchpoint_stage_open", stage=stage.name) for stage in stages]
    assert is_open == [1, 1, 0, 0, 0, 0, 0]
    unready = text_samples(replace(snapshot(ready=False), journey=journey))
    assert value(unready, "touchpoint_stage_open", stage=stages[2].name) == 0
    expected = {
        dict(labels)["stage"]: held
        for (name, labels), held in found.items()
        if name == "touchpoint_window_expected_events"
    }
    assert expected.pop(stages[0].name) > 0
    assert set(expected) == {stage.name for stage in stages[2:]}
    assert set(expected.values()) == {0}


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", PROMETHEUS])
def test_plain_text_unless_asked(accept: str) -> None:
    """Whoever does not ask for OpenMetrics gets the plain text format."""
    assert render(snapshot(), accept)[1].startswith("text/plain")


def test_openmetrics_ends_as_it_must() -> None:
    """OpenMetrics ends with its end mark, by which a cut answer is recognised."""
    body, _ = render(snapshot(), OPENMETRICS)
    assert body.endswith(b"# EOF\n")


@pytest.mark.full
def test_promtool_accepts() -> None:
    """`promtool check metrics` finds nothing to say."""
    body, _ = render(snapshot(), PROMETHEUS)
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
