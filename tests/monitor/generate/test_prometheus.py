"""The rules fire, stay silent, are suppressed and resolve as the list of rules says: promtool judges."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from monitor.counting import metrics
from monitor.counting.windows import WINDOW_LABELS
from monitor.generate.prometheus import rule_file
from monitor.generate.templates import escaped_for_template
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import ALL, STEPS_TOPIC, WHOLE
from monitor.journeys.counters import JOURNEY_FAMILIES, counter_names
from monitor.rules.alerts import alerts
from monitor.rules.plan import HOLD_S, JOURNEYS_LAG_S, plan
from monitor.rules.series import number
from streams.settings import SHIPPED_JOURNEY
from tests.kit import promtool
from tests.kit.promtool import STEP_S, Series, Verdict, evaluated, firing, told_by
from tests.kit.shipped import SHIPPED as JOURNEY

STEPS = 40
AT_S = 60

CHECKOUT, FAST = ("web_checkout", "checkout_completed"), ("web_checkout", "checkout_fast")
PACKED = ("warehouse", "order_packed")
STAFF = ("staff_pulse", "staff_well")

FAST_WINDOWS = ("20s", "1m", "5m")

OUTAGE = {"20s": (40, 40), "1m": (120, 120), "5m": (600, 120)}
"""All bad for a minute: (n, bad) by window."""

Bad = Mapping[tuple[str, str], Mapping[str, Mapping[str, tuple[int, int]]]]
"""(stage, experience) to segment to window to n and bad."""


class World(Series):
    """A monitor that works and a journey where all is well, but for what a test says."""

    def __init__(
        self,
        bad: Bad | None = None,
        silent: tuple[str, ...] = (),
        steps: int = STEPS,
        *,
        is_new: bool = False,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.flat(metrics.READY.name, 1, instance="w")
        self.flat("up", 1, job="touchpoint", instance="w")
        self.add(metrics.CLOCK.name, [step * promtool.STEP_S for step in range(steps)], instance="w")
        self.flat(metrics.PARTITIONS.name, 28, instance="w")
        self.flat(metrics.OWNED.name, 28, instance="w")
        for stage in JOURNEY.stages:
            self.flat(metrics.EVENT_LAG.name, 0, topic=stage.topic, partition="0")
            for index, window in enumerate(WINDOW_LABELS):
                came = 0 if stage.name in silent and window in FAST_WINDOWS else 99
                came += window == "7d" and not is_new
                where = {"stage": stage.name, "window": window}
                self.flat(metrics.WINDOW_OUTCOMES.name, came, outcome="ok", **where)
                self.flat(metrics.EXPECTED.name, 99 + index, **where)
            for experience in stage.experiences:
                counts = (bad or {}).get((stage.name, experience.name), {})
                self._experience(stage.name, experience.name, counts)

    def _experience(
        self, stage: str, experience: str, bad: Mapping[str, Mapping[str, tuple[int, int]]]
    ) -> None:
        for segment in JOURNEY.segment_labels:
            for window in WINDOW_LABELS:
                n, bad_n = bad.get(segment, {}).get(window, (0, 0))
                labels = {"stage": stage, "experience": experience, "segment": segment, "window": window}
                self.flat(metrics.WINDOW_EVENTS.name, n, partner="none", **labels)
                self.flat(metrics.WINDOW_GOOD.name, n - bad_n, partner="none", **labels)

    def flat(self, name: str, value: float, **labels: str) -> None:
        """The same value all the time."""
        self.add(name, [value] * self.steps, **labels)


def page(stage: str, experience: str, segment: str = ALL, severity: str = "page") -> tuple[str, ...]:
    """A degraded stage, as a verdict names it."""
    return ("StageDegraded", severity, stage, experience, segment)


def silence(stage: str, severity: str = "page") -> tuple[str, ...]:
    """A silent stage, as a verdict names it."""
    return ("StageSilent", severity, stage)


def judged(directory: Path, world: Series) -> Verdict:
    """What fires after a minute."""
    return firing(directory, JOURNEY, world, [AT_S])[AT_S]


@pytest.mark.full
@pytest.mark.parametrize(
    ("bad", "silent", "expected"),
    [
        ({}, (), set()),
        ({CHECKOUT: {"new": OUTAGE}}, (), {page(*CHECKOUT)}),
        ({CHECKOUT: {"new": {"20s": (29, 29)}}}, (), set()),
        ({CHECKOUT: {"new": {"5m": (200, 60), "1m": (40, 12)}}}, (), {page(*CHECKOUT)}),
        ({CHECKOUT: {"new": {"5m": (200, 60), "1m": (40, 1)}}}, (), set()),
        # One segment of many: everybody together is well.
        (
            {CHECKOUT: {"new": {"1m": (40, 30)}, "returning": {"1m": (900, 9)}}},
            (),
            {page(*CHECKOUT, "new")},
        ),
        # The segment's own target is stricter: 3 of 100 are allowed.
        (
            {CHECKOUT: {"business": {"5m": (100, 20), "1m": (20, 4)}, "new": {"5m": (900, 9)}}},
            (),
            {page(*CHECKOUT, "business")},
        ),
        # One page for a stage, naming the experience that is worst; of equals the first.
        ({CHECKOUT: {"new": OUTAGE}, FAST: {"new": OUTAGE}}, (), {page(*CHECKOUT)}),
        # What checkout drags along is not told again; what does not depend on it is.
        ({CHECKOUT: {"new": OUTAGE}, PACKED: {"new": OUTAGE}}, (), {page(*CHECKOUT)}),
        (
            {PACKED: {"new": OUTAGE}, ("store", "store_served"): {"new": OUTAGE}},
            (),
            {page(*PACKED), page("store", "store_served")},
        ),
        ({PACKED: {"new": OUTAGE}}, ("web_checkout",), {silence("web_checkout")}),
        ({}, ("web_checkout", "warehouse", "delivery"), {silence("web_checkout")}),
        ({}, ("delivery", "store"), {silence("delivery"), silence("store")}),
        # A stage that has fallen silent is not also degraded by what came before.
        ({CHECKOUT: {"new": {"1m": (40, 40)}}}, ("web_checkout",), {silence("web_checkout")}),
        # Staff and feedback never wake anybody.
        ({STAFF: {"other": OUTAGE}}, (), {page(*STAFF, severity="ticket")}),
        ({}, ("staff_pulse",), {silence("staff_pulse", "ticket")}),
        # A slow burn is a ticket; under a page it is not told twice.
        ({CHECKOUT: {"new": {"3d": (9000, 700), "6h": (800, 70)}}}, (), {page(*CHECKOUT, severity="ticket")}),
        (
            {CHECKOUT: {"new": {**OUTAGE, "3d": (9000, 700), "6h": (800, 70)}}},
            (),
            {page(*CHECKOUT)},
        ),
        # A trickle: too few in 6 h ever, enough in a week.
        ({CHECKOUT: {"new": {"7d": (60, 12), "3d": (20, 4)}}}, (), {page(*CHECKOUT, severity="ticket")}),
        ({CHECKOUT: {"new": {"7d": (600, 120), "3d": (20, 4)}}}, (), set()),
    ],
)  # fmt: skip
def test_verdicts(tmp_path: Path, bad: Bad, silent: tuple[str, ...], expected: set[tuple[str, ...]]) -> None:
    """Each situation gives exactly the alerts it should."""
    assert judged(tmp_path, World(bad, silent)) == expected


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "labels", "value", "cause"),
    [
        (metrics.PARTITIONS.name, {"instance": "v"}, 42, "not_counted"),
        (metrics.EVENT_LAG.name, {"topic": JOURNEY.stages[0].topic, "partition": "1"}, 61, "lag"),
        (
            metrics.OPEN_TRANSACTION.name,
            {"topic": JOURNEY.stages[0].topic, "partition": "1"},
            61,
            "open_transaction",
        ),
    ],
)
def test_a_blind_monitor_says_so_and_nothing_else(
    tmp_path: Path, name: str, labels: dict[str, str], value: float, cause: str
) -> None:
    """After a minute of blindness that is the only page; until then there is none of a stage either."""
    world = World({CHECKOUT: {"new": OUTAGE}, PACKED: {"new": OUTAGE}}, ("store",))
    world.flat(name, value, **labels)
    found = firing(tmp_path, JOURNEY, world, [30, 90])
    # One stage lags, others are judged all the same; a stage that cannot be judged explains nothing.
    is_of_stage = "topic" in labels
    others = {silence("store"), page(*PACKED)} if is_of_stage else set()
    assert found[30] == others
    stage = JOURNEY.stages[0].name if is_of_stage else ALL
    assert found[90] == others | {("MonitorBlind", "page", stage)}
    assert f"({cause}). Alerts on stages are held back." in told_by(
        tmp_path, JOURNEY, world, 90, "MonitorBlind"
    )


@pytest.mark.full
def test_an_open_transaction_is_told_with_its_partition(tmp_path: Path) -> None:
    """Who is paged knows where to look for the producer that left it open."""
    world = World()
    for partition, open_s in (("0", 59), ("1", 0), ("2", 61)):
        topic = JOURNEY.stages[0].topic
        world.flat(metrics.OPEN_TRANSACTION.name, open_s, topic=topic, partition=partition)
    assert "open transaction, partition 2 (open_transaction)" in told_by(
        tmp_path, JOURNEY, world, 90, "MonitorBlind"
    )


@pytest.mark.full
def test_no_worker_at_all(tmp_path: Path) -> None:
    """Without any series of a worker the monitor is blind; no stage is called silent."""
    world = Series()
    world.add("up", [1] * STEPS, job="touchpoint", instance="w")
    assert firing(tmp_path, JOURNEY, world, [90])[90] == {("MonitorBlind", "page", ALL)}


@pytest.mark.full
def test_one_page_names_all_causes(tmp_path: Path) -> None:
    """No worker, for none can be scraped: one page that says both, and no cause that does not hold."""
    world = Series()
    world.add("up", [0] * STEPS, job="touchpoint", instance="w")
    assert firing(tmp_path, JOURNEY, world, [90])[90] == {("MonitorBlind", "page", ALL)}
    told = told_by(tmp_path, JOURNEY, world, 90, "MonitorBlind")
    assert (
        "Monitor fault (stage all): No worker answers (no_worker). A worker cannot be scraped "
        "(scrape_failed). Alerts on stages are held back."
    ) in told
    assert "not_counted" not in told


@pytest.mark.full
def test_an_alert_resolves(tmp_path: Path) -> None:
    """It goes on for as long as a limit is crossed, and `HOLD_S` longer; then it is over."""
    steps = 60
    world = World(steps=steps)
    bad = [0.0] * 6 + [40.0] * 6 + [0.0] * (steps - 12)
    labels = {"stage": CHECKOUT[0], "experience": CHECKOUT[1], "segment": "new", "partner": "klarna"}
    world.add(metrics.WINDOW_EVENTS.name, [40] * steps, window="20s", **labels)
    world.add(metrics.WINDOW_GOOD.name, [40 - n for n in bad], window="20s", **labels)
    last_s = 110
    moments = (50, 60, last_s + 290, last_s + HOLD_S["page"] + 1)
    found = firing(tmp_path, JOURNEY, world, moments)
    assert [bool(found[at]) for at in moments] == [False, True, True, False]
    told = told_by(tmp_path, JOURNEY, world, last_s + 290, "StageDegraded")
    assert "40 of 40 in 20s were bad (100%), at most 5% may be" in told, "as it was when it was last bad"


def changing(steps: int, bad: Mapping[str, range], of: tuple[str, str] = CHECKOUT, n: int = 40) -> Series:
    """Everything of the 20 s window of some segments is bad in some steps."""
    world = World(steps=steps)
    for segment, when in bad.items():
        labels = {"stage": of[0], "experience": of[1], "segment": segment, "partner": "klarna"}
        world.add(metrics.WINDOW_EVENTS.name, [n] * steps, window="20s", **labels)
        world.add(
            metrics.WINDOW_GOOD.name,
            [0 if step in when else n for step in range(steps)],
            window="20s",
            **labels,
        )
    return world


@pytest.mark.full
def test_one_incident_is_one_page(tmp_path: Path) -> None:
    """From business to everybody to those who return: the page names whom it began with, to the end."""
    world = changing(
        80, {"business": range(6, 14), "new": range(12, 20), "returning": range(12, 60), "other": range(0)}
    )
    moments = range(0, 790, 10)
    found = firing(tmp_path, JOURNEY, world, moments)
    first, end = 60, 590 + HOLD_S["page"]
    for at in moments:
        assert found[at] == ({page(*CHECKOUT, "business")} if first <= at <= end else set()), at
    told = told_by(tmp_path, JOURNEY, world, 100, "StageDegraded")
    assert "(segment business): 40 of 40 in 20s were bad (100%), at most 3% may be" in told
    assert "Most bad events: segment business. No change known." in told
    assert 'target="97%"' in told


@pytest.mark.full
def test_a_blind_monitor_ends_no_alert_and_begins_none(tmp_path: Path) -> None:
    """An outage, then no worker for two minutes, then all is well: one page without a gap."""
    steps, blind = 60, range(12, 24)
    world = changing(steps, {"new": range(6, 40)})
    world.add(metrics.READY.name, [0 if step in blind else 1 for step in range(steps)], instance="w")
    moments = range(60, 590, 10)
    found = firing(tmp_path, JOURNEY, world, moments)
    stages = {at for at in moments if page(*CHECKOUT) in found[at]}
    assert stages == set(range(60, 590, 10))
    assert ("MonitorBlind", "page", ALL) in found[200]
    later = changing(steps, {"new": range(14, 20)})
    later.add(metrics.READY.name, [0 if step in blind else 1 for step in range(steps)], instance="w")
    found = firing(tmp_path, JOURNEY, later, moments)
    assert not [at for at in moments if page(*CHECKOUT) in found[at]], "nothing begins while it is blind"


@pytest.mark.full
def test_a_stage_that_is_well_again_explains_nothing(tmp_path: Path) -> None:
    """What depends on it and stays bad pages a minute later; what has recovered with it does not page."""
    for packed, expected in ((range(8, 60), True), (range(8, 16), False)):
        world = changing(60, {"new": range(6, 16)})
        labels = {"stage": PACKED[0], "experience": PACKED[1], "segment": "new", "partner": "none"}
        bad = [40 if step in packed else 0 for step in range(60)]
        world.add(metrics.WINDOW_EVENTS.name, [40] * 60, window="20s", **labels)
        world.add(metrics.WINDOW_GOOD.name, [40 - n for n in bad], window="20s", **labels)
        found = firing(tmp_path, JOURNEY, world, range(0, 590, 10))
        assert {at for at, one in found.items() if page(*CHECKOUT) in one} == set(range(60, 450, 10))
        told = [at for at, one in found.items() if page(*PACKED) in one]
        assert told == (list(range(210, 590, 10)) if expected else [])


@pytest.mark.full
def test_silence_is_held(tmp_path: Path) -> None:
    """A stage with an event now and then is one page, not one for each pause, however long until the next."""
    steps = 120
    world = World(steps=steps)
    came = [0 if 10 <= step < 20 else 5 if 20 <= step < 80 else 60 for step in range(steps)]
    world.add(metrics.WINDOW_OUTCOMES.name, came, stage="store", outcome="ok", window="1m")
    found = firing(tmp_path, JOURNEY, world, range(0, 1190, 10))
    assert {at for at, one in found.items() if one} == set(range(100, 790 + 300, 10))


@pytest.mark.full
def test_silence_is_judged_of_what_was_seen(tmp_path: Path) -> None:
    """After no worker was there, a window is silent only when it and a minute before it were seen."""
    steps = 60
    world = World(silent=("store",), steps=steps)
    world.add(metrics.READY.name, [0 if step < 10 else 1 for step in range(steps)], instance="w")
    found = firing(tmp_path, JOURNEY, world, range(0, 590, 10))
    told = [at for at, one in found.items() if silence("store") in one]
    assert told
    assert min(told) == 90 + 60 + 60


@pytest.mark.full
def test_a_spare_worker_that_is_down_hides_nothing(tmp_path: Path) -> None:
    """While ready workers count every partition, stages are judged; the dead one is told of besides."""
    world = World({CHECKOUT: {"new": OUTAGE}})
    world.flat("up", 0, job="touchpoint", instance="v")
    assert firing(tmp_path, JOURNEY, world, [90])[90] == {
        page(*CHECKOUT),
        ("MonitorBlind", "page", ALL),
    }
    assert "(scrape_failed). Stages are judged all the same." in told_by(
        tmp_path, JOURNEY, world, 90, "MonitorBlind"
    )


@pytest.mark.full
def test_a_page_tells_its_numbers(tmp_path: Path) -> None:
    """Window, n, bad, share, what is allowed, reason, segment: promtool fills texts as Prometheus does."""
    world = World({CHECKOUT: {"new": {"1m": (120, 90)}, "business": {"1m": (40, 30)}}})
    where = {"stage": CHECKOUT[0], "window": "1m"}
    world.flat(metrics.WINDOW_REASONS.name, 80, reason="payment_error", **where)
    world.flat(metrics.WINDOW_REASONS.name, 40, reason="slow_page", **where)
    for segment in (ALL, *JOURNEY.segments):
        labels = {"stage": CHECKOUT[0], "experience": CHECKOUT[1], "segment": segment}
        world.flat(metrics.TARGET.name, 0.95, **labels)
    told = told_by(tmp_path, JOURNEY, world, 60, "StageDegraded")
    assert (
        "Web checkout (segment all): 120 of 160 in 1m were bad (75%), at most 5% may be. "
        "Measured: Customers who start the checkout finish it."
    ) in told
    assert "Most frequent reason at this stage: payment_error. Most bad events: segment new." in told


@pytest.mark.full
def test_dead_letters_rising(tmp_path: Path) -> None:
    """Ten in ten minutes, and more than one in a hundred; a single one only if it is ours."""
    cases = (
        (1, 30, "not_json", True), (1, 300, "not_json", False), (0.01, 0.02, "not_json", False),
        (0.02, 300, "unprocessable", True), (0.02, 300, "unreadable", True),
    )  # fmt: skip
    world = World(steps=70)
    for stage, (per_step, read, reason, _) in zip(JOURNEY.stages, cases, strict=False):
        for name, rate, labels in (
            (f"{metrics.DEAD_LETTERS.name}_total", per_step, {"reason": reason}),
            (f"{metrics.RECORDS.name}_total", per_step, {"result": "refused"}),
            (f"{metrics.RECORDS.name}_total", read, {"result": "counted"}),
        ):
            world.add(name, [rate * step for step in range(70)], topic=stage.topic, **labels)
    told = {
        ("DeadLettersRising", "ticket", stage.name)
        for stage, (*_, is_told) in zip(JOURNEY.stages, cases, strict=False)
        if is_told
    }
    assert firing(tmp_path, JOURNEY, world, [660])[660] == told


@pytest.mark.full
def test_what_a_worker_counted_before_its_first_scrape_is_told(tmp_path: Path) -> None:
    """One record is enough, and `increase` sees none: the first sample is 1 already, and stays."""
    world, shop, later = World(steps=130), JOURNEY.stages[0], 1260
    letter = {"topic": shop.topic, "reason": "unprocessable"}
    world.flat(f"{metrics.DEAD_LETTERS.name}_total", 1, instance="new", **letter)
    world.flat(f"{metrics.DEAD_LETTERS.name}_total", 0, instance="old", **letter)
    world.flat(f"{metrics.RECORDS.name}_total", 9, instance="new", topic=shop.topic, result="counted")
    steps = {"topic": f"touchpoint-{STEPS_TOPIC}", "result": "skipped"}
    world.flat(f"{metrics.RECORDS.name}_total", 1, instance="new", **steps)
    told = {("DeadLettersRising", "ticket", shop.name), ("StepsSkipped", "ticket")}
    assert firing(tmp_path, JOURNEY, world, [60, later]) == {60: told, later: told}
    first = "1 events refused in 10m, of 9 read. In 3d unprocessable: 1."
    assert first in told_by(tmp_path, JOURNEY, world, 60, "DeadLettersRising")
    after = told_by(tmp_path, JOURNEY, world, later, "DeadLettersRising")
    assert "0 events refused in 10m, of 0 read. In 3d unprocessable: 1." in after
    assert "Most frequent reason: unprocessable." in after


@pytest.mark.full
@pytest.mark.parametrize(("kept", "is_full"), [(740, False), (760, True)])
def test_journeys_that_fill_their_memory_are_told_before_any_is_refused(
    tmp_path: Path, kept: int, is_full: bool
) -> None:
    """The fullest of the workers counts, not all of them together."""
    world = World()
    for instance, n_bytes in (("a", kept), ("b", 10)):
        world.flat(metrics.JOURNEYS_BYTES.name, n_bytes, instance=instance)
        world.flat(metrics.JOURNEYS_MAX_BYTES.name, 1000, instance=instance)
    found = {name for name, *_ in firing(tmp_path, JOURNEY, world, [60])[60]}
    assert ("JourneysFull" in found) is is_full
    if is_full:
        assert "take 76% of the memory" in told_by(tmp_path, JOURNEY, world, 60, "JourneysFull")


@pytest.mark.full
@pytest.mark.parametrize(("result", "is_told"), [("skipped", True), ("refused", False)])
def test_one_strange_record_among_steps_is_told(tmp_path: Path, result: str, is_told: bool) -> None:
    """And until working hours, over a weekend; what finds no room is for JourneysFull to tell."""
    world = World()
    topic = f"touchpoint-{STEPS_TOPIC}"
    world.add(f"{metrics.RECORDS.name}_total", [0] * 3 + [1] * (STEPS - 3), topic=topic, result=result)
    world.flat(f"{metrics.RECORDS.name}_total", 0, topic=JOURNEY.stages[0].topic, result=result)
    found = firing(tmp_path, JOURNEY, world, [20, 30, 10 * STEPS - 10])
    expected = {("StepsSkipped", "ticket")} if is_told else set()
    assert found == {20: set(), 30: expected, 10 * STEPS - 10: expected}
    if is_told:
        told = told_by(tmp_path, JOURNEY, world, 60, "StepsSkipped")
        assert f"Records skipped on {topic} in 3d: 1." in told


Counted = Mapping[str, Mapping[str, int]]
"""Counter of journeys (as `journey_counters` names it) to window to its sum; what is not named is 0."""

SETTLED: Counted = {"closed/met/new": {"7d": 9000, "3d": 4000, "1d": 1000, "2h": 90, "6h": 300, "30m": 20}}
"""Journeys that meet their goal, for a week."""

MISSED: Counted = {**SETTLED, "closed/missed/new": {"6h": 320, "2h": 95, "30m": 25}}
"""More than half of the goals of six hours missed, and of the last half hour."""

MISSED_SLOWLY: Counted = {**SETTLED, "closed/missed/new": {"1d": 500, "2h": 45}}
UNKEPT: Counted = {
    "promise/delivery_window/postnord/due": {"1d": 200, "2h": 40},
    "promise/delivery_window/postnord/kept": {"1d": 140, "2h": 28},
    "promise/delivery_window/matkahuolto/due": {"1d": 900, "2h": 90},
    "promise/delivery_window/matkahuolto/kept": {"1d": 890, "2h": 89},
}
NOT_HANDED: Counted = {
    "handoff/warehouse/delivery/postnord/received": {"1d": 200, "2h": 40},
    "handoff/warehouse/delivery/postnord/lost": {"1d": 30, "2h": 6},
    "handoff/warehouse/delivery/postnord/late": {"1d": 10, "2h": 2},
}
STRAYED: Counted = {
    "moved/phone/chat": {"1d": 200, "6h": 100, "2h": 40},
    "lost/phone/chat": {"1d": 80, "6h": 40, "2h": 16},
    "moved/chat/phone": {"1d": 200, "6h": 100, "2h": 40},
}
MISUNDERSTOOD: Counted = {
    "gap/store/ok_inside_bad_outside": {"1d": 80, "2h": 16},
    "gap/store/ok_inside_ok_outside": {"1d": 100, "2h": 20},
    "gap/store/bad_inside_bad_outside": {"1d": 20, "2h": 4},
}
UNKEPT_TICKET = ("PromisesOverdue", "ticket", "journeys", "promise_delivery_window", "postnord")
LOST_TICKET = ("HandoversLost", "ticket", "journeys", "handoff_warehouse_delivery", "postnord")
STRAYED_TICKET = ("CustomersLost", "ticket", "journeys", "moves", "phone", "chat")
MISUNDERSTOOD_TICKET = ("UnderstandingGap", "ticket", "journeys", "understood", "store")


def goal(severity: str, segment: str = ALL) -> tuple[str, ...]:
    """Journeys miss their goal, as a verdict names it."""
    return ("JourneyDegraded", severity, "journeys", "goal", segment)


def count(world: World, counted: Counted, when: range | None = None) -> World:
    """Add journeys to a world: those counters that alerts look at, in the windows a worker shows them in; or
    only in some steps."""
    first = {name.split("/")[0] for name in counted}
    for name in counter_names(JOURNEY):
        family, *values = name.split("/")
        metric = JOURNEY_FAMILIES[family]
        for window in WINDOW_LABELS if family in first else ():
            n = counted.get(name, {}).get(window, 0)
            shown = [n if when is None or step in when else 0 for step in range(world.steps)]
            world.add(metric.name, shown, **dict(zip(metric.labels, (*values, window), strict=True)))
    return world


def but(counted: Counted, name: str, windows: Mapping[str, int]) -> Counted:
    """The same, with one counter as given."""
    return {**counted, name: windows}


@pytest.mark.full
@pytest.mark.parametrize(
    ("counted", "bad", "expected"),
    [
        (MISSED, {}, {goal("page")}),
        (MISSED_SLOWLY, {}, {goal("ticket")}),
        ({**UNKEPT, **NOT_HANDED, **STRAYED, **MISUNDERSTOOD}, {},
         {UNKEPT_TICKET, LOST_TICKET, STRAYED_TICKET, MISUNDERSTOOD_TICKET}),
        # As bad, but too few, or not any more.
        ({**SETTLED, "closed/met/new": {"7d": 90, "3d": 40}, "closed/missed/new": {"6h": 29, "30m": 25}},
         {}, set()),
        (but(MISSED, "closed/missed/new", {"6h": 320, "2h": 95, "30m": 5}), {}, set()),
        (but(UNKEPT, "promise/delivery_window/postnord/kept", {"1d": 140, "2h": 36}), {}, set()),
        # What is allowed is not too bad.
        ({"promise/call_back/none/due": {"1d": 200, "2h": 40},
          "promise/call_back/none/kept": {"1d": 175, "2h": 35}}, {}, set()),
        ({"gap/store/bad_inside_bad_outside": {"1d": 100, "2h": 20},
          "gap/store/ok_inside_bad_outside": {"1d": 20, "2h": 4}}, {}, set()),
        # What was lost has come since: counted as lost, never twice.
        (but(NOT_HANDED, "handoff/warehouse/delivery/postnord/lost", {"1d": 15, "2h": 2}), {}, set()),
        # The strictest segment alone: everybody together is well.
        ({**SETTLED, "closed/missed/business": {"1d": 60, "2h": 8},
          "closed/met/business": {"1d": 140, "2h": 22}}, {}, {goal("ticket", "business")}),
        # A new monitor sees first those that fail: none was over three days ago.
        (but(MISSED, "closed/met/new", {"7d": 9000, "3d": 9000, "6h": 300, "30m": 20}), {}, set()),
        # A page on the goal is another matter than a promise. A stage in trouble explains the page that comes
        # of it, and no ticket.
        ({**MISSED, **UNKEPT, **STRAYED}, {}, {goal("page"), UNKEPT_TICKET, STRAYED_TICKET}),
        ({**MISSED, **UNKEPT}, {CHECKOUT: {"new": OUTAGE}}, {page(*CHECKOUT), UNKEPT_TICKET}),
        ({**MISSED, **UNKEPT}, {PACKED: {"new": OUTAGE}}, {page(*PACKED), UNKEPT_TICKET}),
        # Opinions of staff explain nothing.
        (UNKEPT, {STAFF: {"other": OUTAGE}}, {UNKEPT_TICKET, page(*STAFF, severity="ticket")}),
    ],
)  # fmt: skip
def test_whole_journeys(tmp_path: Path, counted: Counted, bad: Bad, expected: set[tuple[str, ...]]) -> None:
    """Each situation of whole journeys gives exactly the alerts it should."""
    assert judged(tmp_path, count(World(bad), counted)) == expected


@pytest.mark.full
def test_whole_journeys_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on while its limit is crossed and is held: a page for five minutes, a ticket for an hour."""
    monkeypatch.setattr("tests.kit.promtool.STEP_S", 60)
    tickets = {UNKEPT_TICKET, LOST_TICKET, STRAYED_TICKET, MISUNDERSTOOD_TICKET}
    world = count(World(steps=80), {**UNKEPT, **NOT_HANDED, **STRAYED, **MISUNDERSTOOD}, range(2, 6))
    found = firing(tmp_path, JOURNEY, world, [60, 120, 300, 300 + HOLD_S["ticket"] - 59, 300 + 3600])
    assert list(found.values()) == [set(), tickets, tickets, tickets, set()]
    world = count(World(steps=20), MISSED, range(2, 6))
    found = firing(tmp_path, JOURNEY, world, [60, 120, 300, 300 + HOLD_S["page"] - 59, 600])
    assert list(found.values()) == [set(), *[{goal("page")}] * 3, set()]


