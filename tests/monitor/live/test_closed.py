"""A journey that is over is published whole, as it was at its end, and the same whoever publishes it."""

from itertools import permutations

from msgspec import structs

from monitor.counting.event import Handoff, Promise, Score
from monitor.journeys.open import OpenJourney
from monitor.live.closed import ClosedJourney, MissedBy, Move, closed_answer, closed_journey, decode, encode
from tests.monitor.live.test_journey import DAY, HOUR, RULES, START, at, journey, step, told


def published(held: OpenJourney) -> ClosedJourney:
    """What whoever reads the topic gets."""
    return decode(encode(closed_journey("j-1", held, RULES.rules.unhappy)))


def test_a_parcel_that_was_lost() -> None:
    """Steps, score, weakest, promises, hand-overs and why it failed; no encounter was bad."""
    promise = Promise("p", "delivery_window", None, at(DAY), None)
    handed = Handoff("h", "warehouse", "postnord")
    over = journey(
        step(0, segment="new", channel="web", promise=promise),
        step(HOUR, "warehouse", handoff=handed),
        clock=20 * DAY,
    )
    said = published(over)
    assert (said.result, said.segment, said.score, said.weakest) == ("missed", "new", 1.0, None)
    assert said.failed == MissedBy("handoff", "warehouse>delivery")
    assert (said.labyrinth, said.lost, said.noticed, said.unhappy) == (False, None, "nobody", None)
    assert [(one.time, one.stage) for one in said.steps] == [
        (told(0), "web_checkout"),
        (told(HOUR), "warehouse"),
    ]
    (owed,), (lost,) = said.promises, said.handoffs
    assert (owed.id, owed.kind, owed.partner, owed.due, owed.state) == (
        "p", "delivery_window", "postnord", told(DAY), "missed",
    )  # fmt: skip
    assert (lost.id, lost.sender, lost.receiver, lost.partner, lost.state) == (
        "h", "warehouse", "delivery", "postnord", "lost",
    )  # fmt: skip
    assert (said.began, said.closed) == (told(0), told(4 * DAY + HOUR))


def test_what_comes_after_the_end_is_not_part_of_it() -> None:
    """A step, word of a promise, a receipt read before the end was known: they came too late."""
    promise = Promise("p", "delivery_window", None, at(HOUR), None)
    over = journey(
        step(0, promise=promise),
        step(1, "warehouse", handoff=Handoff("h", "warehouse", "delivery")),
        step(2, "feedback"),
        step(9 * DAY, "delivery", promise=Promise("p", "delivery_window", None, None, True)),
        step(9 * DAY + 1, "delivery", handoff=Handoff("h", "warehouse", "delivery")),
        clock=20 * DAY,
    )
    said = published(over)
    assert [one.stage for one in said.steps] == ["web_checkout", "warehouse", "feedback"]
    assert ([one.state for one in said.promises], [one.state for one in said.handoffs]) == (
        ["missed"],
        ["lost"],
    )


def test_a_labyrinth_and_the_customers_own_word() -> None:
    """The last change of channel, who spoke first, and what the stage said of itself beside it."""
    astray = [
        step(n, "call_queue", "failed", channel=channel, bad_for=("x",), reason="not_solved")
        for n, channel in enumerate(("chat", "phone", "chat"))
    ]
    answered = step(9, "feedback", internal_ok=None, score=Score("nps", 2))
    well = step(8, "delivery", internal_ok=True)
    said = published(journey(*astray, well, answered, clock=20 * DAY))
    assert (said.labyrinth, said.lost) == (True, Move("phone", "chat"))
    assert (said.noticed, said.unhappy, said.weakest) == ("customer", True, "call_queue")
    assert said.understood == {"delivery": "ok_inside_bad_outside"}


def test_an_answer_to_what_nobody_judged() -> None:
    """A visit outside opening hours is not judged, and its customer's word is one all the same."""
    asked = step(1, "feedback", score=Score("nps", 9))
    assert (
        published(journey(structs.replace(step(0, "store"), judged=0), asked, clock=20 * DAY)).unhappy
        is False
    )
    assert published(journey(step(0, "store"), clock=20 * DAY)).unhappy is None


def test_the_bytes_do_not_depend_on_the_order_of_arrival() -> None:
    """So what is published again after a crash is the same, byte for byte."""
    steps = [
        step(0, promise=Promise("p", "delivery_window", None, at(HOUR), None)),
        step(1, "warehouse", handoff=Handoff("h", "warehouse", "delivery")),
        step(2, "call_queue", promise=Promise("q", "call_back", None, at(HOUR), None)),
        step(3, "delivery", handoff=Handoff("h", "warehouse", "delivery")),
    ]
    assert (
        len(
            {
                encode(closed_journey("j-1", journey(*some, clock=20 * DAY), RULES.rules.unhappy))
                for some in permutations(steps)
            }
        )
        == 1
    )


def test_the_answer_has_what_one_under_way_has() -> None:
    """Whoever asks for a journey finds the same fields, over or not."""
    over = journey(step(0), step(HOUR, "feedback"), clock=DAY)
    answer = closed_answer(published(over), START + DAY, START + DAY + 500)
    assert (answer["state"], answer["result"], answer["next"], answer["ends"]) == (
        "over",
        "missed",
        None,
        None,
    )
    assert answer["staleness"] == {
        "at": told(DAY + 500),
        "last_step_age_s": 23 * 3600 + 0.5,
        "clock": told(DAY),
        "clock_behind_s": 0.5,
        "overdue": False,
    }
