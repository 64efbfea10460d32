"""The latest medians of `tests.bench speed` as a page, with all that they depend on, and their picture."""

import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("faust-streaming", "aiokafka", "msgspec", "numpy", "uvloop")

BAR_PX, LINE_PX, NAMES_PX = 420, 28, 130
"""The longest bar, a line of the picture, and the room left of the bars."""

Medians = Mapping[str, Mapping[str, float]]


def write(page: Path, medians: Medians, conditions: Mapping[str, object]) -> None:
    """Write the page, and beside it the picture it shows; both replace what was there.

    `conditions` are told beside what is found here.
    """
    picture = page.with_suffix(".svg")
    page.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(_picture(medians))
    page.write_text(_text(medians, picture.name, conditions))


def _text(medians: Medians, picture: str, conditions: Mapping[str, object]) -> str:
    rows = [
        f"| `{name}` | {one['events_per_s']:,.0f} | {one['cpu_us']:.1f} | {one['peak_mb']:,.0f} | "
        f"{_times(one)} |"
        for name, one in medians.items()
    ]
    return "\n".join([
        "# The latest figures",
        "",
        "Medians of interleaved rounds, measured by `python -m tests.bench speed`.",
        "[README.md](README.md) says what each name means.",
        "",
        "| name | events/s | µs of CPU an event | peak MB | times stock Faust |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"![Events a second of each]({picture})",
        "",
        "| measured | |",
        "|---|---|",
        f"| on | {datetime.now(UTC):%Y-%m-%d} |",
        f"| machine | {_processor()}, {os.cpu_count()} cores |",
        f"| Python | {platform.python_version()}, {platform.python_compiler()}, "
        f"built {platform.python_build()[1]} |",
        *(f"| {name} | {value} |" for name, value in conditions.items()),
        *(f"| {library} | {version(library)} |" for library in LIBRARIES),
        "",
    ])  # fmt: skip


def _times(figures: Mapping[str, float]) -> str:
    return f"{figures['times_stock']:.1f}" if "times_stock" in figures else ""


def _processor() -> str:
    """As Linux names it."""
    named = re.search(r"(?m)^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text())
    return named[1] if named else platform.machine()


def _picture(medians: Medians) -> str:
    """A bar for each, as long as its events a second."""
    most = max(one["events_per_s"] for one in medians.values())
    height = LINE_PX * len(medians)
    bars = []
    for number, (name, one) in enumerate(medians.items()):
        y, width = LINE_PX * number, BAR_PX * one["events_per_s"] / most
        bars.append(
            f'<text x="0" y="{y + 18}">{name}</text>'
            f'<rect x="{NAMES_PX}" y="{y + 5}" width="{width:.1f}" height="18" fill="#3274d9"/>'
            f'<text x="{NAMES_PX + width + 6:.1f}" y="{y + 18}">{one["events_per_s"]:,.0f}/s</text>'
        )
    width = NAMES_PX + BAR_PX + 100
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13" fill="#808080">\n' + "\n".join(bars) + "\n</svg>\n"
    )
