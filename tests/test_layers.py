"""The layers hold in every file: the core does no I/O and knows no streams, one place does each job.

Walks the syntax tree instead of importing, so that code which never runs in a test is held too.
"""

import ast
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kit.programs import ROOT

FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for layer in ("monitor", "streams")
    for file in (ROOT / layer).rglob("*.py")
)

EDGES = {"monitor/live/exposition.py"}
"""The modules of `monitor` that may touch what the core may not."""

MADE_UP = {f"streams/demo/{name}.py" for name in ("simulator", "encounter", "faults", "story")}
"""Made-up traffic, held to the same rules as the core: the same seed gives the same events."""

CORE_MODULES = {
    *(
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
    ),
    *("functools", "hashlib", "heapq", "html", "itertools", "json", "math", "operator", "re", "statistics"),
    *("string", "textwrap", "types", "typing"),
    *("msgspec", "numpy", "orjson", "yaml"),
    "random",  # `Random` with a seed only, and only where events are made up
    "zoneinfo",  # its data is a file, but the same on every day and for every input
}
"""What the core may import: none reads a file, socket, clock or environment by itself."""

RANDOM_AT = {"streams/demo/simulator.py", "streams/demo/faults.py"}
ENVIRONMENT_AT = {
    "streams/__main__.py",
    "streams/commands/main.py",
    "streams/commands/shared.py",
    "streams/commands/validate.py",
    "streams/settings.py",
}
TERMINAL_AT = {
    "streams/commands/main.py",
    "streams/commands/backtest.py",
    "streams/commands/drift.py",
    "streams/commands/history.py",
    "streams/commands/init.py",
    "streams/commands/learn.py",
    "streams/commands/journey.py",
    "streams/commands/dead_letters.py",
    "streams/commands/prometheus/report.py",
    "streams/commands/prometheus/server.py",
    "streams/commands/prometheus/verdict.py",
    "streams/commands/render.py",
    "streams/commands/shared.py",
    "streams/commands/validate.py",
    "streams/commands/where.py",
    "streams/terminal.py",
}
METRIC_NAMES_AT = {"monitor/counting/metrics.py"}
TIMES_AT = {"monitor/counting/times.py"}

BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "hash", "__builtins__"}
"""I/O, code from data, and `hash`, which differs from run to run."""

DYNAMIC = {"__import__", "import_module"}
"""Imports that no reader of the syntax tree can follow."""

CLOCKS = {"now", "utcnow", "today"}

LOCAL_TIME = {"fromtimestamp": 2, "astimezone": 1}
"""Calls that fall back to the machine's own time zone when given fewer arguments."""

FILE_METHODS = {
    *(
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "open",
        "mkdir",
        "unlink",
        "iterdir",
        "rglob",
    ),
    *(
        "tofile",
        "fromfile",
        "load",
        "loadtxt",
        "genfromtxt",
        "save",
        "savez",
        "savez_compressed",
        "savetxt",
    ),
    *("memmap", "file_digest"),
}

ENVIRONMENT = {
    *("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"),
    *("os.path.expandvars", "os.path.expanduser"),
}
TERMINAL = {"rich", "typer", "click", "curses", "readline"}


class Import(NamedTuple):
    """One imported name: its line, full name, name in the file, and what that stands for."""

    line: int
    name: str
    local: str
    stands_for: str


def imports(tree: ast.Module, path: str) -> Iterator[Import]:
    """Everything imported, wherever in the file."""
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield Import(
                    node.lineno, alias.name, alias.asname or top, alias.name if alias.asname else top
                )
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = [*above, *([node.module] if node.module else [])]
            for alias in node.names:
                name = ".".join([*module, alias.name])
                yield Import(node.lineno, name, alias.asname or alias.name, name)


def within(name: str, modules: set[str]) -> bool:
    """Whether a dotted name is one of the modules or lies in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def full_name(node: ast.expr, known: dict[str, str]) -> str:
    """The dotted name of an expression with imported names spelt out, or nothing for any other."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = full_name(node.value, known)
        return f"{owner}.{node.attr}" if owner else f"?.{node.attr}"
    return ""


