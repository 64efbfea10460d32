"""A running Grafana with what we ship: do its rules page as Alertmanager does, and what is on its boards?

`make test-grafana GRAFANA=http://127.0.0.1:3000`. It is for a Grafana of its own: data source, boards, rules,
contact points and policies are put in through Grafana's API, over what is there under the same names. Without
GRAFANA_TOKEN, or GRAFANA_USER and GRAFANA_PASSWORD, it asks as nobody, who must be an admin there.

For each fault a demo runs beside Prometheus and Alertmanager, or with `--together` one for all. Both they
and Grafana post to a pager. They have to say the same, but for the numbers of the moment, and also at its
end, which for a ticket is an hour later at the earliest.
`--healthy MINUTES` has a demo without a fault give nothing. Tickets wait for working hours in both, unless
`--at-any-hour` takes that out of what is put in.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.alerting import Alerting
from streams.demo.child import HOST, free_port
from streams.settings import SHIPPED_JOURNEY
from tests.kit.pager import Pager
from tests.kit.photograph import Picture, photograph
from tests.kit.polling import until
from tests.kit.programs import ROOT, TOUCHPOINT, environment


@dataclass(frozen=True)
class Tried:
    """A fault of the demo, how long it lasts, and how it is told: the alert, and a word of its summary."""

    fault: str
    lasts_s: int
    how: str
    alert: str
    word: str


FAULTS = {
    one.fault: one
    for one in (
        Tried("checkout-payment-failure", 60, "PAGE", "StageDegraded", "Web checkout"),
        Tried("call-queue-flood", 90, "PAGE", "StageDegraded", "Call queue"),
        Tried("stage-silent:store", 150, "PAGE", "StageSilent", "Store"),
        Tried("parcel-lost", 240, "TICKET", "HandoversLost", "Warehouse"),
        Tried("labyrinth", 240, "TICKET", "CustomersLost", "channel"),
    )
}
"""As short as it can be and still be told. Windows of tickets, and of a page for a critical touchpoint, are
of days; a demo has only minutes in them, so that a longer fault takes hours to become few enough."""

BEGINS_S = 90
"""A fault begins when a minute of healthy events has been judged."""

ENDS_S = 7200
"""A ticket goes on for an hour after a limit was last crossed, and until enough healthy minutes have come."""

SIZES = {"1600": (1600, 3500), "1080p": (1920, 1080), "phone": (420, 7000)}
NUMBER = re.compile(r"\d[\d.,]*(?:[smhd]\b(?: \d+[smhd]\b)*)?")
"""A figure, or a length of time: `59.44s` may be `1m 9s` when the other asks a little later."""

API = "/api/v1/provisioning"


class GrafanaError(RuntimeError):
    """One line that says what Grafana did not do."""


class Grafana:
    """The API of a running Grafana."""

    def __init__(self, url: str, *, at_any_hour: bool = False) -> None:
        self.url = url.rstrip("/")
        self.at_any_hour = at_any_hour
        self._headers = {"Content-Type": "application/json", "X-Disable-Provenance": "true"}
        if token := os.environ.get("GRAFANA_TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        elif user := os.environ.get("GRAFANA_USER"):
            pair = f"{user}:{os.environ.get('GRAFANA_PASSWORD', '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def ask(self, method: str, path: str, body: Any = None, *, may_fail: bool = False) -> Any:
        """The JSON of an answer, None without one; GrafanaError for a refusal, unless it may fail."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL the user gave
            self.url + path, data=data, method=method, headers=self._headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if may_fail:
                return None
            said = error.read()[:300].decode(errors="replace")
            raise GrafanaError(f"{method} {path}: {error.code} {said}") from None
        except (urllib.error.URLError, OSError) as error:
            raise GrafanaError(f"{self.url} does not answer: {error}") from None

    def provision(self, prometheus: str, webhook: str) -> None:
        """Put in all that `touchpoint render` wrote, with the addresses of this machine."""
        shipped = ROOT / "grafana"
        (source,) = _read(shipped / "provisioning/datasources/touchpoint.yaml")["datasources"]
        self.ask("DELETE", f"/api/datasources/uid/{source['uid']}", may_fail=True)
        self.ask("POST", "/api/datasources", {**source, "url": prometheus})
        self.ask("POST", "/api/folders", {"uid": "touchpoint", "title": "Touchpoint"}, may_fail=True)
        for board in sorted((shipped / "boards").glob("*.json")):
            told = {"dashboard": json.loads(board.read_text()), "folderUid": "touchpoint", "overwrite": True}
            self.ask("POST", "/api/dashboards/db", told)
        self._route(shipped / "provisioning/alerting", webhook)
        self.forget_rules()
        for group in self._groups():
            self._put_rules(group)

    def _route(self, shipped: Path, webhook: str) -> None:
        known = {one["uid"] for one in self.ask("GET", f"{API}/contact-points")}
        for point in _read(shipped / "contact-points.yaml")["contactPoints"]:
            (receiver,) = point["receivers"]
            path = receiver["settings"]["url"].rpartition("/")[2]
            told = {**receiver, "name": point["name"], "settings": {"url": f"{webhook}/{path}"}}
            if told["uid"] in known:
                self.ask("PUT", f"{API}/contact-points/{told['uid']}", told)
            else:
                self.ask("POST", f"{API}/contact-points", told)
        for times in _read(shipped / "mute-times.yaml")["muteTimes"]:
            self.ask("POST", f"{API}/mute-timings", times, may_fail=True)
        (policy,) = _read(shipped / "policies.yaml")["policies"]
        if self.at_any_hour:
            _unmute(policy)
        self.ask("PUT", f"{API}/policies", policy)

    def forget_rules(self) -> None:
        """Take our rules out again: without their Prometheus they would only fail."""
        for group in self._groups():
            for rule in group["rules"]:
                self.ask("DELETE", f"{API}/alert-rules/{rule['uid']}", may_fail=True)

    def _groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = _read(ROOT / "grafana/provisioning/alerting/rules.yaml")["groups"]
        return groups

    def _put_rules(self, group: dict[str, Any]) -> None:
        for rule in group["rules"]:
            annotations = dict(rule["annotations"])
            annotations |= {"__dashboardUid__": rule["dashboardUid"], "__panelId__": str(rule["panelId"])}
            told = {
                **{key: value for key, value in rule.items() if key not in ("dashboardUid", "panelId")},
                "annotations": annotations, "orgID": 1, "folderUID": "touchpoint", "ruleGroup": group["name"],
            }  # fmt: skip
            self.ask("POST", f"{API}/alert-rules", told)
        seconds = int(group["interval"][:-1]) * {"s": 1, "m": 60}[group["interval"][-1]]
        name = urllib.request.quote(group["name"])  # type: ignore[attr-defined]
        self.ask("PUT", f"{API}/folder/touchpoint/rule-groups/{name}", {"interval": seconds})

    def unhealthy(self) -> list[str]:
        """Rules that have not been evaluated, or could not be."""
        groups = self.ask("GET", "/api/prometheus/grafana/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        wrong = [rule["name"] for rule in rules if rule["health"] not in ("ok", "nodata")]
        unseen = [rule["name"] for rule in rules if rule["lastEvaluation"].startswith("0001")]
        return wrong + unseen if rules else ["there is no rule"]

    def pictures(self, directory: Path) -> None:
        """Each board at each size, of the last quarter of an hour."""
        pictures = []
        for file in sorted((ROOT / "grafana/boards").glob("*.json")):
            board = json.loads(file.read_text())
            url = f"{self.url}/d/{board['uid']}/x?kiosk&from=now-15m&to=now"
            for name, size in SIZES.items():
                png = directory / f"{file.stem}-{name}.png"
                pictures.append(Picture(url, *size, png, holds=board["panels"][0]["title"]))
        asyncio.run(photograph(pictures))


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _unmute(policy: Any) -> None:
    """Tickets are told at night and at weekends too; the routes of both are written alike."""
    for route in policy["routes"]:
        route.pop("mute_time_intervals", None)


def _unmute_alertmanager(alerting: Alerting) -> None:
    file = alerting.directory / "deploy/alertmanager/alertmanager.yaml"
    config = _read(file)
    _unmute(config["route"])
    file.write_text(yaml.safe_dump(config))
    urllib.request.urlopen(f"{alerting.alertmanager}/-/reload", b"", timeout=30).close()  # noqa: S310 - loopback


@dataclass
class Rig:
    """A demo, and two pagers: one hears of Alertmanager, one of Grafana."""

    began_s: float
    alertmanager: Pager
    grafana: Pager


@contextmanager
def demo(grafana: Grafana, *faults: str) -> Iterator[Rig]:
    """Everything running, and Grafana's rules healthy."""
    with ExitStack() as stack:
        address = f"{HOST}:{free_port()}"
        command = [
            TOUCHPOINT,
            "demo",
            "--http",
            address,
            *(part for one in faults for part in ("--fault", one)),
        ]
        began_s = time.monotonic()
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(STATE_DIR=str(directory / "state")),
        )
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        pagers = [Pager(), Pager()]
        for pager in pagers:
            stack.callback(pager.stop)
        alerting = stack.enter_context(Alerting(directory, SHIPPED_JOURNEY, [address], pagers[0].url))
        if grafana.at_any_hour:
            _unmute_alertmanager(alerting)
        stack.callback(grafana.forget_rules)
        grafana.provision(alerting.prometheus, pagers[1].url)
        until(lambda: not grafana.unhealthy(), "all of Grafana's rules are healthy", 120)
        yield Rig(began_s, *pagers)