@pytest.mark.full
@pytest.mark.parametrize(
    ("off_s", "owned", "is_told"),
    [(61, 14, True), (-61, 14, True), (59, 14, False), (-59, 14, False), (3600, 0, False)],
)
def test_a_wrong_clock_blinds(tmp_path: Path, off_s: int, owned: int, is_told: bool) -> None:
    """More than a minute off; that of a spare worker, which counts nothing, hides nothing."""
    world = World({CHECKOUT: {"new": OUTAGE}})
    world.add(
        metrics.CLOCK.name, [step * promtool.STEP_S + off_s for step in range(world.steps)], instance="v"
    )
    world.flat(metrics.OWNED.name, owned, instance="v")
    blind = ("MonitorBlind", "page", ALL)
    assert firing(tmp_path, JOURNEY, world, [90])[90] == {blind if is_told else page(*CHECKOUT)}
    if is_told:
        told = told_by(tmp_path, JOURNEY, world, 90, "MonitorBlind")
        assert "off that of Prometheus (clock). Alerts on stages are held back." in told


@pytest.mark.full
def test_whole_journeys_are_not_judged_while_their_steps_lag(tmp_path: Path) -> None:
    """Who is behind does not know what has become of journeys; stages are judged all the same."""
    world = count(World({PACKED: {"new": OUTAGE}}), UNKEPT)
    world.flat(metrics.EVENT_LAG.name, 61, topic=f"any-group-{STEPS_TOPIC}", partition="3")
    assert firing(tmp_path, JOURNEY, world, [90])[90] == {page(*PACKED), ("MonitorBlind", "page", "journeys")}


