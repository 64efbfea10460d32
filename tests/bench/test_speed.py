"""The speed benchmark runs: a benchmark that nobody runs says nothing, and may not even end."""

import json
import subprocess
import sys

import pytest

from tests.bench.speed import CONTENDERS


@pytest.mark.full
def test_every_contender_ends_and_tells_its_figures() -> None:
    """On a hundredth of the load, from Kafka to the last line; what the figures are is nothing to assert."""
    command = [sys.executable, "-m", "tests.bench", "speed", "--size", "0.01", "--rounds", "1", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stderr
    figures = json.loads(said.stdout.splitlines()[-1])
    assert list(figures) == [one.name for one in CONTENDERS]
    for name, found in figures.items():
        assert found.keys() >= {"events_per_s", "cpu_us", "peak_mb"}
        assert ("times_stock" in found) == (name != "stock")
        assert all(figure > 0 for figure in found.values())
