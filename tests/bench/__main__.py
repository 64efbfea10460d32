"""`make bench`: how fast one worker is and what else it costs. `python -m tests.bench speed` is the first."""

import os
import shutil
import subprocess
import sys

from streams.__main__ import ONE_BLAS_THREAD
from tests.bench import speed

EVERYWHERE = ("scrape", "alert_quality", "dedupe", "journeys", "open_journeys", "encounters")

NEEDS = {
    "paging": ("prometheus", "prometheus-alertmanager"),
    "recovery": ("java",),
    "backlog": ("java",),
}
"""Programs without which a part is not measured."""


def main() -> None:
    """Speed, which takes the options; then the rest."""
    is_speed_alone = sys.argv[1:2] == ["speed"]
    speed.main(sys.argv[1 + is_speed_alone :])
    if is_speed_alone:
        return
    for part in EVERYWHERE:
        _run(part)
    for part, programs in NEEDS.items():
        if missing := [program for program in programs if shutil.which(program) is None]:
            print(f"{part}: not measured, it needs {' and '.join(missing)}")
        else:
            _run(part)


def _run(part: str) -> None:
    command = [sys.executable, "-m", f"tests.bench.{part}"]
    subprocess.run(command, env=os.environ | ONE_BLAS_THREAD, check=True)


if __name__ == "__main__":
    main()
