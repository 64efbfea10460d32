"""Any text is a `Journey` or a `JourneyFileError` that names everything wrong with it; nothing else."""

import dataclasses
import random
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.journey_file.grammar import CONDITION_FIELDS, parse
from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import JourneyFileError, nearest
from streams.settings import SHIPPED_JOURNEY
from tests.kit.programs import ROOT

SHIPPED = SHIPPED_JOURNEY.read_text()
GOLDEN = sorted((ROOT / "tests/golden/journey").glob("*.yaml"))

SMALLEST = """\
version: 1
journey: small
segments: []
stages:
  front_desk:
    kind: staff
    owner: people
    experiences:
      greeted: {judges: {}, good: {internal_ok: true}, target: 0.9}
"""


"""A busy machine is no failure."""


def errors_of(text: str) -> list[str]:
    """Every error of a text, as it is shown."""
    with pytest.raises(JourneyFileError) as caught:
        parse(text)
    return [str(error) for error in caught.value.errors]


def test_the_shipped_file_names_the_seven_stages_in_order() -> None:
    """The chair journey is read in the order the customer meets it."""
    chair = parse(SHIPPED)
    assert (chair.name, chair.timezone, chair.horizon_ms) == (
        "chair",
        "Europe/Helsinki",
        8 * 86_400_000,
    )
    assert [(stage.name, stage.kind, stage.topic) for stage in chair.stages] == [
        ("web_checkout", "customer", "touchpoint.web-checkout.v1"),
        ("call_queue", "customer", "touchpoint.call-queue.v1"),
        ("store", "customer", "touchpoint.store.v1"),
        ("warehouse", "background", "touchpoint.warehouse.v1"),
        ("delivery", "partner", "touchpoint.delivery.v1"),
        ("feedback", "feedback", "touchpoint.feedback.v1"),
        ("staff_pulse", "staff", "touchpoint.staff-pulse.v1"),
    ]
    assert chair.segment_labels == ("business", "returning", "new", "other")
    assert chair.stage("delivery").depends_on == ("warehouse",)
    assert chair.stage("delivery").dead_letter_topic == "touchpoint.delivery.v1.dlq"
    assert chair.stage("delivery").partner_labels == ("none", "postnord", "matkahuolto", "other")
    assert chair.stage("delivery").per_hour == 38_000


def test_the_shipped_targets_are_exact() -> None:
    """A target is the very decimal that is written, never its nearest float."""
    targets = {
        experience.name: experience.target
        for stage in parse(SHIPPED).stages
        for experience in stage.experiences
    }
    assert targets == {
        "checkout_completed": Decimal("0.95"),
        "checkout_fast": Decimal("0.90"),
        "service_level": Decimal("0.80"),
        "calls_not_abandoned": Decimal("0.92"),
        "store_served": Decimal("0.93"),
        "store_wait": Decimal("0.90"),
        "order_packed": Decimal("0.98"),
        "delivered_as_promised": Decimal("0.92"),
        "delivered_whole": Decimal("0.97"),
        "would_recommend": Decimal("0.85"),
        "staff_well": Decimal("0.75"),
    }
    completed = parse(SHIPPED).stage("web_checkout").experiences[0]
    assert completed.target_for("business") == Decimal("0.97")
    assert completed.target_for("new") == completed.target_for("other") == Decimal("0.95")


def test_what_is_left_out_has_a_default() -> None:
    """The smallest file is a whole journey: topic, title, horizon and zone have defaults."""
    journey = parse(SMALLEST)
    (desk,) = journey.stages
    assert (journey.title, journey.timezone, journey.horizon_ms) == ("small", "UTC", 8 * 86_400_000)
    assert (desk.topic, desk.title) == ("touchpoint.front-desk.v1", "Front desk")
    assert (desk.partitions, desk.per_hour, desk.by_hour) == (None, None, ())
    assert desk.dedupe_ms == 0
    assert desk.outcomes == ("ok", "wow", "failed", "abandoned")
    assert desk.experiences[0].title == "Greeted"


def test_what_is_given_is_kept() -> None:
    """A stage may name its topic, partitions, rhythm and further outcomes; JSON is YAML too."""
    given = "kind: staff\n    topic: desk.events\n    partitions: 12\n    outcomes: [returned]"
    given += f"\n    expects: {{per_hour: 1.5, by_hour: {[0.5] * 24}}}"
    (desk,) = parse("horizon: 7d\n" + SMALLEST.replace("kind: staff", given)).stages
    assert (desk.topic, desk.partitions, desk.per_hour) == ("desk.events", 12, 1.5)
    assert desk.by_hour == (0.5,) * 24
    assert desk.outcomes[-1] == "returned"