@pytest.mark.full
def test_whole_journeys_are_not_judged_while_their_time_is_held_up(tmp_path: Path) -> None:
    """A source that nobody reads, or that brings nothing but the past, keeps all journeys waiting."""
    world = count(World(), UNKEPT)
    world.flat(metrics.JOURNEYS_JUDGED.name, -JOURNEYS_LAG_S - 1, partition="3")
    told = told_by(tmp_path, JOURNEY, world, 90, "MonitorBlind")
    assert "Journeys are judged as of more than 15 min ago (held_up). Alerts on stages are held back." in told


@pytest.mark.full
def test_a_broken_promise_names_who_broke_it(tmp_path: Path) -> None:
    """The partner, how many, how many may be; and with whom most are overdue now, until there is none."""
    world = count(World(), UNKEPT)
    world.flat(metrics.OVERDUE.name, 4, what="promise/delivery_window", partner="matkahuolto", age="1h")
    world.flat(metrics.OVERDUE.name, 3, what="promise/delivery_window", partner="postnord", age="1h")
    world.flat(metrics.OVERDUE.name, 4, what="promise/delivery_window", partner="postnord", age="+Inf")
    world.flat(metrics.OVERDUE.name, 99, what="promise/call_back", partner="none", age="1h")
    told = told_by(tmp_path, JOURNEY, world, AT_S, "PromisesOverdue")
    assert (
        "Delivery window promises (partner postnord): 60 of 200 due in 1d were broken (30%), at most 10% may "
        "be."
    ) in told
    assert "Overdue now: 11, most of them with postnord. No change known." in told
    assert 'owner="logistics"' in told
    none = told_by(tmp_path, JOURNEY, count(World(), UNKEPT), AT_S, "PromisesOverdue")
    assert "Overdue now" not in none


