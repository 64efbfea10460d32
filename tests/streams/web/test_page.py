"""The live page shows what the API says, as text, and asks nobody but the worker that served it."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from math import sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from monitor.rules.plan import JOURNEYS_LAG_S
from monitor.rules.verdict import SEVERITY, State
from tests.kit import chromium
from tests.kit.programs import ROOT

PAGE = ROOT / "streams/page"
FILES = {f"/{file.name.removeprefix('index.html')}": file.name for file in PAGE.iterdir()}
CSP = "default-src 'self'"
DEGRADED_RGB = (0xD5, 0x5E, 0x00)
NOW_S = 1795300200

Answer = dict[str, Any]

needs_chromium = pytest.mark.skipif(chromium.find() is None, reason="needs Chromium")


def stage(name: str, title: str, kind: str, quality: float | None, target: float, **more: Any) -> Answer:
    """One stage of the answer of `/api/stages`, with an hour of trend around its quality."""
    trend: list[list[float | None]] = []
    for minute in range(60):
        wave = 0.012 * sin(minute / 3.0) + 0.006 * sin(minute * 1.7)
        start = target + 0.02 if quality is not None and quality < target else quality
        fall = 0.0 if start is None or quality is None else (start - quality) * max(0, minute - 40) / 19
        value = None if start is None else min(1.0, start - fall + wave)
        trend.append([NOW_S - (59 - minute) * 60, value])
    state = "quiet" if quality is None else "good" if quality >= target else "degraded"
    return {
        "stage": name,
        "title": title,
        "kind": kind,
        "owner": "web-team",
        "runbook": f"https://runbooks.example.com/{name}",
        "depends_on": [],
        "state": state,
        "silent": None,
        "quality": quality,
        "target": target,
        "weakest": None,
        "n": 310,
        "bad": 0 if quality is None else round(310 * (1 - quality)),
        "window": "5m",
        "events_per_minute": 150.0,
        "top_reason": None,
        "trend": trend,
        "journeys_hit": None if kind == "staff" else 1234,
        **more,
    }


def weak(title: str, segment: str | None) -> Answer:
    """The weakest experience of a stage, as the API gives it."""
    return {"experience": "some_experience", "title": title, "segment": segment}


def chair(*, degraded: bool = True) -> Answer:
    """The shipped journey when the courier is late and nobody gives feedback, or when all is well."""
    hurt: Answer = {"quality": 0.712, "state": "degraded", "bad": 134, "n": 466} if degraded else {}
    calls: Answer = {"quality": 0.7949, "state": "below", "bad": 154, "n": 751} if degraded else {}
    silent: Answer = (
        {"quality": None, "n": 0, "bad": 0, "events_per_minute": 0.0, "weakest": None} if degraded else {}
    )
    rows: list[Answer] = [
        {
            "name": "web_checkout",
            "title": "Web checkout",
            "kind": "customer",
            "quality": 0.957,
            "target": 0.95,
            "bad": 12,
            "weakest": weak("Customers who start the checkout finish it", "business"),
            "top_reason": "payment_error",
            "events_per_minute": 623.0,
        },
        {
            "name": "call_queue",
            "title": "Call queue",
            "kind": "customer",
            "quality": 0.861,
            "target": 0.8,
            "owner": "contact-centre",
            "weakest": weak("Calls are answered within 20 seconds", None),
            "top_reason": "queue_too_long",
        }
        | calls,
        {
            "name": "store",
            "title": "Store",
            "kind": "customer",
            "quality": 0.941,
            "target": 0.93,
            "owner": "store-managers",
            "weakest": weak("Nobody waits more than three minutes for service", "new"),
            "top_reason": "long_wait",
        },
        {
            "name": "warehouse",
            "title": "Warehouse",
            "kind": "background",
            "quality": 0.9836,
            "target": 0.98,
            "owner": "logistics",
            "weakest": weak("Orders are packed without a hitch", "returning"),
            "top_reason": "label_missing",
            "depends_on": ["web_checkout"],
            "events_per_minute": 502.4,
            "n": 2512,
            "bad": 41,
        },
        {
            "name": "delivery",
            "title": "Delivery",
            "kind": "partner",
            "quality": 0.943,
            "target": 0.92,
            "owner": "logistics",
            "weakest": weak("The chair arrives when it was promised", "business"),
            "top_reason": "no_call_ahead",
            "depends_on": ["warehouse"],
            "events_per_minute": 466.0,
        }
        | hurt,
        {
            "name": "feedback",
            "title": "Feedback",
            "kind": "feedback",
            "quality": 0.884,
            "target": 0.85,
            "owner": "customer-insight",
            "weakest": weak("Customers are not detractors (NPS 7 or more)", "new"),
        }
        | silent,
        {
            "name": "staff_pulse",
            "title": "Staff pulse",
            "kind": "staff",
            "quality": 0.812,
            "target": 0.75,
            "owner": "people",
            "weakest": weak("Staff score their day 4 or 5 of 5", None),
            "events_per_minute": 4.2,
            "n": 21,
            "bad": 4,
        },
    ]
    return {
        "journey": "chair",
        "title": "A used saddle chair, from the web to the living room",
        "ready": True,
        "at": "2026-11-21T21:30:00Z",
        "worker": "host-1234",
        "partitions": {"owned": 12, "of": 24},
        "journeys": {
            "judged_until": "2026-11-21T20:30:00Z",
            "held_up_by": {"stage": "store", "title": "Store", "partition": 3},
            "open": 28588,
            "over": {
                "1h": {"met": 709, "missed": 81, "visit": 1},
                "1d": {"met": 13709, "missed": 1481, "visit": 3020},
            },
            "hit": {},
            "weakest": {"stage": "delivery", "title": "Delivery", "journeys": 431},
            "overdue": {"matkahuolto": 1210, "unassigned": 7, "none": 3},
            "labyrinths": 17,
            "handoffs_lost": 26,
        },
        "stages": [stage(**row) for row in rows],
    }


def failures(name: str, count: int = 12) -> list[Answer]:
    """The latest failures of a stage, newest first."""
    reasons = ("no_call_ahead", "late", "late", "nobody_home")
    return [
        {
            "id": f"{name}-{0x5F3A91 + 7919 * i:06x}",
            "time": f"2026-11-21T21:{29 - i:02d}:{(53 * i) % 60:02d}.125Z",
            "outcome": "failed" if i % 5 else "abandoned",
            "reason": reasons[i % 4] if i % 5 else None,
            "segment": ("business", "new", "returning")[i % 3],
            "partner": ("postnord", "matkahuolto")[i % 2],
            "channel": ("web", "app", None)[i % 3],
            "location": "tampere" if i % 4 == 1 else None,
            "journey_id": f"j-{0xA11CE5 + 104729 * i:08x}" if i % 6 else None,
            "experiences": ["delivered_as_promised"],
        }
        for i in range(count)
    ]


@dataclass
class Worker:
    """A stand-in for the worker: the page's files as they are, and answers that a test can swap."""

    stages: Answer | int
    lost_after: int | None = None
    failing: list[Answer] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    policy: str | None = CSP
    measuring: str = ""
    """A script that the page runs besides its own."""
    failures_part: str | None = None
    rescue: list[Answer] | None = field(default_factory=list)
    """Who can still be helped; None where nobody can be asked."""
    causes: list[str] | None = None
    """What bad encounters have in common, in words; None without Kafka."""
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A file of the page or an answer of the API; anything else is counted too."""
        self.asked[request.path] += 1
        if name := FILES.get(request.path):
            headers = {} if self.policy is None else {"Content-Security-Policy": self.policy}
            if name == "page.js" and self.measuring:
                text = (PAGE / name).read_text() + self.measuring
                return web.Response(text=text, content_type="text/javascript", headers=headers)
            return web.FileResponse(PAGE / name, headers=headers)
        if request.path == "/api/stages":
            if self.lost_after is not None and self.asked[request.path] > self.lost_after:
                assert request.transport is not None
                request.transport.abort()
            if isinstance(self.stages, int):
                return web.Response(status=self.stages)
            return web.json_response(self.stages)
        if match := re.fullmatch(r"/api/stages/(\w+)/failures", request.path):
            part = {"only_part": self.failures_part}
            return web.json_response({"stage": match[1], **part, "failures": self.failing})
        if request.path == "/api/rescue" and self.rescue is not None:
            return web.json_response({"only_part": self.failures_part, "journeys": self.rescue})
        if match := re.fullmatch(r"/api/stages/(\w+)/where", request.path):
            if self.causes is None:
                return web.json_response({"error": "no Kafka"}, status=503)
            found = {"experience": "some_experience", "words": self.causes}
            return web.json_response({"stage": match[1], "experiences": [found]})
        return web.Response(status=404)


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[Worker]:
    """The worker on a free port of the loopback address."""
    runner = web.ServerRunner(web.Server(worker.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    worker.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield worker
    finally:
        await runner.cleanup()


@pytest.fixture
async def evening() -> AsyncIterator[Worker]:
    """A worker that sees delivery degraded, the call queue below target and no feedback."""
    async with serving(Worker(chair(), failing=failures("delivery"))) as worker:
        yield worker


class Texts(HTMLParser):
    """The elements of a page: every start tag with its attributes, and the text inside each card."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cards: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._card: list[str] | None = None
        self._state = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "card" in (attributes.get("class") or "").split():
            self._card, self._state = [], attributes.get("data-state") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "li" and self._card is not None:
            self.cards.append((self._state, " ".join(" ".join(self._card).split())))
            self._card = None

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._card is not None:
            self._card.append(data)


