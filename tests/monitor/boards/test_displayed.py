"""What is read on the boards, word by word: a real Prometheus' answers through Grafana's own library.

Every panel of every board in every state of a worker (`worlds`), as the oldest and the newest Grafana write.
`python -m tests.monitor.boards.test_displayed` writes down what they show now; read it before you commit it.
"""

import copy
import json
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from deploy.alerting import Alerting
from monitor.boards.all import boards
from monitor.boards.panels import COUNT, unknown
from monitor.counting import metrics
from monitor.rules.plan import plan
from streams.demo.child import HOST, free_port
from streams.settings import SHIPPED_JOURNEY
from tests.kit.displayed import VERSIONS, displayed
from tests.kit.polling import until
from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.monitor.boards.worlds import WORLDS, exposition

Json = dict[str, Any]

pytestmark = pytest.mark.full

GOLDEN = ROOT / "tests" / "golden" / "boards"

STEP_S = 5
"""Between scrapes in the shipped configuration, and between the points of a chart."""

SETTLED = 5
"""Evaluations after which rules that build on others have seen the first scrape too."""

BLIND = 'ALERTS{alertname="MonitorBlind", alertstate="firing"}'
SILENT = 'ALERTS{alertname="StageSilent", alertstate="firing"}'
SIGNS = {
    "healthy": metrics.EVENTS_SUM,
    "degraded": 'ALERTS{alertname="StageDegraded", alertstate="firing"}',
    "behind": BLIND,
    "not ready": BLIND,
    "no worker": BLIND,
    "silent": SILENT,
    "counts lost": metrics.WHOLE_SINCE.name,
    "nothing yet": SILENT,
}
"""What Prometheus answers once it has understood the state; silence takes it a minute and a half."""

VARY = {"Time to answer Prometheus", "Journeys judged as of", "Numbers per worker", "Versions running"}
"""Panels of which the numbers are of the moment, of the machine, or of how many metrics there are."""
CLOCK = re.compile(rb"^(%b) .*$" % metrics.CLOCK.name.encode(), re.MULTILINE)
PLURAL = re.compile(r"(?<=[0-9] (?:min|day))s|(?<=[0-9] hour)s|(?<=[0-9] week)s")
"""Of units of time: newer Grafanas have one."""
AGE = re.compile(r"(?:a few seconds|a minute|[0-9]+ minutes) ago")


@dataclass(frozen=True)
class Prometheus:
    """One that watches one worker."""

    url: str

    def ask(self, path: str, **parameters: str | float) -> Json:
        """The `data` of an answer."""
        body = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", body, timeout=30) as answer:  # noqa: S310
            data: Json = json.loads(answer.read())["data"]
            return data

    def has(self, expr: str) -> bool:
        """Whether anything is answered."""
        return bool(self.ask("query", query=expr)["result"])

    def answers(self, panel: Json, now_s: float) -> dict[str, Json]:
        """Those of a panel's queries, as Grafana asks them for a short span of time."""
        found = {}
        for target in panel["targets"]:
            expr = target["expr"].replace("$stage", "web_checkout").replace("$__rate_interval", "20s")
            expr = expr.replace("$__to", f"{now_s * 1000}").replace("$__interval_ms", f"{STEP_S * 1000}")
            if target["instant"]:
                found[target["refId"]] = self.ask("query", query=expr, time=now_s)
            else:
                span = {"start": now_s - STEP_S, "end": now_s, "step": STEP_S}
                found[target["refId"]] = self.ask("query_range", query=expr, **span)
        return found


class NoData:
    """A Prometheus that has none, as when it has just been set up; Grafana shows one that is down alike."""

    def answers(self, panel: Json, _: float) -> dict[str, Json]:
        """Nothing to any query."""
        kinds = {target["refId"]: "vector" if target["instant"] else "matrix" for target in panel["targets"]}
        return {ref: {"resultType": kind, "result": []} for ref, kind in kinds.items()}


class _Worker(BaseHTTPRequestHandler):
    """Answers the same each time, but for its clock."""

    def __init__(self, answer: bytes, *more: Any) -> None:
        self._answer = answer
        super().__init__(*more)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(CLOCK.sub(rb"\1 %d" % time.time(), self._answer))

    def log_message(self, format: str, *_: Any) -> None:
        """Nothing."""


