"""A command that a README or a runbook names is one, and what can run by itself runs on a broker."""

import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from streams.commands.main import app
from tests.kit.brokers import TansuNode, running
from tests.kit.programs import ROOT, touchpoint
from tests.readable import pages

SPAN = re.compile(r"`((?:touchpoint|make|python) [^`]+)`")
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^ *((?:[A-Z_]+=\S+ )*(?:touchpoint|make|python) .+?)(?: +#.*)?$", re.MULTILINE)
"""A command at the start of a line, settings before it, a comment behind it."""

Named = tuple[str, str]
"""Page and command."""


def named() -> list[Named]:
    """Every command of every page, in backticks, in a block of code or on a line of its own."""
    found: dict[Named, None] = {}
    for page in pages():
        text = page.read_text()
        shell = "\n".join(BLOCK.findall(text)) + "\n".join(re.findall(r"^   +.*$", text, re.MULTILINE))
        for command in SPAN.findall(text) + LINE.findall(shell.replace("\\\n", "")):
            found[str(page.relative_to(ROOT)), " ".join(command.replace("\\|", "|").split())] = None
    return list(found)


COMMANDS = named()


def of(program: str) -> list[Named]:
    """The commands of one program, settings before it left out."""
    pattern = re.compile(rf"^(?:[A-Z_]+=\S+ )*({program} .+)$")
    return [(page, match[1]) for page, command in COMMANDS if (match := pattern.match(command))]


def example(word: str, directory: Path) -> str:
    """What stands in for a name in capitals."""
    file = directory / "file"
    file.touch()
    stands = {
        "FILE": str(file),
        "DIR": str(directory),
        "TOPIC.dlq:PARTITION:OFFSET": "touchpoint.store.v1.dlq:0:1",
    }
    return stands.get(word, word)


def parse(words: list[str]) -> None:
    """Reads command and options as `touchpoint` does, and runs nothing."""
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    if words and words != ["--help"]:  # a bare name only says which command is meant
        command.make_context(command.name, words)


@pytest.mark.parametrize("command", sorted({command for _, command in of("touchpoint")}))
def test_touchpoint_takes_it(command: str, tmp_path: Path) -> None:
    """Command, arguments and options are those of the program; each word of `a|b|c` is a command."""
    _, *words = shlex.split(command)
    for choice in words[-1].split("|"):
        parse([example(word, tmp_path) for word in [*words[:-1], choice]])


@pytest.mark.parametrize(("page", "command"), of("make"))
def test_make_can_make_it(page: str, command: str) -> None:
    """The target exists, and every variable set is one that the Makefile reads."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    _, *words = shlex.split(command)
    done = subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"$({word.split('=')[0]})" in makefile for word in words if "=" in word)


@pytest.mark.parametrize(("page", "command"), of("python"))
def test_python_has_it(page: str, command: str) -> None:
    """The module or the file can be started."""
    _, *words = shlex.split(command)
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), f"{page}: no module {words[1]}"
    else:
        assert (ROOT / words[0]).is_file(), f"{page}: no file {words[0]}"


ALONE = ("check", "render", "topics", "change", "demo", "dead-letters list")
"""Commands that end by themselves and ask nobody but Kafka. Tests of their rooms run the others with what
they need: a history, standard input, Prometheus, an open journey, a letter."""
BOUND = {"touchpoint demo": ["--for", "1", "--http", "127.0.0.1:0"]}


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    """A broker with the topics of the shipped journey."""
    with running(TansuNode()) as node:
        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        yield node.bootstrap


def runnable() -> list[str]:
    """The whole commands among those named; a bare `touchpoint render` is a name."""
    starts = tuple(f"touchpoint {name}" for name in ALONE)
    bare = {"touchpoint render", "touchpoint change", "touchpoint dead-letters list|show|replay"}
    return sorted({command for _, command in of("touchpoint") if command.startswith(starts)} - bare)


@pytest.mark.parametrize("command", runnable())
def test_it_runs(command: str, bootstrap: str, tmp_path: Path) -> None:
    """It ends with 0 on a fresh machine with a broker, and a journey file where a file is named."""
    (tmp_path / "file").write_text((ROOT / "monitor/journey.yaml").read_text())
    stands = {
        "FILE": str(tmp_path / "file"),
        "DIR": str(tmp_path),
        "STAGE": "web_checkout",
        "REASON": "bad_value",
    }
    words = [stands.get(word, word) for word in shlex.split(command)[1:]]
    done = touchpoint(*words, *BOUND.get(command, []), KAFKA=bootstrap)
    assert done.returncode == 0, done.stdout + done.stderr