@pytest.mark.full
@needs_chromium
async def test_every_stage_is_there_in_order_with_quality_and_state(evening: Worker, tmp_path: Path) -> None:
    """Each stage is shown in the journey's order with its quality and its state in words."""
    cards = Texts((await chromium.dump_dom(evening.url, tmp_path)).dom).cards
    expected = [
        ("good", "Web checkout", "95.7 %", "Good"),
        ("below", "Call queue", "79.4 %", "Below target"),
        ("good", "Store", "94.1 %", "Good"),
        ("good", "Warehouse", "98.3 %", "Good"),
        ("degraded", "Delivery", "71.2 %", "Degraded"),
        ("quiet", "Feedback", "none to judge", "Quiet"),
        ("good", "Staff pulse", "81.2 %", "Good"),
    ]
    assert [state for state, _ in cards] == [state for state, *_ in expected]
    for (_, text), (_, *promised) in zip(cards, expected, strict=True):
        for words in promised:
            assert words in text


@pytest.mark.full
@needs_chromium
async def test_the_weakest_stage_says_whom_it_hits_and_why(evening: Worker, tmp_path: Path) -> None:
    """The weakest stage is named with segment and reason, its failures are listed, the title counts."""
    dom = (await chromium.dump_dom(evening.url, tmp_path)).dom
    assert '<strong id="hero-stage">Delivery</strong>' in dom
    assert "Hits business hardest · mostly no call ahead · 3.6 \u00d7 the bad encounters" in dom
    assert "Latest failures: Delivery" in dom
    assert "<title>(1 degraded) A used saddle chair" in dom
    assert all(failure["id"] in dom for failure in evening.failing)
    assert evening.asked["/api/stages/delivery/failures"] >= 1


