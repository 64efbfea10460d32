"""A fault is read exactly as it is written, or refused with one line that helps."""

import pytest

from monitor.counting.event import Codec, Refused
from monitor.journey_file.grammar import parse
from streams.demo.faults import BAD_EVENTS, FAULTS, KINDS, MALFORMED, Fault, parse_fault
from streams.demo.story import BETWEEN_STAGES, EFFECTS
from tests.kit.shipped import SHIPPED as CHAIR

CLINIC = parse("""
version: 1
journey: clinic
segments: [adult]
stages:
  visit:
    kind: customer
    owner: ward
    experiences:
      seen: {judges: {outcome: [ok, failed]}, good: {outcome: [ok]}, target: 0.9}
""")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("courier-late@30", Fault("courier-late", 0.6, 30.0, None)),
        ("courier-late@30+300.5", Fault("courier-late", 0.6, 30.0, None, 300.5)),
        ("courier-late=0.25@0", Fault("courier-late", 0.25, 0.0, None)),
        ("checkout-payment-failure=60%@1.5", Fault("checkout-payment-failure", 0.6, 1.5, None)),
        ("parcel-lost@2", Fault("parcel-lost", 0.1, 2.0, None)),
        ("warehouse-jam=100%@9", Fault("warehouse-jam", 1.0, 9.0, None)),
        ("stage-silent:store@5", Fault("stage-silent", 1.0, 5.0, "store")),
        ("stage-silent:web_checkout=.5@5", Fault("stage-silent", 0.5, 5.0, "web_checkout")),
    ],
)
def test_reads_what_is_written(text: str, fault: Fault) -> None:
    """Name, strength as share or percent, seconds and stage are read; strength has a default."""
    assert parse_fault(text, CHAIR) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("courier-late", "must be NAME[=STRENGTH]@SECONDS"),
        ("", "must be NAME[=STRENGTH]@SECONDS"),
        ("courier-late@soon", "`soon` must be a number of seconds"),
        ("courier-late@-1", "`-1` must be a number of seconds"),
        ("courier-late@nan", "`nan` must be a number of seconds"),
        ("courier-late@" + "9" * 400, "must be a number of seconds"),
        ("courier-lat@1", "unknown fault `courier-lat`; did you mean `courier-late`?"),
        ("earthquake@1", "unknown fault `earthquake`; known are checkout-payment-failure,"),
        ("courier-late=1.1@1", "strength `1.1` must be 0 to 1"),
        ("courier-late=160%@1", "strength `160%` must be 0 to 1"),
        ("courier-late=@1", "strength `` must be 0 to 1"),
        ("courier-late=nan@1", "strength `nan` must be 0 to 1"),
        ("stage-silent@1", "must name its stage, as stage-silent:web_checkout"),
        ("stage-silent:@1", "must name its stage"),
        ("stage-silent:web-checkout@1", "unknown stage `web-checkout`; did you mean `web_checkout`?"),
        ("courier-late:store@1", "only stage-silent takes a stage, write `courier-late`"),
    ],
)
def test_refuses_in_one_line(text: str, says: str) -> None:
    """What cannot be read is refused in one line that quotes the fault and says how to mend it."""
    with pytest.raises(ValueError, match=r"^fault `") as refused:
        parse_fault(text, CHAIR)
    assert says in str(refused.value)
    assert f"fault `{text}`" in str(refused.value)
    assert "\n" not in str(refused.value)


NEEDED = {name: effect.stage for name, effect in EFFECTS.items()}
NEEDED |= {name: stages[0] for name, stages in BETWEEN_STAGES.items()}


@pytest.mark.parametrize("name", NEEDED)
def test_needs_its_stage(name: str) -> None:
    """A fault of a stage the journey file lacks is refused, naming the stage."""
    with pytest.raises(ValueError, match=f"needs stage `{NEEDED[name]}`"):
        parse_fault(f"{name}@1", CLINIC)


def test_fits_any_journey() -> None:
    """Silence and bad events are faults of every journey."""
    assert parse_fault("stage-silent:visit@1", CLINIC).stage == "visit"
    assert parse_fault("bad-events@1", CLINIC).strength == KINDS[BAD_EVENTS][0]


def test_describes_every_fault_and_its_default() -> None:
    """The help names each fault there is, together with its default strength."""
    assert {name.partition(":")[0] for name in FAULTS} == {*KINDS}
    for name, description in FAULTS.items():
        assert f"({KINDS[name.partition(':')[0]][0]})" in description


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_fit_the_shipped_journey(name: str) -> None:
    """The reason a fault gives is one the shipped journey file declares for its stage."""
    effect = EFFECTS[name]
    stage = CHAIR.stage(effect.stage)
    assert effect.reason in stage.reasons
    assert effect.outcome in stage.outcomes


def test_every_malformation_is_refused() -> None:
    """No malformed event gets past the codec, and they are refused for several reasons."""
    codec = Codec(CHAIR, CHAIR.stage("store"))
    event = {"id": "e1", "time": "2026-03-04T10:00:00.000Z", "stage": "store", "outcome": "ok"}
    reasons = set()
    for malform in MALFORMED:
        refused = codec.decode(malform(event))
        assert isinstance(refused, Refused)
        reasons.add(refused.reason)
    assert len(reasons) >= 5
