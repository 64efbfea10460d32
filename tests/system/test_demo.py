"""The demo ends by itself, orderly, whoever stops looking, and its summary tells of whole journeys."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import orjson

from monitor.journey_file.grammar import parse
from monitor.rules.verdict import State
from streams.demo.run import compressed
from streams.settings import SHIPPED_JOURNEY
from streams.terminal import STYLES
from tests.kit.polling import until
from tests.kit.programs import TOUCHPOINT, WorkerProcess, environment

FOLDED = """
version: 1
journey: clinic
title: Ääni
segments: []
stages:
  visit:
    kind: customer
    owner: ward
    outcomes: [asked]
    experiences:
      seen: {judges: {outcome: [ok, failed]}, good: {internal_ok: true}, target: 0.9}
  cure: {kind: customer, owner: ward, experiences: {e: {judges: {}, good: {outcome: [ok]}, target: 0.99}}}
journeys:
  owner: ward
  target: 0.8
  starts: {stage: [visit]}
  goal: {stage: [cure]}
  quiet: &long 14d
  limit: *long
  handoffs: [{from: visit, to: cure, within: 1h, target: 0.5}]
"""

ENDS_S = 90
"""Far below the demo's own `--for`, far above what it takes to start and to stop on a busy machine."""


@contextmanager
def _demo(**pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A demo that would run for an hour."""
    command = [TOUCHPOINT, "demo", "--for", "3600", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, env=environment(), **pipes) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            running.kill()


def test_ends_when_nobody_reads_it_any_more() -> None:
    """As after `touchpoint demo 2>&1 | head -1`; where its output is still read, it says what it counted."""
    with (
        _demo(stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as unread,
        _demo(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as read,
    ):
        for pipe in (unread.stdout, read.stderr):
            assert pipe is not None
            assert pipe.readline().startswith(b"live page")
            pipe.close()
        assert unread.wait(ENDS_S) == 1
        assert read.wait(ENDS_S) == 0
        assert read.stdout is not None
        summary = orjson.loads(read.stdout.read())
    assert summary["published"] == summary["counted"] > 0


def test_says_when_it_counts_a_part_only() -> None:
    """Once a second worker has joined, a line and the summary say how much is counted here."""
    with WorkerProcess(("demo", "--for", "3600")) as running:
        assert running.process.stdout is not None
        hint = r"TOUCHPOINT_(KAFKA|JOURNEY)=(\S+)"
        asked = until(lambda: re.findall(hint, running.said()), "it says how to start a second worker")
        with WorkerProcess(**dict(asked)):
            until(lambda: running.json("/api/stages")["only_part"], "the second worker has joined")
            until(lambda: "\nthis worker counts" in running.said(), "it is told")
            code, _ = running.end(signal.SIGINT, ENDS_S)
        summary = orjson.loads(running.process.stdout.read())
    assert code == 0
    owned, total = summary["partitions"]["owned"], summary["partitions"]["of"]
    assert 0 < owned < total
    assert summary["only_part"].startswith(f"this worker counts {owned} of {total} partitions; ")
    assert summary["alerts"] == []
    assert set(summary["journeys"]) == {
        "open", "over", "met", "missed", "hit", "weakest", "overdue", "handoffs_lost", "labyrinths",
    }  # fmt: skip


def test_every_state_can_be_shown() -> None:
    """On a terminal, by word and style."""
    assert set(STYLES) == set(State)


def test_only_whole_journeys_are_compressed() -> None:
    """The durations of whole journeys are divided, none to nothing; all else of the file stays as it is."""
    for text in (FOLDED, SHIPPED_JOURNEY.read_text()):
        before, after = parse(text), parse(compressed(text))
        assert before.journeys is not None
        assert after.journeys is not None
        assert after == replace(before, journeys=after.journeys)
        assert after.journeys.limit_ms == 242_000  # 14 days are 1,209,600 s
        assert [edge.within_ms for edge in after.journeys.edges] == [
            max(1, round(edge.within_ms / 1000 / 5000)) * 1000 for edge in before.journeys.edges
        ]
