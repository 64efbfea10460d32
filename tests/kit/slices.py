"""Histories counted in whole slices, where a test knows the numbers and needs no events."""

from monitor.backtest.history import BLOCK, StageHistory, Table


def add_slices(held: StageHistory, first: int, table: Table) -> None:
    """Count the columns from slice `first` on; rows as `good`, `bad`, `events` and `reasons` say."""
    for hour in range(first // BLOCK, (first + table.shape[1] - 1) // BLOCK + 1):
        start = max(first, hour * BLOCK)
        part = table[:, start - first : (hour + 1) * BLOCK - first]
        if part.any():
            at = start - hour * BLOCK
            held._block(hour)[:, at : at + part.shape[1]] += part
