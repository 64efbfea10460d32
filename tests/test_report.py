"""The digest tells in words what Prometheus holds, added up rightly; nothing where nothing is known."""

import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer

from deploy.kafka.kafka import HOST, free_port
from monitor import metrics
from monitor.journey_file import parse
from monitor.report import Answers, Question, Sample, digest, questions
from monitor.report_found import DAY_S, Digest, Period
from monitor.report_html import html
from monitor.report_text import literal, markdown
from monitor.report_words import document
from streams.cli_report import report
from tests import chromium
from tests.polling import until
from tests.programs import touchpoint

SHIPPED = Path(__file__).parent.parent / "monitor" / "journey.yaml"
JOURNEY = parse(SHIPPED.read_text())

END_S = 1_763_769_600  # 2025-11-22 00:00 UTC
WEEK = Period(END_S, 7)

Counts = Sequence[tuple[str, Mapping[str, str], float]]
"""Name of a metric, labels, and its value in a window."""


def stage(name: str, experience: str, good: int, n: int, segment: str = "new") -> Counts:
    """What was judged, and good of it."""
    labels = {"stage": name, "experience": experience, "segment": segment}
    return [(metrics.WINDOW_EVENTS.name, labels, n), (metrics.WINDOW_GOOD.name, labels, good)]


def each(metric: metrics.Metric, label: str, counts: Mapping[str, int], **labels: str) -> Counts:
    """A series for each value of a label."""
    return [(metric.name, {**labels, label: value}, n) for value, n in counts.items()]


WEEKS: Counts = [
    *stage("web_checkout", "checkout_completed", 9_400, 10_000),
    *stage("web_checkout", "checkout_completed", 470, 500, "business"),
    *stage("web_checkout", "checkout_fast", 9_500, 10_000),
    *stage("call_queue", "service_level", 1_600, 2_000),
    *stage("store", "store_served", 99_999, 100_000),
    *stage("delivery", "delivered_whole", 0, 0),
    *each(metrics.WINDOW_JOURNEYS, "result", {"met": 790, "missed": 210, "visit": 500}),
    *each(metrics.WINDOW_SCORES, "score", {"0": 500, "0.5": 100, "1": 900}),
    *each(metrics.WINDOW_WEAKEST, "stage", {"web_checkout": 200, "call_queue": 400}),
    *each(
        metrics.WINDOW_ANSWERS, "class", {"promoter": 50, "passive": 30, "detractor": 20},
        stage="feedback", kind="nps",
    ),
    *each(metrics.WINDOW_ANSWERS, "class", {"good": 3, "other": 3}, stage="staff_pulse", kind="csat"),
    *each(
        metrics.WINDOW_PROMISES, "result", {"due": 100, "kept": 95, "late": 3, "missed": 1},
        kind="delivery_window", partner="postnord",
    ),
    *each(
        metrics.WINDOW_PROMISES, "result", {"due": 50, "kept": 30, "late": 15, "missed": 5},
        kind="delivery_window", partner="matkahuolto",
    ),
    *each(
        metrics.WINDOW_HANDOFFS, "result", {"sent": 150, "received": 140, "lost": 12, "late": 2},
        sender="warehouse", receiver="delivery",
    ),
    (metrics.WINDOW_LABYRINTHS.name, {}, 15),
    (metrics.WINDOW_LOST.name, {"from_channel": "web", "to_channel": "phone"}, 9),
    (metrics.WINDOW_LOST.name, {"from_channel": "chat", "to_channel": "phone"}, 6),
    *each(metrics.WINDOW_CONTACTS, "contact", {"first": 300, "repeat": 100}),
    *each(metrics.WINDOW_NOTICED, "by", {"company": 40, "customer": 30, "nobody": 10}),
    *each(
        metrics.WINDOW_CRITICAL, "cell",
        {"bad_detractor": 40, "bad_other": 60, "ok_detractor": 60, "ok_other": 840}, stage="delivery",
    ),
    *each(
        metrics.WINDOW_CRITICAL, "cell",
        {"bad_detractor": 20, "bad_other": 9, "ok_detractor": 80, "ok_other": 891}, stage="store",
    ),
    *each(
        metrics.WINDOW_GAP, "cell",
        {"ok_inside_ok_outside": 60, "ok_inside_bad_outside": 30, "bad_inside_ok_outside": 2,
         "bad_inside_bad_outside": 8}, stage="delivery",
    ),
    *(
        (metric.name, {"stage": "store", "experience": "store_served", "by": "location", "name": name}, n)
        for name, good, of in (("oulu", 80, 100), ("tampere", 95, 100), ("helsinki", 9, 9), ("other", 0, 100))
        for metric, n in ((metrics.WINDOW_SPREAD_GOOD, good), (metrics.WINDOW_SPREAD_EVENTS, of))
    ),
]  # fmt: skip
"""A week as its window tells it."""

