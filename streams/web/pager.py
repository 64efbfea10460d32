"""A webhook receiver that prints each change of an alert once, and says when the heartbeat stops.

For trying out, and for whoever has no pager yet: Alertmanager and Grafana post the same JSON. `/page`,
`/ticket` and `/finding` are printed, and published as findings where that is asked for; `/heartbeat` is the
alert that always fires, so its absence is what is told. Both post an alert again with every change of its
group, and as a reminder after hours: that is no change. Grafana reports a rule that it could not ask under
the labels of that rule: this says nothing of a stage, so it is told once for all rules, and is no finding.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from monitor.errors import UserError
from monitor.rules.finding import encode, finding
from streams.clock import now_ms
from streams.terminal import printable

HEARTBEAT_S = 180.0
"""Three heartbeats, each a minute apart."""

MAX_BYTES = 4 * 1024 * 1024

REMEMBERED = 10_000
"""Alerts whose state is known; a journey has some hundred. One forgotten would be printed once more."""

LINKS = {
    "board": "dashboard_url",
    "failures": "failures_url",
    "runbook": "runbook_url",
    "and": "alert_runbook_url",
}
"""What is printed below an alert, and the annotation that holds it."""

UNASKED = ("DatasourceError", "DatasourceNoData")
"""What Grafana calls the alert of a rule whose queries failed, or that gave nothing where they must."""

Share = Callable[[bytes], Awaitable[None]]
"""Publishes a finding; UserError when it was not taken."""


class Pages:
    """The receiver; `tell` gets a text of some lines for each change of an alert, `share` its finding."""

    def __init__(self, tell: Callable[[str], None], share: Share | None = None) -> None:
        self._tell = tell
        self._share = share
        self._known: OrderedDict[tuple[object, ...], tuple[str, object]] = OrderedDict()
        self._unasked: set[tuple[object, ...]] = set()
        self._beat = asyncio.Event()
        self._broken = asyncio.Event()
        self._error: UserError | None = None

    async def serve(self, address: str, stop: asyncio.Event) -> None:
        """Answer on HOST:PORT until `stop` is set; UserError when it cannot, or a finding was not taken."""
        host, _, port = address.rpartition(":")
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_post("/{severity:page|ticket|finding|heartbeat}", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        watching = asyncio.create_task(self._watch())
        try:
            site = web.TCPSite(runner, host.strip("[]"), int(port))
            try:
                await site.start()
            except OSError as error:
                raise UserError(f"cannot listen on {address}: {error.strerror or error}") from None
            self._tell(f"waiting for alerts on http://{host}:{runner.addresses[0][1]}")
            ends = [asyncio.create_task(one.wait()) for one in (stop, self._broken)]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for one in ends:
                one.cancel()
            if self._error is not None:
                raise self._error
        finally:
            watching.cancel()
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        severity = request.match_info["severity"]
        try:
            posted = (await request.json())["alerts"]
            alerts = [(alert, said(severity, alert), encode(finding(alert, now_ms()))) for alert in posted]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            return web.Response(status=400, text="not an alert of Alertmanager or Grafana\n")
        self._tell_of_unasked([alert for alert, _, _ in alerts if is_unasked(alert)])
        alerts = [one for one in alerts if not is_unasked(one[0])]
        if severity == "heartbeat":
            if any(alert["status"] == "firing" for alert, _, _ in alerts):
                self._beat.set()
            elif alerts:
                self._tell("HEARTBEAT ended: rules are not evaluated; what resolves now may not be over")
        else:
            for alert, text, found in alerts:
                if not self.is_news(severity, alert):
                    continue
                if self._share is not None:
                    try:
                        await self._share(found)
                    except UserError as error:
                        self._error = error  # it is posted again, to whoever is started next
                        self._broken.set()
                        return web.Response(status=503, text="finding not published\n")
                self._tell(text)
        return web.Response()

    def _tell_of_unasked(self, alerts: list[dict[str, Any]]) -> None:
        """Say that Grafana is blind when the first of its rules is, and that it sees when the last does."""
        for alert in alerts:
            was_blind, rule = bool(self._unasked), _key(alert)
            if alert["status"] != "firing":
                self._unasked.discard(rule)
                if was_blind and not self._unasked:
                    self._tell("PAGE resolved MonitorBlind: Grafana can query Prometheus again")
                continue
            self._unasked.add(rule)
            if not was_blind:
                told = (
                    "PAGE firing MonitorBlind: Grafana cannot query Prometheus: it judges no stage, and what "
                    "it resolves now may not be over"
                )
                why = alert["annotations"].get("Error")
                self._tell(f"{told}\n    why       {printable(why)}" if why else told)

    def is_news(self, severity: str, alert: dict[str, Any]) -> bool:
        """Whether the alert fires anew or has just ended, as far as is known."""
        key = (severity, *_key(alert))
        state = alert["status"], alert.get("startsAt")
        known = self._known.get(key)
        self._known[key] = state
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known is None or known[0] != state[0] or (state[0] == "firing" and known != state)

    async def _watch(self) -> None:
        """Say once that the heartbeat has stopped, and once that it is back; nothing before the first."""
        await self._beat.wait()
        while True:
            self._beat.clear()
            try:
                await asyncio.wait_for(self._beat.wait(), HEARTBEAT_S)
            except TimeoutError:
                self._tell(f"HEARTBEAT missing for {HEARTBEAT_S:.0f} s: alerting itself is broken")
                await self._beat.wait()
                self._tell("HEARTBEAT is back")


def is_unasked(alert: dict[str, Any]) -> bool:
    """Whether Grafana could not ask what the alert's rule asks."""
    return alert["labels"].get("alertname") in UNASKED


def _key(alert: dict[str, Any]) -> tuple[object, ...]:
    """What tells the alert from all others of its severity."""
    return tuple(sorted((name, str(value)) for name, value in alert["labels"].items()))


def said(severity: str, alert: dict[str, Any]) -> str:
    """Severity, state, name and what it says; below, while it fires, why, whose it is and where to look."""
    labels, annotations = alert["labels"], alert["annotations"]
    status, name = alert["status"], labels.get("touchpoint") or labels["alertname"]
    head = f"{severity.upper()} {status} {name}: {annotations.get('summary', '')}"
    if status != "firing":
        return printable(head)
    facts = {"why": annotations.get("description"), "owner": labels.get("owner")}
    facts |= {word: annotations.get(key) for word, key in LINKS.items()}
    if facts["and"] == facts["runbook"]:
        del facts["and"]
    below = (f"    {word:8}  {printable(text)}" for word, text in facts.items() if text)
    return "\n".join([printable(head), *below])
