"""However a command ends, it ends in one line: no traceback, nothing half written, and soon after Ctrl-C."""

import contextlib
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.settings import SHIPPED_JOURNEY
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import ROOT, environment, touchpoint
from tests.system.test_worker import TOPIC, checkout, read_topic

JOURNEY = str(SHIPPED_JOURNEY)

COMMANDS = (
    "--help",
    f"check {JOURNEY}",
    f"render {JOURNEY} --out out",
    "simulate --events 3",
    "backtest events.jsonl",
    "backtest events.jsonl --json",
    f"drift {JOURNEY} --from-kafka touchpoint.store.v1",
    "learn events.jsonl",
    "learn --from-kafka touchpoint.store.v1",
    "topics",
    "publish",
    "change title",
    "replay events.jsonl",
    "dead-letters list",
    "dead-letters show touchpoint.store.v1.dlq:0:1",
    "dead-letters replay",
    "report",
    "verdict title",
    "journey j-1",
    "where store",
    "pages --findings --http 127.0.0.1:0",
    "gateway --http 127.0.0.1:0",
)
"""All that end by themselves where neither Kafka nor anybody else answers."""

ALONE = COMMANDS[:6]
"""Those that need nobody."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a history of one event."""
    (tmp_path / "events.jsonl").write_bytes(checkout(1))
    return tmp_path


