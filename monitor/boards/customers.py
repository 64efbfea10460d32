"""The board of customers' whole journeys: what the stages, each good by itself, add up to for one person.

Journeys are counted when they are over, so most of it looks back a day; what is hit or overdue is of now.
"""

from collections.abc import Iterator

from monitor.boards.panels import (
    COUNT,
    FEW_COUNTED,
    WIDTH,
    Json,
    bars,
    heading,
    high_is_bad,
    names,
    now,
    override,
    query,
    rows,
    stat,
    titled,
)
from monitor.boards.parts import UNKNOWN, cells
from monitor.boards.tables import ABSENT, COLORED, table, tall_enough, tall_for_bars, values
from monitor.boards.titles import partner_titles, segment_titles, stage_titles
from monitor.counting import metrics
from monitor.journey_file.model import NONE
from monitor.journeys.closing import ASTRAY_MOVES
from monitor.journeys.counters import FIXES_TOLD, fixable, promise_partners
from monitor.rules.critical import MIN_BAD, MIN_DETRACTORS
from monitor.rules.plan import Plan
from monitor.rules.series import select

WINDOW, WEEK = "1d", "7d"

FEW = "too few"


def panels(plan: Plan) -> Iterator[Json]:
    """From the outcome to its causes."""
    yield from _outcome(plan)
    yield from _encounters(plan)
    yield from _promises(plan)
    yield from _critical(plan)
    yield from _labyrinth()


def _sum(metric: metrics.Metric, by: str = "", **labels: str | tuple[str, ...]) -> str:
    """A metric of the last day, over workers."""
    return f"sum{by} ({select(metric.name, **labels, window=WINDOW)})"


def _outcome(plan: Plan) -> Iterator[Json]:
    met, missed = (_sum(metrics.WINDOW_JOURNEYS, result=result) for result in ("met", "missed"))
    yield stat(
        "Journeys that met their goal, last day",
        "Of the journeys over in the last day that had a goal, how many met it. 100 % is best. One that runs "
        "out of time has missed it.",
        query(f"{met} / ({met} + {missed} > 0)", "goal met"),
        unit="percentunit",
        size=(6, 5),
    )
    good = _sum(metrics.WINDOW_SCORES, score="1")
    yield stat(
        "Journeys without one bad encounter, last day",
        "An experience is exactly as good as its weakest encounter: of the journeys over in the last day, "
        "how many had not a single bad one. More is better.",
        query(f"{good} / ({_sum(metrics.WINDOW_SCORES)} > 0)", "all good"),
        unit="percentunit",
        size=(6, 5),
    )
    yield stat(
        "Journeys under way",
        "Customers whose journey has begun and is not over. Neither many nor few is good; a jump is news.",
        query(f"sum({metrics.OPEN_JOURNEYS.name})", "under way"),
        unit=COUNT,
        size=(6, 5),
        graphMode="area",
        nothing=UNKNOWN,
    )
    kinds = tuple(f"promise/{kind}" for kind in promise_partners(plan.journey))
    overdue = select(metrics.OVERDUE.name, what=kinds)
    yield stat(
        "Promises overdue now",
        "Promises to customers under way whose time has passed without a word. None is good.",
        query(f"sum({overdue}) or 0 * sum({metrics.OPEN_JOURNEYS.name})", "overdue"),
        unit=COUNT,
        size=(6, 5),
        steps=high_is_bad(1, 20),
        graphMode="area",
        nothing=UNKNOWN,
    )


def _encounters(plan: Plan) -> Iterator[Json]:
    stages = stage_titles(plan)
    size = (8, tall_for_bars(len(plan.journey.stages), 9))
    yield heading("The weakest encounter")
    hit = select(metrics.WINDOW_HIT.name, window="5m")
    yield bars(
        "Journeys hit, last 5 minutes",
        "Customers who met their first bad encounter with a stage in the last 5 minutes. None is best.",
        now(f"sort_desc(sum by (stage) ({hit}))", "{{stage}}"),
        unit=COUNT,
        size=size,
        overrides=titled(stages),
    )
    weakest = _sum(metrics.WINDOW_WEAKEST, " by (stage)")
    yield bars(
        "Where the weakest encounter was, last day",
        "Of the journeys over in the last day that were not all good, where their weakest encounter was. The "
        "longest bar is where mending helps most people; none is best.",
        now(f"sort_desc({weakest})", "{{stage}}"),
        unit=COUNT,
        size=size,
        overrides=titled(stages),
    )
    met, missed = (
        _sum(metrics.WINDOW_JOURNEYS, " by (segment)", result=result) for result in ("met", "missed")
    )
    yield table(
        "By segment, last day",
        "Journeys over in the last day whose goal was met, and how many missed it. Good is the same high "
        "share for everybody.",
        {"segment": "Segment", **values("Goal met", "Missed")},
        rows(f"{met} / ({met} + {missed})"),
        rows(missed),
        unit="percentunit",
        size=(8, max(9, tall_enough(1 + len(plan.journey.segments)))),
        overrides=[
            override("segment", mappings=names(segment_titles(plan))),
            override("Value #B", unit=COUNT, decimals=0),
        ],
    )
    worth = f"sum by (fix, also) ({select(metrics.WINDOW_FIXABLE.name, window=WEEK)})"
    things = fixable(plan.journey)
    yield table(
        "Fixes worth most",
        "Journeys over in the last 7 days that would have been good had this been good, and all else as it "
        "was; of a pair, had both been. Few are good. What more than two things made bad is in no row.",
        {"fix": "Fix", "also": "Together with", "Value": "Journeys a week"},
        rows(f"sort_desc(topk({FIXES_TOLD}, {worth} > 0))"),
        unit=COUNT,
        size=(24, tall_enough(FIXES_TOLD)),
        overrides=[
            override("fix", mappings=names(things)),
            override("also", mappings=names({NONE: ABSENT, **things})),
        ],
    )


