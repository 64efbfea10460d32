"""The short form of the soak: every fault once, counts exact. The long form is `make soak`."""

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests.kit.programs import ROOT
from tests.soak.account import Verdict, compare, compare_letters
from tests.soak.events import BASE, journey
from tests.soak.watch import Late, behind, uncounted, unnamed


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


@pytest.mark.parametrize(
    ("letters", "lost", "extra"),
    [
        ([("topic", 0, 1, 5), ("topic", 1, 1, 5)], 0, 0),
        ([("topic", 0, 1, 5), ("topic", 0, 1, 5)], 1, 0),
        ([("topic", 0, 1, 5), ("topic", 1, 1, 5), ("topic", 1, 1, 6)], 0, 1),
    ],
)
def test_the_verdict_tells_letters_of_a_topic_from_those_of_the_one_before(
    letters: list[tuple[str, int, int, int]], lost: int, extra: int
) -> None:
    """A topic created again has the same offsets once more: each refused record has its own letter."""
    stage = journey(BASE).stages[0]
    verdict = Verdict()
    report = [{"stage": stage.name, "partition": 1, "bad": [[0, 5], [1, 5]]}]
    compare_letters(report, Counter((stage.topic, *letter[1:]) for letter in letters), verdict)
    assert (verdict.letters_lost, verdict.letters_extra) == (lost, extra)
    assert verdict.is_exact == (lost == extra == 0)


@pytest.mark.parametrize(
    ("names", "missed"),
    [
        ([(100.0, {"store"})], [(120.0, "store")]),
        ([(100.0, {"store"}), (120.0, {"delivery"})], [(120.0, "store")]),
        ([(100.0, {"store"}), (120.0, {"all"})], []),
        ([], [(100.0, "store"), (120.0, "store")]),
    ],
)
def test_a_moment_that_no_rule_names_is_seen(
    names: list[tuple[float, set[str]]], missed: list[tuple[float, str]]
) -> None:
    """Another stage's name, or the name at another time, does not do."""
    late = [(100.0, "store"), (120.0, "store")]
    assert unnamed(late, [(at_s, frozenset(stages)) for at_s, stages in names]) == missed


@pytest.mark.parametrize(
    ("now", "committed", "is_behind"),
    [(20, 9, True), (20, 10, False), (3, 0, False)],
    ids=["uncommitted", "committed", "created again"],
)
def test_what_was_there_and_is_not_committed_is_behind(now: int, committed: int, is_behind: bool) -> None:
    """Asked of Kafka alone."""
    place = ("a", 0)
    assert behind({place: 10}, {place: now}, {place: committed}) == ({place: 10} if is_behind else {})


@pytest.mark.parametrize(
    ("said", "is_counted"),
    [
        ({}, False),
        ({98.0: 9}, False),
        ({98.0: 10}, True),
        ({90.0: 10}, False),
        ({101.0: 10}, False),
    ],
    ids=["nothing said", "less", "counted", "said long ago", "said later"],
)
def test_what_is_counted_and_not_committed_is_not_late(said: dict[float, int], is_counted: bool) -> None:
    """A worker says its position with each scrape; another partition's says nothing of this one."""
    store = ("touchpoint.store.v1", 0)
    late = [Late(100.0, store, 10)]
    other = {("touchpoint.store.v1", 1): {98.0: 99}}
    assert uncounted(late, {store: said} | other) == (set() if is_counted else {(100.0, "store")})
