"""What the terminal shows of a stage stands on the side of its target that its counts are on."""

from typing import Any

import pytest

from streams.terminal import Row, StagesView, say, show_table


def stage(n: int, bad: int, target: float | None) -> dict[str, Any]:
    """A stage of an `/api/stages` answer."""
    return {
        "stage": "store", "title": "Store", "state": "good" if n else "quiet", "window": "1h",
        "quality": (n - bad) / n if n else None, "n": n, "bad": bad, "target": target,
        "events_per_minute": 1.0, "trend": [], "weakest": None, "top_reason": None, "silent": None,
    }  # fmt: skip


SHOWN = [
    (20, 1, 0.95, "95.0 % of 20 events in 1h", ("95.0 %", "95 %")),
    (100_000, 5_001, 0.95, "94.9 % of 100,000 events in 1h", ("94.9 %", "95 %")),
    (10_000, 6, 0.9995, "99.94 % of 10,000 events in 1h", ("99.94 %", "99.95 %")),
    (100_000, 1, 0.95, "99.9 % of 100,000 events in 1h", ("99.9 %", "95 %")),
    (3, 0, 0.9, "100 % of 3 events in 1h", ("100 %", "90 %")),
    (0, 0, None, "0 events in 1h", ("", "")),
]


TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}


@pytest.mark.parametrize("known", [{}, TERMINAL], ids=["file", "terminal"])
def test_what_others_wrote_is_only_text(
    known: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup in a title or a reason is shown as it stands, and no escape reaches the terminal."""
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    hostile = "[/bold] [red]x \x1b[2J"
    with StagesView(lambda: None) as view:
        view.say(hostile)
        view.show([stage(20, 1, 0.95) | {"title": hostile, "top_reason": hostile}], "")
    show_table(("reason",), [Row((hostile,), is_loud=True)])
    say(hostile)
    shown = capsys.readouterr()
    assert (shown.err + shown.out).count(r"[/bold] [red]x \x1b[2J") >= (5 if known else 3)
    assert "\x1b[2J" not in shown.err + shown.out


@pytest.mark.parametrize(("n", "bad", "target", "line", "cells"), SHOWN)
def test_shares_are_written_as_everywhere(
    n: int,
    bad: int,
    target: float | None,
    line: str,
    cells: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut, not rounded, as fine as the target; nothing of no events: in lines, and in a table."""
    found = [stage(n, bad, target)]
    with StagesView(lambda: None) as view:
        view.show(found, "")
    assert capsys.readouterr().err.strip().endswith(f", {line}")
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    with StagesView(lambda: None) as view:
        view.show(found, "")
    row = next(row for row in capsys.readouterr().err.splitlines() if "Store" in row)
    assert tuple(cell.strip() for cell in row.split("│")[3:5]) == cells


SILENCE = "No event for 7 min; about 1,080 were expected."


@pytest.mark.parametrize("known", [{}, TERMINAL], ids=["file", "terminal"])
def test_silence_is_said_in_the_words_of_the_answer(
    known: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long nothing has come stands where quality stood, in line and table."""
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    silent = {
        "state": "silent",
        "events_per_minute": 98,
        "silent": {"window": "1m", "expected": 150, "text": SILENCE},
    }
    with StagesView(lambda: None) as view:
        view.show([stage(400, 8, 0.95) | silent], "")
    shown = capsys.readouterr().err
    assert "98" not in shown
    assert SILENCE in shown
    assert known or shown == f"store: silent. {SILENCE}\n"