@pytest.mark.full
def test_a_broken_promise_without_a_partner_reads_well(tmp_path: Path) -> None:
    """Nobody is called `none`, and who is unhappy was not promised to be unhappy."""
    due = {f"promise/{kind}/none/due": {"1d": 46, "2h": 46} for kind in ("call_back", "follow_up")}
    world = count(World(), due)
    world.flat(metrics.OVERDUE.name, 7, what="promise/call_back", partner="none", age="1h")
    told = told_by(tmp_path, JOURNEY, world, AT_S, "PromisesOverdue")
    assert (
        "Call back promises (no partner named): 46 of 46 due in 1d were broken (100%), at most 10% may be."
    ) in told
    assert "Overdue now: 7, most of them with no partner named. No change known." in told
    assert (
        "Unhappy customers (no partner named): 46 of 46 whose contact fell due in 1d were not contacted in "
        "time (100%), at most"
    ) in told


@pytest.mark.full
def test_a_silent_stage_says_for_how_long(tmp_path: Path) -> None:
    """Since its last event, whatever window is empty; to the end of the alert, though events have come again
    by then, a scrape before their window held them. A stage of which no worker counted any says so."""
    steps = 100
    world = World(silent=("store", "web_checkout"), steps=steps)
    came = [0 if step < 60 else 60 for step in range(steps)]
    for stage, window in product(("store", "web_checkout"), FAST_WINDOWS):
        world.add(metrics.WINDOW_OUTCOMES.name, came, stage=stage, outcome="ok", window=window)
    world.add(metrics.LAST_EVENT.name, [0.0] * 59 + [590.0] * 41, stage="store", partner="none")
    rules, moments = rule_file(plan(JOURNEY)), (700, 590 + HOLD_S["page"] - 9)
    found = evaluated(tmp_path, rules, world.as_input(), STEP_S, dict.fromkeys(moments, ()))
    for at_s in moments:
        silent = [one for one in found.alerts[at_s] if one.labels["alertname"] == "StageSilent"]
        told = "".join(one.texts["summary"] for one in silent)
        assert "Store: no event for 9m 40s; 100 were expected in the last" in told, at_s
        assert "Web checkout: no event for as long as the workers run; 100 were expected" in told, at_s


