"""Alerts on the monitor itself: it is blind, it refuses or skips events, and the one that always fires."""

from monitor.counting import metrics
from monitor.counting.event import Reason
from monitor.journey_file import links
from monitor.journey_file.model import STEPS_TOPIC, Journey, Stage
from monitor.rules.facts import (
    Alert,
    Asked,
    Fact,
    Own,
    fill,
    literal,
    named,
    of_its_stage,
    stage_labels,
    stage_links,
)
from monitor.rules.plan import JOURNEYS_LAG_S, LAG_S
from monitor.rules.promql import UNJUDGED
from monitor.rules.series import Values, grown, select, with_stage

BLIND_FOR_S = 60
"""While partitions move to another worker nobody counts for some seconds, up to a minute with many."""

TICKET_WINDOW = "3d"
"""For what is told when it has happened once. A ticket waits for working hours: from Friday evening to Monday
morning are 60 hours."""

LETTERS_WINDOW = "10m"
LETTERS_LEAST = 10
LETTERS_SHARE = "0.01"
"""A service that sends one bad record in a hundred, and more than a handful."""

OUR_REASONS = (Reason.UNREADABLE, Reason.UNPROCESSABLE)
"""Nothing that a sender sees: one such letter is enough."""


LETTERS_SUMMARY = f"{{title}}: {{n}} events refused in {LETTERS_WINDOW}, of {{read}} read.{{ours}}"


def dead_letters(journey: Journey, stage: Stage) -> Alert:
    """Events of a stage that are refused, more than a few."""
    topic = stage.topic
    refused = f'{metrics.DEAD_LETTERS.name}_total{{topic="{topic}", reason!="{Reason.TOMBSTONE}"}}'
    read = select(f"{metrics.RECORDS.name}_total", topic=topic, result=READ)
    letters, records = (f"sum({grown(one, LETTERS_WINDOW)})" for one in (refused, read))
    reasons = f"sum by (reason) ({grown(refused, LETTERS_WINDOW)})"
    ours = select(f"{metrics.DEAD_LETTERS.name}_total", topic=topic, reason=OUR_REASONS)
    many = f"({letters} >= {LETTERS_LEAST} and {letters} > {LETTERS_SHARE} * {records})"
    of_ours = f"topk(1, sum by (reason) ({grown(ours, TICKET_WINDOW)}) > 0)"
    most = f"{reasons} > 0 or ({of_ours} unless on () {letters} > 0)"
    return Alert(
        "DeadLettersRising",
        with_stage(f"({many} or sum({of_ours}))", stage),
        stage_labels(stage, "ticket"),
        {
            "summary": fill(LETTERS_SUMMARY, title=stage.title),
            "description": (
                f"Most frequent reason: {{reason}}. `touchpoint dead-letters list --stage {stage.name}` "
                "shows them; mended ones can be sent back, each once."
            ),
            **named("n", "reason"),
            **stage_links(journey, stage, "DeadLettersRising"),
        },
        of_its_stage(
            {
                "n": Asked(with_stage(letters, stage)),
                "read": Asked(with_stage(records, stage)),
                "reason": Asked(with_stage(f"topk(1, {most})", stage), label="reason", text="{label}"),
                "ours": Asked(
                    with_stage(of_ours, stage),
                    label="reason",
                    text=f" In {TICKET_WINDOW} {{label}}: {{value}}.",
                    otherwise="",
                ),
            }
        ),
    )


READ = ("counted", "duplicate", "refused")
"""Results of records that add up to all that were read; `late` ones are counted too."""

CAUSES = {
    "no_worker": "No worker answers",
    "scrape_failed": "A worker cannot be scraped",
    "not_ready": "A worker is not ready: not assigned, not recovered, or not committing",
    "not_counted": "Partitions that no worker counts",
    "clock": f"The clock of a worker that counts is more than {LAG_S} s off that of Prometheus",
    "lag": f"A worker is more than {LAG_S} s behind its events",
    "open_transaction": "Records wait behind an open transaction",
    "held_up": f"Journeys are judged as of more than {JOURNEYS_LAG_S // 60} min ago",
}


