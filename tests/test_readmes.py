"""What the READMEs say is so: tables equal to the code, links that exist, files that pass `check`."""

import re
from pathlib import Path

import pytest

from monitor.counting.metrics import METRICS
from monitor.journey_file.grammar import parse
from streams.settings import describe
from tests.kit.programs import ROOT
from tests.readable import faults

PAGES = sorted(
    page
    for folder in (".github", "deploy", "grafana", "monitor", "streams", "tests")
    for page in (ROOT / folder).rglob("*.md")
)
READMES = [ROOT / "README.md", *PAGES]
SUFFIX = {"counter": "_total", "info": "_info"}
LEAST_LINES, MOST_LINES = 60, 150
"""A first page that says something, and that is read to its end."""


def table(page: Path, heading: str) -> list[str]:
    """The rows of the first table below a heading."""
    below = page.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in below.splitlines() if line.startswith("| `")]
    assert rows, f"{page}: no table below {heading}"
    return rows


def test_the_first_page_is_short() -> None:
    """Whoever opens the repository reads it to its end."""
    assert LEAST_LINES < len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


def test_settings_are_those_of_the_code() -> None:
    """Every setting, its default and its meaning, in the order of the code."""
    expected = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in describe()]
    assert table(ROOT / "deploy/README.md", "Settings") == expected


def test_metrics_are_those_of_the_code() -> None:
    """Every metric, its labels and its help, in the order of the code."""
    expected = [
        f"| `{metric.name}{SUFFIX.get(metric.kind, '')}` | {', '.join(metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    assert table(ROOT / "deploy/README.md", "Metrics") == expected


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    """A link is relative and exists; so does every path of a file of ours, and what a pattern stands for."""
    text = page.read_text()
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    paths = re.findall(r"`((?:monitor|streams|tests|deploy|grafana|\.github|\.ci)/[\w./*-]*\w)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not any(ROOT.glob(path))]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", "monitor/journey_file/README.md"])
def test_the_journey_file_shown_is_one(page: str) -> None:
    """What a newcomer copies passes `check`."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert [stage.name for stage in parse(shown).stages] == ["web_checkout"]


def test_prose_that_is_hard_to_read_is_named() -> None:
    """`make lint` names a page of long sentences, and a sentence too long; code and tables do not count."""
    short = "The worker reads a batch. Kafka has its records.\n\n"
    assert faults("PAGE", short + "```\n" + "word " * 50 + "\n```\n\n| " + "word " * 50 + "|\n") == []
    assert faults("PAGE", "word " * 21) == ["PAGE: 21.0 words a sentence on average, at most 20"]
    assert faults("PAGE", short * 9 + "- " + "word " * 40 + "`a b`") == [
        "PAGE: 41 words in one sentence, at most 40: " + "word " * 40 + "`code`"
    ]
