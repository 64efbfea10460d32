"""The page of the latest figures says them all, in prose that can be read."""

from pathlib import Path
from xml.etree import ElementTree

from tests.bench import page
from tests.readable import faults

MEDIANS = {
    "stock": {"events_per_s": 5_000.0, "cpu_us": 200.0, "peak_mb": 90.0},
    "journeys": {"events_per_s": 60_000.0, "cpu_us": 17.0, "peak_mb": 400.0, "times_stock": 12.0},
}


def test_the_page_has_every_figure_and_what_it_depends_on(tmp_path: Path) -> None:
    """A row for each contender, and in the picture a bar for each, the fastest the longest."""
    page.write(tmp_path / "SPEED.md", MEDIANS, {"rounds": 5})
    text = (tmp_path / "SPEED.md").read_text()
    assert "| `stock` | 5,000 | 200.0 | 90 |  |\n| `journeys` | 60,000 | 17.0 | 400 | 12.0 |" in text
    assert "| rounds | 5 |" in text
    assert "(SPEED.svg)" in text
    assert faults("SPEED.md", text) == []
    drawn = ElementTree.parse(tmp_path / "SPEED.svg").iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314 - ours
    stock_px, journeys_px = (float(bar.attrib["width"]) for bar in drawn)
    assert journeys_px == page.BAR_PX == 12 * stock_px