def violations(path: str, source: str) -> list[str]:
    """Every breach of the layers in a file, each with its line."""
    tree = ast.parse(source)
    found = list(imports(tree, path))
    known = {one.local: one.stands_for for one in found}
    core = (path.startswith("monitor/") and path not in EDGES) or path in MADE_UP
    breaches = {(one.line, what) for one in found for what in _of_import(path, one.name, core)}
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            breaches |= {(node.lineno, what) for what in _anywhere(path, node, known)}
            breaches |= {(node.lineno, what) for what in (_in_core(node, known) if core else ())}
    return [f"{path}:{line}: {what}" for line, what in sorted(breaches)]


def _dotted(paths: set[str]) -> set[str]:
    return {path.removesuffix(".py").replace("/", ".") for path in paths}


def _of_import(path: str, name: str, core: bool) -> Iterator[str]:
    banned = within(name, {*_dotted(EDGES), "numpy.random", "random"})
    banned &= not (name == "random.Random" and path in RANDOM_AT)
    if path.startswith("monitor/") and within(name, {"streams"}):
        yield f"monitor imports {name}"
    elif core and (banned or not within(name, {*CORE_MODULES, "monitor", *(_dotted(MADE_UP))})):
        yield f"the core imports {name}"
    if name.endswith(".*"):
        yield f"imports everything: {name}"
    if within(name, TERMINAL) and path not in TERMINAL_AT:
        yield f"imports {name}"
    if within(name, ENVIRONMENT) and path not in ENVIRONMENT_AT:
        yield f"reads {name}"


def _anywhere(path: str, node: ast.expr, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        name = full_name(node, known)
        if within(name, ENVIRONMENT) and path not in ENVIRONMENT_AT:
            yield f"reads {name}"
    if isinstance(node, ast.Constant) and path not in METRIC_NAMES_AT:
        text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        if isinstance(text, str) and text.startswith("touchpoint_"):
            yield f"writes the metric name {text}"
    if isinstance(node, ast.Name | ast.Attribute):
        last = node.id if isinstance(node, ast.Name) else node.attr
        if last in DYNAMIC and path.startswith("monitor/"):
            yield f"uses {last}"
        if last == "isoformat" and path not in TIMES_AT:
            yield "writes RFC 3339"


def _in_core(node: ast.expr, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in BUILTINS:
        yield f"uses {node.id}"
    if isinstance(node, ast.Attribute):
        name = full_name(node, known)
        if node.attr in CLOCKS | FILE_METHODS or within(name, {"numpy.random"}):
            yield f"uses {name}"
    if isinstance(node, ast.Call):
        name = full_name(node.func, known)
        last = name.rpartition(".")[2]
        if last in LOCAL_TIME and len(node.args) + len(node.keywords) < LOCAL_TIME[last]:
            yield f"uses {name} without a time zone"
        if name == "random.Random" and not node.args:
            yield "uses random.Random without a seed"


@pytest.mark.parametrize("path", FILES)
def test_layers(path: str) -> None:
    """No file breaks a layer; what a new module needs is argued for in the lists above."""
    assert violations(path, (ROOT / path).read_text()) == []


def test_every_file_is_looked_at() -> None:
    """The walk finds both layers, and the places with a privilege exist."""
    assert len(FILES) > 20
    assert {*EDGES, *MADE_UP, *RANDOM_AT, *ENVIRONMENT_AT, *TERMINAL_AT, *METRIC_NAMES_AT, *TIMES_AT} <= set(
        FILES
    )


ORACLE = sorted(
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "tests/oracle").glob("*.py")
    if not file.name.startswith("test_")
)
"""What is written from the README files alone. Tests beside it hold the product to it."""


def of_ours(path: str, source: str) -> list[str]:
    """What is imported that is neither of the oracle nor of Python itself, and imports nobody can follow."""
    tree = ast.parse(source)
    named = {one.name for one in imports(tree, path)}
    found = {name for name in named if name.split(".")[0] not in sys.stdlib_module_names}
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    called |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted({one for one in found if not within(one, {"tests.oracle"})} | (DYNAMIC & called))


@pytest.mark.parametrize("path", ORACLE)
def test_the_oracle_knows_nothing_of_the_product(path: str) -> None:
    """It counts a second time: what it took from the product would be wrong in both."""
    assert len(ORACLE) > 4
    assert of_ours(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ("from monitor.journeys.closing import Closing", ["monitor.journeys.closing.Closing"]),
        ("def f():\n    import streams.clock", ["streams.clock"]),
        ("from ...monitor import errors", ["monitor.errors"]),
        ("from tests.kit.journey_truth import expected", ["tests.kit.journey_truth.expected"]),
        ("import importlib\nimportlib.import_module(x)", ["import_module"]),
        ("from collections import Counter\nfrom tests.oracle.events import File", []),
    ],
)
def test_an_oracle_that_takes_from_the_product_is_seen(source: str, breach: list[str]) -> None:
    """However it is spelt, and by way of what other tests share."""
    assert of_ours("tests/oracle/walked.py", source) == breach


