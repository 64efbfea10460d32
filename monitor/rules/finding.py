"""A change of an alert as Alertmanager or Grafana posts it in, a finding out: the same change, the same id.

What was found out is to be shared (essay 002): whoever wants to know, a chat, a data lake, a weekly meeting,
reads one topic. Both post a change again with every change of its group, so readers go by the id.
"""

import hashlib
from typing import Any

from msgspec import Struct, json

from monitor.counting.times import rfc3339
from monitor.rules.journeys import ABOUT_LABELS, OWN_LABELS

NEVER = "0001-01-01T00:00:00"
"""Go's zero time, as both write one they do not know: Alertmanager the end of an alert that was resolved
without one."""

LABELS = ("stage", "experience", "segment", *OWN_LABELS, *ABOUT_LABELS, "owner", "severity")


class Finding(Struct, omit_defaults=True):
    """A finding as it is published. `status` is `fired` or `resolved`, `time` when it was (RFC 3339).

    Where the alert does not say when, that is when it was posted: at most its group's interval later.
    `about` has the alert's labels, `links` the addresses of board, failures and runbook, `facts` what else
    the alert says, as n, bad, target and the most frequent reason.
    """

    id: str
    time: str
    alert: str
    status: str
    summary: str
    about: dict[str, str]
    facts: dict[str, str] = {}
    links: dict[str, str] = {}


def finding(alert: dict[str, Any], posted_ms: int) -> Finding:
    """The finding of one alert, posted at that time."""
    labels, said = alert["labels"], alert["annotations"]
    is_over = alert["status"] == "resolved"
    time = alert["endsAt" if is_over else "startsAt"]
    if time.startswith(NEVER):
        time = rfc3339(posted_ms)
    name = labels.get("touchpoint") or labels["alertname"]  # Grafana names an alert by its rule's title
    status = "resolved" if is_over else "fired"
    identity = [
        name,
        status,
        alert["startsAt"],
        *sorted(f"{label}={value}" for label, value in labels.items()),
    ]
    links = {key.removesuffix("_url"): text for key, text in said.items() if key.endswith("_url")}
    rest = {key: text for key, text in said.items() if not key.endswith("_url") and key != "summary"}
    return Finding(
        hashlib.sha256("\n".join(identity).encode()).hexdigest()[:32],
        time,
        name,
        status,
        said.get("summary", ""),
        {label: labels[label] for label in LABELS if label in labels},
        rest,
        links,
    )


encode = json.Encoder().encode