def test_every_state_has_a_word_a_shape_and_its_severity() -> None:
    """The page knows every state of the API, most severe first, by more than a colour."""
    listed = re.search(r"const STATES = \{(.*?)\};", (PAGE / "words.js").read_text(), re.DOTALL)
    shapes = re.search(r"const SHAPES = \{(.*?)\n\};", (PAGE / "elements.js").read_text(), re.DOTALL)
    assert listed is not None
    assert shapes is not None
    assert re.findall(r'(\w+): "', listed[1]) == sorted(State, key=SEVERITY.__getitem__, reverse=True)
    drawn = dict(re.findall(r"^  (\w+): (\[\[.*?\]\]),$", shapes[1], re.DOTALL | re.MULTILINE))
    assert set(drawn) == set(State)
    assert len(set(drawn.values())) == len(State)
    styles = (PAGE / "page.css").read_text()
    assert [state for state in State if not re.search(rf"\.symbol\.{state}\b[^{{]*{{ color:", styles)] == []


@pytest.mark.full
@needs_chromium
async def test_few_events_are_neither_good_nor_said_to_meet_the_target(tmp_path: Path) -> None:
    """Where few events came, card and counts say that they are too few to tell; the headline is of others."""
    answer = chair(degraded=False)
    few = {"state": "too_few", "quality": 1 / 3, "n": 3, "bad": 2, "window": "1h"}
    answer["stages"][5] |= few
    async with serving(Worker(answer)) as worker:
        dom = (await chromium.dump_dom(worker.url, tmp_path)).dom
    state, text = Texts(dom).cards[5]
    assert state == "too_few"
    assert all(one in text for one in ("Too few to tell", "33.3 %", "2 of 3 bad in 1 h"))
    assert "6 good 1 too few to tell" in words(dom, "counts")
    assert words(dom, "hero-stage") != "Feedback"
    enough = "Every stage with enough events meets its target; 1 has too few to tell."
    assert words(dom, "hero-why") == enough
    answer["stages"][4] |= few
    answer["stages"][0] |= {"state": "within_chance", "quality": 0.949}
    (other := tmp_path / "other").mkdir()
    async with serving(Worker(answer)) as worker:
        dom = (await chromium.dump_dom(worker.url, other)).dom
    by_chance = "No stage with enough events misses its target beyond chance; 2 have too few to tell."
    assert words(dom, "hero-why") == by_chance
    assert words(dom, "hero-stage") == "Web checkout"


