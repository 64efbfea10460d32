"""Every event adds to counters of the closed key space, and to the ones its journey file says."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.counting.event import Event, Promise, Score
from monitor.counting.judging import (
    BOUNDS_S,
    BUCKETS,
    Judge,
    answer_class,
    bucket_names,
    counter_names,
)
from monitor.counting.panes import Tally
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Stage
from tests.kit.shipped import SHIPPED as CHAIR

STAGES = tuple(stage.name for stage in CHAIR.stages)


def promise(kind: str, kept: bool | None) -> Promise:
    """A promise of a kind, kept, broken or still open."""
    return Promise(id="p1", kind=kind, due=datetime(2026, 1, 1, tzinfo=UTC), kept=kept)


def judged(stage: str, fields: dict[str, Any]) -> set[str]:
    """Counters of an event of a stage."""
    event = Event(stage=stage, **fields)
    verdict = Judge(CHAIR, CHAIR.stage(stage)).judge(event)
    assert len(set(verdict.counters)) == len(verdict.counters)
    return set(verdict.counters)


@pytest.mark.parametrize(
    ("stage", "fields", "counters"),
    [
        # The reader sees: what the event says, what it adds to.
        (
            "web_checkout",
            {"outcome": "ok", "segment": "business", "partner": "klarna", "duration_s": 90},
            "outcome/ok touchpoint/none/ok "
            "good/checkout_completed/business/klarna good/checkout_fast/business/klarna",
        ),
        (
            "web_checkout",
            {"outcome": "wow", "segment": "new", "partner": "adyen", "duration_s": 90.001},
            "outcome/wow touchpoint/none/wow "
            "good/checkout_completed/new/adyen bad/checkout_fast/new/adyen reason/unspecified",
        ),
        (  # no duration: whether it was fast cannot be said
            "web_checkout",
            {"outcome": "ok", "segment": "new"},
            "outcome/ok touchpoint/none/ok good/checkout_completed/new/none",
        ),
        (  # a failed checkout is not judged for speed
            "web_checkout",
            {"outcome": "failed", "segment": "new", "reason": "payment_error", "duration_s": 900},
            "outcome/failed touchpoint/none/failed bad/checkout_completed/new/none reason/payment_error",
        ),
        (  # names the file does not know; klarna of another spelling, a courier, `other` itself
            "web_checkout",
            {"outcome": "failed", "segment": "vip", "partner": "postnord", "reason": "meteor"},
            "outcome/failed touchpoint/none/failed bad/checkout_completed/other/other reason/other",
        ),
        (  # the reason of a good event is not counted
            "web_checkout",
            {"outcome": "ok", "segment": "new", "partner": "none", "reason": "slow_page"},
            "outcome/ok touchpoint/none/ok good/checkout_completed/new/other",
        ),
        (
            "call_queue",
            {"outcome": "ok", "wait_s": 20},
            "outcome/ok good/service_level/other/none good/calls_not_abandoned/other/none",
        ),
        (  # answered too late, but not abandoned
            "call_queue",
            {"outcome": "failed", "wait_s": 21, "reason": "queue_too_long"},
            "outcome/failed bad/service_level/other/none good/calls_not_abandoned/other/none"
            " reason/queue_too_long",
        ),
        ("call_queue", {"outcome": "abandoned", "wait_s": 5}, "outcome/abandoned"),  # short: ignored
        (
            "call_queue",
            {"outcome": "abandoned", "wait_s": 5.1},
            "outcome/abandoned bad/service_level/other/none bad/calls_not_abandoned/other/none"
            " reason/unspecified",
        ),
        (  # answered after an unknown wait: the outcome allows good, the wait leaves it open
            "call_queue",
            {"outcome": "ok"},
            "outcome/ok good/calls_not_abandoned/other/none",
        ),
        (  # abandoned after an unknown wait: never good, and not known to be short
            "call_queue",
            {"outcome": "abandoned"},
            "outcome/abandoned bad/service_level/other/none bad/calls_not_abandoned/other/none"
            " reason/unspecified",
        ),
        (
            "store",
            {"outcome": "abandoned", "wait_s": 181, "reason": "long_wait"},
            "outcome/abandoned bad/store_served/other/none bad/store_wait/other/none reason/long_wait",
        ),
        ("store", {"outcome": "ok"}, "outcome/ok good/store_served/other/none"),
        ("warehouse", {"outcome": "abandoned"}, "outcome/abandoned"),  # not an outcome it judges
        (
            "delivery",
            {"outcome": "ok", "partner": "postnord", "promise": promise("delivery_window", True)},
            "outcome/ok good/delivered_as_promised/other/postnord good/delivered_whole/other/postnord",
        ),
        (
            "delivery",
            {"outcome": "ok", "promise": promise("delivery_window", False), "reason": "late"},
            "outcome/ok bad/delivered_as_promised/other/none good/delivered_whole/other/none reason/late",
        ),
        (  # a promise still open, a promise of another kind, no promise at all
            "delivery",
            {"outcome": "ok", "promise": promise("delivery_window", None)},
            "outcome/ok good/delivered_whole/other/none",
        ),
        (
            "delivery",
            {"outcome": "ok", "promise": promise("call_ahead", False)},
            "outcome/ok good/delivered_whole/other/none",
        ),
        ("delivery", {"outcome": "ok"}, "outcome/ok good/delivered_whole/other/none"),
        (
            "feedback",
            {"outcome": "ok", "score": Score(kind="nps", value=7)},
            "outcome/ok good/would_recommend/other/none",
        ),
        (
            "feedback",
            {"outcome": "ok", "score": Score(kind="nps", value=6.9)},
            "outcome/ok bad/would_recommend/other/none reason/unspecified",
        ),
        ("feedback", {"outcome": "ok", "score": Score(kind="csat", value=1)}, "outcome/ok"),
        ("feedback", {"outcome": "ok"}, "outcome/ok"),
        ("feedback", {"outcome": "asked"}, "outcome/asked asked/none"),
        ("feedback", {"outcome": "followed_up"}, "outcome/followed_up"),
    ],
)
def test_counts_what_the_journey_file_says(stage: str, fields: dict[str, Any], counters: str) -> None:
    """An event adds to exactly the counters of this table; an absent field leaves a condition open."""
    assert judged(stage, fields) == set(counters.split())


@pytest.mark.parametrize(
    "good", ["wait_s: {at_most: 9}, outcome: [ok]", "outcome: [ok], wait_s: {at_most: 9}"]
)
def test_order_of_conditions_is_free(good: str) -> None:
    """A failed condition decides and an open one leaves it open, whichever is written first."""
    journey = parse(f"""