@pytest.mark.parametrize("file", GOLDEN, ids=[file.stem for file in GOLDEN])
def test_bad_files_show_every_error_at_once(file: Path) -> None:
    """Each bad file gives exactly the lines beside it: line, path, message, nearest name."""
    assert errors_of(file.read_text()) == file.with_suffix(".txt").read_text().splitlines()


def test_golden_files_come_in_pairs() -> None:
    """No expectation stands without its input, and there are inputs at all."""
    texts = {file.stem for file in (ROOT / "tests/golden/journey").glob("*.txt")}
    assert texts == {file.stem for file in GOLDEN}
    assert len(GOLDEN) > 20


@pytest.mark.parametrize("opening", ["[", "{a: ", "? "], ids=["lists", "mappings", "keys"])
def test_deep_nesting_is_an_error(opening: str) -> None:
    """A file nested beyond Python's stack is a bad file, not a crash."""
    assert errors_of(opening * 100_000) == ["line 1: file: is nested too deeply"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%YAML 1." + "1" * 5000 + "\n--- {}", "holds an escape or a version number out of range"),
        ('"\\U00110000"', "holds an escape or a version number out of range"),
        ("a: 1\nb: \x00", "character U+0000 is not allowed"),
        ("a: 1\n\nb: \ud800", "character U+D800 is not allowed"),
    ],
)
def test_slips_of_the_yaml_reader_are_errors_of_the_file(text: str, message: str) -> None:
    """What makes PyYAML raise errors of its own is reported like any other error."""
    (error,) = errors_of(text)
    assert error.endswith(f"file: {message}")


def test_unreadable_characters_name_their_line() -> None:
    """A character no YAML may hold is reported on the line where it stands."""
    assert errors_of("a: 1\n\nb: \x07")[0].startswith("line 3: ")


