"""The state of journeys through a worker's recovery."""

from streams.state.partition import PaneRecord
from tests.streams.journeys.test_bound import BOUND, Keeper, filled


async def test_nothing_is_written_of_a_partition_that_is_still_being_read() -> None:
    """A worker that ends while it recovers leaves everything as it was: the clock of its predecessor, too."""
    keeper, position = await filled()
    interrupted = Keeper(BOUND)
    interrupted.processor.restore(0, [PaneRecord(one.key or b"", one.value) for one in keeper.written])
    await interrupted.flush()
    assert interrupted.written == []
    successor = await Keeper(BOUND).own(2, keeper.written)
    successor.fold(position, ("j1", 1))
    await successor.flush()
    assert successor.totals() == keeper.totals()