@pytest.mark.full
@needs_chromium
async def test_a_silent_stage_shows_no_quality_of_the_past(tmp_path: Path) -> None:
    """A stage that fell silent says what was expected instead of how good its last events were."""
    answer = chair(degraded=False)
    said = "No event for 7 min; about 4,431 were expected."
    silence = {"window": "1m", "expected": 633, "text": said}
    answer["stages"][4] |= {"state": "silent", "silent": silence, "window": "1h"}
    async with serving(Worker(answer)) as worker:
        dom = (await chromium.dump_dom(worker.url, tmp_path)).dom
    state, text = Texts(dom).cards[4]
    assert state == "silent"
    assert all(one in text for one in ("Silent", "none to judge", said))
    assert "94.3" not in text
    assert "/min" not in text  # the last five minutes say nothing of the present
    assert (words(dom, "hero-stage"), words(dom, "hero-quality")) == ("Delivery", "none to judge")
    assert (words(dom, "hero-target"), words(dom, "hero-why")) == ("", said)
    assert "<title>(1 silent) A used saddle chair" in dom


def words(dom: str, part: str) -> str:
    """The text of the element with that id."""
    found = re.search(rf'<(\w+)[^>]* id="{part}"[^>]*>(.*?)</\1>', dom, re.DOTALL)
    assert found is not None, part
    return " ".join(re.sub(r"<[^>]+>", " ", found[2]).split())


@pytest.mark.full
@needs_chromium
async def test_whole_journeys_stand_above_the_stages(evening: Worker, tmp_path: Path) -> None:
    """One line says what journeys come to, and each stage's card how many it hits; not that of the staff."""
    dom = (await chromium.dump_dom(evening.url, tmp_path)).dom
    said = re.sub(r"until .*?, ", "until HERE, ", words(dom, "journeys"))  # in the reader's time zone
    assert said == (
        "Whole journeys judged until HERE, 60 min ago: held up by Store partition 3 open now 28,588 "
        "ended in 1 h 709 met \u00b7 81 missed \u00b7 1 visit "
        "ended in 1 d 13,709 met \u00b7 1,481 missed \u00b7 3,020 visits "
        "weakest in 1 d Delivery, 431 journeys "
        "overdue promises matkahuolto 1,210 \u00b7 not yet with a partner 7 \u00b7 no partner 3 "
        "hand-overs lost in 1 d 26 labyrinths in 1 d 17"
    )
    hit = ["1,234 journeys hit in 5 min" in text for _, text in Texts(dom).cards]
    assert hit == [True] * 6 + [False]
    assert isinstance(evening.stages, dict)
    evening.stages["journeys"]["judged_until"] = None
    (other := tmp_path / "other").mkdir()
    dom = (await chromium.dump_dom(evening.url, other)).dom
    assert words(dom, "journeys-judged") == "nothing heard of Store partition 3"


@pytest.mark.full
@needs_chromium
async def test_journeys_nothing_is_known_of_are_dashes(evening: Worker, tmp_path: Path) -> None:
    """What is not known is a dash, never a 0; a journey file without whole journeys has no such line."""
    assert isinstance(evening.stages, dict)
    evening.stages["journeys"] = dict.fromkeys(evening.stages["journeys"])
    for row in evening.stages["stages"]:
        row["journeys_hit"] = None
    dom = (await chromium.dump_dom(evening.url, tmp_path)).dom
    assert not re.search(r"\d", re.sub(r"\bin 1 [hd]\b", "", words(dom, "journeys")))
    assert words(dom, "journeys").count("\u2013") == 8
    assert Texts(dom).cards[0][1].endswith("\u2013 journeys hit in 5 min")
    evening.stages["journeys"] = None
    (other := tmp_path / "other").mkdir()
    dom = (await chromium.dump_dom(evening.url, other)).dom
    assert re.search(r'<section[^>]* id="journeys"[^>]* hidden=""', dom)
    assert "hit in 5 min" not in dom