CORE = "monitor/counting/panes.py"
STREAMS = "streams/worker.py"

PLANTED = [
    (CORE, "import streams", "monitor imports streams"),
    (CORE, "from streams.settings import Settings", "monitor imports streams.settings.Settings"),
    (CORE, "def f():\n    import streams.app", "monitor imports streams.app"),
    (CORE, "if TYPE_CHECKING:\n    from streams import app", "monitor imports streams.app"),
    (CORE, "from ...streams import app", "monitor imports streams.app"),
    ("monitor/live/exposition.py", "from streams import topics", "monitor imports streams.topics"),
    ("monitor/live/exposition.py", "import streams.http as h", "monitor imports streams.http"),
    ("monitor/live/exposition.py", "importlib.import_module('streams')", "uses import_module"),
    (CORE, "__import__('os')", "uses __import__"),
    (CORE, "from monitor.live.exposition import render", "the core imports monitor.live.exposition.render"),
    (CORE, "from monitor.live import exposition", "the core imports monitor.live.exposition"),
    (CORE, "from ..live import exposition", "the core imports monitor.live.exposition"),
    (CORE, "from ..live.exposition import render", "the core imports monitor.live.exposition.render"),
    (CORE, "import os", "the core imports os"),
    (CORE, "import os.path as p", "the core imports os.path"),
    (CORE, "import time", "the core imports time"),
    (CORE, "from time import monotonic", "the core imports time.monotonic"),
    (CORE, "import logging", "the core imports logging"),
    (CORE, "import socket, math", "the core imports socket"),
    (CORE, "from pathlib import Path", "the core imports pathlib.Path"),
    (CORE, "import asyncio", "the core imports asyncio"),
    (CORE, "import aiokafka", "the core imports aiokafka"),
    (CORE, "import prometheus_client", "the core imports prometheus_client"),
    (CORE, "import uuid", "the core imports uuid"),
    (CORE, "import monitors", "the core imports monitors"),
    (CORE, "from math import *", "imports everything: math.*"),
    (CORE, "open('x')", "uses open"),
    (CORE, "print(1)", "uses print"),
    (CORE, "say = print", "uses print"),
    (CORE, "input()", "uses input"),
    (CORE, "eval('1')", "uses eval"),
    (CORE, "hash('x')", "uses hash"),
    (CORE, "from datetime import datetime\ndatetime.now(UTC)", "uses datetime.datetime.now"),
    (CORE, "import datetime as d\nd.datetime.utcnow()", "uses datetime.datetime.utcnow"),
    (CORE, "from datetime import date\nclock = date.today", "uses datetime.date.today"),
    (CORE, "f = lambda: cls().now()", "uses ?.now"),
    (CORE, "datetime.fromtimestamp(5)", "uses datetime.fromtimestamp without a time zone"),
    (CORE, "at.astimezone()", "uses at.astimezone without a time zone"),
    (CORE, "file.read_text()", "uses file.read_text"),
    (CORE, "(folder / 'x').write_bytes(b'')", "uses ?.write_bytes"),
    (CORE, "import numpy as np\nnp.load('x')", "uses numpy.load"),
    (CORE, "import numpy as np\nnp.random.rand()", "uses numpy.random"),
    (CORE, "from numpy.random import default_rng", "the core imports numpy.random.default_rng"),
    (CORE, "import random", "the core imports random"),
    (CORE, "from random import Random", "the core imports random.Random"),
    ("streams/demo/simulator.py", "import random", "the core imports random"),
    ("streams/demo/simulator.py", "from random import choice", "the core imports random.choice"),
    (
        "streams/demo/simulator.py",
        "from random import Random, SystemRandom",
        "the core imports random.SystemRandom",
    ),
    ("streams/demo/faults.py", "from random import Random as R\nR()", "uses random.Random without a seed"),
    (STREAMS, "import os\nos.environ['X']", "reads os.environ"),
    (STREAMS, "import os as o\no.getenv('X')", "reads os.getenv"),
    (STREAMS, "from os import environ as e", "reads os.environ"),
    (STREAMS, "import os\nos.environ.get('X')", "reads os.environ.get"),
    (STREAMS, "import os.path\nos.path.expandvars('$X')", "reads os.path.expandvars"),
    ("streams/kafka/publisher.py", "import os\nos.environ", "reads os.environ"),
    (STREAMS, "import rich", "imports rich"),
    (STREAMS, "def f():\n    from rich.console import Console", "imports rich.console.Console"),
    ("streams/settings.py", "import typer", "imports typer"),
    ("monitor/live/exposition.py", "import typer", "imports typer"),
    (CORE, "datetime.fromtimestamp(5, UTC).isoformat()", "writes RFC 3339"),
    (STREAMS, "at.isoformat(timespec='seconds')", "writes RFC 3339"),
    (STREAMS, "x = 'touchpoint_ready'", "writes the metric name touchpoint_ready"),
    (STREAMS, "x = f'touchpoint_{name}'", "writes the metric name touchpoint_"),
    (STREAMS, "x = b'touchpoint_ready 1'", "writes the metric name touchpoint_ready 1"),
    (CORE, "{'a': ['touchpoint_good']}", "writes the metric name touchpoint_good"),
    ("monitor/live/exposition.py", "f('touchpoint_build')", "writes the metric name touchpoint_build"),
]


