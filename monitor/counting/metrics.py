"""Every metric: name, kind, labels, meaning. Generators and exposition take them from here only."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "gaugehistogram", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family. Additive over workers, unless its help says otherwise."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


# A table laid out by hand: what a metric is called on its first line, what it means below.
# fmt: off
WINDOW_EVENTS = Metric(
    "touchpoint_window_events", "gauge", ("stage", "experience", "segment", "partner", "window"),
    "Events judged for the experience in the window.",
)
WINDOW_GOOD = Metric(
    "touchpoint_window_good", "gauge", ("stage", "experience", "segment", "partner", "window"),
    "Events judged good for the experience in the window.",
)
WINDOW_OUTCOMES = Metric(
    "touchpoint_window_outcomes", "gauge", ("stage", "outcome", "window"),
    "All events of the window by outcome, judged or not.",
)
WINDOW_BEGUN = Metric(
    "touchpoint_window_begun", "gauge", ("stage", "opening", "window"),
    "Encounters that began in the window: queued or started. Shown where services say so, as are those open.",
)
OPEN_ENCOUNTERS = Metric(
    "touchpoint_open_encounters", "gauge", ("stage", "opening", "segment"),
    "Encounters that have begun and not ended: customers in the queue (queued), and being served (started).",
)
OLDEST_ENCOUNTER = Metric(
    "touchpoint_oldest_encounter_seconds", "gauge", ("stage", "opening", "segment"),
    "For how long the oldest of them has been queued, or started; take the maximum over workers.",
)
EXPECTED_WAIT = Metric(
    "touchpoint_expected_wait_seconds", "gauge", ("stage",),
    "How long who comes now will wait in this worker's part of the queue, if as many leave it as in the last "
    "5 minutes; none if none left; take the mean over workers.",
)
GIVEN_UP = Metric(
    "touchpoint_encounters_given_up", "counter", ("stage",),
    "Encounters whose end was not read within a day, or that were more than can be kept: open no more.",
)
WINDOW_REASONS = Metric(
    "touchpoint_window_reasons", "gauge", ("stage", "reason", "window"),
    "Events of the window that were bad for some experience, by the reason they give.",
)
EXPECTED = Metric(
    "touchpoint_window_expected_events", "gauge", ("stage", "window"),
    "Events the window should hold by the declared rhythm and opening hours; the same on every worker.",
)
OPEN = Metric(
    "touchpoint_stage_open", "gauge", ("stage",),
    "1 in the stage's opening hours; the same on every worker.",
)
WINDOW_DURATION = Metric(
    "touchpoint_window_duration_seconds", "gaugehistogram", ("stage", "window"),
    "How long the encounters of the window took.",
)
WINDOW_WAIT = Metric(
    "touchpoint_window_wait_seconds", "gaugehistogram", ("stage", "window"),
    "How long customers of the window waited.",
)
WINDOW_WAITS = Metric(
    "touchpoint_window_waits", "gauge", ("stage", "outcome", "window"),
    "Events of the window that tell how long the customer waited, by how they ended.",
)
WINDOW_WAITED = Metric(
    "touchpoint_window_waited_seconds", "gauge", ("stage", "outcome", "window"),
    "How long those customers waited in all. Divided by their number, all but the abandoned: the ASA.",
)
WINDOW_TOUCHPOINTS = Metric(
    "touchpoint_window_touchpoints", "gauge", ("stage", "touchpoint", "outcome", "window"),
    "Events of the window by the step within the stage (`touchpoints`) and how they ended.",
)
WINDOW_ASKED = Metric(
    "touchpoint_window_asked", "gauge", ("stage", "channel", "window"),
    "Customers who were asked for an answer in the window, by channel.",
)
WINDOW_ANSWERS = Metric(
    "touchpoint_window_answers", "gauge", ("stage", "kind", "class", "channel", "segment", "window"),
    "Answers of the window: NPS promoter 9-10, passive 7-8, detractor 0-6; CSAT good 4-5 of 5, other; CES "
    "easy 5-7 of 7, other. Of staff by whole blocks of 5 who answered.",
)
WINDOW_SPREAD_EVENTS = Metric(
    "touchpoint_window_spread_events", "gauge", ("stage", "experience", "by", "name", "window"),
    "Events judged for the experience in the window, by channel and by location.",
)
WINDOW_SPREAD_GOOD = Metric(
    "touchpoint_window_spread_good", "gauge", ("stage", "experience", "by", "name", "window"),
    "Events judged good for the experience in the window, by channel and by location.",
)
WINDOW_TOOL = Metric(
    "touchpoint_window_tool_seconds", "gauge", ("stage", "window"),
    "Time that encounters of the window waited for the tools of whoever served, where both times are known.",
)
WINDOW_TOOL_OF = Metric(
    "touchpoint_window_tool_of_seconds", "gauge", ("stage", "window"),
    "How long those encounters took in all, the wait for tools included.",
)
WINDOW_HIT = Metric(
    "touchpoint_window_journeys_hit", "gauge", ("stage", "segment", "window"),
    "Journeys whose first bad encounter with the stage was in the window.",
)
WINDOW_JOURNEYS = Metric(
    "touchpoint_window_journeys", "gauge", ("result", "segment", "window"),
    "Journeys over in the window: they met or missed their goal, or were a visit, which has none.",
)
WINDOW_SCORES = Metric(
    "touchpoint_window_journey_scores", "gauge", ("score", "segment", "window"),
    "Journeys over in the window by score, that of their weakest encounter: at most this; 1 is all good.",
)
WINDOW_WEAKEST = Metric(
    "touchpoint_window_weakest", "gauge", ("stage", "segment", "window"),
    "Journeys over in the window whose weakest encounter was at the stage; none of those where all was good.",
)
WINDOW_FAILED = Metric(
    "touchpoint_window_failed_journeys", "gauge", ("cause", "about", "segment", "window"),
    "Journeys over in the window that missed their goal, by what failed them: hand-over, promise or stage.",
)
WINDOW_PROMISES = Metric(
    "touchpoint_window_promises", "gauge", ("kind", "partner", "result", "window"),
    "Promises due in the window, and what became of each: kept, early, broken, late or missed; beside that "
    "those rescheduled, and word of what nobody had promised (unpromised).",
)
WINDOW_HANDOFFS = Metric(
    "touchpoint_window_handoffs", "gauge", ("sender", "receiver", "partner", "result", "window"),
    "What was handed over between two stages: sent; received; lost, not received in time; late, after that.",
)
WINDOW_CONTACTS = Metric(
    "touchpoint_window_contacts", "gauge", ("stage", "contact", "window"),
    "Contacts of customers in the window: the first of a case (`case_id`, else the journey), or a repeat "
    "within 7 days of an earlier one.",
)
WINDOW_MOVES = Metric(
    "touchpoint_window_channel_moves", "gauge", ("from_channel", "to_channel", "window"),
    "Changes of channel in journeys over in the window.",
)
WINDOW_LABYRINTHS = Metric(
    "touchpoint_window_labyrinths", "gauge", ("segment", "window"),
    "Journeys over in the window that went astray: back to a channel left, or 3 changes, and not solved.",
)
WINDOW_LOST = Metric(
    "touchpoint_window_lost_between", "gauge", ("from_channel", "to_channel", "window"),
    "The last change of channel of the journeys that went astray.",
)
WINDOW_NOTICED = Metric(
    "touchpoint_window_noticed", "gauge", ("by", "window"),
    "Journeys over in the window in which something went wrong, by who spoke first after that.",
)
WINDOW_FIXABLE = Metric(
    "touchpoint_window_fixable_journeys", "gauge", ("fix", "also", "window"),
    "Bad journeys over in the window that would have been good had one stage, hand-over or promise been good "
    "(also: none), or had two.",
)
WINDOW_CRITICAL = Metric(
    "touchpoint_window_critical", "gauge", ("stage", "cell", "window"),
    "Answered journeys over in the window: bad or ok at the stage, detractor or other.",
)
WINDOW_GAP = Metric(
    "touchpoint_window_gap", "gauge", ("stage", "cell", "window"),
    "Answered journeys over in the window: what the stage says of itself inside, what the customer outside.",
)
OPEN_JOURNEYS = Metric(
    "touchpoint_open_journeys", "gauge", (),
    "Journeys under way.",
)
JOURNEYS_BYTES = Metric(
    "touchpoint_journeys_bytes", "gauge", (),
    "Memory that the journeys kept by this worker take.",
)
JOURNEYS_MAX_BYTES = Metric(
    "touchpoint_journeys_max_bytes", "gauge", (),
    "Memory that they may take (TOUCHPOINT_JOURNEYS_MB): from 90 % on no journey is begun, at 100 % no step "
    "taken.",
)
OVERDUE = Metric(
    "touchpoint_overdue", "gauge", ("what", "partner", "age"),
    "Promises and hand-overs of journeys under way that are past their time, by for how long at most.",
)
JOURNEYS_JUDGED = Metric(
    "touchpoint_journeys_judged_timestamp_seconds", "gauge", ("partition",),
    "Event time up to which the journeys of the partition are judged, a minute behind the present when all "
    "is well; 0 until every partition of every stage has been heard of.",
)
TARGET = Metric(
    "touchpoint_target_ratio", "gauge", ("stage", "experience", "segment"),
    "Share of events that must be good, from the journey file; the same on every worker.",
)
LAST_EVENT = Metric(
    "touchpoint_last_event_timestamp_seconds", "gauge", ("stage", "partner"),
    "Event time of the newest event that this worker, or who owned its partitions before, has counted, to "
    "5 min; take the maximum over workers.",
)
RECORDS = Metric(
    "touchpoint_records", "counter", ("topic", "result"),
    "Records read by result: counted; late (counted too, more than a minute behind); duplicate; refused. "
    "On the topic of steps, of each step: counted; late (counted too, its journey was over); duplicate; "
    "refused (its journey or the memory for journeys is full); skipped (its record is none of ours, or our "
    "code failed on it).",
)
DEAD_LETTERS = Metric(
    "touchpoint_dead_letters", "counter", ("topic", "reason"),
    "Records refused to the dead-letter topic of the source topic, by reason.",
)
EVENT_LAG = Metric(
    "touchpoint_event_lag_seconds", "gauge", ("topic", "partition"),
    "Age of the last record read while more are waiting, or for how long these have waited behind an open "
    "transaction; 0 when none is.",
)
CONSUMER_LAG = Metric(
    "touchpoint_consumer_lag_records", "gauge", ("topic", "partition"),
    "Records up to the partition's high watermark that have not been read yet.",
)
POSITION = Metric(
    "touchpoint_consumer_position", "gauge", ("topic", "partition"),
    "Offset up to which the partition is counted, once this worker has read from it. What the group has "
    "committed is written too, and may lie 200,000 records behind.",
)
OPEN_TRANSACTION = Metric(
    "touchpoint_open_transaction_seconds", "gauge", ("topic", "partition"),
    "For how long records of the partition have waited behind an open transaction, unread; 0 when none do.",
)
WHOLE_SINCE = Metric(
    "touchpoint_windows_whole_since_timestamp_seconds", "gauge", ("topic", "partition"),
    "Event time since when windows hold all of the partition's events, for 7 days after its changelog was "
    "deleted and its counts were lost. None where windows are whole.",
)
PARTITIONS = Metric(
    "touchpoint_partitions", "gauge", (),
    "Partitions of all stages' topics; the same on every worker.",
)
OWNED = Metric(
    "touchpoint_partitions_owned", "gauge", (),
    "Partitions this worker counts; over all workers that is every one, or something is not counted.",
)
LAST_CHANGE = Metric(
    "touchpoint_last_change_timestamp_seconds", "gauge", ("stage", "kind", "title"),
    "When the latest change (deploy, incident) of the stage was; the same on every worker.",
)
READY = Metric(
    "touchpoint_ready", "gauge", (),
    "1 when this worker's partitions are assigned and recovered; window metrics are withheld until then.",
)
CLOCK = Metric(
    "touchpoint_clock_timestamp_seconds", "gauge", (),
    "What this worker's clock says: windows and lag are as of then.",
)
BUILD = Metric(
    "touchpoint_build", "info", ("version", "journey"),
    "Version of the monitor and name of the journey.",
)
# fmt: on

METRICS = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every one of them."""