version: 1
journey: clinic
segments: [adult]
stages:
  visit:
    kind: customer
    owner: ward
    experiences:
      seen: {{judges: {{outcome: [ok, failed]}}, good: {{{good}}}, target: 0.9}}
""")
    judge = Judge(journey, journey.stage("visit"))
    assert judge.judge(Event(stage="visit", outcome="failed")).bad_for == ("seen",)
    assert judge.judge(Event(stage="visit", outcome="ok")).counters == ("outcome/ok",)
    assert judge.judge(Event(stage="visit", outcome="ok", wait_s=10)).bad_for == ("seen",)


def test_says_for_whom_it_was_bad() -> None:
    """A verdict names the experiences the event was bad for, in the order of the journey file."""
    judge = Judge(CHAIR, CHAIR.stage("call_queue"))
    both = judge.judge(Event(stage="call_queue", outcome="abandoned", wait_s=30))
    one = judge.judge(Event(stage="call_queue", outcome="ok", wait_s=30))
    assert both.bad_for == ("service_level", "calls_not_abandoned")
    assert one.bad_for == ("service_level",)
    assert judge.judge(Event(stage="call_queue", outcome="ok", wait_s=3)).bad_for == ()
    assert both.judged == one.judged == 2
    assert judge.judge(Event(stage="call_queue", outcome="ok")).judged == 1
    assert judge.judge(Event(stage="call_queue", outcome="abandoned", wait_s=3)).judged == 0


NAMES = st.one_of(
    st.none(),
    st.sampled_from(
        ["business", "new", "klarna", "postnord", "web", "oulu", "late", "damaged", "other", "none", ""]
    ),
    st.text(max_size=6),
)
SECONDS = st.one_of(st.none(), st.sampled_from([0.0, 5.0, 20.0, 90.0, 180.0]), st.floats(0, 1e9))
PROMISES = st.one_of(
    st.none(),
    st.builds(promise, st.sampled_from(["delivery_window", "x"]), st.sampled_from([None, True, False])),
)
SCORES = st.one_of(
    st.none(),
    st.builds(Score, kind=st.sampled_from(["nps", "csat", "ces"]), value=st.floats(-1000, 1000)),
)


def events_of(stage: Stage) -> st.SearchStrategy[Event]:
    """Events that the codec would let through."""
    return st.builds(
        Event,
        stage=st.just(stage.name),
        outcome=st.sampled_from(stage.outcomes),
        segment=NAMES,
        partner=NAMES,
        reason=NAMES,
        channel=NAMES,
        location=NAMES,
        duration_s=SECONDS,
        wait_s=SECONDS,
        system_wait_s=SECONDS,
        promise=PROMISES,
        score=SCORES,
    )


EVENTS = st.sampled_from(CHAIR.stages).flatmap(events_of)


@given(EVENTS)
def test_key_space_is_closed(event: Event) -> None:
    """Whatever an event says, all it adds to stands in `counter_names`, buckets and sums included."""
    stage = CHAIR.stage(event.stage)
    known = set(counter_names(CHAIR, stage))
    tally = Tally(Judge(CHAIR, stage))
    tally.add([event], [0])
    assert {name for _, counts in tally.panes() for name in counts} <= known


@given(EVENTS)
def test_each_experience_judges_once(event: Event) -> None:
    """An event is good or bad or unjudged for an experience, never two of these."""
    for experience in CHAIR.stage(event.stage).experiences:
        kinds = [name.split("/")[:2] for name in judged_of(event)]
        assert kinds.count(["good", experience.name]) + kinds.count(["bad", experience.name]) <= 1


@given(EVENTS)
def test_judged_are_those_good_and_those_bad(event: Event) -> None:
    """As many experiences judged an event as it adds to their counters; the bad ones are among them."""
    verdict = Judge(CHAIR, CHAIR.stage(event.stage)).judge(event)
    kinds = Counter(name.split("/")[0] for name in verdict.counters)
    assert (verdict.judged, len(verdict.bad_for)) == (kinds["good"] + kinds["bad"], kinds["bad"])


@given(EVENTS)
def test_channels_and_locations_add_up_to_the_experience(event: Event) -> None:
    """Each place an event names has the judgement of each experience, once; staff are not compared."""
    stage = CHAIR.stage(event.stage)
    verdict = Judge(CHAIR, stage).judge(event)
    named = {"channel": (event.channel, CHAIR.channels)}
    if stage.locations:
        named["location"] = (event.location, stage.locations)
    expected = [
        f"spread_{name.split('/')[0]}/{name.split('/')[1]}/{by}/{place if place in known else 'other'}"
        for name in verdict.counters
        if name.startswith(("good/", "bad/"))
        for by, (place, known) in named.items()
        if place is not None and stage.kind != "staff"
    ]
    assert list(verdict.spread) == expected


def test_staff_are_not_compared() -> None:
    """What a colleague answers is judged, but not by where and through what."""
    event = Event(stage="staff_pulse", outcome="ok", channel="email", score=Score(kind="csat", value=2))
    verdict = Judge(CHAIR, CHAIR.stage("staff_pulse")).judge(event)
    assert (verdict.bad_for, verdict.spread) == (("staff_well",), ())


def test_strange_places_are_remembered_as_other() -> None:
    """Endless names of channels and locations neither grow the memo nor cost a judgement each."""
    judge = Judge(CHAIR, CHAIR.stage("store"))
    strange = [Event(stage="store", outcome="ok", channel=f"c{i}", location=f"l{i}") for i in range(100)]
    verdicts = {judge.judge(event) for event in strange}
    assert [len(verdicts), len(judge._memo)] == [1, 1]
    assert judge.judge(Event(stage="store", outcome="ok", channel="web", location="l1")) not in verdicts
    assert judge.judge(Event(stage="store", outcome="ok", channel="other")) not in verdicts
    shop = parse(SHOP.replace("    hours:", "    # hours:"))  # names no channels or locations
    plain = Judge(shop, shop.stages[0])
    assert len({plain.judge(event) for event in strange}) == 1
    assert len(plain._memo) == 1


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("nps", [*["detractor"] * 7, "passive", "passive", "promoter", "promoter"]),
        ("csat", [None, "other", "other", "other", "good", "good", *[None] * 5]),
        ("ces", [None, *["other"] * 4, "easy", "easy", "easy", *[None] * 3]),
    ],
)
def test_classes_of_answers(kind: str, classes: list[str | None]) -> None:
    """The values 0 to 10 count as this table says; one off the scale of its kind is no answer."""
    assert [answer_class(kind, value) for value in range(11)] == classes
    assert answer_class(kind, -1) is None
    assert answer_class(kind, 10.5) is None


def test_nothing_between_two_classes() -> None:
    """A mean of answers counts in the class it has not left yet."""
    assert [answer_class("nps", value) for value in (6.9, 8.9)] == ["detractor", "passive"]
    assert answer_class("csat", 3.9) == "other"


@pytest.mark.parametrize(
    ("stage", "fields", "counter"),
    [
        ("feedback", {"channel": "email", "segment": "new"}, "answer/nps/promoter/email/new"),
        ("feedback", {}, "answer/nps/promoter/none/other"),
        ("feedback", {"channel": "fax", "segment": "vip"}, "answer/nps/promoter/other/other"),
        ("feedback", {"score": Score(kind="csat", value=9)}, None),
        ("feedback", {"score": None}, None),
        ("feedback", {"score": Score(kind="ces", value=1)}, "answer/ces/other/none/other"),
        ("staff_pulse", {"channel": "email", "segment": "new"}, "answer/nps/promoter/all/all"),
        ("store", {}, None),  # nobody is asked there
    ],
)
def test_answers(stage: str, fields: dict[str, Any], counter: str | None) -> None:
    """An answer counts by channel and segment, of staff by neither, and only where people are asked."""
    event = Event(stage=stage, outcome="ok", **{"score": Score(kind="nps", value=9), **fields})
    assert Judge(CHAIR, CHAIR.stage(stage)).answer(event) == counter


def judged_of(event: Event) -> tuple[str, ...]:
    """Counters of an event, in order."""
    return Judge(CHAIR, CHAIR.stage(event.stage)).judge(event).counters


@given(st.sampled_from(CHAIR.stages).flatmap(lambda stage: st.lists(events_of(stage), max_size=12)))
def test_memory_changes_no_verdict(events: list[Event]) -> None:
    """A judge that has judged others before says what a new one says."""
    for event in events:
        judge = Judge(CHAIR, CHAIR.stage(event.stage))
        for earlier in events:
            judge.judge(earlier)
        verdict, alone = judge.judge(event), Judge(CHAIR, CHAIR.stage(event.stage)).judge(event)
        assert (verdict.counters, verdict.spread) == (alone.counters, alone.spread)
        assert (verdict.judged, verdict.bad_for) == (alone.judged, alone.bad_for)


@pytest.mark.parametrize("stage", STAGES)
def test_counters_have_one_name_each(stage: str) -> None:
    """No two counters of a stage share a name, so that no two columns of a window do."""
    names = counter_names(CHAIR, CHAIR.stage(stage))
    assert len(set(names)) == len(names)


def test_memo_holds_known_names_only() -> None:
    """A stream of ever new names does not grow the memo; known names are remembered, and alike."""
    judge = Judge(CHAIR, CHAIR.stage("web_checkout"))
    for i in range(100):
        new = f"name-{i}"
        judge.judge(Event(stage="web_checkout", outcome="failed", segment=new))
        judge.judge(Event(stage="web_checkout", outcome="failed", partner=new))
        judge.judge(Event(stage="web_checkout", outcome="failed", reason=new))
    assert len(judge._memo) == 0
    event = Event(stage="web_checkout", outcome="failed", segment="new", partner="adyen")
    first = judge.judge(event)
    assert judge.judge(event) is first
    assert len(judge._memo) == 1


@pytest.mark.parametrize(("partner", "label"), [(None, "none"), ("klarna", "klarna"), ("x", "other")])
def test_partner_label(partner: str | None, label: str) -> None:
    """No partner is `none`, one the stage does not name is `other`."""
    judge = Judge(CHAIR, CHAIR.stage("web_checkout"))
    assert judge.partner_label(partner) == label


def bucket_of(seconds: float) -> str:
    """The bucket an encounter of that length counts in."""
    tally = Tally(Judge(CHAIR, CHAIR.stage("web_checkout")))
    tally.add([Event(stage="web_checkout", outcome="ok", duration_s=seconds)], [0])
    (_, counts), _ = tally.panes()
    [name] = [name for name in counts if name.startswith("duration/")]
    return name.removeprefix("duration/")


@pytest.mark.parametrize("i", range(len(BOUNDS_S)))
def test_bucket_bounds_are_inclusive(i: int) -> None:
    """A duration on a bound counts in the bucket of that bound, a longer one in the next."""
    assert bucket_of(BOUNDS_S[i]) == f"{BOUNDS_S[i]:g}" == BUCKETS[i]
    assert bucket_of(BOUNDS_S[i] * 1.000001) == BUCKETS[i + 1]


def test_bucket_ends() -> None:
    """Zero is in the first bucket, anything beyond the last bound in `+Inf`; bounds grow."""
    assert bucket_of(0) == BUCKETS[0]
    assert bucket_of(1e9) == "+Inf"
    assert bucket_names("wait")[-1] == "wait/+Inf"
    assert list(BOUNDS_S) == sorted(set(BOUNDS_S))
    assert [float(name) for name in BUCKETS[:-1]] == list(BOUNDS_S)


SHOP = """\
version: 1
journey: shop
timezone: Europe/Helsinki
segments: []
stages:
  store:
    kind: customer
    owner: store
    hours: {mon-fri: "09:00-21:00"}
    experiences:
      served: {judges: {}, good: {outcome: [ok]}, target: 0.9}