@pytest.mark.parametrize(("path", "source", "breach"), PLANTED)
def test_planted_breaches_are_caught(path: str, source: str, breach: str) -> None:
    """Each kind of breach is seen, however it is spelt, and named with its line."""
    found = violations(path, source)
    assert breach in [one.split(": ", 1)[1] for one in found]
    assert all(one.startswith(f"{path}:") for one in found)


CLEAN = [
    (CORE, "from math import sqrt\nfrom collections.abc import Mapping\nimport numpy.typing as npt"),
    (CORE, "from monitor.event import Event\nfrom monitor import metrics\nfrom . import journey"),
    (
        CORE,
        "def f(now_ms: int, opened: int, today_ms: int) -> int:\n    return now_ms + opened + today_ms",
    ),
    (CORE, "stage.opening, stage.reads, stage.printed, 'open', 'print(now)'"),
    (CORE, "datetime.fromtimestamp(5, UTC)\nat.astimezone(zone)\nat.astimezone(tz=zone)"),
    (CORE, "import numpy as np\nnp.zeros(3).sum()\nnp.add.reduce([1])"),
    (CORE, "yaml.compose(text)\norjson.loads(b'1')\nmsgspec.json.decode(b'1')"),
    (
        "streams/demo/simulator.py",
        "from random import Random\nrng = Random(seed)\nrng.random()\nrng.choice(x)",
    ),
    ("streams/kafka/publisher.py", "import asyncio, time, aiokafka\nopen('x')\nprint(time.time())"),
    ("monitor/counting/metrics.py", "Metric('touchpoint_ready')"),
    ("streams/commands/main.py", "import os, typer, rich\nos.environ"),
    ("streams/settings.py", "import os\nos.getenv('X')"),
    ("streams/terminal.py", "from rich.live import Live"),
    (STREAMS, "import os, time\nos.getpid()\ntime.time()\nopen('x')\nfrom monitor.panes import Pane"),
    (
        STREAMS,
        "'touchpoint.ready', 'touchpoint-monitor', 'TOUCHPOINT_HTTP', 'the touchpoint_ready metric'",
    ),
    (STREAMS, "environ = {}\nenviron['X']\nself.environ\nrichness = typerless = 1"),
]


@pytest.mark.parametrize(("path", "source"), CLEAN)
def test_clean_code_passes(path: str, source: str) -> None:
    """What only looks like a breach is let through."""
    assert violations(path, source) == []
