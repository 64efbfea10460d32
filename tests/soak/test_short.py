"""The short form of the soak: every fault once, counts exact. The long form is `make soak`."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.kit.programs import ROOT
from tests.soak.account import Verdict, compare


def soak(broker: str, events_per_s: int, seed: int) -> None:
    """Run it as `make soak` does; its table is shown when it fails."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.soak", "--once"),
            *("--broker", broker, "--events-per-s", str(events_per_s), "--seed", str(seed)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.full
def test_kill_stop_and_sleep_leave_counts_exact() -> None:
    """On the embedded broker: a worker killed, stopped, asleep beyond its session; all exact."""
    soak("embedded", 1000, seed=1)


def test_an_interrupted_soak_says_so() -> None:
    """Ctrl-C, which reaches every process at once, ends it with one line, where its logs are, and 130."""
    command = [sys.executable, "-m", "tests.soak", "--broker", "embedded", "--events-per-s", "500"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    interrupted, logs = [line for line in out.splitlines() if not line.startswith(" ")]
    assert interrupted == "the soak was interrupted"
    assert logs.startswith("logs are in ")
    assert (process.returncode, err) == (130, "")


@pytest.mark.full
@pytest.mark.timeout(1200)  # a hang; alone it takes five minutes
def test_every_fault_leaves_counts_exact() -> None:
    """On Apache Kafka: workers, broker and journey file; nothing lost or doubled."""
    soak("apache", 2000, seed=2)


@pytest.mark.parametrize(("got", "lost", "double"), [(9, 1, 0), (11, 0, 1), (10, 0, 0)])
def test_the_verdict_sees_what_is_lost_and_what_is_double(got: int, lost: int, double: int) -> None:
    """One event too few or too many in one pane is enough for the soak to fail."""
    verdict = Verdict()
    compare(("web_checkout", 0, 0), Counter({"outcome/ok": 10}), {"outcome/ok": got}, verdict)
    assert (verdict.lost, verdict.double) == (lost, double)
    assert verdict.is_exact == (got == 10)