@pytest.mark.full
@pytest.mark.parametrize(
    ("counted", "name", "text"),
    [
        (
            {**MISSED, "failed/stage/store/new": {"6h": 7}, "failed/promise/delivery_window/new": {"6h": 90}},
            "JourneyDegraded",
            ("Journeys (segment all): 320 of 620 that ended in 6h missed their goal (51.61%), at most 20% "
             "may.",
             "Most frequent cause: promise delivery_window. No change known."),
        ),
        (NOT_HANDED, "HandoversLost", (
            "Hand-overs from Warehouse to Delivery (partner postnord): 30 of 220 in 1d did not arrive in "
            "time (13.64%), at most 3% may.",
        )),
        (STRAYED, "CustomersLost", (
            "Customers who changed channel (phone to chat): 80 of 200 whose journey ended in 1d found no "
            "solution (40%), at most 20% may.",
        )),
        (MISUNDERSTOOD, "UnderstandingGap", (
            "Stage store: 80 of 200 answered journeys that ended in 1d went well by our own records and "
            "badly for the customer (40%), at most 20% may.",
        )),
    ],
)  # fmt: skip
def test_whole_journeys_tell_their_numbers(
    tmp_path: Path, counted: Counted, name: str, text: tuple[str, ...]
) -> None:
    """Which segment, channels or stage, n, bad, window, share and what is allowed."""
    told = told_by(tmp_path, JOURNEY, count(World(), counted), AT_S, name)
    for part in text:
        assert part in told


