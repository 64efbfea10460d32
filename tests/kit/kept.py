"""The journeys that a partition keeps, which no worker lists."""

from collections.abc import Iterator

from monitor.journeys.open import OpenJourney
from streams.journeys.partition import JourneyPartition


def kept(partition: JourneyPartition) -> Iterator[tuple[str, OpenJourney]]:
    """Every journey of a partition, written or not, by its id."""
    for journey_id in partition._store._records.keys() | partition._store._changed.keys():
        found = partition.look_up(journey_id)
        if found is not None:
            yield journey_id, found
