"""`backtest --where`: what the bad encounters behind each alert have in common, from the same file."""

import json
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tests.kit.programs import touchpoint, touchpoint_reading

JOURNEY = """
version: 1
journey: paid
segments: []
partners: [klarna, adyen]
stages:
  shop:
    kind: customer
    owner: web
    dedupe_s: 600
    partners: [klarna, adyen]
    experiences: {bought: {title: Who pays gets through, judges: {}, good: {outcome: [ok]}, target: 0.95}}
  crew:
    kind: staff
    owner: people
    partners: [klarna, adyen]
    experiences: {well: {judges: {}, good: {outcome: [ok]}, target: 0.95}}
"""
BEGAN = datetime(2026, 11, 2, 8, tzinfo=UTC)
HEALTHY_S, BAD_S = 2 * 3600, 600


def event(number: int, stage: str) -> bytes:
    """One a second, one in fifty bad; at last every second one of klarna's."""
    partner = ("klarna", "adyen")[number % 2]
    is_bad = number % 4 == 0 if number >= HEALTHY_S and partner == "klarna" else number % 50 == 1
    return orjson.dumps(
        {
            "id": f"{stage}-{number}",
            "time": (BEGAN + timedelta(seconds=number)).isoformat(),
            "stage": stage,
            "outcome": "failed" if is_bad else "ok",
            "partner": partner,
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A journey file, and a history in which every event of the shop stands twice."""
    directory = tmp_path_factory.mktemp("where")
    (directory / "journey.yaml").write_text(JOURNEY)
    seconds = range(HEALTHY_S + BAD_S)
    lines = [event(n, stage) for n in seconds for stage in ("shop", "shop", "crew")]
    (directory / "a.jsonl").write_bytes(b"\n".join([*lines, b"no event"]))
    return str(directory / "journey.yaml"), str(directory / "a.jsonl")


def test_a_page_says_where_it_is(files: tuple[str, str]) -> None:
    """The partner, in the trouble up to the page, each event once. Of staff nothing is said."""
    journey, history = files
    done = touchpoint("backtest", history, "--journey", journey, "--where", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {one["stage"] for one in said["alerts"]} == {"shop", "crew"}
    (page,) = (one for one in said["alerts"] if one["severity"] == "page")
    (shop,) = (one for one in said["where"] if one["noticed"] == page["noticed"])
    assert {one["stage"] for one in said["where"]} == {"shop"}
    cause = shop["causes"][0]
    assert cause["where"] == {"partner": "klarna"}
    noticed = datetime.fromisoformat(page["noticed"])
    bad = range(HEALTHY_S, int((noticed - BEGAN).total_seconds()), 4)
    assert (cause["bad"], cause["n"]) == (len(bad), 150)


def test_it_is_told_below_the_table(files: tuple[str, str]) -> None:
    """With when and where the alert was; and only if it is asked for."""
    journey, history = files
    plain, where = (
        touchpoint("backtest", history, "--journey", journey, *more) for more in ((), ("--where",))
    )
    assert "1. partner klarna: " in where.stdout
    assert "Z shop: Who pays gets through: " in where.stdout
    assert where.stdout.startswith(plain.stdout)


def test_standard_input_cannot_be_read_twice() -> None:
    """One line."""
    done = touchpoint_reading(b"", "backtest", "-", "--where")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "touchpoint: --where reads the history twice: give a file\n"