"""


@pytest.mark.parametrize(
    ("at", "counters", "bad_for"),
    [
        ("2026-07-06T08:59:59.999+03:00", "outcome/failed", ()),
        ("2026-07-06T09:00:00+03:00", "outcome/failed bad/served/other/none reason/queue", ("served",)),
        ("2026-07-06T17:59:59Z", "outcome/failed bad/served/other/none reason/queue", ("served",)),
        ("2026-07-06T18:00:00Z", "outcome/failed", ()),
        ("2026-07-11T12:00:00+03:00", "outcome/failed", ()),
    ],
)
def test_outside_opening_hours_nothing_is_judged(at: str, counters: str, bad_for: tuple[str, ...]) -> None:
    """It counts as an event, is bad for nothing and adds no reason, in whatever order events come."""
    shop = parse(SHOP.replace("owner: store", "owner: store\n    reasons: [queue]"))
    event = Event(stage="store", outcome="failed", reason="queue", time=datetime.fromisoformat(at))
    inside = Event(stage="store", outcome="failed", reason="queue", time=datetime(2026, 7, 6, 9, tzinfo=UTC))
    judge = Judge(shop, shop.stages[0])
    for _ in range(2):
        verdict = judge.judge(event)
        assert (set(verdict.counters), verdict.bad_for) == (set(counters.split()), bad_for)
        assert judge.judge(inside).bad_for == ("served",)


def test_without_opening_hours_no_time_is_asked() -> None:
    """A stage that names no hours judges at any time, and does not look at it."""
    shop = parse(SHOP.replace("    hours:", "    # hours:"))
    assert Judge(shop, shop.stages[0]).judge(Event(stage="store", outcome="failed")).bad_for == ("served",)