@pytest.mark.full
@needs_chromium
async def test_who_sees_a_part_says_so(evening: Worker, tmp_path: Path) -> None:
    """How much of the whole is counted, and where the rest is; who sees all says nothing of it."""
    whole = (await chromium.dump_dom(evening.url, tmp_path)).dom
    assert "A part only" not in whole
    assert words(whole, "loss") == ""
    assert isinstance(evening.stages, dict)
    evening.stages["only_part"] = "this worker counts 14 of 28 partitions; Grafana adds up"
    evening.stages["stages"][0]["whole_since"] = evening.stages["at"]
    evening.stages["journeys"]["whole_since"] = evening.stages["at"]
    evening.stages["workers"] = [
        {"worker": "w1", "missing": None},
        {"worker": "w2", "missing": None},
        {"worker": "http://w3:8080", "missing": "it has not answered within 1.5 s"},
    ]
    evening.failures_part = "this worker lists failures of 14 of 28 partitions"
    (other := tmp_path / "other").mkdir()
    dom = (await chromium.dump_dom(evening.url, other)).dom
    assert ">A part only: this worker counts 14 of 28 partitions; Grafana adds up.</p>" in dom
    assert "2 workers (w1, w2)" in words(dom, "strip-worker")
    assert ">A part only: this worker lists failures of 14 of 28 partitions.</p>" in dom
    assert re.fullmatch(
        r"Windows are whole only since: Web checkout [\w: ]+, Whole journeys [\w: ]+\."
        r" What was counted before is lost.",
        words(dom, "loss"),
    )


@pytest.mark.full
@needs_chromium
async def test_who_waits_now_is_shown_where_services_say_so(evening: Worker, tmp_path: Path) -> None:
    """The queue, its oldest, what who comes now has to expect, and who is being served; no word elsewhere."""
    assert isinstance(evening.stages, dict)
    queued = {"n": 12, "oldest_s": 63.4, "expected_wait_s": 41.2}
    evening.stages["stages"][1]["open"] = {"queued": queued, "started": {"n": 30, "oldest_s": 840.0}}
    evening.stages["stages"][2]["open"] = {"queued": {"n": 0, "oldest_s": None, "expected_wait_s": None}}
    cards = [text for _, text in Texts((await chromium.dump_dom(evening.url, tmp_path)).dom).cards]
    told = "12 in the queue, the oldest for 63 s, who comes now waits about 41 s, 30 being served"
    assert [told in text for text in cards[:3]] == [False, True, False]
    assert ["in the queue" in text for text in cards] == [False, True, True, False, False, False, False]


@pytest.mark.full
@needs_chromium
async def test_nobody_is_hit_where_nothing_is_bad(evening: Worker, tmp_path: Path) -> None:
    """Without a bad event neither whom it hits nor a reason is shown, whatever else the API says."""
    assert isinstance(evening.stages, dict)
    evening.stages["stages"][2] |= {"quality": 1.0, "bad": 0, "top_reason": "unspecified"}
    cards = Texts((await chromium.dump_dom(evening.url, tmp_path)).dom).cards
    text = next(text for _, text in cards if "Store" in text)
    assert "Hits \u2013 Reason \u2013" in text
    assert "100 %" in text
    assert "100.0" not in text


GAPS = """
setInterval(() => {
  const box = (quality, part) => quality.querySelector(part).getBoundingClientRect();
  document.body.dataset.gaps = [...document.querySelectorAll(".quality")].map((quality) => Math.min(
    box(quality, ".against > span").left - box(quality, ".unit").right,
    quality.getBoundingClientRect().right + 9 - box(quality, ".against").right)).join(" ");
}, 100);
"""