@contextmanager
def worker(name: str) -> Iterator[str]:
    """The address of a worker in that state; of none there is only the address."""
    world = WORLDS[name]
    if world is None:
        yield f"{HOST}:{free_port()}"
        return
    answer = exposition(JOURNEY, world, round(time.time() * 1000))
    with ThreadingHTTPServer((HOST, 0), partial(_Worker, answer)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{HOST}:{server.server_port}"
        server.shutdown()


@contextmanager
def watched(directory: Path) -> Iterator[dict[str, Prometheus]]:
    """A Prometheus for each state, with the shipped rules."""
    with ExitStack() as stack:
        found = {}
        for name in SIGNS:
            address = stack.enter_context(worker(name))
            home = directory / name
            home.mkdir()
            alerting = Alerting(home, SHIPPED_JOURNEY, [address], f"http://{HOST}:{free_port()}")
            found[name] = Prometheus(stack.enter_context(alerting).prometheus)
        yield found


def settled(prometheus: Prometheus, world: str) -> Prometheus:
    """The same once it has understood the state of its worker."""
    evaluated = f'count_over_time(ALERTS{{alertname="Watchdog", alertstate="firing"}}[10m]) >= {SETTLED}'
    for sign in (evaluated, f"count_over_time(({SIGNS[world]})[1m:5s]) > 1"):
        until(partial(prometheus.has, sign), f"{world} is understood: {sign}", 240)
    return prometheus


def read(prometheus: Prometheus | NoData, shown: dict[str, Json], version: str) -> str:
    """All that stands on these boards."""
    now_s = time.time()
    panels = [panel for board in shown.values() for panel in board["panels"] if panel["type"] != "row"]
    asked = [{"panel": panel, "answers": prometheus.answers(panel, now_s)} for panel in panels]
    said = iter(displayed(version, asked))
    lines: list[str] = []
    for board in shown.values():
        lines += ["", f"# {board['title']}"]
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            lines += ["", panel["title"]]
            lines += [f"  {_steady(line, panel['title'] in VARY)}" for line in next(said)]
    return "\n".join(lines[1:]) + "\n"


def _steady(line: str, varies: bool) -> str:
    line = PLURAL.sub("", AGE.sub("… ago", line))
    return re.sub("[0-9][0-9.,]*(?: (?:µs|ms|s|min)$)?", "…", line) if varies else line


def golden(world: str) -> Path:
    """Where it is written what is to be read."""
    return GOLDEN / f"{world.replace(' ', '_')}.txt"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Prometheus]]:
    """By state of the worker."""
    with watched(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("world", SIGNS)
def test_boards_read_as_written(prometheus: dict[str, Prometheus], world: str, version: str) -> None:
    """Each cell, figure and legend, in the old Grafana and in the new."""
    assert (
        read(settled(prometheus[world], world), boards(plan(JOURNEY)), version) == golden(world).read_text()
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_without_data_nothing_is_said_to_be_good(version: str) -> None:
    """Each cell, figure and legend; that no loss is known was said by a board that knew nothing."""
    said = read(NoData(), boards(plan(JOURNEY)), version)
    assert said == golden("no data").read_text()
    assert not re.search(r"\b(?:none|no loss known|good|fine|sees everything)$", said, re.MULTILINE)


def _tables(board: Json) -> Iterator[Json]:
    yield from (panel for panel in board["panels"] if panel["type"] == "table")


def _panel(board: Json, title: str) -> Json:
    found: Json = next(panel for panel in board["panels"] if panel["title"] == title)
    return found


def text_as_missing(board: Json) -> None:
    """The mapping of missing numbers, which any text is to Grafana."""
    for panel in _tables(board):
        panel["fieldConfig"]["defaults"]["mappings"] = unknown("none")


def short(board: Json) -> None:
    """Counts in thousands."""
    for panel in board["panels"]:
        if panel["type"] != "row" and panel["fieldConfig"]["defaults"]["unit"] == COUNT:
            panel["fieldConfig"]["defaults"]["unit"] = "short"


def attainment(board: Json) -> None:
    """The quality as a share of its target."""
    panel = _panel(board, "Weakest stage now")
    panel["targets"][0]["expr"] = f'min({metrics.ATTAINMENT}{{stage="delivery", window="1h", segment="all"}})'
    panel["targets"][0]["legendFormat"] = "against target"


def of_nobody(board: Json) -> None:
    """A share that does not say of whom."""
    _panel(board, "Customers with a bad encounter, last day")["targets"][0]["legendFormat"] = "first"


def nameless(board: Json) -> None:
    """A bar whose name only an override has."""
    del _panel(board, "Where people leave, last hour")["fieldConfig"]["defaults"]["displayName"]


def dates(board: Json) -> None:
    """A unit of time for every field, names too."""
    for panel in _tables(board):
        panel["fieldConfig"]["defaults"]["unit"] = "dateTimeFromNow"


def one_answer(board: Json) -> None:
    """A table of several queries of which one answers."""
    _panel(board, "By segment, last day")["targets"][0]["expr"] += " > 2"


FAULTS: list[tuple[str, Callable[[Json], None], str]] = [
    ("customers.json", short, " | 2 K | "),
    ("journey.json", attainment, "against target: 103.1%"),
    ("customers.json", of_nobody, "  first: 30.0%"),
    ("stage.json", nameless, "Where people leave, last hour\n  600\n"),
    ("journey.json", dates, "  NaN | NaN | "),
    ("customers.json", one_answer, "  Segment\n  business\n"),
]
"""The board, what is wrong with it, and what is read then."""


OLD_FAULTS = [("customers.json", text_as_missing, "  none | none | 0 | 2")]
"""Those of the oldest Grafana alone."""


@pytest.mark.parametrize(
    ("file", "plant", "wrong", "version"),
    [(*fault, version) for version in VERSIONS for fault in FAULTS]
    + [(*fault, VERSIONS[0]) for fault in OLD_FAULTS],
)
def test_what_is_written_wrongly_is_seen(
    prometheus: dict[str, Prometheus], file: str, plant: Callable[[Json], None], wrong: str, version: str
) -> None:
    """Faults that boards had in a real Grafana are read here too."""
    board = copy.deepcopy(boards(plan(JOURNEY))[file])
    plant(board)
    assert wrong in read(settled(prometheus["degraded"], "degraded"), {file: board}, version)
    assert wrong not in golden("degraded").read_text()


def main() -> None:
    """Writes down what the oldest Grafana shows."""
    golden("no data").write_text(read(NoData(), boards(plan(JOURNEY)), VERSIONS[0]))
    with TemporaryDirectory() as directory, watched(Path(directory)) as found:
        for world, prometheus in found.items():
            golden(world).write_text(read(settled(prometheus, world), boards(plan(JOURNEY)), VERSIONS[0]))


if __name__ == "__main__":
    main()
