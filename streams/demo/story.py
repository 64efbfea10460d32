"""The story of the chair journey, as data: what its stages look like, who goes where, what can go wrong.

A journey file plays as much of it as it has stages of these names. No other code knows a stage by its name.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """What the events of one stage look like, beyond what its experiences say."""

    touchpoints: tuple[str, ...] = ()
    """Empty for stages that are not in the story."""
    channels: tuple[str, ...] = ()
    natural: dict[str, float] = field(default_factory=dict)
    """Seconds that one event in twenty exceeds, where no experience sets a limit."""
    reasons: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Outcome -> its reasons."""
    last: tuple[str, ...] = ()
    """Reasons that arise at the last touchpoint."""
    is_contact: bool = False
    """Whether each encounter is a case, which can go astray or end with a call-back promised."""
    has_tools: bool = False
    """Whether staff wait for their systems meanwhile."""
    patience: float = 0.0
    """Where customers queue, and each beginning of a wait is published: who waits so many times as long as is
    good at most hangs up."""


PARTS = {
    "web_checkout": Part(
        ("cart", "address", "payment"),
        ("web", "app"),
        {"duration_s": 90.0},
        {
            "failed": ("payment_declined", "payment_error", "stock_gone"),
            "abandoned": ("slow_page", "form_error"),
        },
        last=("payment_declined", "payment_error"),
    ),
    "call_queue": Part(
        ("order_line", "service_line"),
        ("phone",),
        {"wait_s": 20.0, "duration_s": 600.0},
        {"failed": ("line_dropped", "not_solved"), "abandoned": ("queue_too_long",)},
        is_contact=True,
        has_tools=True,
        patience=3.0,
    ),
    "store": Part(
        ("service_desk", "till"),
        ("store",),
        {"wait_s": 180.0, "duration_s": 900.0},
        {"failed": ("item_missing", "till_down"), "abandoned": ("long_wait",)},
        has_tools=True,
    ),
    "warehouse": Part(("packing",), (), {"duration_s": 1800.0}),
    "delivery": Part(("doorstep",), (), {"duration_s": 900.0}, {"failed": ("damaged", "lost")}),
    "feedback": Part(("survey",), ("email", "app", "web")),
    "staff_pulse": Part(("end_of_shift",)),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """The way from one stage to another."""

    start: str
    to: str
    hours: tuple[float, float]
    """The shortest and the longest time between the two."""
    share: float | None = None
    """Of those who may, so many take it; None: as many as the second stage expects."""


ORDERS_AFTER_VISIT = 0.05  # share of store visits that end in a web order
CALLS_OF_ORDERS = 1 / 3  # share of calls that belong to an order; the others come on their own
CALLS_AHEAD = 0.2  # share of deliveries with a call shortly ahead promised

PACKED = Turn("web_checkout", "warehouse", (1, 6))
SHIPPED = Turn("warehouse", "delivery", (24, 72))
SURVEYED = Turn("delivery", "feedback", (20, 30))
CALLED = Turn("warehouse", "call_queue", (1, 20))
SCRATCHED = Turn("warehouse", "call_queue", (1, 20), 0.015)  # the seller rings the buyer
BOUGHT = Turn("store", "web_checkout", (1, 48))

ORDER = (PACKED, SHIPPED, SURVEYED)
CHAIN = (PACKED.start, *(turn.to for turn in ORDER))
"""The stages one order passes through; without all of them there are no orders, and none can be lost."""

WINDOW, WINDOW_H = "delivery_window", 2  # promised of each order: so many hours around what is planned
CALL_AHEAD, AHEAD_H = "courier_call_ahead", 0.5  # promised of some: so many hours before the courier comes
CALL_BACK, CALL_BACK_H = "call_back", 4  # promised to some callers: within so many hours
LATE_H = (1, 24)  # after its window a late parcel comes
LATE, NOT_AHEAD, LOST = "late", "no_call_ahead", "lost"  # reasons; what is lost reaches nobody
AHEAD = {"touchpoint": "call_ahead", "initiator": "company"}
SCRATCH = {"outcome": "wow", "touchpoint": "call_back", "initiator": "company", "wait_s": 0.0}
"""The seller has seen a scratch the buyer knows nothing of, and offers a discount."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does to its stage, per unit of strength."""

    stage: str
    worse: dict[str, float]
    """Field -> the share of events in which it turns bad at strength 1."""
    outcome: str
    """The outcome of an event whose outcome turned bad."""
    reason: str
    """Its reason, when the stage has it in its list."""
    extra_arrivals: float = 0.0
    """Further arrivals at strength 1, as a multiple of the healthy ones."""


PARCEL_LOST = "parcel-lost"
LABYRINTH = "labyrinth"
CALL_BACKS_FORGOTTEN = "call-backs-forgotten"

FAULTS = {
    "checkout-payment-failure": (0.6, "checkouts that fail at the payment"),
    "call-queue-flood": (0.6, "calls that wait too long, while up to 5 times as many come"),
    "courier-late": (0.6, "deliveries that come after the promised window"),
    "store-understaffed": (0.6, "store visits that wait too long for service"),
    "warehouse-jam": (0.5, "orders that are not packed"),
    PARCEL_LOST: (0.1, "orders that are lost after the hand-over to the courier"),
    LABYRINTH: (0.1, "callers without an order who are sent from phone to chat to e-mail and back"),
    CALL_BACKS_FORGOTTEN: (
        0.6,
        "calls that promise a call-back nobody makes, and calls ahead of a delivery not made in time",
    ),
}
"""Fault -> its strength unless another is given, and what the strength is the share of."""

EFFECTS = {
    "checkout-payment-failure": Effect("web_checkout", {"outcome": 1.0}, "failed", "payment_error"),
    "call-queue-flood": Effect(
        "call_queue", {"wait_s": 1.0, "outcome": 0.4}, "abandoned", "queue_too_long", extra_arrivals=4.0
    ),
    "courier-late": Effect("delivery", {"promise.kept": 1.0}, "ok", "late"),
    "store-understaffed": Effect("store", {"wait_s": 1.0, "outcome": 0.25}, "abandoned", "long_wait"),
    "warehouse-jam": Effect("warehouse", {"outcome": 1.0}, "failed", "label_missing"),
}
BETWEEN_STAGES = {PARCEL_LOST: CHAIN, LABYRINTH: ("call_queue",), CALL_BACKS_FORGOTTEN: ("call_queue",)}
"""Fault of whole journeys -> the stages without which it would do nothing."""

ASTRAY = ("phone", "chat", "email", "phone")
"""Where a caller of `labyrinth` turns, one after the other."""
SENT_ON = Effect("call_queue", {"outcome": 1.0}, "failed", "not_solved")
GIVEN_UP = Effect("call_queue", {"outcome": 1.0, "wait_s": 1.0}, "failed", "not_solved")