def test_a_laughing_file_is_read_in_no_time() -> None:
    """Aliases of aliases are not expanded, neither as values nor as keys."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40)]
    errors = errors_of("\n".join(lines) + "\nsegments: *a39\n? *a39\n: 1\n")
    assert "line 39: segments[9]: must be text" in errors
    assert "line 40: file: a key must be text" in errors


@pytest.mark.parametrize("horizon", ["167h", "6d", "604799s", "0d"])
def test_a_short_horizon_is_an_error(horizon: str) -> None:
    """Less than 7 days would leave the longest window never full."""
    assert errors_of(f"{SMALLEST}horizon: {horizon}") == [
        "line 10: horizon: must be at least 7d, the longest window"
    ]


@pytest.mark.parametrize("horizon", ["168h", "7d", "604800s", "10080m", "3650d"])
def test_a_long_horizon_is_not(horizon: str) -> None:
    """Seven days in any unit, and more, are taken as they are written."""
    assert parse(f"{SMALLEST}horizon: {horizon}").horizon_ms >= 7 * 86_400_000


def test_an_endless_horizon_is_an_error() -> None:
    """Panes of more than ten years are a mistake in the unit, not a wish."""
    assert errors_of(f"{SMALLEST}horizon: 3651d") == ["line 10: horizon: must be at most 3650d"]


def test_too_many_stages_are_an_error() -> None:
    """More stages than an instance can carry are refused before a worker chokes on them."""
    stage = "{kind: staff, owner: me, experiences: {e: {judges: {}, good: {internal_ok: true}, target: 0.9}}}"
    stages = ", ".join(f"s{i}: {stage}" for i in range(51))
    errors = errors_of(f"version: 1\njourney: big\nsegments: []\nstages: {{{stages}}}\n")
    assert errors == ["line 4: stages: are 51; one journey may have 50"]


@pytest.mark.parametrize("seconds", [1, 600, 86_400])
def test_a_stage_may_say_for_how_long_ids_are_known(seconds: int) -> None:
    """Whole seconds up to a day."""
    (desk,) = parse(SMALLEST.replace("kind: staff", f"kind: staff\n    dedupe_s: {seconds}")).stages
    assert desk.dedupe_ms == 1000 * seconds


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0", "must be a whole number above 0"),
        ("-60", "must be a whole number above 0"),
        ("0.5", "must be a whole number above 0"),
        ("86401", "must be at most 86400, one day"),
        ("10m", "`10m` must be a number such as 0.98 or 20"),
        ("[60]", "must be text"),
        ("", "must be text"),
    ],
)
def test_any_other_time_is_an_error(given: str, message: str) -> None:
    """Ids are held in memory, so a slip in the unit is told before a worker starts."""
    errors = errors_of(SMALLEST.replace("kind: staff", f"kind: staff\n    dedupe_s: {given}"))
    assert errors == [f"line 7: stages.front_desk.dedupe_s: {message}"]


@pytest.mark.parametrize(
    ("given", "week"),
    [
        ('{mon-fri: "09:00-21:00", sat: "10:00-18:00"}', [[(540, 1260)]] * 5 + [[(600, 1080)], []]),
        ("{sun: 00:00-24:00}", [[]] * 6 + [[(0, 1440)]]),
        ('{tue: "09:00-12:00,12:00-13:00 , 23:59-24:00"}', [[], [(540, 720), (720, 780), (1439, 1440)]]),
        ('{mon-sun: "08:00-20:00"}', [[(480, 1200)]] * 7),
    ],
)
def test_opening_hours(given: str, week: list[list[tuple[int, int]]]) -> None:
    """Seven days from Monday on, in minutes; days that are not named are closed."""
    (desk,) = parse(SMALLEST.replace("kind: staff", f"kind: staff\n    hours: {given}")).stages
    assert desk.hours == tuple(tuple(day) for day in week + [[]] * (7 - len(week)))


def test_the_example_in_the_shipped_file_is_good() -> None:
    """What stands there as a comment is read when it is no comment any more."""
    chair = parse(SHIPPED.replace("# hours: ", "hours: ").replace("# changes_topic: ", "changes_topic: "))
    assert chair.stage("store").hours[6] == ((720, 900), (960, 1080))
    assert chair.changes_topic == parse(SHIPPED).changes_topic


def test_without_opening_hours() -> None:
    """A stage that names none is always open, and the shipped ones are."""
    assert {stage.hours for text in (SMALLEST, SHIPPED) for stage in parse(text).stages} == {()}


def test_the_topic_of_changes_may_be_named() -> None:
    """It has a default, and may not be a topic of a stage."""
    assert parse(SMALLEST).changes_topic == "touchpoint.changes.v1"
    assert parse("changes_topic: our.deploys\n" + SMALLEST).changes_topic == "our.deploys"
    assert errors_of("changes_topic: touchpoint.front-desk.v1.dlq\n" + SMALLEST) == [
        "line 6: stages.front_desk: topic `touchpoint.front-desk.v1.dlq` already belongs to `changes_topic`"
    ]


JOURNEYS = """\
journeys:
  owner: care
  starts: {stage: [front_desk]}
  goal: {outcome: [ok]}
  target: 0.8
  limit: 2d
"""


def test_whole_journeys_need_an_owner_and_a_target() -> None:
    """What is left out of them is not watched; each required key that is missing is told."""
    rules = parse(SMALLEST + JOURNEYS).journeys
    assert rules is not None
    assert (rules.owner, rules.runbook, rules.target) == ("care", "", Decimal("0.8"))
    assert (rules.quiet_ms, rules.limit_ms) == (2 * 86_400_000, 2 * 86_400_000)
    assert (rules.segment_targets, rules.promises, rules.follow_up, rules.edges) == ({}, (), None, ())
    assert (rules.moves_target, rules.understood_target) == (None, None)
    assert rules.unhappy == {"nps": 6, "csat": 2, "ces": 2}
    for key in ("owner", "starts", "goal", "target", "limit"):
        lines = [line for line in JOURNEYS.splitlines() if not line.startswith(f"  {key}:")]
        assert errors_of(SMALLEST + "\n".join(lines)) == [f"line 10: journeys: missing key `{key}`"]


def test_what_whole_journeys_are_held_to_is_kept() -> None:
    """Targets stay the decimals that are written, each with the stage that has to meet it."""
    desk = SMALLEST.split("stages:\n")[1]
    given = SMALLEST.replace("[]", "[new]") + desk.replace("front_desk", "back_desk") + JOURNEYS
    given += """\
  runbook: https://runbooks.example.com/journeys
  targets: {new: 0.85}
  promises: {call_back: {stage: front_desk, target: 0.90}}
  follow_up: {stage: back_desk, outcome: [ok], within: 1d, target: 0.700}
  handoffs:
    - {from: front_desk, to: back_desk, within: 5h, target: 0.97}
    - {from: back_desk, to: front_desk, within: 5h, target: 0.96}
  unhappy: {csat: 3}
  moves: {target: 0.81}
  understood: {target: 0.82}
