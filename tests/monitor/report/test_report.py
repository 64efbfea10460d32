"""The digest tells in words what Prometheus holds, added up rightly; nothing where nothing is known."""

import ast
import gzip
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer

from monitor.counting import metrics
from monitor.counting.display import percent
from monitor.counting.measures import Share
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.report import digest as report_digest
from monitor.report.aggregate import digest
from monitor.report.digest import DAY_S, Digest, Period, is_met
from monitor.report.html import html
from monitor.report.markdown import literal, markdown
from monitor.report.questions import Answers, Question, Sample, questions
from monitor.report.words import document
from monitor.rules.journeys import watched
from monitor.rules.plan import plan
from streams.commands.prometheus.report import report
from streams.commands.prometheus.server import MAX_BYTES
from streams.demo.child import HOST, free_port
from streams.settings import SHIPPED_JOURNEY
from tests.kit import chromium
from tests.kit.polling import until
from tests.kit.programs import touchpoint

SHIPPED = SHIPPED_JOURNEY
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
    *each(
        metrics.WINDOW_FIXABLE, "fix", {"stage:call_queue": 1_200, "stage:store": 0, "stage:delivery": 4},
        also="none",
    ),
    *each(metrics.WINDOW_FIXABLE, "fix", {"promise:delivery_window": 61}, also="stage:call_queue"),
    *each(
        metrics.WINDOW_FIXABLE, "fix", {"handoff:warehouse>delivery": 4}, also="promise:delivery_window"
    ),
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
    return digest(plan(JOURNEY), WEEK, told(weeks, days, rules))


def text(read: Digest) -> str:
    """As Markdown."""
    return markdown(document(read))


