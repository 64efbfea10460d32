"""What a digest says of staff: two of them differ by five answers or more, or in nothing."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from monitor.counting.event import Event, Score
from monitor.counting.staff import MIN_GROUP
from monitor.live.exposition import render
from tests.kit.shipped import SHIPPED as CHAIR
from tests.monitor.live.test_staff import PULSE, Counted, worker
from tests.monitor.report.test_report import Counts, found, text
from tests.streams.web.snapshots import NOW

ANSWERS = 12


def scraped(counted: Counted) -> Counts:
    """What Prometheus holds of a worker's longest window."""
    body, _ = render(worker(counted.windows), "text/plain")
    return [
        (name, {label: of for label, of in labels.items() if label != "window"}, value)
        for family in text_string_to_metric_families(body.decode())
        for name, labels, value, *_ in family.samples
        if labels.get("window") == "7d"
    ]


def readings() -> Iterator[Counts]:
    """One after each answer; colleagues are of different moods."""
    counted = Counted()
    for number in range(ANSWERS):
        score, segment = Score("csat", 1 + number % 5), CHAIR.segments[number % 2]
        event = Event(PULSE.name, "ok", segment=segment, score=score)
        counted.add(event, NOW - 1000 * (ANSWERS - number))
        yield scraped(counted)


def test_two_digests_tell_on_no_fewer_than_five() -> None:
    """Six have answered: five are told of; so are nine, and then ten."""
    digests = [found(reading) for reading in readings()]
    answered = [sum(one.n for one in each.answered if one.stage.name == PULSE.name) for each in digests]
    groups = [number // MIN_GROUP * MIN_GROUP for number in range(1, ANSWERS + 1)]
    assert answered == groups
    said = [text(each) for each in digests]
    for before, after, is_same in zip(said, said[1:], map(int.__eq__, groups, groups[1:]), strict=False):
        assert (before == after) == is_same