"""
    rules = parse(given).journeys
    assert rules is not None
    assert rules.runbook == "https://runbooks.example.com/journeys"
    assert rules.segment_targets == {"new": Decimal("0.85")}
    assert [(kind.name, kind.stage, str(kind.target)) for kind in rules.promises] == [
        ("call_back", "front_desk", "0.90"),
        ("follow_up", "back_desk", "0.700"),
    ]
    assert [(edge.sender, edge.receiver, str(edge.target)) for edge in rules.edges] == [
        ("front_desk", "back_desk", "0.97"),
        ("back_desk", "front_desk", "0.96"),
    ]
    assert rules.unhappy == {"nps": 6, "csat": 3, "ces": 2}
    assert (rules.moves_target, rules.understood_target) == (Decimal("0.81"), Decimal("0.82"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("limit: 0d", "limit: must be above 0"),
        ("limit: 366d", "limit: must be at most 365d"),
        ("quiet: 49h", "quiet: must not be longer than `limit`"),
        ("quiet: soon", "quiet: `soon` must be a duration such as 30s, 5m, 6h or 8d"),
        ("target: 0", "target: target 0 must lie between 0 and 1, both excluded; 98 % is written 0.98"),
        ("targets: 0.9", "targets: must be a mapping of keys to values"),
        ("moves:", "moves: must be a mapping of keys to values"),
        ("moves: {target: x}", "moves.target: `x` must be a number such as 0.98 or 20"),
        ("understood: {targets: {}, target: 0.9}", "understood.targets: unknown key; did you mean `target`?"),
        ("promises: [call]", "promises: must be a mapping of keys to values"),
        ("promises: {call: {}}", "promises.call: missing key `stage`"),
        ("promises: {call: {stage: front_desk}}", "promises.call: missing key `target`"),
        ("handoffs: {}", "handoffs: must be a list"),
        ("unhappy: {csat: 0}", "unhappy.csat: must be at least 1 and below 5"),
        ("unhappy: {nps: 10}", "unhappy.nps: must be at least 0 and below 10"),
        ("unhappy: {stars: 2}", "unhappy.stars: unknown key; known are nps, csat, ces"),
    ],
)
def test_a_slip_in_whole_journeys_is_one_line(given: str, message: str) -> None:
    """It says where it is, and no other error comes of it; of two missing keys each is told."""
    key = given.partition(":")[0]
    section = "".join(f"{line}\n" for line in JOURNEYS.splitlines() if not line.startswith(f"  {key}:"))
    (error, *others) = errors_of(f"{SMALLEST}{section}  {given}\n")
    line = len((SMALLEST + section).splitlines()) + 1
    assert error == f"line {line}: journeys.{message}"
    assert others in ([], [f"line {line}: journeys.promises.call: missing key `target`"])


TWO_STAGES = (
    SMALLEST.replace("segments: []", "segments: []\npartners: [postnord]").replace(
        "    owner: people\n", "    owner: people\n    partners: [postnord]\n"
    )
    + SMALLEST.split("stages:\n")[1].replace("front_desk", "back_desk")
    + JOURNEYS
)
"""The smallest file and its journeys with a second stage; the first has a partner."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("starts: {stage: []}", "starts.stage: must name at least one value"),
        ("goal: {outcome: [ok], channel: []}", "goal.channel: must name at least one value"),
        ("ends: {outcome: []}", "ends.outcome: must name at least one value"),
        ("starts: {stagee: [front_desk]}", "starts.stagee: unknown key; did you mean `stage`?"),
        ("ends: {}", "ends: must hold at least one condition"),
        (
            "follow_up: {stage: front_desk, outcome: [], within: 1d, target: 0.7}",
            "follow_up.outcome: must name at least one value",
        ),
        (
            "follow_up: {stage: front_desk, outcome: [ok], within: 49h, target: 0.7}",
            "follow_up.within: must not be longer than `limit`",
        ),
        (
            "handoffs: [{from: front_desk, to: back_desk, within: 3d, target: 0.9}]",
            "handoffs[0].within: must not be longer than `limit`",
        ),
        (
            "handoffs: [{from: postnord, to: back_desk, within: 1d, target: 0.9}]",
            "handoffs[0].from: `postnord` is a partner of stage `front_desk`: name the stage",
        ),
        (
            "handoffs: [{from: back_desk, to: postnord, within: 1d, target: 0.9}]",
            "handoffs[0].to: `postnord` is a partner of stage `front_desk`: name the stage",
        ),
        (
            "promises: {call: {stage: postnord, target: 0.9}}",
            "promises.call.stage: `postnord` is a partner of stage `front_desk`: name the stage",
        ),
        ("runbook: javascript:alert(1)", "runbook: `javascript:alert(1)` must be an http or https address"),
        ("runbook: runbooks/journeys", "runbook: `runbooks/journeys` must be an http or https address"),
    ],
)
def test_what_could_never_be_met_is_one_line(given: str, message: str) -> None:
    """A rule that no step can satisfy, a deadline after the end, a link nobody can follow."""
    key = given.partition(":")[0]
    text = "".join(f"{line}\n" for line in TWO_STAGES.splitlines() if not line.startswith(f"  {key}:"))
    line = len(text.splitlines()) + 1
    assert errors_of(f"{text}  {given}\n") == [f"line {line}: journeys.{message}"]