@pytest.mark.full
@needs_chromium
@pytest.mark.parametrize("width", [1400, 1920])
async def test_quality_and_target_do_not_touch(width: int, evening: Worker, tmp_path: Path) -> None:
    """The longest figures leave room between them, and stay within the card."""
    assert isinstance(evening.stages, dict)
    figures = [(1.0, 0.92), (0.999, 0.9995), (0.889, 0.9995), (0.888, 0.625)]
    for row, (quality, target) in zip(evening.stages["stages"], figures, strict=False):
        row |= {"quality": quality, "target": target}
    evening.measuring = GAPS
    dom = (await chromium.dump_dom(evening.url, tmp_path, width=width)).dom
    assert 'data-layout="map"' in dom
    found = re.search(r'data-gaps="([^"]+)"', dom)
    assert found is not None
    gaps = [float(gap) for gap in found[1].split()]
    assert len(gaps) == 7
    assert min(gaps) >= 8, gaps


@pytest.mark.full
@needs_chromium
async def test_no_colleague_is_shown(evening: Worker, tmp_path: Path) -> None:
    """The answers of single colleagues are not listed, nor even asked for."""
    dom = (await chromium.dump_dom(f"{evening.url}/#staff_pulse", tmp_path)).dom
    assert "What single colleagues answered is nobody\u2019s to see." in dom
    assert '<button type="button" id="where-ask" hidden="">' in dom
    assert not any(failure["id"] in dom for failure in evening.failing)
    assert [path for path in evening.asked if path.endswith("/failures")] == []


@pytest.mark.full
@needs_chromium
async def test_an_address_asks_what_bad_encounters_have_in_common(evening: Worker, tmp_path: Path) -> None:
    """As links of alerts and boards do; once, of the stage they name, and the page stays with it."""
    evening.causes = [
        "Received on time: 40 of 90 bad, 2.1 were to be expected",
        "  1. partner <b>postnord</b>",
    ]
    page = Texts((await chromium.dump_dom(f"{evening.url}/?where#store", tmp_path)).dom)
    assert {one.strip() for one in evening.causes} <= set(page.text)
    assert [path for path in evening.asked if path.endswith("/where")] == ["/api/stages/store/where"]
    assert evening.asked["/api/stages/store/where"] == 1


@pytest.mark.full
@needs_chromium
async def test_a_cause_that_cannot_be_found_says_why(evening: Worker, tmp_path: Path) -> None:
    """In the words of the worker."""
    dom = (await chromium.dump_dom(f"{evening.url}/?where#store", tmp_path)).dom
    assert "Nothing could be found (no Kafka)" in dom


def hurt(who: str, left_s: float | None, **more: Any) -> Answer:
    """A customer who can still be helped, as the API tells of one."""
    found: Answer = {"journey_id": who, "left_s": left_s, "happened": [], "promised": []}
    return (
        found | {"time": "2026-11-21T21:29:00Z", "in_time": bool(left_s and left_s > 0), "due": None} | more
    )


def promise(kind: str, left_s: float, *, called_off: bool = False, partner: str | None = None) -> Answer:
    """What a customer waits for."""
    told = {"what": "promise", "kind": kind, "partner": partner, "called_off": called_off}
    return told | {"due": "2026-11-21T21:29:00Z", "left_s": left_s}


def bad(stage: str, reason: str | None) -> Answer:
    """What a customer met with."""
    return {"stage": stage, "reason": reason, "outcome": "failed", "channel": None, "bad_for": ["on_time"]}


@pytest.mark.full
@needs_chromium
async def test_who_can_still_be_helped_stands_on_the_page(evening: Worker, tmp_path: Path) -> None:
    """With how long is left, what went wrong and what is owed; five, and how many there are."""
    edge = {"what": "handoff", "from": "warehouse", "to": "delivery", "partner": None, "called_off": False}
    evening.rescue = [
        hurt("j-1", 2400, promised=[promise("delivery_window", 2400, partner="postnord")]),
        hurt("j-2", 90, promised=[promise("contact", 90, called_off=True)], happened=[bad("store", None)]),
        hurt("j-3", -10_800, promised=[edge | {"left_s": -10_800}]),
        hurt(
            "j-4", None, happened=[bad("call_queue", "queue_too_long"), bad("web_checkout", "payment_error")]
        ),
        *(hurt(f"j-{n}", None, happened=[bad("store", "long_wait")]) for n in range(5, 9)),
    ]
    dom = (await chromium.dump_dom(evening.url, tmp_path)).dom
    shown = re.findall(r"<tr[^>]*>(.*?)</tr>", re.sub(r".*?id=\"rescue-rows\"", "", dom, flags=re.DOTALL))
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in shown[:5]]
    assert cells[:4] == [
        ["40 min", "j-1", "\u2013", "delivery window by postnord"],
        ["90 s", "j-2", "Store: on time", "contact, called off"],
        ["3 h late", "j-3", "\u2013", "Warehouse to Delivery, late"],
        ["\u2013", "j-4", "Call queue: queue too long \u00b7 Web checkout: payment error", "\u2013"],
    ]
    assert "j-6" not in dom
    assert words(dom, "rescue-note") == "The first 5 of 8; all: touchpoint rescue"
    assert words(dom, "rescue-empty") == ""
    assert evening.asked["/api/rescue"] == 1  # every 15 s, not with every answer


