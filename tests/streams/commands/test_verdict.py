"""`touchpoint verdict` says what a change did, from what Prometheus holds, and its exit code says it too."""

import re
import time
from bisect import bisect_left, bisect_right
from pathlib import Path

import pytest
import typer

from monitor.counting import metrics
from monitor.counting.panes import SHORT
from monitor.counting.windows import WINDOWS
from streams.commands.prometheus.verdict import verdict
from tests.kit.programs import touchpoint
from tests.monitor.report.test_report import EMPTY, REFUSED, Blocks, answering, prometheus

CHANGED = (
    b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"stage": "%s",'
    b' "kind": "deploy", "title": "\\u001b[2Jcheckout 4.2.0"}, "value": [1, "%.1f"]}]}}'
)


def ended(url: str, change: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is told of an error."""
    with pytest.raises(typer.Exit) as told:
        verdict(change, prometheus=url)
    said = capsys.readouterr()
    assert (told.value.exit_code, said.out) == (1, "")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(("status", "body", "headers", "line"), REFUSED)
def test_what_is_wrong_is_one_line(
    status: int, body: bytes, headers: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is none, refuses, leads elsewhere or fails."""
    with answering(status, body, **headers) as (url, _):
        assert line in ended(url, "checkout 4.2.0", capsys=capsys)


def test_an_unknown_change_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one, whose title cannot steer the terminal; or that there is none at all."""
    with answering(200, EMPTY) as (url, _):
        assert "knows no change of the last 7 days" in ended(url, "checkout 4.2.0", capsys=capsys)
    with answering(200, CHANGED % (b"web_checkout", time.time() - 7200)) as (url, _):
        said = ended(url, "checkout 4.2.1", capsys=capsys)
    assert "no change `checkout 4.2.1` in the last 7 days; did you mean `\\x1b[2Jcheckout 4.2.0`?" in said


def test_a_change_that_the_journey_file_cannot_judge(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a stage it does not name, at a time that is none, or in a segment it does not name."""
    title = "\x1b[2Jcheckout 4.2.0"
    with answering(200, CHANGED % (b"till", time.time() - 7200)) as (url, _):
        assert "names no stage `till`" in ended(url, title, capsys=capsys)
    with answering(200, CHANGED % (b"web_checkout", 1e300)) as (url, _):
        assert "knows no change" in ended(url, title, capsys=capsys)
    with answering(200, EMPTY) as (url, _), pytest.raises(typer.Exit):
        verdict(title, segment=["nwe"], prometheus=url)
    assert "unknown segment `nwe`; did you mean `new`?" in capsys.readouterr().err


def test_a_change_of_this_minute_is_not_judged() -> None:
    """Nobody can tell: exit code 4."""
    with answering(200, CHANGED % (b"web_checkout", time.time())) as (url, _):
        done = touchpoint("verdict", "\x1b[2Jcheckout 4.2.0", "--prometheus", url)
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout.startswith("cannot tell: it takes three minutes after the change at ")


# -- with Prometheus -------------------------------------------------------------------------------------

SCRAPES_S = 15
MINUTES = 95
"""Since the change: an hour, half an hour, and single minutes."""


def counted(blocks: Blocks, stage: str, experience: str, segment: str, bad_of: tuple[int, int]) -> None:
    """An event a second, of which one in so many is bad before the change, and after it.

    Scraped as a worker counts them, in each window of short panes.
    """
    now_s, changed_s = blocks.now_s, blocks.now_s - MINUTES * 60
    from_s = changed_s - MINUTES * 60 - 3600
    events = range(from_s, now_s)
    bad = [at_s for at_s in events if at_s % bad_of[at_s >= changed_s] == 0]
    about = {"stage": stage, "experience": experience, "segment": segment, "partner": "none"}
    for window in WINDOWS:
        if window.grain is not SHORT:
            continue
        for at_s in range(changed_s - MINUTES * 60, now_s, SCRAPES_S):
            start_s = window.start_ms(at_s * 1000) // 1000
            n = at_s - start_s + 1
            n_bad = bisect_right(bad, at_s) - bisect_left(bad, start_s)
            for metric, value in ((metrics.WINDOW_EVENTS, n), (metrics.WINDOW_GOOD, n - n_bad)):
                blocks.add(metric.name, about | {"window": window.label}, value, at_s, at_s)


def history(now_s: int) -> Blocks:
    """At the checkout only the touched segment became worse, at the store everybody; of calls few came."""
    blocks = Blocks(now_s)
    changed_s = blocks.now_s - MINUTES * 60
    counted(blocks, "web_checkout", "checkout_completed", "new", (20, 10))
    counted(blocks, "web_checkout", "checkout_completed", "returning", (20, 20))
    counted(blocks, "store", "store_served", "new", (20, 10))
    counted(blocks, "store", "store_served", "returning", (20, 10))
    for title, stage, at_s in (
        ("checkout 4.2.0", "web_checkout", changed_s),
        ("tills", "store", changed_s),
        ("routing", "call_queue", changed_s),
        ("banner", "all", changed_s + 600),
    ):
        about = {"stage": stage, "kind": "deploy", "title": title}
        blocks.add(metrics.LAST_CHANGE.name, about, at_s, at_s, blocks.now_s)
    blind = {"cause": "lag", "stage": "store"}
    for at_s in range(blocks.now_s - 60, blocks.now_s + 600, SCRAPES_S):
        blocks.add(metrics.BLIND, blind, 1, at_s, at_s)
    return blocks


@pytest.mark.full
def test_prometheus_tells_what_a_change_did(tmp_path: Path) -> None:
    """Worse beside the control; worse alone, but nothing beside a control that changed alike; not known.

    No event of before the change is counted as after it, and what Prometheus could not know is told.
    """
    data = history(int(time.time())).write(tmp_path)
    with prometheus(tmp_path, data) as url:

        def said(title: str, *more: str) -> tuple[int, str]:
            done = touchpoint("verdict", title, "--prometheus", url, *more)
            assert done.stderr == ""
            return done.returncode, done.stdout

        checkout = said("checkout 4.2.0", "--segment", "new")
        assert checkout[0] == 3, checkout[1]
        assert checkout[1].endswith("\nworse: web_checkout checkout_completed\n")
        assert "touched: new; control: business, returning, other\n" in checkout[1]
        assert "also changed: banner (deploy) at " in checkout[1]
        assert checkout[1].count(f" {MINUTES - 2} min") == 2 or checkout[1].count(f" {MINUTES - 3} min") == 2
        shares = [float(one) for one in re.findall(r"\((\d+\.\d+) %\)", checkout[1])]
        assert shares == pytest.approx([5, 10, 5, 5], abs=0.1)
        (counts,) = {len(set(re.findall(r"of ([\d,]+) \(", checkout[1])))}
        assert counts == 1  # as many events before as after, touched and not
        assert "fewer than three days before are known" in checkout[1]
        store = said("tills")
        assert store[0] == 3
        assert "no segment was untouched: before against after alone" in store[1]
        assert "counts known of" in store[1]
        store = said("tills", "--segment", "new")
        assert store[0] == 0
        assert store[1].endswith("\nno effect: store store_served\n")
        routing = said("routing")
        assert (routing[0], routing[1].splitlines()[-1]) == (4, "cannot tell: no events")
        assert touchpoint("verdict", "x", "--minutes", "0").returncode == 2
