"""A backtest says which alerts a history would have raised, when, with which facts, in any order."""

import gzip
import json
import random
import re
import resource
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from monitor.backtest.history import MAX_SLICES, History, StageHistory
from monitor.backtest.run import Backtest, Key, alerts_of, backtest, spans_of, worst
from monitor.backtest.svg import picture
from monitor.backtest.timeline import reach
from monitor.counting.event import Reason
from monitor.counting.panes import SHORT
from monitor.counting.windows import WINDOWS
from monitor.errors import UserError
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import WHOLE
from monitor.rules.plan import HOLD_S, plan
from streams.commands.backtest import ALERTS_SHOWN
from tests.kit import history as real
from tests.kit.programs import touchpoint, touchpoint_reading
from tests.kit.slices import add_slices

JOURNEY_TEXT = """
version: 1
journey: short
title: Orders & <parcels>
segments: [gold, silver]
partners: [x]
stages:
  shop:
    title: Shop {open}
    kind: customer
    owner: web
    partners: [x]
    reasons: [broken]
    expects: {per_hour: 3600}
    experiences:
      bought: {title: Buyers buy, judges: {}, good: {outcome: [ok]}, target: 0.98}
  parcel:
    kind: partner
    owner: logistics
    depends_on: [shop]
    expects: {per_hour: 1}
    experiences:
      came: {judges: {}, good: {outcome: [ok]}, target: 0.95}
  mood:
    kind: staff
    owner: people
    experiences:
      well: {judges: {}, good: {outcome: [ok]}, target: 0.75}
"""
JOURNEY = parse(JOURNEY_TEXT)

T0_S = 1_800_000_000

IsBad = Callable[[int], bool]


def line(second: float, stage: str = "shop", *, bad: bool = False, **more: Any) -> bytes:
    """An event so many seconds after the start."""
    at = np.datetime64(round((T0_S + second) * 1000), "ms")
    event = {
        "id": f"{stage}-{second}",
        "time": f"{at}Z",
        "stage": stage,
        "outcome": "failed" if bad else "ok",
    }
    return orjson.dumps(event | more)


def a_second(start: int, end: int, is_bad: IsBad, stage: str = "shop", **more: Any) -> list[bytes]:
    """An event each second, in the middle of it."""
    return [line(second + 0.5, stage, bad=is_bad(second), **more) for second in range(start, end)]


def judged(lines: list[bytes]) -> Backtest:
    """What the backtest of these lines says."""
    history = History(plan(JOURNEY))
    for one in lines:
        assert history.add_line(one) is None
    return backtest(plan(JOURNEY), history)


def outage(second: int) -> bool:
    """All fail from 600 s to 720 s."""
    return 600 <= second < 720


OUTAGE = a_second(0, 1200, outage, segment="gold", reason="broken")


def test_an_outage_is_noticed_told_and_resolved() -> None:
    """One page with the facts of its first moment: after 20 s a third of the last minute was bad."""
    found = judged(OUTAGE)
    page = found.fired[0]
    assert page.key == ("StageDegraded", "page", "shop", "bought", "all")
    seconds = (page.noticed_ms / 1000 - T0_S, (page.resolved_ms or 0) / 1000 - T0_S)
    assert seconds[0] == 620
    assert (page.window, page.n, page.bad) == ("1m", 60, 20)
    assert (page.reason, page.hits) == ("broken", "gold")
    assert page.summary == (
        "Shop {open} (segment all): 20 of 60 in 1m were bad (33.33%), at most 2% may be. "
        "Measured: Buyers buy."
    )
    assert [one.key.severity for one in found.fired].count("page") == 1
    assert found.totals["shop"].events == 1200
    assert found.unheard == ("parcel", "mood")


def test_order_does_not_matter() -> None:
    """The same lines in any order give the same backtest, also over several hours."""
    lines = a_second(0, 7_300, outage)
    mixed = lines.copy()
    random.Random(1).shuffle(mixed)
    assert judged(mixed) == judged(lines)