DAYS: Mapping[int, Counts] = {
    ago: stage("call_queue", "service_level", 40 if ago == 2 else 90, 100) for ago in range(7) if ago != 4
}
"""Days by how long ago they ended."""

PAGE = {
    "alertname": "StageDegraded",
    "severity": "page",
    "stage": "call_queue",
    "experience": "service_level",
}
TICKET = {
    "alertname": "StageDegraded",
    "severity": "ticket",
    "stage": "web_checkout",
    "experience": "checkout_completed",
}

RULES: Counts = [
    ("judged", {}, 7 * 1440 + 1),
    ("since", {}, WEEK.from_s),
    ("alerts", PAGE, 95),
    ("starts", PAGE, 2),
    ("alerts", TICKET, 1500),
    ("stages", {"stage": "call_queue", "severity": "page"}, 95),
    ("stages", {"stage": "web_checkout", "severity": "ticket"}, 1500),
    (metrics.BUILD.name, {"journey": "chair"}, 2),
]
"""What rules and workers tell of themselves."""


def told(
    weeks: Counts = (), days: Mapping[int, Counts] | None = None, rules: Counts = (), period: Period = WEEK
) -> Answers:
    """Answers that hold these counts, whichever window is asked."""

    def samples(question: Question) -> list[Sample]:
        given = [*weeks, *rules]
        if 'window="1d"' in question.expr:
            given = list((days or {}).get((period.end_s - question.at_s) // DAY_S, ()))
        elif question.at_s != period.end_s:
            given = []
        return [Sample(labels, value) for about, labels, value in given if about == question.about]

    return {question: samples(question) for question in questions(period)}


def found(weeks: Counts = (), days: Mapping[int, Counts] | None = None, rules: Counts = ()) -> Digest:
    """The digest of a week."""
    return digest(JOURNEY, WEEK, told(weeks, days, rules))


def text(read: Digest) -> str:
    """As Markdown."""
    return markdown(document(read))


FACTS = [
    "# A used saddle chair",
    "2025-11-15 02:00 to 2025-11-22 02:00 (Europe/Helsinki)",
    "**Journeys**: 1,500 journeys were over. Of 1,000 that had a goal 79.0 % met it, fewer than the 80 % "
    "aimed at; 500 were visits without one. 60.0 % had not one bad encounter.",
    "Call queue was most often the weakest encounter: in 400 journeys. Furthest below its target is Web "
    "checkout: 94.0 % instead of 95 %.",
    "**NPS (Feedback)**: 30, give or take 15 (95 % sure, 100 answers).",
    "**CSAT (Staff pulse)**: 50.0 % good, between 18.8 and 81.2 % (95 % sure, 6 answers).",
    "- **Web checkout**: 94.0 % of 10,500 good, target 95 % missed (Customers who start the checkout finish "
    "it). 120 % of the budget used. Alerts: ticket for 1 d 1 h.",
    "- **Call queue**: 80.0 % of 2,000 good, target 80 % met (Calls are answered within 20 seconds). 100 % "
    "of the budget used. Alerts: page for 1 h 35 min. ██·█▄██",
    "- **Store**: 99.9 % of 100,000 good, target 93 % met (Visitors get what they came for). 0 % of the "
    "budget used. No alerts.",
    "- **Warehouse**: Nothing known of its quality. No alerts.",
    "- **Delivery**: No event was judged. No alerts.",
    "- **Delivery window**: 150 fell due, 83.3 % were kept (target 90 %). 18 were late, 6 missed, of 1 no "
    "word has come. By partner: postnord kept 95.0 % of 100, 3 late, 1 missed; matkahuolto kept 60.0 % of "
    "50, 15 late, 5 missed.",
    "- **Worst partner**: matkahuolto: 60.0 % kept of delivery window (target 90 %).",
    "- **Warehouse to Delivery**: 150 handed over, 12 lost, which is not there in time (8.0 % of "
    "those whose fate is known, at most 3 % may be); 2 of them came later.",
    "15 of 1,500 journeys went from channel to channel unsolved. Most get lost between web and phone (9).",
    "25.0 % of 400 contacts came within 7 days of an earlier one.",
    "we spoke first in 50.0 % of 80 journeys.",
    "- **1. Delivery**: 33.3 % of detractors are attributable to bad encounters here: those who had one are "
    "detractors 4.0 times as often as all (phi 0.33, 100 bad journeys).",
    "Association, not cause",
    "Widest at Delivery: fine by its own word in 90.0 %, by customers' in 62.0 %. 30 of 100 were fine inside "
    "and bad outside.",
    "business at Web checkout (Customers who start the checkout finish it): 94.0 % of 500 good, target 97 % "
    "missed; new got 94.0 %. Below its target beyond chance.",
    "Widest at Store (Visitors get what they came for): tampere 95.0 %, oulu 80.0 %, 15.0 points apart.",
    "- **Page StageDegraded (Call queue)**: Twice, 1 h 35 min in all.",
    "- **Ticket StageDegraded (Web checkout, Customers who start the checkout finish it)**: Fired since "
    "before the period, for 1 d 1 h of it.",
    "- **Pictures**: Prometheus kept figures of 6 of 7 days; a day without is left open.",
    "- **No events**: Of Warehouse, Delivery, Feedback, Staff pulse.",
]


@pytest.mark.parametrize("fact", FACTS)
def test_what_is_known_is_told(fact: str) -> None:
    """Every figure of a full week stands in the Markdown as it follows from the counts."""
    assert fact in text(found(WEEKS, DAYS, RULES))


def test_nothing_known_is_no_number() -> None:
    """An empty Prometheus gives words: no share, no zero, no perfect score, no good mood."""
    read = document(found())
    said = markdown(read)
    assert "%" not in said.partition("## Stage by stage")[0]
    assert not re.search(r"\d %", said)
    assert said.count("Nothing known") >= 12
    assert "is it the one that scrapes the workers?" in said
    assert {item.mood for section in read.sections for item in section.items} == {"unknown"}


def test_zeros_are_no_shares() -> None:
    """Workers that have counted nothing yet export zeros: that is none, not 0 % and not 100 %."""
    zeros = [(name, labels, 0.0) for name, labels, _ in WEEKS]
    said = text(found(zeros, {}, RULES))
    assert not re.search(r"\d %", said)
    assert "**Journeys**: None was over." in said
    assert "**Promises**: None fell due." in said


def test_windows_cover_the_period_once() -> None:
    """Any number of days is read from windows that neither overlap nor leave a gap."""
    for days in range(1, 31):
        end_s = END_S
        for _, length, at_s in Period(END_S, days).spans():
            assert at_s == end_s
            end_s -= length * DAY_S
        assert end_s == Period(END_S, days).from_s


def test_days_that_are_missing_are_told() -> None:
    """Of nine days, only the seven of the newest window known: sums are of those, and it says so."""
    period = Period(END_S, 9)
    read = digest(JOURNEY, period, told(WEEKS, {}, RULES, period))
    assert read.seen.days == 7
    assert "Known of 7 of 9 days; sums and shares are of those." in text(read)


def test_rules_of_a_part_of_the_period() -> None:
    """Alerts are known since the rules were first evaluated; what is missing since then are gaps."""
    rules = [
        ("judged", {}, 1441.0),
        ("since", {}, float(END_S - 2 * DAY_S)),
        ("blind", {"cause": "lag"}, 61.0),
    ]
    said = text(found(WEEKS, DAYS, rules))
    assert "- **Alerts**: None fired." in said
    assert "Known since 2025-11-20 02:00 only" in said
    assert "For 1 d no rules were evaluated." in said
    assert "A worker is more than 60 s behind its events: 1 h 1 min." in said


def test_another_journey_is_told() -> None:
    """Prometheus of another journey file: the names are told, not a digest of zeros."""
    said = text(found(rules=[(metrics.BUILD.name, {"journey": "table"}, 1)]))
    assert "Prometheus measures table, not chair." in said


HOSTILE = '<script>alert(1)</script><img src=x onerror="x">&lt; **bold** [a](javascript:x) |\n# _y_ `z`'


def hostile() -> Digest:
    """Every label and title that is no name of the journey file is an attack."""
    hostile = [
        (name, {key: HOSTILE if key in ("partner", "name", "from_channel", "sender") else value
                for key, value in labels.items()}, n)
        for name, labels, n in WEEKS
    ]  # fmt: skip
    rules = [
        (about, {key: HOSTILE if key != "severity" else value for key, value in labels.items()}, n)
        for about, labels, n in [*RULES, ("blind", {"cause": "lag"}, 61.0)]
    ]
    weakest = each(metrics.WINDOW_WEAKEST, "stage", {HOSTILE: 999})
    critical = [(name, {**labels, "stage": HOSTILE}, n) for name, labels, n in WEEKS if "cell" in labels]
    stages = tuple(replace(one, title=HOSTILE) for one in JOURNEY.stages)
    journey = replace(JOURNEY, title=HOSTILE, stages=stages)
    return digest(journey, WEEK, told([*hostile, *weakest, *critical], DAYS, rules))


class Tags(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_labels_are_text_in_html() -> None:
    """The page has the tags and attributes that an honest one has, and shows the labels as they are."""
    page = html(document(hostile()))
    honest = Tags(html(document(found(WEEKS, DAYS, RULES))))
    read = Tags(page)
    assert read.tags == honest.tags
    assert read.attributes == honest.attributes
    assert "script" not in read.tags
    assert read.text.count(HOSTILE) >= 8


def test_hostile_labels_are_text_in_markdown() -> None:
    """No line more than an honest digest has, and every mark that Markdown would read is escaped."""
    said = text(hostile())
    assert len(said.splitlines()) <= len(text(found(WEEKS, DAYS, RULES)).splitlines()) + 4
    assert not re.search(r"(?<!\\)[<>`|\[\]]", said)
    assert "\\# \\_y\\_" in said
    assert literal("delivery_window: 5 * 3") == "delivery_window: 5 \\* 3"


def test_the_page_needs_nothing() -> None:
    """One file: UTF-8, no script, no address but the SVG's, wide as the screen."""
    page = html(document(found(WEEKS, DAYS, RULES)))
    assert '<meta charset="utf-8">' in page
    assert "width=device-width" in page
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://|src=|href=", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert page.count("<svg") == 1
    assert page.count('class="none"') == 1


# -- the command -----------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """A server that gives everyone this answer: its address, and the Authorization headers it saw."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is said on the terminal."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that leaves when it has heard enough is none."""

    server = Server((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


EMPTY = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'

REFUSED = [
    (200, b"<html>hello</html>", {}, "is no Prometheus (HTTP 200 from "),
    (404, b"not found", {}, "is no Prometheus (HTTP 404 from "),
    (401, b"no", {}, "refuses access (HTTP 401): --prometheus-token-file gives a token"),
    (302, b"", {"Location": "https://login.example.com/"}, "leads on to https://login.example.com/"),
    (422, b'{"status": "error", "errorType": "execution", "error": "too\\n\\u001b[31m many samples"}', {},
     "too [31m many samples"),
    (200, EMPTY[:-1] + b', "warnings": ["store 2 is away"]}', {}, "answers in part only: store 2 is away"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "headers", "line"), REFUSED)
def test_what_is_wrong_is_one_line(
    status: int, body: bytes, headers: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is none, refuses, leads elsewhere or fails is told of in one line, without traceback."""
    with answering(status, body, **headers) as (url, _), pytest.raises(typer.Exit) as ended:
        report(prometheus=url)
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert said.out == ""
    assert said.err.startswith(f"touchpoint: {url}: ")
    assert line in said.err
    assert said.err.count("\n") == 1


def test_an_address_that_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody there, no address at all, or a password where others see it: a line, and no password in it."""
    url = f"http://{HOST}:{free_port()}"
    done = touchpoint("report", "--prometheus", url)
    assert (done.returncode, done.stderr) == (
        1,
        f"touchpoint: {url}: cannot be reached: Connection refused\n",
    )
    with pytest.raises(typer.Exit):
        report(prometheus="localhost:9090")
    assert "must be an http or https address" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        report(prometheus=f"http://me:sesame@{HOST}:1")
    said = capsys.readouterr().err
    assert "sesame" not in said
    assert "--prometheus-token-file" in said


def test_token_and_files(tmp_path: Path) -> None:
    """The token of the file goes with every question; both files are written, as UTF-8, nothing to stdout."""
    (tmp_path / "token").write_text("s3same\n")
    page, plain = tmp_path / "digest.html", tmp_path / "digest.md"
    with answering(200, EMPTY) as (url, seen):
        done = touchpoint(
            "report", "--prometheus", f"{url}/", "--prometheus-token-file", str(tmp_path / "token"),
            "--html", str(page), "--markdown", str(plain)
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(seen) == {"Bearer s3same"}
    assert "Nothing known" in page.read_text(encoding="utf-8")
    assert plain.read_text(encoding="utf-8").startswith("# A used saddle chair")


# -- with Prometheus -------------------------------------------------------------------------------------


class Blocks:
    """Series for `promtool tsdb create-blocks-from openmetrics`, a sample a minute."""

    def __init__(self, now_s: int) -> None:
        self.now_s = now_s - now_s % 60
        self._lines: dict[str, list[str]] = {}

    def add(self, name: str, labels: Mapping[str, str], value: float, from_s: int, to_s: int) -> None:
        """The same value at each minute of a time, both ends included."""
        matchers = ",".join(f'{label}="{one}"' for label, one in labels.items())
        self._lines.setdefault(name, []).extend(
            f"{name}{{{matchers}}} {value:g} {at_s}" for at_s in range(from_s, to_s + 1, 60)
        )

    def window(self, counts: Counts, window: str, ago: int) -> None:
        """Counts of a window around the end of a day, half by each of two workers; a third has left.

        What the third exported until half an hour before are the same counts: it has handed them on. The
        second falls out three minutes ago.
        """
        end_s = self.now_s - ago * DAY_S
        second_s = end_s + 1800 if ago else end_s - 180
        for name, labels, n in counts:
            half = int(n) // 2
            for worker, part, from_s, to_s in (
                ("1", half, end_s - 1200, end_s + 1800),
                ("2", n - half, end_s - 1200, second_s),
                ("3", n, end_s - 3600, end_s - 1800),
            ):
                self.add(name, {**labels, "window": window, "instance": worker}, part, from_s, to_s)

    def write(self, directory: Path) -> Path:
        """The directory of the blocks, which is Prometheus' own."""
        text = "".join(f"{line}\n" for lines in self._lines.values() for line in lines)
        (directory / "given.txt").write_text(f"{text}# EOF\n")
        data = directory / "data"
        made = subprocess.run(
            [
                "promtool",
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                str(directory / "given.txt"),
                str(data),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return data


@contextmanager
def prometheus(directory: Path, data: Path) -> Iterator[str]:
    """A Prometheus that holds these blocks and scrapes nothing: its address."""
    (directory / "prometheus.yaml").write_text("{}\n")
    url = f"http://{HOST}:{free_port()}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address={url.removeprefix('http://')}",
                "--query.lookback-delta=30s",  # blocks have no mark where a series ends
            ],
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: is_ready(url), "Prometheus ready", 30)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def is_ready(url: str) -> bool:
    """Whether Prometheus answers."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def week(now_s: int) -> Blocks:
    """The week of the quick tests, as Prometheus would have kept it: the monitor was blind a day ago."""
    blocks = Blocks(now_s)
    blocks.window(WEEKS, "7d", 0)
    for ago, counts in DAYS.items():
        blocks.window(counts, "1d", ago)
    now_s, day_ago_s = blocks.now_s, blocks.now_s - DAY_S
    blocks.add(f"{metrics.BUILD.name}_info", {"journey": "chair"}, 1, now_s - 600, now_s + 1800)
    firing = {"alertstate": "firing"}
    blocks.add("ALERTS", firing | {"severity": "heartbeat"}, 1, now_s - 6 * DAY_S, day_ago_s - 3600)
    blocks.add("ALERTS", firing | {"severity": "heartbeat"}, 1, day_ago_s, now_s + 1800)
    for start_s, minutes in ((now_s - 5 * DAY_S, 60), (now_s - 3 * DAY_S, 35)):
        blocks.add("ALERTS", firing | PAGE, 1, start_s, start_s + (minutes - 1) * 60)
    blocks.add("ALERTS", firing | TICKET, 1, now_s - 8 * DAY_S, now_s - 6 * DAY_S)
    blocks.add("ALERTS", {"alertstate": "pending"} | PAGE, 1, now_s - 2 * DAY_S, now_s - DAY_S)
    blocks.add(metrics.BLIND, {"cause": "not_counted", "stage": "all"}, 1, now_s - 120, now_s + 1800)
    blocks.add(metrics.BLIND, {"cause": "lag", "stage": "store"}, 1, day_ago_s - 7200, day_ago_s - 3600 - 60)
    return blocks


LIVE = [
    *(fact for fact in FACTS if "Alerts:" not in fact and "StageDegraded" not in fact and "2025" not in fact),
    "of the budget used. Alerts: page for 1 h 35 min. ██·█▄██",
    "- **Page StageDegraded (Call queue)**: Twice, 1 h 35 min in all.",
    "Fired since before the period, for 1 d",
    "- **Gaps**: For 59 min no rules were evaluated.",
    "A worker is more than 60 s behind its events: 1 h; Partitions that no worker counts: ",
]


@pytest.mark.full
async def test_prometheus_and_page(tmp_path: Path) -> None:
    """From what Prometheus really holds the same figures come, and the page fits a phone without a sound."""
    data = week(int(time.time())).write(tmp_path)
    page, plain = tmp_path / "digest.html", tmp_path / "digest.md"
    with prometheus(tmp_path, data) as url:
        done = touchpoint("report", "--prometheus", url, "--html", str(page), "--markdown", str(plain))
    assert (done.returncode, done.stderr) == (0, "")
    said = plain.read_text(encoding="utf-8")
    assert [fact for fact in LIVE if fact not in said] == []
    seen = await chromium.dump_dom(page.as_uri(), tmp_path, width=390)
    assert seen.console == ()
    assert seen.asked == ()
    assert "Twice, 1 h 35 min in all." in seen.dom
    for width, dark in ((390, False), (1280, True)):
        png = await chromium.screenshot(page.as_uri(), tmp_path, width=width, height=1800, dark=dark)
        (tmp_path / f"{width}.png").write_bytes(png)
        shown = chromium.pixels(png)
        edge = shown[:, -6:]
        assert (edge == edge[0, 0]).all(), f"something sticks out at the right of {width} px"
        assert (shown[0, 0] < 64).all() == dark