def test_a_deadline_may_be_the_limit() -> None:
    """What has to come within the limit itself can still be seen to have come."""
    rules = parse(f"""{TWO_STAGES}
  follow_up: {{stage: front_desk, outcome: [ok], within: 2d, target: 0.7}}
  handoffs: [{{from: front_desk, to: back_desk, within: 48h, target: 0.9}}]
""").journeys
    assert rules is not None
    assert rules.follow_up is not None
    assert rules.follow_up.within_ms == rules.edges[0].within_ms == rules.limit_ms


@pytest.mark.parametrize("key", ["monitor", "grafana"])
@pytest.mark.parametrize("rest", ["/x/?a=1", "/#top"])
def test_what_links_begin_with_ends_with_its_path(key: str, rest: str) -> None:
    """Runbooks and boards are put behind it; a webhook's query stays behind the whole."""
    url = f"https://example.com{rest}"
    assert errors_of(f"links: {{{key}: '{url}'}}\n" + SMALLEST) == [
        f"line 1: links.{key}: `{url}` must end with its path: the rest of each link is put behind it"
    ]


@pytest.mark.parametrize("given", ["javascript:alert(1)", "ftp://x/y", "//x/y", "wiki/desk", "http://a b/"])
def test_a_runbook_is_an_address(given: str) -> None:
    """Alerts and pages link to it: whatever is no http or https address leads nowhere, or worse."""
    text = SMALLEST.replace("kind: staff", f"kind: staff\n    runbook: {given!r}")
    assert errors_of(text) == [
        f"line 7: stages.front_desk.runbook: `{given}` must be an http or https address"
    ]


@pytest.mark.parametrize(
    ("good", "message"),
    [
        ("{internal_okk: true}", "internal_okk: unknown key; did you mean `internal_ok`?"),
        ("{wait_s: {at_mst: 9}}", "wait_s.at_mst: unknown key; did you mean `at_most`?"),
        ("{outcome: ok}", "outcome: must be a list"),
        ("{outcome: []}", "outcome: must name at least one value"),
        ("{wait_s: {}}", "wait_s: needs at_most or at_least"),
        ("{wait_s: 9}", "wait_s: must be a mapping of keys to values"),
    ],
)
def test_a_slip_in_a_condition_is_one_line(good: str, message: str) -> None:
    """One mistake is told once, not also as what follows from it."""
    (error,) = errors_of(SMALLEST.replace("{internal_ok: true}", good))
    assert error == f"line 9: stages.front_desk.experiences.greeted.good.{message}"


@pytest.mark.parametrize("name", ["journeys", "all"])
def test_a_stage_cannot_be_called_so(name: str) -> None:
    """Those are labels of whole journeys and of all stages together."""
    assert errors_of(SMALLEST.replace("front_desk", name)) == [f"line 5: stages.{name}: `{name}` is reserved"]


@pytest.mark.parametrize("key", ["segments", "channels", "partners"])
@pytest.mark.parametrize("name", ["other", "none"])
def test_reserved_names_are_errors(key: str, name: str) -> None:
    """`other` and `none` are labels of the monitor's own and cannot be declared."""
    text = SMALLEST.replace("segments: []\n", "") + ("" if key == "segments" else "segments: []\n")
    assert errors_of(f"{text}{key}: [{name}]")[-1].endswith(f"{key}[0]: `{name}` is reserved")


