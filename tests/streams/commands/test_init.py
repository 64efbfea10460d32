"""`touchpoint init` from five answers to a file that the other commands take."""

import re
import subprocess
from pathlib import Path

import pytest

from monitor.journey_file.begin import Answers, NameProblemError, name_of, names_of, written
from monitor.journey_file.grammar import parse
from tests.kit.programs import TOUCHPOINT, environment, touchpoint, touchpoint_reading

ANSWERS = b"Corner shop\nWeb checkout, Store\nwarehouse\nops\nEurope/Helsinki\n"


def test_five_answers_make_a_file_that_check_accepts(tmp_path: Path) -> None:
    """And that alert rules and boards are made from."""
    file = tmp_path / "own.yaml"
    done = touchpoint_reading(ANSWERS, "init", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    journey = parse(file.read_text())
    assert (journey.name, journey.timezone) == ("corner_shop", "Europe/Helsinki")
    assert [(one.name, one.kind, one.owner, one.depends_on) for one in journey.stages] == [
        ("web_checkout", "customer", "ops", ("warehouse",)),
        ("store", "customer", "ops", ("warehouse",)),
        ("warehouse", "background", "ops", ()),
    ]
    assert all(one.per_hour is None for one in journey.stages)
    assert touchpoint("check", str(file)).returncode == 0
    assert touchpoint("render", str(file), "--out", str(tmp_path / "out")).returncode == 0


def test_the_usual_answers_will_do(tmp_path: Path) -> None:
    """Enter five times."""
    file = tmp_path / "own.yaml"
    assert touchpoint_reading(b"\n" * 5, "init", str(file)).returncode == 0
    assert [one.name for one in parse(file.read_text()).stages] == ["web_checkout", "call_queue", "delivery"]


def test_a_wrong_answer_is_asked_again(tmp_path: Path) -> None:
    """With what is wrong, in one line each."""
    file = tmp_path / "own.yaml"
    said = b"4711\nshop\n,\nstore\nstore\n\nops\nMars\nUTC\n"
    done = touchpoint_reading(said, "init", str(file))
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "  `4711` is no name: a name has up to 40 of a-z, 0-9 and _, and begins with a letter",
        "  name at least one",
        "  customers meet `store` already",
        "  `Mars` is no time zone; one is written like Europe/Helsinki",
    ]
    assert parse(file.read_text()).timezone == "UTC"


def test_what_is_there_stays(tmp_path: Path) -> None:
    """Nothing is asked, and nothing is written; nor when the answers end early."""
    file = tmp_path / "own.yaml"
    file.write_text("mine")
    done = touchpoint_reading(ANSWERS, "init", str(file))
    told = f"touchpoint: {file} is there already; name another, or move it away\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
    assert file.read_text() == "mine"
    early = touchpoint_reading(b"shop\n", "init", str(tmp_path / "none.yaml"))
    assert early.returncode == 1
    assert early.stderr == "touchpoint: the answers ended early; nothing is written\n"
    closed = subprocess.run(
        ["sh", "-c", f"{TOUCHPOINT} init none.yaml <&-"],
        capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert closed.stderr == "touchpoint: standard input: Bad file descriptor\n"
    assert closed.returncode == 1
    assert not (tmp_path / "none.yaml").exists()


def test_the_comments_are_keys_that_a_file_takes() -> None:
    """Whoever strikes out the `#` has a file that is accepted: they are shown to be used."""
    text = written(Answers("shop", ("store",), (), "ops", "UTC"))
    (store,) = parse(re.sub(r"^( +)# ", r"\1", text, flags=re.MULTILINE)).stages
    assert store.per_hour == 120
    assert [one.name for one in store.experiences] == ["succeeds", "fast"]


@pytest.mark.parametrize(
    ("said", "names"), [("a, b,", ("a", "b")), ("  Call-Queue ", ("call_queue",)), ("", ())]
)
def test_names_as_people_write_them(said: str, names: tuple[str, ...]) -> None:
    """Capitals, blanks and hyphens are no error."""
    assert names_of(said) == names


@pytest.mark.parametrize("said", ["", "1a", "ä", "a" * 41, "a b c!"])
def test_what_is_no_name(said: str) -> None:
    """Told in one line."""
    with pytest.raises(NameProblemError, match="is no name"):
        name_of(said)