def told(rig: Rig, one: Tried, status: str, deadline_s: float) -> list[tuple[float, str]]:
    """When Alertmanager's pager and Grafana's said so, in seconds after the demo's start, and their words."""
    start = f"{one.how} {status} {one.alert}"

    def said(pager: Pager) -> tuple[float, str] | None:
        return next((line for line in pager.lines if line[1].startswith(start) and one.word in line[1]), None)

    def both() -> list[tuple[float, str]]:
        return [found for pager in (rig.alertmanager, rig.grafana) if (found := said(pager))]

    until(lambda: len(both()) == 2, f"both say `{start} … {one.word}`", deadline_s)
    return [(at_s - rig.began_s, line) for at_s, line in both()]


def tried(grafana: Grafana, faults: Sequence[str], pictures: Path | None) -> Iterator[dict[str, Any]]:
    """What came of each of these faults of one demo: seconds after its beginning and after its end, and
    whether both said the same."""
    wanted = [FAULTS[fault] for fault in faults]
    with demo(grafana, *(f"{one.fault}@{BEGINS_S}+{one.lasts_s}" for one in wanted)) as rig:
        for one in wanted:
            told(rig, one, "firing", BEGINS_S + one.lasts_s + 600)
        if pictures is not None:
            grafana.pictures(pictures)
        for one in wanted:
            over = told(rig, one, "resolved", ENDS_S)
            began = told(rig, one, "firing", 1)  # with all the lines below it
            yield {
                "fault": one.fault,
                "began_s": [round(at_s - BEGINS_S, 1) for at_s, _ in began],
                "ended_s": [round(at_s - BEGINS_S - one.lasts_s, 1) for at_s, _ in over],
                "same_words": all(_is_same(*(line for _, line in lines)) for lines in (began, over)),
                "said": [line for _, line in (*began, *over)],
            }