def _promises(plan: Plan) -> Iterator[Json]:
    yield heading("Promises and hand-overs")
    partners = override("partner", mappings=names(partner_titles(plan)))
    stages = names(stage_titles(plan))
    kinds = {kind: _spoken(kind) for kind in promise_partners(plan.journey)}
    by = " by (kind, partner)"
    due = _sum(metrics.WINDOW_PROMISES, by, result="due")
    counts = [_sum(metrics.WINDOW_PROMISES, by, result=result) for result in ("late", "broken", "missed")]
    kept = _sum(metrics.WINDOW_PROMISES, by, result="kept")
    yield table(
        "Promises that fell due, last day",
        "By kind and partner: how many fell due and what share was kept by then; how many came late, were "
        "called off, or never came. 100 % kept is best.",
        {"kind": "Promise", "partner": "Partner", **values("Due", "Kept", "Late", "Called off", "Never")},
        rows(f"{due} > 0"),
        rows(f"{kept} / ({due} > 0)"),
        *(rows(f"{one} and {due} > 0") for one in counts),
        unit=COUNT,
        size=(WIDTH, 8),
        overrides=[
            override("kind", mappings=names(kinds)),
            partners,
            override("Value #B", unit="percentunit", decimals=1),
        ],
    )
    by = " by (sender, receiver, partner)"
    sent = _sum(metrics.WINDOW_HANDOFFS, by, result="sent")
    lost = _sum(metrics.WINDOW_HANDOFFS, by, result="lost")
    yield table(
        "Hand-overs, last day",
        "What one stage handed over to the next, and how many were not received in time. None lost is good.",
        {"sender": "From", "receiver": "To", "partner": "Partner", **values("Sent", "Lost")},
        rows(f"{sent} > 0"),
        rows(f"{lost} and {sent} > 0"),
        unit=COUNT,
        size=(WIDTH, 8),
        overrides=[
            override("sender", mappings=stages),
            override("receiver", mappings=stages),
            partners,
            override("Value #B", **COLORED, thresholds=high_is_bad(1, 20)),
        ],
    )
    yield table(
        "Overdue now, by age",
        "Promises and hand-overs of journeys under way whose time has passed, by for how long at most. No "
        "row is good. Most first.",
        {"what": "What", "partner": "Partner", "age": "For at most", "Value": "How many"},
        rows(f"sort_desc(sum by (what, partner, age) ({metrics.OVERDUE.name}))"),
        unit=COUNT,
        size=(WIDTH, 7),
        overrides=[override("what", mappings=names(_overdue_titles(plan))), partners],
    )


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _overdue_titles(plan: Plan) -> dict[str, str]:
    """What can be overdue, in words."""
    titles = stage_titles(plan)
    edges = plan.journey.journeys.edges if plan.journey.journeys is not None else ()
    promises = {f"promise/{kind}": f"promise: {_spoken(kind)}" for kind in promise_partners(plan.journey)}
    ways = {(one.sender, one.receiver): f"{titles[one.sender]} to {titles[one.receiver]}" for one in edges}
    return promises | {f"handoff/{'/'.join(way)}": f"hand-over: {told}" for way, told in ways.items()}