@pytest.mark.full
@needs_chromium
async def test_nobody_to_help_is_told_apart_from_nothing_known(evening: Worker, tmp_path: Path) -> None:
    """Nobody is hurt, nobody can be asked, or no journeys are kept: three different pages."""
    dom = (await chromium.dump_dom(evening.url, tmp_path)).dom
    assert words(dom, "rescue-empty") == "Nobody under way was hurt or is about to be."
    evening.rescue = None
    (away := tmp_path / "away").mkdir()
    dom = (await chromium.dump_dom(evening.url, away)).dom
    assert words(dom, "rescue-note") == "Could not be read anew (HTTP 404)"
    assert words(dom, "rescue-empty") == "Nothing to show yet."
    assert isinstance(evening.stages, dict)
    evening.stages["journeys"] = None
    (without := tmp_path / "without").mkdir()
    dom = (await chromium.dump_dom(evening.url, without)).dom
    assert re.search(r'<section[^>]* id="rescue"[^>]* hidden=""', dom)


@pytest.mark.full
@needs_chromium
async def test_no_events_is_never_a_percentage(evening: Worker, tmp_path: Path) -> None:
    """A stage without events says so and shows no quality at all, least of all 100 %."""
    cards = Texts((await chromium.dump_dom(evening.url, tmp_path)).dom).cards
    feedback = next(text for _, text in cards if "Feedback" in text)
    assert "none to judge" in feedback
    assert re.findall(r"[\d.]+ %", feedback) == ["85 %"]  # the target


@pytest.mark.full
@needs_chromium
async def test_a_stage_of_the_address_is_shown(evening: Worker, tmp_path: Path) -> None:
    """A stage after # in the address is selected instead of the weakest, and only it is asked for."""
    dom = (await chromium.dump_dom(f"{evening.url}/#store", tmp_path)).dom
    assert "Latest failures: Store" in dom
    assert [path for path in evening.asked if path.endswith("/failures")] == ["/api/stages/store/failures"]


@pytest.mark.full
@needs_chromium
async def test_hostile_texts_stay_text(evening: Worker, tmp_path: Path) -> None:
    """Markup in an id, reason, segment, title or runbook is shown as text, never becomes an element."""
    attack = "<img src=/stolen onerror=document.title='stolen'><script>document.title='stolen'</script>"
    evil = {"id": attack, "reason": attack, "segment": attack, "channel": attack, "journey_id": attack}
    evening.failing = [{**evening.failing[0], **evil}]
    owed = promise(attack, 60, partner=attack)
    evening.rescue = [hurt(attack, 60, happened=[bad(attack, attack)], promised=[owed])]
    assert isinstance(evening.stages, dict)
    delivery = next(s for s in evening.stages["stages"] if s["stage"] == "delivery")
    delivery |= {"title": attack, "top_reason": attack, "runbook": "javascript:alert(1)"}
    delivery["weakest"] = weak(attack, attack)
    page = Texts((await chromium.dump_dom(evening.url, tmp_path)).dom)
    assert sum(text.count("<img src=/stolen onerror=") for text in page.text) >= 11
    assert [a.get("src") for tag, a in page.tags if tag in ("img", "script")] == [
        "/page.js",
        "/icon.svg",
    ]
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert not [a for _, a in page.tags if (a.get("href") or "").startswith("javascript:")]
    assert evening.asked["/stolen"] == 0