def troubled() -> list[bytes]:
    """Six hours: gold alone, then everybody, then nobody comes, then a slow burn."""

    def is_bad(second: int) -> bool:
        return (3_000 <= second < 4_000 and second % 3 == 0) or 5_000 <= second < 6_000 or second % 64 == 1

    lines = [
        line(second + 0.5, bad=is_bad(second), segment="gold" if second % 3 == 0 else "silver")
        for second in range(21_600)
        if not 5_900 <= second < 6_600
    ]
    random.Random(2).shuffle(lines)
    return lines


def test_each_trouble_is_told_once() -> None:
    """A segment is silent under everybody, a ticket under its page, all of a stage under its silence."""
    fired = judged(troubled()).fired
    kinds = {(one.key.name, one.key.severity, one.key.group) for one in fired}
    assert kinds >= {
        ("StageDegraded", "page", "gold"), ("StageDegraded", "page", "all"), ("StageSilent", "page", ""),
        ("StageDegraded", "ticket", "all"),
    }  # fmt: skip
    for one in fired:
        for over in fired:
            ended_ms = (over.resolved_ms or 1 << 60) - HOLD_S["page"] * 1000
            apart = not over.noticed_ms <= one.noticed_ms < ended_ms
            explains = over.key != one.key and (
                over.key.name == "StageSilent"
                or (over.key.severity == "page" and one.key.severity == "ticket")
            )
            assert apart or not explains, (one, over)


def test_how_much_is_judged_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged in pieces of 100 moments, the same alerts begin and end at the same moments."""
    whole = judged(troubled())
    monkeypatch.setattr("monitor.backtest.run.CHUNK", 100)
    pieces = judged(troubled())
    assert pieces.fired == whole.fired
    assert pieces.totals["shop"].as_json() == whole.totals["shop"].as_json()


def test_a_healthy_history_is_silent() -> None:
    """One bad in a hundred of a 98 % target alerts nobody."""
    assert judged(a_second(0, 7200, lambda second: second % 100 == 0)).fired == ()


def test_silence_is_noticed_by_the_declared_rhythm() -> None:
    """A stage that expects an event a second is silent soon after its last, until five minutes after its
    next."""
    found = judged([*a_second(0, 600, lambda _: False), *a_second(900, 1500, lambda _: False)])
    silent = next(one for one in found.fired if one.key.name == "StageSilent")
    assert silent.key == ("StageSilent", "page", "shop", "", "")
    assert (silent.resolved_ms or 0) / 1000 - T0_S == 1200
    assert silent.window == "1m"
    assert silent.summary == "Shop {open}: no event for 1m 0s; 60 were expected in the last 1m."
    assert [one for one in found.fired if one.key.stage == "shop" and one.key.experience] == []


WEIGHED = parse("""
version: 1
journey: weighed
segments: []
stages:
  shop:
    kind: customer
    owner: web
    experiences:
      bought: {judges: {}, good: {outcome: [ok]}, target: 0.95}
      fast: {judges: {}, good: {duration_s: {at_most: 9}}, target: 0.95}