def _critical(plan: Plan) -> Iterator[Json]:
    height = tall_enough(len(plan.journey.stages))
    yield heading("What weighs most on satisfaction")
    a, b, c, d = (
        _sum(metrics.WINDOW_CRITICAL, " by (stage)", cell=cell)
        for cell in ("bad_detractor", "bad_other", "ok_detractor", "ok_other")
    )
    enough = f"({a} + {b} >= {MIN_BAD}) and ({a} + {c} >= {MIN_DETRACTORS})"
    share = f"({a} + {c}) / ({a} + {b} + {c} + {d})"
    every = f"({a} + {b}) * ({c} + {d}) * ({a} + {c}) * ({b} + {d})"
    yield table(
        "Critical touchpoints, last day",
        "Of customers who answered: how much more often those who had a bad encounter at the stage speak ill "
        "of us (lift, 1 is no more often), how closely that goes together (φ, 0 not at all), and the share "
        "of all who do that would not, were the stage never "
        f"bad. Good is a lift near 1. From {MIN_BAD} bad journeys and {MIN_DETRACTORS} unhappy customers on; "
        "it goes together, which does not prove a cause.",
        {"stage": "Stage", **values("Lift", "Share", "φ", "Bad journeys")},
        rows(f"({a} / ({a} + {b})) / ({share}) and {enough} or ({a} + {b}) * NaN"),
        rows(f"1 - ({c} / ({c} + {d})) / ({share}) and {enough} or ({a} + {b}) * NaN"),
        rows(f"({a} * {d} - {b} * {c}) / sqrt({every}) and {enough} or ({a} + {b}) * NaN"),
        rows(f"{a} + {b}"),
        unit=COUNT,
        size=(14, height),
        nothing=FEW_COUNTED,
        missing=FEW,
        field={"decimals": 2},
        overrides=[
            *cells(plan)[:1],
            override("Value #B", unit="percentunit", decimals=0),
            override("Value #D", decimals=0),
        ],
    )
    gap = _sum(metrics.WINDOW_GAP, " by (stage)", cell="ok_inside_bad_outside")
    everyone = _sum(metrics.WINDOW_GAP, " by (stage)")
    yield table(
        "Fine inside, bad outside, last day",
        "Of customers who answered: how often the stage says of itself that all went well while the customer "
        "speaks ill of us. 0 % is best: what we believe is what they feel.",
        {"stage": "Stage", **values("Share", "Customers")},
        rows(f"{gap} / ({everyone} > 0)"),
        rows(f"{gap} and {everyone} > 0"),
        unit="percentunit",
        size=(10, height),
        overrides=[*cells(plan)[:1], override("Value #B", unit=COUNT, decimals=0)],
    )


def _labyrinth() -> Iterator[Json]:
    yield heading("Where people get lost")
    over = _sum(metrics.WINDOW_JOURNEYS)
    yield stat(
        "Journeys that went astray, last day",
        f"Back to a channel already left, or {ASTRAY_MOVES} changes of channel, and no solution. 0 % is "
        "best.",
        query(f"{_sum(metrics.WINDOW_LABYRINTHS)} / ({over} > 0)", "astray"),
        unit="percentunit",
        size=(6, 8),
        steps=high_is_bad(0.01, 0.05),
    )
    repeats, contacts = _sum(metrics.WINDOW_CONTACTS, contact="repeat"), _sum(metrics.WINDOW_CONTACTS)
    yield stat(
        "Contacts that were repeats, last day",
        "Of the contacts of the last day, those of a case with an earlier one within 7 days: the first did "
        "not solve it. 0 % is best.",
        query(f"{repeats} / ({contacts} > 0)", "repeats"),
        unit="percentunit",
        size=(6, 8),
        steps=high_is_bad(0.2, 0.4),
    )
    ours = f"sum ({select(metrics.WINDOW_NOTICED.name, by='company', window=WINDOW)})"
    noticed = _sum(metrics.WINDOW_NOTICED)
    yield stat(
        "Customers with a bad encounter, last day",
        "Of journeys with a bad encounter, how often we spoke to the customer before they had to call, and "
        "how many there were. 100 % is best.",
        query(f"{ours} / ({noticed} > 0)", "of them we spoke to first"),
        query(noticed, "had one"),
        unit="percentunit",
        size=(6, 8),
        textMode="value_and_name",
        overrides=[override("had one", unit=COUNT, decimals=0)],
    )
    lost = _sum(metrics.WINDOW_LOST, " by (from_channel, to_channel)")
    moved = _sum(metrics.WINDOW_MOVES, " by (from_channel, to_channel)")
    yield table(
        "Between which channels, last day",
        "Changes of channel, and the last one of those who went astray: where people get lost, most first. "
        "None astray is good.",
        {"from_channel": "From", "to_channel": "To", **values("Astray", "Changes")},
        rows(f"sort_desc({lost} and {moved} > 0)"),
        rows(f"{moved} > 0"),
        unit=COUNT,
        size=(6, 8),
        overrides=[
            override("Value #A", **COLORED, thresholds=high_is_bad(1, 20)),
        ],
    )