@given(st.integers(1, 10**12 - 1), st.integers(0, 3))
def test_targets_stay_exact(digits: int, zeros: int) -> None:
    """Whatever is written between 0 and 1 comes out digit for digit."""
    text = f"0.{digits:012d}"[: 14 - zeros]
    if not Decimal(text):
        return
    (stage,) = parse(SMALLEST.replace("0.9", text)).stages
    assert str(stage.experiences[0].target) == str(Decimal(text))


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("custmer", ("customer", "partner"), "; did you mean `customer`?"),
        ("xyz", ("customer", "partner"), "; known are customer, partner"),
        ("xyz", (), "; none is declared"),
    ],
)
def test_nearest(name: str, known: tuple[str, ...], hint: str) -> None:
    """An error about a name helps: the nearest one, or all, or that there is none."""
    assert nearest(name, iter(known)) == hint


# Properties.


def holds(text: str) -> None:
    """Parse, and check what holds for any text."""
    try:
        journey = parse(text)
    except JourneyFileError as error:
        bad = error
    else:
        assert isinstance(journey, Journey)
        assert journey.stages
        str(dataclasses.asdict(journey)).encode()
        for stage in journey.stages:
            assert all(0 < experience.target < 1 for experience in stage.experiences)
            assert len(stage.topic) <= 200
        return
    lines = [one.line for one in bad.errors]
    assert lines == sorted(lines)
    assert lines[0] >= 1
    assert lines[-1] <= len(text.splitlines()) + 1
    str(bad).encode()


YAML_LIKE = st.text(alphabet="ab01:,-?&*!|>%@`'\"[]{}#<~.\\ \n\t\ud800\x00\x85\ufeffUx")
WORDS = st.sampled_from(
    [
        *(
            "version",
            "journey",
            "segments",
            "stages",
            "horizon",
            "partners",
            "owner",
            "kind",
            "customer",
        ),
        *("topic", "partitions", "depends_on", "outcomes", "experiences", "judges", "good", "ignores"),
        *(
            "target",
            "targets",
            "at_most",
            "at_least",
            "outcome",
            "ok",
            "null",
            "~",
            "true",
            "<<",
            "!!int",
        ),
        *("1", "0.9", "-1", "1e999", ".inf", "8d", "99999999999d", "&a", "*a", "", '"\\ud800"'),
        *("journeys", "starts", "goal", "limit", "promises", "follow_up", "handoffs", "moves", "understood"),
        *CONDITION_FIELDS,
    ]
)
TREES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(WORDS, inner), max_size=6).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        )
    ),
    max_leaves=40,
)


@given(st.text() | YAML_LIKE)
@example("")
@example("\ufeff")
@example("%YAML 1.")
@example("? [a]\n: b")
def test_any_text(text: str) -> None:
    """Any text parses or raises `JourneyFileError`, with errors in order that can be printed."""
    holds(text)


@given(TREES)
def test_any_tree_of_the_words_of_the_file(text: str) -> None:
    """The file's own words in any arrangement parse or raise `JourneyFileError`."""
    holds(text)


@given(st.integers(0, 2**32), st.sampled_from([SMALLEST, SHIPPED]), WORDS | TREES | YAML_LIKE)
def test_any_slip_in_a_good_file(seed: int, text: str, slip: str) -> None:
    """A good file with a word replaced and a line lost, repeated or indented does the same."""
    rng = random.Random(seed)
    words = [at for at, _ in enumerate(text) if text[at - 1] in " [{" and text[at] not in " [{"]
    at = rng.choice(words)
    end = next((i for i in range(at, len(text)) if text[i] in " ,:]}\n"), at)
    lines = (text[:at] + slip + text[end:]).split("\n")
    where = rng.randrange(len(lines))
    lines[where : where + 1] = rng.choice(
        ([lines[where]], [], [lines[where]] * 2, ["  " + lines[where]], [lines[where].lstrip()])
    )
    holds("\n".join(lines))


@pytest.mark.parametrize("other", ["touchpoint.changes.v1", "touchpoint.findings.v1"])
def test_closed_journeys_have_a_topic_of_their_own(other: str) -> None:
    """Whoever reads changes or findings would stumble over journeys."""
    assert parse(SMALLEST).journeys_topic == "touchpoint.closed-journeys.v1"
    with pytest.raises(JourneyFileError, match=f"topic `{other}` already belongs to"):
        parse(f"journeys_topic: {other}\n{SMALLEST}")