journeys: {owner: care, starts: {stage: [shop]}, goal: {stage: [shop]}, target: 0.8, limit: 1d}
""")


@pytest.mark.parametrize(
    ("detractors", "days", "is_critical"), [(40, 4, True), (10, 4, False), (40, 3, False)]
)
def test_tickets_of_a_critical_stage_are_pages(detractors: int, days: int, is_critical: bool) -> None:
    """What would be a ticket alone is one, unless the stage is critical, and seen for more than three days; a
    page for more than that names what is worst, whichever limit it crosses."""
    seen, minute, end = days * 8640, 6, T0_S // 10
    for outage in (False, True):
        held = {stage.name: StageHistory(plan(WEIGHED), stage) for stage in plan(WEIGHED).stages}
        shop, answers = held["shop"].table(end - seen, end), held[WHOLE].table(end - 1, end)
        for name, n_bad, worse in (("bought", 8, 100), ("fast", 0, 60)):
            good, bad = (rows[name, "other"] for rows in (held["shop"].good, held["shop"].bad))
            shop[good], shop[bad] = 100 - n_bad, n_bad
            if outage:
                shop[good, -minute:], shop[bad, -minute:] = 100 - worse, worse
        shop[held["shop"].events] = 100
        answers[held[WHOLE].critical["shop"], 0] = (detractors, 60, 60, 840)
        add_slices(held["shop"], end - seen, shop)
        add_slices(held[WHOLE], end - 1, answers)
        spans = spans_of(plan(WEIGHED), held, end - 1, end, since=end - seen)
        page = Key("StageDegraded", "page", "shop")
        assert bool(dict(alerts_of(plan(WEIGHED), spans, {}))[page][-1]) is (outage or is_critical)
        if outage or is_critical:
            named, window = worst(page, spans["shop"], end - 1)
            assert (named.experience, window) == ("bought", "20s" if outage else "3d"), window


def test_trouble_before_a_stage_explains_its_own() -> None:
    """A parcel stage as bad as the shop it depends on pages when the shop is well, not five minutes later."""
    parcels = a_second(0, 1500, lambda second: 600 <= second < 1400, "parcel")
    alone, beside = judged(parcels), judged([*parcels, *OUTAGE])
    first_s, then_s = (
        min(one.noticed_ms for one in found.fired if one.key[:3] == ("StageDegraded", "page", "parcel"))
        / 1000
        - T0_S
        for found in (alone, beside)
    )
    shop = next(one for one in beside.fired if one.key[:3] == ("StageDegraded", "page", "shop"))
    last_s = (shop.resolved_ms or 0) / 1000 - T0_S - HOLD_S["page"] - 1
    assert first_s < 650
    assert last_s < then_s <= last_s + 70


def test_a_ticket_is_held_for_an_hour() -> None:
    """What comes and goes within the hour is one ticket, and it is over an hour after it came last."""
    found = judged(a_second(0, 9000, lambda second: second % 1800 < 120 and second < 3600, "mood"))
    (ticket,) = found.fired
    assert (ticket.resolved_ms or 0) / 1000 - T0_S > 1800 + 120 + HOLD_S["ticket"]


def test_the_mood_of_staff_never_pages() -> None:
    """The worst mood is a ticket."""
    found = judged(a_second(0, 1200, lambda _: True, "mood"))
    assert {one.key.severity for one in found.fired} == {"ticket"}


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_backtest_counts_each_answer_of_staff(number: int) -> None:
    """It reads a file that its reader has: waiting for a group of five would hide nothing."""
    found = judged(a_second(0, number, lambda _: True, "mood"))
    assert found.totals["mood"].events == number
    history = History(plan(JOURNEY))
    for one in a_second(0, number, lambda second: second > 0, "mood"):
        assert history.add_line(one) is None
    mood = history.heard()["mood"]
    first, last = mood.span() or (0, 0)
    table = mood.table(first, last + 1)
    assert (table[[*mood.good.values()]].sum(), table[[*mood.bad.values()]].sum()) == (1, number - 1)


@pytest.mark.parametrize("window", WINDOWS, ids=[window.label for window in WINDOWS])
def test_reach_is_what_a_window_sums(window: Any) -> None:
    """At the end of a slice a window reaches over the panes that `windows` names."""
    for at in (0, 1, 29, 30, 12_345):
        first, end = reach(window.label, at)
        now_ms = (at + 1) * SHORT.ms - 1
        newest_ms = window.grain.start_of(now_ms)
        assert first * SHORT.ms == newest_ms + window.grain.ms - window.ms
        assert end * SHORT.ms == now_ms + 1


def test_refused_events_are_counted_by_reason() -> None:
    """What a worker refuses is refused here, for the same reasons; envelopes are read."""
    history = History(plan(JOURNEY))
    lines = (b"no", line(0, "nowhere"), line(0, outcome="maybe"), line(0, id=None), line(0, time="today"))
    assert [found.reason for one in lines if (found := history.add_line(one))] == [
        Reason.NOT_JSON, Reason.UNKNOWN_STAGE, Reason.UNKNOWN_OUTCOME, Reason.MISSING_FIELD, Reason.BAD_TIME,
    ]  # fmt: skip
    envelope = {"specversion": "1.0", "id": "1", "source": "s", "type": "t",
                "data": orjson.loads(line(0, "parcel"))}  # fmt: skip
    assert history.add_line(orjson.dumps(envelope)) is None
    assert (history.counted, history.refused.total()) == (1, 5)


def test_repeated_ids_count_once_where_the_stage_says_so() -> None:
    """Within `dedupe_s` of the first, in whatever order the lines come; elsewhere every line counts."""
    stages = tuple(replace(stage, dedupe_ms=600_000 * (stage.name == "shop")) for stage in JOURNEY.stages)
    lines = [line(at, stage, id="same") for stage in ("shop", "parcel") for at in (0, 599, 600)]
    for some in (lines, lines[::-1]):
        history = History(plan(replace(JOURNEY, stages=stages)))
        for one in some:
            assert history.add_line(one) is None
        assert (history.counted, history.repeated) == (5, 1)


def test_a_history_without_end_is_an_error() -> None:
    """No event, or a wrong time that makes it span more than ten years, is one line."""
    with pytest.raises(UserError, match="no event"):
        backtest(plan(JOURNEY), History(plan(JOURNEY)))
    with pytest.raises(UserError, match="span 3651 days"):
        judged([line(0), line((MAX_SLICES + 8640) * 10)])


def test_the_picture_is_one_readable_svg() -> None:
    """Valid XML without outside references; each experience with its target, each alert with its text."""
    history = History(plan(JOURNEY))
    for one in OUTAGE:
        history.add_line(one)
    found = backtest(plan(JOURNEY), history)
    drawn = picture(plan(JOURNEY), history.heard(), found)
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    texts = [element.text or "" for element in root.iter() if element.tag.endswith(("text", "title"))]
    assert "Orders & <parcels>" in texts
    assert "Shop {open}: Buyers buy (target 98 %)" in texts
    assert sum(found.fired[0].summary in text for text in texts) == 1
    assert {"pages", "tickets", "quality", "target"} <= set(texts)
    assert re.findall(r"https?://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]
    assert "nan" not in drawn


# -- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def journey_file(tmp_path: Path) -> str:
    """The journey as a file."""
    path = tmp_path / "journey.yaml"
    path.write_text(JOURNEY_TEXT)
    return str(path)


def test_the_command_reads_files_gzip_and_standard_input_alike(tmp_path: Path, journey_file: str) -> None:
    """The same JSON, however the lines come; a refused one is told with its line."""
    text = b"\n".join([*OUTAGE, b"", b"{}"])
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    options = ("--json", "--journey", journey_file)
    svg = tmp_path / "a.svg"
    done = [
        touchpoint("backtest", str(plain), *options, "--picture", str(svg)),
        touchpoint("backtest", str(packed), *options),
        touchpoint_reading(text, "backtest", "-", *options),
    ]
    assert [one.returncode for one in done] == [0, 0, 0], done[0].stderr
    assert done[0].stdout == done[1].stdout == done[2].stdout
    found = json.loads(done[0].stdout)
    assert (found["counted"], found["refused"]) == (1200, {"missing_field": 1})
    assert found["alerts"][0]["summary"].startswith("Shop {open}")
    assert found["stages"]["shop"]["pages"] == sum(one["severity"] == "page" for one in found["alerts"])
    assert found["rules_not_judged"] == [
        "MonitorBlind",
        "JourneysFull",
        "StepsSkipped",
        "DeadLettersRising",
        "CriticalTouchpoint",
    ]
    assert "line 1202: missing_field" in done[0].stderr
    assert svg.read_text().startswith("<svg")


def test_the_command_shows_a_table(tmp_path: Path, journey_file: str) -> None:
    """Alerts, totals by stage, and what was not judged."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join(OUTAGE))
    done = touchpoint("backtest", str(file), "--journey", journey_file)
    assert done.returncode == 0, done.stderr
    for words in ("20 of 60 in 1m were bad", "broken", "1,200 events counted", "not judged: parcel, mood",
                  "MonitorBlind"):  # fmt: skip
        assert words in done.stdout