# Series that Prometheus records from these (`promql.recordings`), additive no more. Each with what it is,
# its labels, and its unit where it is no count. Segment `all` is everybody.

EVENTS_SUM = "stage:touchpoint_window_events:sum"
"""Events judged; stage, experience, segment, window."""
BAD_SUM = "stage:touchpoint_window_bad:sum"
"""Of those, bad; stage, experience, segment, window."""
BAD_RATIO = "stage:touchpoint_window_bad:ratio"
"""Share of the judged that was bad, none without events; stage, experience, segment, window; 0 to 1."""
BAD_WILSON = "stage:touchpoint_window_bad:wilson_lower"
"""At least this is bad, to the degree of `measures.Z`; stage, experience, segment, window; 0 to 1."""
BAD_WILSON_FAST = "stage:touchpoint_window_bad:wilson_lower_fast"
"""The same to the degree of `limits.FAST_Z`, for what is asked every few seconds."""
OUTCOMES_SUM = "stage:touchpoint_window_outcomes:sum"
"""All events, judged or not; stage, window."""
ATTAINMENT = "stage:touchpoint_attainment:ratio"
"""Share that was good, divided by its target; stage, experience, segment, window; 1 meets the target."""
DEGRADED = "stage:touchpoint_degraded:ratio"
"""The bad ratio where a limit is crossed, asked only while the monitor is not blind; stage, experience,
segment, window, severity, target; 0 to 1."""
REASON = "stage:touchpoint_degraded:unexplained_ratio"
"""A reason to alert (no `reason` of events): what of DEGRADED nothing else explains; its labels; 0 to 1."""
BELOW = "stage:touchpoint_recovered:margin"
"""How far the bad ratio of a window lies below where an alert is over, where that is sure
(`rules.limits.Recovery`), times the root of its events, or, where it has surely fallen, the ratio itself;
labels of DEGRADED."""
STILL_BAD = "stage:touchpoint_recovered:bad_ratio"
"""The bad ratio of a window that is above where an alert is over; labels of DEGRADED; 0 to 1."""
ONGOING = "stage:touchpoint_recovered:ongoing_events"
"""Events in the widest window that is asked, where an alert is not surely over by the narrowest window, or
by all (`window` is the widest); labels of DEGRADED."""
STOPPED = "stage:touchpoint_recovered:few_bad"
"""What is bad in a window in which far more was expected (`rules.limits.stopped`), else no series; labels of
BAD_SUM but `window`."""
GOING = "stage:touchpoint_degraded:going"
"""What was a reason to alert and is not over; labels of DEGRADED but window and target."""
WORST = "stage:touchpoint_degraded:worst_ratio"
"""The one experience and segment that an alert names from its beginning to its end, in its worst window when
its limit was last crossed; labels of DEGRADED; 0 to 1."""
WORST_EVENTS = "stage:touchpoint_degraded:events"
"""Events judged in WORST's window when its limit was last crossed; labels of WORST."""
WORST_BAD = "stage:touchpoint_degraded:bad"
"""Of those, bad; labels of WORST."""
WORST_REASON = "stage:touchpoint_degraded:reason"
"""Events of the stage's most frequent reason then; labels of WORST, reason."""
WORST_SEGMENT = "stage:touchpoint_degraded:segment"
"""Bad events of the segment with most of them then; labels of WORST, hits (that segment)."""
WORST_CHANGE = "stage:touchpoint_degraded:last_change_timestamp_seconds"
"""CHANGED of the stage; labels of WORST, title; Unix time in seconds."""
CHANGED = "stage:touchpoint_last_change:timestamp_seconds"
"""When the latest change was, of the stage or of all stages; stage, kind, title; Unix time in seconds."""
CRITICAL_SHARE = "stage:touchpoint_critical:share"
"""Of the bad answers of the last 7 days the share that would not be, were the stage never bad, where this is
so much that the stage's tickets become pages, else no series; stage; 0 to 1."""
SILENT = "stage:touchpoint_silent:expected"
"""Events that were expected where none came, else no series; stage, window."""
SILENT_REASON = "stage:touchpoint_silent:unexplained_expected"
"""Of SILENT what nothing else explains, a reason to alert, until it is over; its labels."""
STILL_SILENT = "stage:touchpoint_silent:few_events"
"""Events in the narrowest window that expects enough, where they are next to none and nothing else explains
it; stage, window."""
PARTNER_EVENTS_SUM = "stage:touchpoint_partner_events:sum"
"""Events judged, by the experience that judges most; stage, partner, window."""
PARTNER_SILENT = "stage:touchpoint_partner_silent:expected"
"""Events of a partner that were expected where none came, though others' did, else no series; stage, partner,
window."""
PARTNER_REASON = "stage:touchpoint_partner_silent:going_expected"
"""PARTNER_SILENT until it is over; its labels."""
PARTNER_STILL_SILENT = "stage:touchpoint_partner_silent:few_events"
"""Events of a partner in the narrowest window that expects enough, where they are next to none; stage,
partner, window."""
TROUBLE = "stage:touchpoint_trouble:count"
"""What the stage would page for now or did up to `plan.EXPLAINS_S` ago, suppressed or not, else no
series; stage."""
BLIND = "touchpoint:blind:count"
"""What hides events from the monitor, else no series; cause (`rules.monitor.CAUSES`), stage."""
BLIND_LATELY = "touchpoint:blind_lately:count"
"""How often BLIND hid a stage's events within the window and `plan.SETTLE_S` before it, else no series;
stage, window."""


ALERTS = "ALERTS"
"""The series Prometheus writes of its own about alerts."""
