"""A webhook receiver that prints every alert in one line, and says when the heartbeat stops.

For trying out, and for whoever has no pager yet: Alertmanager and Grafana post the same JSON. `/page` and
`/ticket` are printed; `/heartbeat` is the alert that always fires, so its absence is what is told.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from monitor.errors import UserError

HEARTBEAT_S = 180.0
"""Three heartbeats, each a minute apart."""

MAX_BYTES = 4 * 1024 * 1024


class Pages:
    """The receiver; `tell` gets one line for each alert."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._beat = asyncio.Event()

    async def serve(self, address: str, stop: asyncio.Event) -> None:
        """Answer on HOST:PORT until `stop` is set; UserError when it cannot."""
        host, _, port = address.rpartition(":")
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_post("/{severity:page|ticket|heartbeat}", self._receive)
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
            await stop.wait()
        finally:
            watching.cancel()
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        severity = request.match_info["severity"]
        try:
            alerts = [said(severity, alert) for alert in (await request.json())["alerts"]]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            return web.Response(status=400, text="not an alert of Alertmanager or Grafana\n")
        if severity == "heartbeat":
            self._beat.set()
        else:
            for line in alerts:
                self._tell(line)
        return web.Response()

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


def said(severity: str, alert: dict[str, Any]) -> str:
    """An alert in one line: severity, state, name, what it says, what to do."""
    labels, annotations = alert["labels"], alert["annotations"]
    name = labels.get("touchpoint") or labels["alertname"]
    parts = [f"{severity.upper()} {alert['status']} {name}: {annotations.get('summary', '')}"]
    parts += [annotations[key] for key in ("description", "runbook_url") if annotations.get(key)]
    return " | ".join(part.replace("\n", " ") for part in parts)