def test_local_times_say_their_offset(tmp_path: Path) -> None:
    """On the night when clocks go back an hour comes twice: the later of two events seems the earlier."""
    text = JOURNEY_TEXT.replace("journey: short", "journey: short\ntimezone: Europe/Helsinki")
    (tmp_path / "journey.yaml").write_text(text)
    times = "2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z"
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(line(n, time=time) for n, time in enumerate(times)))
    done = touchpoint("backtest", str(tmp_path / "a.jsonl"), "--journey", str(tmp_path / "journey.yaml"))
    assert "2026-10-25 03:50:00+03:00 to 2026-10-25 03:10:10+02:00: 2 events counted" in done.stdout


BUSY_TEXT = """
version: 1
journey: busy
segments: [gold]
stages:
  shop:
    kind: customer
    owner: web
    expects: {per_hour: 1200}
    experiences:
      bought: {judges: {}, good: {outcome: [ok]}, target: 0.97}
"""


def busy(tmp_path: Path, lines: list[bytes]) -> tuple[str, ...]:
    """The command for a history of that journey, as files."""
    (journey := tmp_path / "journey.yaml").write_text(BUSY_TEXT)
    (file := tmp_path / "history.jsonl").write_bytes(b"\n".join(lines))
    return "backtest", str(file), "--journey", str(journey)


