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
READY = Metric(
    "touchpoint_ready", "gauge", (),
    "1 when this worker's partitions are assigned and recovered; window metrics are withheld until then.",
)  # fmt: skip
BUILD = Metric("touchpoint_build", "info", (), "Version of the monitor and name of the journey.")

METRICS = (
    WINDOW_EVENTS, WINDOW_GOOD, WINDOW_DURATION, WINDOW_WAIT, TARGET, LAST_EVENT, RECORDS, DEAD_LETTERS,
    EVENT_LAG, CONSUMER_LAG, READY, BUILD,
)  # fmt: skip