def monitor_blind(journey: Journey) -> Alert:
    """What keeps the monitor from judging stages or journeys."""
    causes = "".join(f"{{{cause}}}" for cause in CAUSES)
    return Alert(
        "MonitorBlind",
        f"max by (stage) ({metrics.BLIND})",
        {"severity": "page", "owner": "touchpoint-monitor"},
        {
            "summary": f"Monitor fault (stage {{stage}}):{causes} {{held_back}}",
            "cause": causes,
            "dashboard_url": literal(f"{journey.links.grafana}{links.board(links.MONITOR_BOARD)}"),
            "runbook_url": literal(links.runbook(journey, "MonitorBlind")),
        },
        _blind_facts,
        BLIND_FOR_S,
        links.MONITOR_BOARD,
    )


def _blind_facts(stage: Values) -> dict[str, Fact]:
    def blind(*causes: str) -> str:
        return f"max by (stage) ({select(metrics.BLIND, cause=causes, stage=stage)})"

    told = {
        cause: Asked(blind(cause), text=f" {text} ({cause}).", otherwise="") for cause, text in CAUSES.items()
    }
    blocked = select(metrics.BLIND, cause="open_transaction", stage=stage)
    told["open_transaction"] = Asked(
        f"topk by (stage) (1, {blocked})",
        label="partition",
        text=f" {CAUSES['open_transaction']}, partition {{label}} (open_transaction).",
        otherwise="",
    )
    held_back = Asked(
        blind(*UNJUDGED), text="Alerts on stages are held back.", otherwise="Stages are judged all the same."
    )
    return {"stage": Own("stage"), "held_back": held_back, **told}


ROOM_SHARE = "0.75"
"""From `touchpoint_journeys_max_bytes` * 0.9 on no journey is begun: there is time left to make room."""


def journeys_full(journey: Journey) -> Alert:
    """A worker that will soon refuse steps of journeys for want of memory."""
    share = f"topk(1, {metrics.JOURNEYS_BYTES.name} / {metrics.JOURNEYS_MAX_BYTES.name})"
    return Alert(
        "JourneysFull",
        f"max({share}) > {ROOM_SHARE}",
        {"severity": "ticket", "owner": "touchpoint-monitor"},
        {
            "summary": (
                "Open journeys take {share} of the memory that a worker may give them. From 90% on no "
                "journey is begun, at 100% no step is taken."
            ),
            **named("share"),
            "dashboard_url": literal(f"{journey.links.grafana}{links.board(links.MONITOR_BOARD)}"),
            "runbook_url": literal(links.runbook(journey, "JourneysFull")),
        },
        of_its_stage({"share": Asked(share, "share")}),
        board=links.MONITOR_BOARD,
    )


def steps_skipped(journey: Journey) -> Alert:
    """Records on the topic of steps that are none of ours, or that our code failed on: one is enough."""
    records = f'{metrics.RECORDS.name}_total{{topic=~".+-{STEPS_TOPIC}", result="skipped"}}'
    most = f"topk(1, sum by (topic) ({grown(records, TICKET_WINDOW)}) > 0)"
    return Alert(
        "StepsSkipped",
        f"max({most})",
        {"severity": "ticket", "owner": "touchpoint-monitor"},
        {
            "summary": f"Records skipped on {{topic}} in {TICKET_WINDOW}: {{n}}. Journeys lack them.",
            "description": (
                "Somebody else writes to this topic, or the monitor failed on a step of its own. A worker's "
                "log names them with partition and offset, ten at a time: look for `is skipped`."
            ),
            **named("n", "topic"),
            "dashboard_url": literal(f"{journey.links.grafana}{links.board(links.MONITOR_BOARD)}"),
            "runbook_url": literal(links.runbook(journey, "StepsSkipped")),
        },
        of_its_stage(
            {
                "n": Asked(most),
                "topic": Asked(most, label="topic", text="{label}"),
            }
        ),
        board=links.MONITOR_BOARD,
    )


def watchdog(journey: Journey) -> Alert:
    """Always on."""
    return Alert(
        "Watchdog",
        "vector(1)",
        {"severity": "heartbeat", "owner": "touchpoint-monitor"},
        {
            "summary": "Always firing: whoever stops hearing it knows that alerting itself is broken.",
            "runbook_url": literal(links.runbook(journey, "Watchdog")),
        },
        board=links.MONITOR_BOARD,
    )
