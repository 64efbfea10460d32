"""A journey stands in the list of an alert if it adds to what that alert counts as bad."""

import pytest

from monitor.journeys.alerted import KEPT, meant

LATE = "promise/delivery_window/postnord"
LISTED = "promise_delivery_window/postnord"


@pytest.mark.parametrize(
    ("counters", "found"),
    [
        ([f"{LATE}/due", f"{LATE}/kept"], []),
        ([f"{LATE}/due"], [(LISTED, "overdue")]),
        ([f"{LATE}/due", f"{LATE}/rescheduled", f"{LATE}/broken"], [(LISTED, "broken")]),
        ([f"{LATE}/late"], [(LISTED, "late")]),
        ([f"{LATE}/missed"], [(LISTED, "missed")]),
        ([f"{LATE}/kept"], [(LISTED, KEPT)]),
        ([f"-{LATE}/due", f"-{LATE}/broken"], [(LISTED, KEPT)]),
        ([f"-{LATE}/late"], []),
        ([f"{LATE}/unpromised"], []),
        (["handoff/warehouse/delivery/postnord/sent"], []),
        (["handoff/warehouse/delivery/postnord/lost"], [("handoff_warehouse_delivery/postnord", "lost")]),
        (["handoff/warehouse/delivery/postnord/late"], [("handoff_warehouse_delivery/postnord", "late")]),
        (["closed/met/new", "score/1/new"], []),
        (["failed/stage/web_checkout/new"], [("goal/new", "bad at web_checkout")]),
        (["failed/handoff/warehouse>delivery/new"], [("goal/new", "hand-over warehouse>delivery lost")]),
        (["failed/promise/delivery_window/new"], [("goal/new", "promise delivery_window not kept")]),
        (["failed/none/none/new"], [("goal/new", "nothing bad was seen")]),
        (["labyrinth/new", "lost/chat/phone"], [("moves/chat/phone", "not solved")]),
        (["gap/delivery/ok_inside_bad_outside"], [("understood/delivery", "ok inside, bad outside")]),
        (["gap/delivery/ok_inside_ok_outside", "critical/delivery/ok_detractor"], []),
        (["hit/store/new"], [("hit/store", "bad")]),
        (["critical/delivery/bad_detractor"], [("critical/delivery", "bad, and unhappy")]),
    ],
)
def test_lists(counters: list[str], found: list[tuple[str, str]]) -> None:
    """Each kind of trouble stands in its own list, with what became of it; what is well stands in none."""
    assert list(meant(counters)) == found