@pytest.mark.full
def test_labels_hold_what_they_say(tmp_path: Path) -> None:
    """Of every recorded series and every alert: a partner is no segment, nor is a stage or a channel;
    what an alert is about stands in labels of its own."""
    bad = {**MISSED, **UNKEPT, **NOT_HANDED, **STRAYED, **MISUNDERSTOOD}
    recorded = "{__name__=~'.+:touchpoint_.+'}"
    held_to = {
        "segment": {ALL, *JOURNEY.segment_labels},
        "partner": {"none", "unassigned", "other", *JOURNEY.partners},
        "from_channel": {"other", *JOURNEY.channels},
        "to_channel": {"other", *JOURNEY.channels},
        "at_stage": {stage.name for stage in JOURNEY.stages},
        "stage": {ALL, WHOLE, *(stage.name for stage in JOURNEY.stages)},
    }
    asked = {label: f"count by ({label}) ({recorded})" for label in held_to}
    world = count(World(), bad)
    rules = rule_file(plan(JOURNEY))
    found = evaluated(tmp_path, rules, world.as_input(), STEP_S, {AT_S: asked.values()})
    for label, known in held_to.items():
        values = {labels.get(label) for labels, _ in found.answer(asked[label], AT_S)}
        assert len(values) > 1
        assert values - {None} <= known
    told = {one.labels["alertname"]: one.labels for one in found.alerts[AT_S] if "experience" in one.labels}
    own = ("segment", "promise", "sender", "receiver", "partner", "from_channel", "to_channel", "at_stage")
    assert {
        name: {label: labels[label] for label in own if label in labels} for name, labels in told.items()
    } == {
        "JourneyDegraded": {"segment": "all"},
        "PromisesOverdue": {"promise": "delivery_window", "partner": "postnord"},
        "HandoversLost": {"sender": "warehouse", "receiver": "delivery", "partner": "postnord"},
        "CustomersLost": {"from_channel": "phone", "to_channel": "chat"},
        "UnderstandingGap": {"at_stage": "store"},
    }