def settings(**more: str) -> dict[str, str]:
    """Nobody answers at these addresses, and nobody is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    known = {"KAFKA": nobody, "HTTP": nobody, "KAFKA_TIMEOUT_S": "0.5"} | more
    return environment(**known) | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def started(command: str, directory: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`touchpoint COMMAND`, as `python -m streams` starts it; killed at the end if it has not ended."""
    options: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    options |= {"cwd": directory, "env": settings()} | more
    with subprocess.Popen([sys.executable, "-m", "streams", *command.split()], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def done(command: str, directory: Path, **more: Any) -> tuple[int, str, str]:
    """The same, run to its end: exit code, standard output and error."""
    with started(command, directory, **more) as process:
        return ended(process)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, standard output and error."""
    out, err = process.communicate(timeout=60)
    return process.returncode, (out or b"").decode(), (err or b"").decode()


def closing(*descriptors: int) -> Callable[[], None]:
    """What closes them in the program that is started."""

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


# -- closed and full standard files -----------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_to_read_from(command: str, directory: Path) -> None:
    """Without standard input: as with an empty one, or one line."""
    code, out, err = done(command, directory, preexec_fn=closing(0))
    assert "Traceback" not in err
    if command in ALONE:
        assert (code, err) == (0, "")
    else:
        assert (code, out) == (1, "")
        assert err.startswith("touchpoint: ")
        assert err.count("\n") == 1


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", ["closed", "full"])
def test_nothing_to_write_to(command: str, how: str, directory: Path) -> None:
    """What cannot be said is no success."""
    with Path("/dev/full").open("wb") as full:
        where: dict[str, Any] = (
            {"stdout": full} if how == "full" else {"stdout": None, "preexec_fn": closing(1)}
        )
        code, _, err = done(command, directory, **where)
    assert code == 1
    why = {"full": "No space left on device", "closed": "Bad file descriptor"}[how]
    if command in ALONE:
        assert err == f"touchpoint: standard output: {why}\n"
    else:
        assert "Traceback" not in err
        assert err.startswith("touchpoint: ")
        assert err.count("\n") == 1


@pytest.mark.full
@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_to_complain_to(command: str, directory: Path) -> None:
    """Without standard error a command does the same, and its exit code says how it went."""
    code, _, _ = done(command, directory, stderr=None, preexec_fn=closing(2))
    assert code == (0 if command in ALONE else 1)


def test_publish_names_a_standard_input_that_is_closed() -> None:
    """No event is no success when nobody could give one."""
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        known = settings(KAFKA=broker.bootstrap, KAFKA_TIMEOUT_S="20")
        assert done("publish", ROOT, env=known, preexec_fn=closing(0)) == (
            1,
            '{"published": 0, "refused": 0}\n',
            "touchpoint: standard input: Bad file descriptor\n",
        )


# -- a full disk --------------------------------------------------------------------------------------------


def small_files() -> None:
    """No file of the program may grow beyond 2 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below."""
    return {
        str(one.relative_to(directory)): one.read_bytes() for one in directory.rglob("*") if one.is_file()
    }


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (f"render {JOURNEY} --out .", "deploy/prometheus/touchpoint.rules.yaml"),
        ("backtest history.jsonl --picture picture.svg", "picture.svg"),
    ],
)
def test_a_full_disk_leaves_what_was_there(command: str, file: str, tmp_path: Path) -> None:
    """The file that did not fit is named; all are as they were, and nothing lies beside them."""
    (tmp_path / "history.jsonl").write_text(touchpoint("simulate", "--events", "3000").stdout)
    assert done(command, tmp_path)[0] == 0
    (tmp_path / file).write_text("as it was")
    before = tree(tmp_path)
    code, _, err = done(command, tmp_path, preexec_fn=small_files)
    assert (code, err.count("\n")) == (1, 1)
    assert re.fullmatch(r"touchpoint: \S+: File too large\n", err)
    assert tree(tmp_path) == before


# -- Ctrl-C ------------------------------------------------------------------------------------------


@contextmanager
def silent() -> Iterator[socket.socket]:
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def maps(process: subprocess.Popen[bytes], library: str) -> bool:
    """Whether a program has loaded a library, so is about to import more."""
    assert process.poll() is None
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def test_ctrl_c_while_it_starts(directory: Path) -> None:
    """The first fifth of a second goes by importing."""
    with started("topics", directory) as process:
        until(lambda: maps(process, "msgspec"), "imports begun")
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out, err) == (130, "", STOPPED)


@pytest.mark.parametrize(
    "command",
    [
        "topics", "change title", "publish", "replay events.jsonl", "dead-letters list", "worker",
        "dead-letters show touchpoint.store.v1.dlq:0:1", "dead-letters replay", "simulate --to-kafka",
        "pages --findings --http 127.0.0.1:0", "journey j-1 --worker http://{}",
        "report --prometheus http://{}", "verdict title --prometheus http://{}",
    ],
)  # fmt: skip
def test_ctrl_c_while_nobody_answers(command: str, directory: Path) -> None:
    """Long before the time is over that Kafka or a worker is given."""
    with silent() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        known = settings(KAFKA=address, HTTP="127.0.0.1:0", KAFKA_TIMEOUT_S="80000")
        with started(command.format(address), directory, env=known) as process, server.accept()[0]:
            process.send_signal(signal.SIGINT)
            code, out, err = ended(process)
    if command == "worker":
        assert (code, out, err) == (0, "", re.search(r"http://\S+/\n", err)[0])  # type: ignore[index]
    else:
        assert (code, out, err) == (130, "", STOPPED)


def test_ctrl_c_leaves_whole_lines(directory: Path) -> None:
    """What `simulate` has written can be read, whenever it was told to end."""
    with started("simulate --start 2026-01-01T00:00:00Z --events 10000000", directory) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        written = first + process.stdout.read()  # what is buffered here, too
        assert ended(process) == (130, "", STOPPED)
    assert written.endswith(b"\n")
    assert all(orjson.loads(line) for line in written.splitlines())


def test_ctrl_c_while_a_history_is_read(directory: Path) -> None:
    """`backtest -` whose input does not end, and leaves no half a picture."""
    with started("backtest - --picture picture.svg", directory, stdin=subprocess.PIPE) as process:
        write_line(process, checkout(1))
        until(lambda: maps(process, "numpy"), "about to read")
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert ended(process) == (130, "", STOPPED)
    assert not (directory / "picture.svg").exists()


IN_A_DATACLASS = """
import streams.commands.main, typer
from streams.__main__ import main

def command():
    exec("raise KeyboardInterrupt")

streams.commands.main.app = lambda: typer.run(command)
main()
"""


def test_ctrl_c_while_a_dataclass_is_made(tmp_path: Path) -> None:
    """`python -m` ends by the signal if ever a Ctrl-C came in code made from text, caught or not."""
    (tmp_path / "interrupted.py").write_text(IN_A_DATACLASS)
    known = settings() | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    started = subprocess.Popen(
        [sys.executable, "-m", "interrupted"], env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert ended(started) == (130, "", STOPPED)


STOPPED = "touchpoint: stopped\n"


def write_line(process: subprocess.Popen[bytes], line: bytes) -> None:
    """To its standard input, which stays open."""
    assert process.stdin is not None
    process.stdin.write(line + b"\n")
    process.stdin.flush()


@pytest.mark.parametrize("command", ["publish", "replay history.jsonl --speed 1"])
def test_ctrl_c_while_the_next_event_is_far_off(command: str, tmp_path: Path) -> None:
    """Nothing comes on standard input, or the next event is days later: what was published is told."""
    now = datetime.now(UTC)
    far = [checkout(i, time=(now - timedelta(days=days)).isoformat()) for i, days in enumerate((7, 1))]
    (tmp_path / "history.jsonl").write_bytes(b"\n".join(far))
    with running(TansuNode()) as broker:
        assert touchpoint("topics", KAFKA=broker.bootstrap).returncode == 0
        known = settings(KAFKA=broker.bootstrap, KAFKA_TIMEOUT_S="20")
        with started(command, tmp_path, env=known, stdin=subprocess.PIPE) as process:
            write_line(process, checkout(1))
            until(lambda: read_topic(broker.bootstrap, TOPIC), "one event published")
            process.send_signal(signal.SIGINT)
            process.wait(60)
            code, out, err = ended(process)
    assert (code, orjson.loads(out), err) == (0, {"published": 1, "refused": 0}, "")


# -- what others wrote -------------------------------------------------------------------------------


def on_a_terminal(command: str, directory: Path) -> str:
    """All that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    shown = b""
    with started(command, directory, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        with contextlib.suppress(OSError):  # nobody writes to it any more
            while chunk := os.read(ours, 65536):
                shown += chunk
    os.close(ours)
    return shown.decode()


def test_no_name_of_a_journey_file_moves_the_cursor(tmp_path: Path) -> None:
    """`check` says what is wrong with a name, and shows its escapes instead of obeying them."""
    text = SHIPPED_JOURNEY.read_text().replace("owner: web-team", 'owner: web-team\n    "\\e[2Jx": 1')
    (tmp_path / "journey.yaml").write_text(text)
    shown = on_a_terminal("check journey.yaml", tmp_path)
    assert r"stages.web_checkout.\x1b[2Jx: unknown key" in shown
    assert "\x1b" not in shown