@pytest.mark.full
@needs_chromium
async def test_a_lost_worker_is_announced_over_greyed_numbers(tmp_path: Path) -> None:
    """When the worker stops answering, a banner says so; the old numbers stay, grey, with their age."""
    async with serving(Worker(chair(), lost_after=1, failing=failures("delivery"))) as worker:
        dom = (await chromium.dump_dom(worker.url, tmp_path, virtual_ms=9000)).dom
    assert "The worker cannot be reached (no connection). These numbers are old." in dom
    assert 'id="strip" data-tone="lost"' in dom
    assert '<body class="stale">' in dom
    assert re.search(r"As of \d\d.*? · \d+ s old", dom)
    assert "<title>(unreachable)" in dom
    assert "71.2" in dom


@pytest.mark.full
@needs_chromium
async def test_a_worker_that_never_answered_shows_no_numbers(tmp_path: Path) -> None:
    """Without any answer there is a banner and no map, not an empty journey that looks healthy."""
    async with serving(Worker(503)) as worker:
        dom = (await chromium.dump_dom(worker.url, tmp_path)).dom
    assert "The worker cannot be reached (HTTP 503). There is nothing to show yet." in dom
    assert '<main id="main" hidden="">' in dom
    assert Texts(dom).cards == []


@pytest.mark.full
@needs_chromium
async def test_a_worker_that_is_not_ready_says_so(tmp_path: Path) -> None:
    """A worker still reading its tables is announced, and its stages neither look silent nor good."""
    answer = chair()
    answer["ready"] = False
    for each in answer["stages"]:
        each |= {"quality": None, "state": "quiet", "weakest": None, "n": 0, "bad": 0, "trend": []}
    async with serving(Worker(answer)) as worker:
        dom = (await chromium.dump_dom(worker.url, tmp_path)).dom
    assert "The worker is not ready" in dom
    assert "<title>(not ready)" in dom
    cards = Texts(dom).cards
    assert len(cards) == 7
    assert all("Catching up" in text and "none to judge" not in text for _, text in cards)


@pytest.mark.full
@needs_chromium
async def test_the_page_keeps_to_the_strict_policy(evening: Worker, tmp_path: Path) -> None:
    """Under `default-src 'self'` the browser's console stays empty: no violation, no error."""
    assert (await chromium.dump_dom(evening.url, tmp_path)).console == ()


@pytest.mark.full
@needs_chromium
async def test_nothing_leaves_the_machine(evening: Worker, tmp_path: Path) -> None:
    """Even with no policy to stop it, the page asks its own worker only, for what it is made of."""
    evening.policy = None
    seen = await chromium.dump_dom(evening.url, tmp_path)
    assert [url for url in seen.asked if not url.startswith(f"{evening.url}/")] == []
    assert set(evening.asked) == {*FILES, "/api/stages", "/api/stages/delivery/failures", "/api/rescue"}
    assert evening.asked["/api/stages"] >= 2


def test_the_page_and_the_alert_agree_on_what_is_held_up() -> None:
    """The page calls journeys held up when `MonitorBlind` does."""
    found = re.search(r"^const HELD_UP_MS = (\d+);", (PAGE / "header.js").read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) == JOURNEYS_LAG_S * 1000


def test_the_files_name_no_other_host() -> None:
    """No file of the page holds an absolute address, an inline style or a way to write markup."""
    for name in FILES.values():
        text = (PAGE / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[\w.]+\.\w+", text) == [], name
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text) == [], (
            name
        )
        assert re.findall(r"\sstyle=|<style|\son\w+=", text) == [], name


def share_of(rgb: tuple[int, int, int], png: bytes) -> float:
    """The share of pixels of exactly that colour."""
    return float((chromium.pixels(png) == np.array(rgb, np.uint8)).all(axis=2).mean())


@pytest.mark.full
@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_the_degraded_colour_is_seen_only_when_something_is(dark: bool, tmp_path: Path) -> None:
    """At 1400x1000, light and dark, vermilion is on the page if a stage is degraded, and only then."""
    shots: list[bytes] = []
    for degraded in (True, False):
        directory = tmp_path / str(degraded)
        directory.mkdir()
        async with serving(Worker(chair(degraded=degraded), failing=failures("delivery"))) as worker:
            shots.append(await chromium.screenshot(worker.url, directory, width=1400, height=1000, dark=dark))
    for png in shots:
        assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (1400, 1000)
    assert 0.002 < share_of(DEGRADED_RGB, shots[0]) < 0.05
    assert share_of(DEGRADED_RGB, shots[1]) == 0
    background = (0x0E, 0x13, 0x17) if dark else (0xF2, 0xF3, 0xF0)
    assert 0.2 < share_of(background, shots[1]) < 0.8
