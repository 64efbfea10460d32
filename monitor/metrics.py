"""Every metric: name, kind, labels, meaning. Generators and exposition take them from here only."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "gaugehistogram", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family. Additive over workers, unless its help says otherwise."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


WINDOW_EVENTS = Metric(
    "touchpoint_window_events", "gauge", ("stage", "experience", "segment", "partner", "window"),
    "Events judged for the experience in the window.",
)  # fmt: skip
WINDOW_GOOD = Metric(
    "touchpoint_window_good", "gauge", ("stage", "experience", "segment", "partner", "window"),
    "Events judged good for the experience in the window.",
)  # fmt: skip
WINDOW_OUTCOMES = Metric(
    "touchpoint_window_outcomes", "gauge", ("stage", "outcome", "window"),
    "All events of the window by outcome, judged or not.",
)  # fmt: skip
WINDOW_REASONS = Metric(
    "touchpoint_window_reasons", "gauge", ("stage", "reason", "window"),
    "Events of the window that were bad for some experience, by the reason they give.",
)  # fmt: skip
EXPECTED = Metric(
    "touchpoint_window_expected_events", "gauge", ("stage", "window"),
    "Events the window should hold by the declared rhythm and opening hours; the same on every worker.",
)  # fmt: skip
OPEN = Metric(
    "touchpoint_stage_open", "gauge", ("stage",),
    "1 in the stage's opening hours; the same on every worker.",
)  # fmt: skip
WINDOW_DURATION = Metric(
    "touchpoint_window_duration_seconds", "gaugehistogram", ("stage", "window"),
    "How long the encounters of the window took.",
)  # fmt: skip
WINDOW_WAIT = Metric(
    "touchpoint_window_wait_seconds", "gaugehistogram", ("stage", "window"),
    "How long customers of the window waited.",
)  # fmt: skip
TARGET = Metric(
    "touchpoint_target_ratio", "gauge", ("stage", "experience", "segment"),
    "Share of events that must be good, from the journey file; the same on every worker.",
)  # fmt: skip
LAST_EVENT = Metric(
    "touchpoint_last_event_timestamp_seconds", "gauge", ("stage", "partner"),
    "Event time of the newest event this worker has counted; take the maximum over workers.",
)  # fmt: skip
RECORDS = Metric(
    "touchpoint_records", "counter", ("topic", "result"),
    "Records read by result: counted; late (counted too, more than a minute behind); duplicate; refused.",
)  # fmt: skip
DEAD_LETTERS = Metric(
    "touchpoint_dead_letters", "counter", ("topic", "reason"),
    "Records refused to the dead-letter topic of the source topic, by reason.",
)  # fmt: skip
EVENT_LAG = Metric(
    "touchpoint_event_lag_seconds", "gauge", ("topic", "partition"),
    "Age of the last record read while more are waiting; 0 when none is.",
)  # fmt: skip
CONSUMER_LAG = Metric(
    "touchpoint_consumer_lag_records", "gauge", ("topic", "partition"),
    "Records in the partition that have not been read yet.",
)  # fmt: skip
PARTITIONS = Metric(
    "touchpoint_partitions", "gauge", (),
    "Partitions of all stages' topics; the same on every worker.",
)  # fmt: skip
OWNED = Metric(
    "touchpoint_partitions_owned", "gauge", (),
    "Partitions this worker counts; over all workers that is every one, or something is not counted.",
)  # fmt: skip
LAST_CHANGE = Metric(
    "touchpoint_last_change_timestamp_seconds", "gauge", ("stage", "kind", "title"),
    "When the latest change (deploy, incident) of the stage was; the same on every worker.",
)  # fmt: skip
READY = Metric(
    "touchpoint_ready", "gauge", (),
    "1 when this worker's partitions are assigned and recovered; window metrics are withheld until then.",
)  # fmt: skip
BUILD = Metric("touchpoint_build", "info", (), "Version of the monitor and name of the journey.")

METRICS = (
    WINDOW_EVENTS, WINDOW_GOOD, WINDOW_OUTCOMES, WINDOW_REASONS, EXPECTED, OPEN, WINDOW_DURATION, WINDOW_WAIT,
    TARGET, LAST_EVENT, RECORDS, DEAD_LETTERS, EVENT_LAG, CONSUMER_LAG, PARTITIONS, OWNED, LAST_CHANGE, READY,
    BUILD,
)  # fmt: skip

# Series that Prometheus records from these (`promql.recordings`), additive no more.
EVENTS_SUM = "stage:touchpoint_window_events:sum"
BAD_SUM = "stage:touchpoint_window_bad:sum"
BAD_RATIO = "stage:touchpoint_window_bad:ratio"
BAD_WILSON = "stage:touchpoint_window_bad:wilson_lower"
BAD_WILSON_FAST = "stage:touchpoint_window_bad:wilson_lower_fast"
OUTCOMES_SUM = "stage:touchpoint_window_outcomes:sum"
ATTAINMENT = "stage:touchpoint_attainment:ratio"
DEGRADED = "stage:touchpoint_degraded:ratio"
WORST = "stage:touchpoint_degraded:worst_ratio"
WORST_EVENTS = "stage:touchpoint_degraded:events"
WORST_BAD = "stage:touchpoint_degraded:bad"
WORST_REASON = "stage:touchpoint_degraded:reason"
WORST_SEGMENT = "stage:touchpoint_degraded:segment"
WORST_CHANGE = "stage:touchpoint_degraded:last_change_timestamp_seconds"
CHANGED = "stage:touchpoint_last_change:timestamp_seconds"
SILENT = "stage:touchpoint_silent:expected"
TROUBLE = "stage:touchpoint_trouble:count"
BLIND = "touchpoint:blind:count"