def test_a_month_of_one_stage_takes_seconds(tmp_path: Path) -> None:
    """30,000 events, fewer than expected and with bad days: judged and printed within 10 s of one core."""
    lines = [line(86.4 * i, bad=i % 7 == 0 or 9_000 < i < 10_000) for i in range(30_000)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = touchpoint(*busy(tmp_path, lines))
    assert "30,000 events counted" in done.stdout, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10


def test_the_table_holds_the_worst(tmp_path: Path) -> None:
    """Of a hundred and more alerts the longest pages, in order of time, and how many more; JSON has all."""
    lines = [line(7_200 * i + second, bad=True) for i in range(100) for second in range(60 + i)]
    command = busy(tmp_path, lines)
    table, rest = touchpoint(*command).stdout.split("┘\n", 1)
    alerts = json.loads(touchpoint(*command, "--json").stdout)["alerts"]
    rows = [row for row in table.splitlines() if row.startswith("│")]
    assert len(rows) == ALERTS_SHOWN
    assert rows == sorted(rows)
    assert rest.startswith(f"and {len(alerts) - ALERTS_SHOWN:,} more: ")

    def lasted(one: dict[str, Any]) -> timedelta:
        return datetime.fromisoformat(one["resolved"]) - datetime.fromisoformat(one["noticed"])

    longest = max((one for one in alerts if one["severity"] == "page" and one["resolved"]), key=lasted)
    noticed = f"{datetime.fromisoformat(longest['noticed']):%Y-%m-%d %H:%M:%S}"
    assert any(noticed in row for row in rows)
    assert not any("ticket" in row for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jsonl", None, "No such file"),
        ("empty.jsonl", b"", "it has no event to judge"),
        ("notes.md", b"# A\n\n{}\nb\n", "judge: 3 lines refused, 2 of them as not_json (line 1: "),
        ("cut.gz", gzip.compress(b"x" * 10_000, mtime=0)[:20], "cut short, or is not a gzip"),
        ("bad.gz", b"\x1f\x8bnonsense", "gzip"),
    ],
)
def test_a_bad_file_is_one_line(
    tmp_path: Path, journey_file: str, name: str, content: bytes | None, said: str
) -> None:
    """Exit 1, one line that names the file, no traceback."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = touchpoint("backtest", str(path), "--journey", journey_file)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert name in done.stderr


@pytest.mark.full
def test_the_january_calls() -> None:
    """A month of a bank's calls at 80 % within 20 s and 90 % not abandoned: bad on every working day."""
    journey = parse(real.JOURNEY.format(horizon="40d"))
    history = History(plan(journey))
    for event in real.calls():
        assert history.add_line(orjson.dumps(event)) is None
    found = backtest(plan(journey), history)
    total = found.totals["call_queue"]
    assert (history.counted, total.events) == (31_359, 31_359)
    assert total.page_minutes == pytest.approx(27_087, rel=0.25)  # of 44,640 in the month
    days = {(one.noticed_ms + 7_200_000) // 86_400_000 for one in found.fired if one.key.severity == "page"}
    assert len(days) >= 25
    silent_s = [
        ((one.resolved_ms or 0) - one.noticed_ms) / 1000
        for one in found.fired
        if one.key.name == "StageSilent"
    ]
    assert max(silent_s) > 40 * 3600  # the file has no calls from the 11th to the 13th