def _is_same(one: str, other: str) -> bool:
    return NUMBER.sub("#", one) == NUMBER.sub("#", other)


def quiet(grafana: Grafana, minutes: float) -> dict[str, Any]:
    """All that was told in so many minutes without a fault."""
    with demo(grafana) as rig:
        threading.Event().wait(60 * minutes)
        heard = [
            line
            for pager in (rig.alertmanager, rig.grafana)
            for _, line in pager.lines
            if line.startswith(("PAGE", "TICKET"))
        ]
    return {"healthy_minutes": minutes, "told": heard}


def main() -> int:
    """One JSON line for each fault; 1 when one was not told, or not alike."""
    parser = argparse.ArgumentParser(prog="tests.real_grafana", description=__doc__)
    parser.add_argument("grafana", help="its URL")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="all of them unless given")
    parser.add_argument("--healthy", type=float, metavar="MINUTES", help="no fault, for so long")
    parser.add_argument("--together", action="store_true", help="all the faults in one demo")
    parser.add_argument("--at-any-hour", action="store_true", help="tickets do not wait for working hours")
    parser.add_argument(
        "--pictures", type=Path, help="a folder for a picture of each board, while the fault is on"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with it
    grafana = Grafana(arguments.grafana, at_any_hour=arguments.at_any_hour)
    faults = arguments.fault or list(FAULTS)
    try:
        if arguments.healthy:
            found = quiet(grafana, arguments.healthy)
            print(json.dumps(found), flush=True)
            return 1 if found["told"] else 0
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
        is_fine = True
        for some in [faults] if arguments.together else [[fault] for fault in faults]:
            for found in tried(grafana, some, arguments.pictures):
                print(json.dumps(found), flush=True)
                is_fine = is_fine and found["same_words"]
        return 0 if is_fine else 1
    except (GrafanaError, AssertionError) as error:
        print(f"test-grafana: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