WEIGHS: Counted = {
    f"critical/web_checkout/{cell}": {"7d": n}
    for cell, n in {"bad_detractor": 40, "bad_other": 60, "ok_detractor": 60, "ok_other": 840}.items()
}
SLOW_BURN: Bad = {CHECKOUT: {"new": {"3d": (9000, 700), "6h": (800, 70)}}}


@pytest.mark.full
@pytest.mark.parametrize(
    ("counted", "bad", "expected"),
    [
        (WEIGHS, SLOW_BURN, {page(*CHECKOUT)}),
        # Neither too few answers, nor a stage that hardly weighs, raises a ticket to a page.
        ({**WEIGHS, "critical/web_checkout/bad_other": {}, "critical/web_checkout/bad_detractor": {"7d": 29}},
         SLOW_BURN, {page(*CHECKOUT, severity="ticket")}),
        (but(WEIGHS, "critical/web_checkout/ok_detractor", {"7d": 180}), SLOW_BURN,
         {page(*CHECKOUT, severity="ticket")}),
        # Another stage that is critical is no reason, and neither is being critical when all is well.
        (WEIGHS, {("store", "store_served"): SLOW_BURN[CHECKOUT]},
         {page("store", "store_served", severity="ticket")}),
        (WEIGHS, {}, set()),
        # What goes on for days explains nothing.
        ({**WEIGHS, **UNKEPT}, SLOW_BURN, {page(*CHECKOUT), UNKEPT_TICKET}),
    ],
)  # fmt: skip
def test_tickets_of_a_critical_stage_are_pages(
    tmp_path: Path, counted: Counted, bad: Bad, expected: set[tuple[str, ...]]
) -> None:
    """What goes with a third of all who speak ill of us wakes somebody, for what would else be a ticket."""
    found = judged(tmp_path, count(World(bad), counted))
    assert {one for one in found if one[1] in ("page", "ticket")} == expected


