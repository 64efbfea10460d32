"""What `make fuzz` runs by the million holds for every seed, and for a few thousand mutations of them."""

from random import Random

import pytest

from monitor.counting.event import Event, Reason
from tests.fuzz.holds import JOURNEY, Reader, holds, readers
from tests.fuzz.mutation import mutate
from tests.fuzz.record import MAX_BYTES, read, seeds, write

SEEDS = sorted(set(seeds()))
MUTATIONS = 4000

UNSEEN = {
    *(Reason.TOO_LARGE, Reason.IN_FUTURE, Reason.TOO_OLD, Reason.WRONG_TOPIC),
    *(Reason.TOMBSTONE, Reason.UNREADABLE, Reason.UNPROCESSABLE),
}
"""Reasons no result has: mutations are short, times are asked for apart, each stage's topic is tried, and the
codec gives the last three for no bytes."""


@pytest.fixture(scope="module")
def all_readers() -> list[Reader]:
    """One for each stage."""
    return readers()


@pytest.mark.parametrize("record", SEEDS, ids=range(len(SEEDS)))
def test_every_seed_holds(record: bytes, all_readers: list[Reader]) -> None:
    """The seeds keep every promise, and are records that can be written as well as read."""
    holds(record, all_readers)
    assert write(*read(record)) == record


def test_every_stage_accepts_a_seed(all_readers: list[Reader]) -> None:
    """Fuzzing starts from events of every stage."""
    outcomes = [holds(record, all_readers) for record in SEEDS]
    accepted = {outcome.stage for outcome in outcomes if isinstance(outcome.result, Event)}
    assert accepted == {stage.name for stage in JOURNEY.stages}


def test_mutations_hold_and_reach_every_reason(all_readers: list[Reader]) -> None:
    """Mutations of mutations keep every promise; they are refused for every reason, and accepted too."""
    random = Random(1)
    mutated, reasons, accepted = list(SEEDS), set(), 0
    for seed in range(MUTATIONS):
        record = mutate(random.choice(random.choice((SEEDS, mutated))), MAX_BYTES, seed)
        mutated[random.randrange(len(mutated))] = record
        result = holds(record, all_readers).result
        if isinstance(result, Event):
            accepted += 1
        else:
            reasons.add(result.reason)
    assert reasons == set(Reason) - UNSEEN
    assert accepted > MUTATIONS / 20


def test_a_mutation_is_the_same_each_time() -> None:
    """A seed number gives the same record again, so a failure can be repeated."""
    assert all(mutate(record, 99, 7) == mutate(record, 99, 7) for record in SEEDS)
    assert len({mutate(SEEDS[-1], MAX_BYTES, seed) for seed in range(100)}) > 50
