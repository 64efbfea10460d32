"""Both exposition formats say the same, and exactly the families that `metrics` declares."""

import itertools
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from monitor import metrics
from monitor.event import Event, Reason
from monitor.exposition import render
from monitor.journey_file import parse
from monitor.judging import BUCKETS, Judge, counter_names
from monitor.panes import Tally
from monitor.snapshot import PartitionLag, Snapshot, stage_snapshot, unknown_stage
from monitor.windows import WINDOW_LABELS, StageWindows

CHAIR = parse((Path(__file__).parent.parent / "monitor/journey.yaml").read_text())
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
    ],
}


def snapshot(ready: bool = True) -> Snapshot:
    """A worker that has counted the events above a second ago."""
    stages = []
    for stage in CHAIR.stages:
        windows = StageWindows(counter_names(CHAIR, stage))
        tally = Tally(Judge(CHAIR, stage))
        for n, event in EVENTS.get(stage.name, []):
            for _ in range(n):
                tally.add(event, NOW - 1_000)
        for key, counts in tally.panes():
            windows.add(key, counts)
        stages.append(
            stage_snapshot(
                CHAIR,
                stage,
                windows if ready else None,
                NOW,
                results={"counted": 7, "late": 0, "duplicate": 2, "refused": 1},
                refusals={Reason.NOT_JSON: 1},
                last_event_ms={"klarna": NOW - 1_500} if stage.name == "web_checkout" else {},
                lags=(PartitionLag(0, 12, 0.25), PartitionLag(3, 0, 0)),
            )
        )
    return Snapshot(CHAIR, NOW, ready, tuple(stages), version='1.2"3')


def openmetrics_families(taken: Snapshot) -> dict[str, Family]:
    """What OpenMetrics says, by its own parser, which checks the format's rules."""
    body, content_type = render(taken, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    parse_text = openmetrics_parser.text_string_to_metric_families
    families = list(parse_text(body.decode()))  # type: ignore[no-untyped-call]
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


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


def value(found: Samples, name: str, **labels: str) -> float:
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
            expected = {"version", "journey"} if metric.kind == "info" else set(metric.labels)
            assert set(sample.labels) - {"le"} == expected
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
    assert text_samples(snapshot()) == samples(openmetrics_families(snapshot()).values())


def test_values() -> None:
    """Values are those of the events counted."""
    found = text_samples(snapshot())
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
    last = "touchpoint_last_event_timestamp_seconds"
    assert value(found, last, stage="web_checkout", partner="klarna") == (NOW - 1_500) / 1000
    topic = "touchpoint.web-checkout.v1"
    assert value(found, "touchpoint_records_total", topic=topic, result="counted") == 7
    assert value(found, "touchpoint_records_total", topic=topic, result="refused") == 1
    assert value(found, "touchpoint_dead_letters_total", topic=topic, reason="not_json") == 1
    assert value(found, "touchpoint_event_lag_seconds", topic=topic, partition="0") == 0.25
    assert value(found, "touchpoint_consumer_lag_records", topic=topic, partition="0") == 12
    assert value(found, "touchpoint_consumer_lag_records", topic=topic, partition="3") == 0
    assert value(found, "touchpoint_ready") == 1
    assert value(found, "touchpoint_build_info", version='1.2"3', journey="chair") == 1


def test_every_cell_is_there_from_the_start() -> None:
    """Each label set of the closed key space exists at 0 before its first event."""
    found = text_samples(snapshot())
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
        for reason in Reason:
            refused = value(found, "touchpoint_dead_letters_total", topic=stage.topic, reason=reason)
            assert refused == (reason is Reason.NOT_JSON)
    cells_of = [len(stage.experiences) * len(stage.partner_labels) for stage in CHAIR.stages]
    expected = sum(cells_of) * len(CHAIR.segment_labels) * len(WINDOW_LABELS)
    assert sum(name == "touchpoint_window_events" for name, _ in found) == expected


@pytest.mark.parametrize("kind", ["duration", "wait"])
def test_buckets_are_cumulative(kind: str) -> None:
    """Buckets never fall, the last one equals the count, and the sum is in seconds."""
    found = text_samples(snapshot())
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


def test_windows_are_withheld_until_ready() -> None:
    """A worker that is not recovered shows no window family, rather than windows that look empty."""
    shown = openmetrics_families(snapshot(ready=False))
    assert set(shown) == {metric.name for metric in metrics.METRICS} - set(WINDOW_FAMILIES)
    assert shown["touchpoint_ready"].samples[0].value == 0
    ready = snapshot()
    half = replace(ready, ready=False)
    assert not set(openmetrics_families(half)) & set(WINDOW_FAMILIES)


def test_renders_what_is_not_known_yet() -> None:
    """Before Kafka is reached, readiness, targets and version are shown all the same."""
    stages = tuple(unknown_stage(CHAIR, stage) for stage in CHAIR.stages)
    families = openmetrics_families(Snapshot(CHAIR, NOW, False, stages, version="1"))
    assert families["touchpoint_target_ratio"].samples
    assert families["touchpoint_ready"].samples[0].value == 0


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