@pytest.mark.full
def test_a_new_monitor_pages_for_no_ticket(tmp_path: Path) -> None:
    """In its windows of days a minute of failure weighs for hours."""
    found = judged(tmp_path, count(World(SLOW_BURN, is_new=True), WEIGHS))
    assert {one for one in found if one[1] in ("page", "ticket")} == {page(*CHECKOUT, severity="ticket")}


@pytest.mark.full
def test_a_page_says_what_its_stage_weighs(tmp_path: Path) -> None:
    """The share of detractors that go with the stage, and how many journeys it hits now."""
    world = count(World(SLOW_BURN), {**WEIGHS, "hit/web_checkout/new": {"5m": 12}})
    told = told_by(tmp_path, JOURNEY, world, AT_S, "StageDegraded")
    assert "Journeys hit in 5m: 12. Of those who speak ill of us, 33.33% would not, were it not" in told
    told = told_by(tmp_path, JOURNEY, World(SLOW_BURN), AT_S, "StageDegraded")
    assert "StageDegraded" in told
    assert "speak ill" not in told


def test_numbers_are_exact_decimals() -> None:
    """No float noise in rules that people read."""
    assert number(Decimal("0.05") + Decimal("0.10")) == "0.15"
    assert number(Decimal("14.4") * Decimal("0.02")) == "0.288"
    assert number(Decimal("1E+1")) == "10"
    assert number(Decimal("0.000000000001")) == "0.000000000001"


def test_every_rule_is_named_once() -> None:
    """No two rules share a name and labels, no two alerts a title or uid; uids fit Grafana."""
    rules = rule_file(plan(JOURNEY))["groups"][0]["rules"]
    keys = [(rule.get("record", rule.get("alert")), str(rule.get("labels"))) for rule in rules]
    assert len(set(keys)) == len(keys)
    found = list(alerts(plan(JOURNEY)))
    assert len({alert.title for alert in found}) == len({alert.uid for alert in found}) == len(found)
    assert all(len(alert.uid) <= 40 for alert in found)


def test_a_title_is_no_template() -> None:
    """Braces in a title of the journey file reach people as they are, and run nothing."""
    assert escaped_for_template("a {{ b }}") == 'a {{ "{{" }} b }}'
    title = "Web {n} {{ b }}"
    journey = parse(SHIPPED_JOURNEY.read_text().replace("title: Web checkout", f'title: "{title}"'))
    for rule in rule_file(plan(journey))["groups"][0]["rules"]:
        if rule.get("labels", {}).get("stage") == "web_checkout" and "alert" in rule:
            assert rule["annotations"]["summary"].startswith(escaped_for_template(title))