FACTS = [
    "# A used saddle chair",
    "2025-11-15 02:00 to 2025-11-22 02:00 (Europe/Helsinki)",
    "**Journeys**: 1,500 journeys ended. 79.0 % of the 1,000 that had a goal reached it, target 80 % "
    "missed. The other 500 were visits without a goal. 60.0 % of all went without one bad encounter.",
    "- **Stages**: Furthest below its target is Web checkout: 94.0 % instead of 95 %. The weakest moment "
    "of a journey was most often at Call queue: in 400 journeys.",
    "**NPS (Feedback)**: 30, give or take 16 (100 answers; 95 % sure).",
    "**CSAT (Staff pulse)**: 50.0 % of 6 answers good; had everybody answered, 18 to 82 % (95 % sure).",
    "- **Web checkout**: Customers who start the checkout finish it: 94.0 % of 10,500 good, target 95 % "
    "missed. 630 went badly, the target allows 525. Alerts: ticket for 1 d 1 h.",
    "- **Call queue**: Calls are answered within 20 seconds: 80.0 % of 2,000 good, target 80 % met. 400 "
    "went badly, the target allows 400. Alerts: page for 1 h 35 min. ██·█▄██",
    "- **Store**: Visitors get what they came for: 99.9 % of 100,000 good, target 93 % met. 1 went badly, "
    "the target allows 7,000. No alerts.",
    "- **Warehouse**: Nothing known of its quality. No alerts.",
    "- **Delivery**: No event was judged. No alerts.",
    "## The three fixes worth most\n\nOf journeys that one thing made bad, or two: a stage, a promise, a "
    "hand-over.\n\n"
    "- **1. Call queue**: 1,200 journeys a week would have been good, had this been good.\n"
    "- **2. Promise: delivery window and Call queue**: 61 journeys a week would have been good, had both "
    "been good.\n"
    "- **3. Hand-over: Warehouse to Delivery and Promise: delivery window**: 4 journeys a week would have "
    "been good, had both been good.\n\n##",
    "- **Delivery window**: 83.3 % of the 150 that fell due were kept, target 90 % missed. 18 came "
    "late, 6 never came, 1 may still come. By partner: postnord kept 95.0 % of 100; matkahuolto kept 60.0 % "
    "of 50.",
    "- **Partner furthest below target**: matkahuolto kept 60.0 % of 50 (delivery window), target 90 % "
    "missed. That is more than chance.",
    "- **Warehouse to Delivery**: 150 handed over. 92.0 % of the 150 whose fate is known arrived in time, "
    "target 97 % missed. 12 did not, 2 of them came later.",
    "15 of 1,500 journeys went from channel to channel without a solution. The last change was most "
    "often from web to phone (9).",
    "25.0 % of 400 contacts came within 7 days of an earlier one of the same case.",
    "we spoke first in 50.0 % of 80 journeys.",
    "- **1. Delivery**: Of 100 customers who had a bad encounter here, 40 speak ill of us: 4.0 times as "
    "many as usual (φ 0.33). That accounts for about 33 of all 100 who do.",
    "need not be cause and effect. φ says how closely it goes together: 0 not at all, 1 always.",
    "Widest at Delivery: by its own word 90.0 % of 100 answered journeys went well, by customers' 62.0 %. "
    "In 30 it saw nothing wrong and the customer did.",
    "- **Segment furthest below target**: business at Web checkout (Customers who start the checkout "
    "finish it): 94.0 % of 500 good, target 97 % missed. That is more than chance. Best against its target: "
    "new, 94.0 %, target 95 % missed.",
    "Widest at Store (Visitors get what they came for): from 80.0 % good (oulu) to 95.0 % (tampere).",
    "- **Page StageDegraded (Call queue)**: Twice, 1 h 35 min in all.",
    "- **Ticket StageDegraded (Web checkout, Customers who start the checkout finish it)**: Fired since "
    "before the period, for 1 d 1 h of it.",
    "- **Pictures**: Prometheus kept figures of 6 of 7 days; a day without is left open.",
    "- **Stages without events**: Warehouse, Delivery, Feedback, Staff pulse.",
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
    assert "**Journeys**: None has ended." in said
    assert "**Promises**: None fell due." in said
    assert "**Hand-overs**: Nothing was handed over." in said
    read = document(found(zeros))
    assert {item.mood for section in read.sections for item in section.items} == {"unknown"}


def test_fixes_are_told_in_journeys_a_week() -> None:
    """Of a fortnight half as many, of one of which a week is known as many; fewer than one in words."""
    fix = each(metrics.WINDOW_FIXABLE, "fix", {"stage:store": 14, "stage:delivery": 1}, also="none")
    fortnight = Period(END_S, 14)
    answers = told([*stage("store", "store_served", 9, 10), *fix], {}, (), fortnight)
    said = text(digest(plan(JOURNEY), fortnight, answers))
    assert "- **1. Store**: 14 journeys a week would" in said
    assert "- **2. Delivery**: 1 journey a week would" in said
    heard = [Sample({"stage": "store", "experience": "store_served", "segment": "new"}, 10)]
    events = {one: heard for one in answers if one.about == metrics.WINDOW_EVENTS.name}
    said = text(digest(plan(JOURNEY), fortnight, {**answers, **events}))
    assert "- **1. Store**: 7 journeys a week would" in said
    assert "- **2. Delivery**: Less than one journey a week would" in said


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
    read = digest(plan(JOURNEY), period, told(WEEKS, {}, RULES, period))
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


def with_target(name: str, target: str) -> Journey:
    """The shipped journey, all experiences of a stage held to another target."""
    stages = tuple(
        replace(one, experiences=tuple(replace(each, target=Decimal(target)) for each in one.experiences))
        if one.name == name
        else one
        for one in JOURNEY.stages
    )
    return replace(JOURNEY, stages=stages)


SIDES = [
    ("0.9995", 99_960, 100_000, "99.96 % of 100,000 good, target 99.95 % met"),
    ("0.9995", 99_949, 100_000, "99.94 % of 100,000 good, target 99.95 % missed"),
    ("0.95", 94_999, 100_000, "94.9 % of 100,000 good, target 95 % missed"),
    ("0.95", 94_999, 100_000, "5,001 went badly, the target allows 5,000."),
    ("0.95", 95_000, 100_000, "5,000 went badly, the target allows 5,000."),
    ("1", 99_999, 100_000, "99.9 % of 100,000 good, target 100 % missed"),
    ("1", 100_000, 100_000, "100 % of 100,000 good, target 100 % met"),
    ("0.0001", 1, 100_000, "under 0.01 % of 100,000 good, target 0.01 % missed"),
]


@pytest.mark.parametrize(("target", "good", "n", "said"), SIDES)
def test_a_share_stands_on_its_side_of_the_target(target: str, good: int, n: int, said: str) -> None:
    """However close: what is shown of it is below the target exactly when it missed it."""
    week = stage("web_checkout", "checkout_completed", good, n)
    assert said in text(digest(plan(with_target("web_checkout", target)), WEEK, told(week)))


def test_no_share_changes_sides() -> None:
    """Whatever the counts, what is shown meets the target exactly when the share does; 100 % is all."""
    for target in (Decimal("0.8"), Decimal("0.9995"), Decimal("0.875"), Decimal(1)):
        for n in (1, 7, 30, 997):
            for good in range(n + 1):
                share = Share(good, n - good)
                shown = Decimal(percent(share, target).removeprefix("under ").removesuffix(" %"))
                assert (shown >= target * 100) == is_met(share, target), (good, n, target)
                assert (shown == 100) == (good == n)
    assert percent(Share(1, 99_999)) == "under 0.1 %"
    assert percent(Share(0, 3)) == "0 %"


def test_what_arrives_is_told_like_what_is_good() -> None:
    """Of hand-overs, too, a miss by a hair is shown below its target, not as lost within what is allowed."""
    week = each(
        metrics.WINDOW_HANDOFFS, "result", {"sent": 10_000, "received": 9_696, "lost": 304},
        sender="warehouse", receiver="delivery",
    )  # fmt: skip
    assert "96.9 % of the 10,000 whose fate is known arrived in time, target 97 % missed" in text(found(week))


@pytest.mark.parametrize(
    ("received", "said", "mood"),
    [(0, "12 handed over, of none is it known yet whether it arrived.", "unknown"),
     (12, "12 handed over, none lost.", "good")],
)  # fmt: skip
def test_hand_overs_of_unknown_fate_are_not_praised(received: int, said: str, mood: str) -> None:
    """While nobody knows of any hand-over whether it arrived, none lost is no good news."""
    counts = {"sent": 12, "received": received, "lost": 0, "late": 0}
    edge = {"sender": "warehouse", "receiver": "delivery"}
    read = document(found(each(metrics.WINDOW_HANDOFFS, "result", counts, **edge)))
    items = {item.lead: item for section in read.sections for item in section.items}
    assert (items["Warehouse to Delivery"].text, items["Warehouse to Delivery"].mood) == (said, mood)


def test_few_events_put_no_stage_to_shame() -> None:
    """Three events bring no stage to the top of the page, neither as worst nor as one that met its target."""
    few, enough = stage("store", "store_served", 0, 3), stage("call_queue", "service_level", 90, 100)
    assert "- **Stages**: Too few events to tell." in text(found(few))
    assert "- **Stages**: No stage with enough events missed a target." in text(found([*few, *enough]))


def promised(partner: str, due: int, kept: int) -> Counts:
    """Delivery windows of a partner."""
    counts = {"due": due, "kept": kept, "late": 0, "missed": 0}
    return each(metrics.WINDOW_PROMISES, "result", counts, kind="delivery_window", partner=partner)


def test_nobody_who_met_the_target_is_the_worst() -> None:
    """Partners are told; one is singled out for the target it missed, not for being last of the good."""
    good = text(found([*promised("postnord", 100, 99), *promised("matkahuolto", 50, 45)]))
    assert "matkahuolto kept 90.0 % of 50" in good
    assert "artner furthest below target" not in good
    assert "orst partner" not in good
    missed = text(found([*promised("postnord", 100, 99), *promised("matkahuolto", 50, 44)]))
    assert "- **Partner furthest below target**: matkahuolto kept 88.0 % of 50" in missed


def test_segments_that_meet_their_targets_are_a_spread() -> None:
    """No segment is called worst when all of them met their targets: from here to there, it says."""
    week = [
        *stage("web_checkout", "checkout_completed", 980, 1_000, "new"),
        *stage("web_checkout", "checkout_completed", 999, 1_000, "business"),
    ]
    said = text(found(week))
    assert "Segment furthest below target" not in said
    assert (
        "from 98.0 % good (new) to 99.9 % (business). Every segment that could be compared met its targets."
        in said
    )


def test_nobody_astray_is_none() -> None:
    """No labyrinth among journeys that have ended is said in a word."""
    week = [*each(metrics.WINDOW_JOURNEYS, "result", {"met": 50}), (metrics.WINDOW_LABYRINTHS.name, {}, 0)]
    assert "- **Labyrinths**: None of 50 journeys went from channel to channel" in text(found(week))


def test_alike_is_no_spread() -> None:
    """Channels that went equally well have no worst."""
    week = [
        (metric.name, {"stage": "store", "experience": "store_served", "by": "channel", "name": name}, n)
        for name in ("web", "app")
        for metric, n in ((metrics.WINDOW_SPREAD_GOOD, 95), (metrics.WINDOW_SPREAD_EVENTS, 100))
    ]
    assert "- **Spread between channels**: None to speak of: all went alike." in text(found(week))


@pytest.mark.parametrize(("met", "said"), [(800, "target 80 % met"), (799, "target 80 % missed")])
def test_a_goal_is_met_or_missed(met: int, said: str) -> None:
    """The same two words for every target, also when it is met exactly."""
    week = each(metrics.WINDOW_JOURNEYS, "result", {"met": met, "missed": 1_000 - met})
    assert f"{met / 10} % of the 1,000 that had a goal reached it, {said}." in text(found(week))


def test_a_single_day_is_no_picture() -> None:
    """One day alone, of one or of seven, is told in words, without a stray bar and its excuse."""
    day = stage("call_queue", "service_level", 90, 100)
    one = Period(END_S, 1)
    alone = document(digest(plan(JOURNEY), one, told(day, {0: day}, RULES, one)))
    of_week = document(found(day, {0: day}, RULES))
    for read in (alone, of_week):
        assert all(item.picture is None for section in read.sections for item in section.items)
    assert "90.0 % of 100 good" in markdown(alone)
    assert "Pictures" not in markdown(alone)
    assert "Prometheus kept figures of 1 of 7 days, too few for a picture." in markdown(of_week)


def test_hand_overs_are_counted_as_alerts_count_them() -> None:
    """Those whose fate is known are those of the rule that alerts."""
    counts = {"sent": 150, "received": 140, "lost": 12, "late": 2}
    edge = {"sender": "warehouse", "receiver": "delivery"}
    (told_of,) = found(each(metrics.WINDOW_HANDOFFS, "result", counts, **edge)).handed_over or ()
    rule = next(one for one in watched(JOURNEY) if one.alert == "HandoversLost")
    series = [(metrics.WINDOW_HANDOFFS, {**edge, "result": result}, n) for result, n in counts.items()]
    for terms, shown in ((rule.events, told_of.share.n), (rule.bad, told_of.share.bad)):
        assert sum(term.counts(metric, labels) * n for term in terms for metric, labels, n in series) == shown


def test_one_name_means_one_thing() -> None:
    """No public class of the report has the name of another class of the core."""
    core = Path(report_digest.__file__).parent
    found = {
        file.stem: {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}
        for file in core.glob("*.py")
    }
    for module in (module for module in found if module.startswith("report")):
        for other in found.keys() - {module}:
            shared = {name for name in found[module] & found[other] if not name.startswith("_")}
            assert not shared, f"{module}.py and {other}.py"


def test_another_journey_is_told() -> None:
    """Prometheus of another journey file: the names are told, not a digest of zeros."""
    said = text(found(rules=[(metrics.BUILD.name, {"journey": "table"}, 1)]))
    assert "Prometheus measures table, not chair." in said


HOSTILE = (
    '<script>alert(1)</script><img src=x onerror="x">&lt; **bold** [a](javascript:x) |\n# _y_ `z`\x1b[2J'
)
SHOWN = HOSTILE.replace("\x1b", r"\x1b")


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
    return digest(plan(journey), WEEK, told([*hostile, *weakest, *critical], DAYS, rules))


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
    assert read.text.count(SHOWN) >= 8
    assert "\x1b" not in page


def test_hostile_labels_are_text_in_markdown() -> None:
    """No line more than an honest digest has, and every mark that Markdown would read is escaped."""
    said = text(hostile())
    assert len(said.splitlines()) <= len(text(found(WEEKS, DAYS, RULES)).splitlines()) + 4
    assert not re.search(r"(?<!\\)[<>`|\[\]]", said)
    assert "\\# \\_y\\_" in said
    assert "\x1b" not in said
    assert literal("delivery_window: 5 * 3") == "delivery_window: 5 \\* 3"


def test_the_page_needs_nothing() -> None:
    """One file: UTF-8, no script, no address but the SVG's, wide as the screen."""
    page = html(document(found(WEEKS, DAYS, RULES)))
    assert '<meta charset="utf-8">' in page
    assert "width=device-width" in page
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://|src=|href=", page)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "page for 1&nbsp;h 35&nbsp;min" in page
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

PACKED = gzip.compress(EMPTY, mtime=0)  # a time in it would be one in the test's name

REFUSED = [
    (200, b" " * (MAX_BYTES + 1) + EMPTY, {}, "answers with more than 67,108,864 bytes"),
    (200, PACKED, {"Content-Encoding": "gzip"}, "is not a Prometheus server (HTTP 200 from "),
    (200, b"<html>hello</html>", {}, "is not a Prometheus server (HTTP 200 from "),
    (404, b"not found", {}, "is not a Prometheus server (HTTP 404 from "),
    (401, b"no", {}, "refuses access (HTTP 401): --prometheus-token-file gives a token"),
    (302, b"", {"Location": "https://login.example.com/"}, "redirects to https://login.example.com/"),
    (422, b'{"status": "error", "errorType": "execution", "error": "too\\n\\u001b[31m many samples"}', {},
     "too\\n\\x1b[31m many samples"),
    (200, EMPTY[:-1] + b', "warnings": ["store 2 is away"]}', {}, "answers only in part: store 2 is away"),
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
            f"{name}{{{matchers}}} {value!r} {at_s}" for at_s in range(from_s, to_s + 1, 60)
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
            until(lambda: is_ready(url), "Prometheus ready")
            yield url
        finally:
            process.terminate()
            process.wait(60)


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
    "the target allows 400. Alerts: page for 1 h 35 min. ██·█▄██",
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
    assert "Twice, 1&nbsp;h 35&nbsp;min in all." in seen.dom
    for width, dark in ((390, False), (1280, True)):
        png = await chromium.screenshot(page.as_uri(), tmp_path, width=width, height=1800, dark=dark)
        (tmp_path / f"{width}.png").write_bytes(png)
        shown = chromium.pixels(png)
        edge = shown[:, -6:]
        assert (edge == edge[0, 0]).all(), f"something sticks out at the right of {width} px"
        assert (shown[0, 0] < 64).all() == dark
