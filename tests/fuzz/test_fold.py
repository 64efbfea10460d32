"""Whatever the codec accepts passes through the whole worker: counted, written, read back, answered."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monitor.counting import event
from monitor.counting.judging import Judge
from monitor.counting.times import rfc3339
from monitor.journeys.open import JourneyRules
from streams.web import answers
from tests.fuzz.fold import Sent, fold
from tests.fuzz.holds import JOURNEY, NOW_MS, holds, readers
from tests.fuzz.mutation import mutate
from tests.fuzz.record import MAX_BYTES, read, seeds
from tests.monitor.counting.test_event import EVENTS, IDS

MUTATIONS = 1000
OUTCOMES = [(stage.name, outcome) for stage in JOURNEY.stages for outcome in stage.outcomes]
AGES_MS = st.integers(-4 * 60_000, 7 * 86_400_000)


def sent_now(sent: dict[str, Any], of: tuple[str, str], age_ms: int, journey_id: str) -> Sent:
    """The event as one of this stage and time, in a journey that others are in, too."""
    stage, outcome = of
    told = sent | {"stage": stage, "outcome": outcome, "journey_id": journey_id}
    del told["time"]
    value = json.dumps(told | {"time": rfc3339(NOW_MS - age_ms)}, default=lambda time: time.isoformat())
    return stage, value.encode(), []


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(
        st.builds(sent_now, EVENTS, st.sampled_from(OUTCOMES), AGES_MS, st.sampled_from(["j", "k"]) | IDS),
        min_size=20,
        max_size=30,
    )
)
def test_what_the_codec_accepts_passes_through_the_whole_worker(sent: list[Sent]) -> None:
    """Every event is counted: none fails in judging, steps, journeys, panes, records, metrics or answers."""
    assert fold(sent) == len(sent)


def test_mutations_pass_through_the_whole_worker() -> None:
    """Records almost like events, some refused and some counted: the same."""
    random, known, starts = Random(1), readers(), sorted(set(seeds()))
    sent = []
    for seed in range(MUTATIONS):
        record = mutate(random.choice(starts), MAX_BYTES, seed)
        sent.append((holds(record, known).stage, *read(record)))
    assert fold(sent) > MUTATIONS / 20


def example(number: int, **fields: Any) -> Sent:
    """A visit to the store."""
    about = {
        "id": f"e{number}",
        "time": rfc3339(NOW_MS),
        "stage": "store",
        "outcome": "ok",
        "journey_id": "j",
    }
    return "store", json.dumps(about | fields).encode(), []


def test_every_kind_of_record_can_be_forged() -> None:
    """Panes, lists, encounters, journeys, contacts, what is closed: a worker that comes after reads each."""
    asked = {"stage": "call_queue", "case_id": "c"}
    sent = [
        (stage, value, headers)
        for number in range(60)
        for stage, value, headers in (
            example(2 * number, encounter_id=f"n{number}", journey_id=f"j{number}"),
            ("call_queue", *example(2 * number + 1, **asked, journey_id=f"j{number}")[1:]),
        )
    ]
    assert fold(sent) == len(sent)


@pytest.mark.parametrize(
    ("where", "what"),
    [(Judge, "judge_all"), (JourneyRules, "take"), (JourneyRules, "pass_time"), (answers, "journey_facts")],
)
def test_a_fault_of_ours_is_found_and_its_record_named(
    where: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is, and though a worker would set the record aside and go on."""
    before = getattr(where, what)

    def failing(*told: Any) -> Any:
        if what == "journey_facts" or "poison" in repr(told):
            raise OverflowError
        return before(*told)

    monkeypatch.setattr(where, what, failing)
    with pytest.raises(AssertionError, match=r"this breaks the worker: \[.*poison[^)]*\)\]$"):
        fold([example(1, location="poison", touchpoint="poison"), example(2)])


def test_a_deadline_that_records_cannot_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default of .NET, were it accepted."""
    monkeypatch.setattr(event, "YEARS", range(10_000))
    promise = {"id": "p", "kind": "delivery_window", "due": "0001-01-01T00:00:00+02:00"}
    with pytest.raises(AssertionError, match=r"this breaks the worker: \[.*0001-01-01[^)]*\)\]$"):
        fold([example(1), example(2, promise=promise)])
