"""The digest as Markdown that is readable unrendered, too; every label in it is only text."""

import re
from collections.abc import Iterator

from monitor.counting.display import bar, printable
from monitor.report.document import Document, Picture

MISSING = "·"

MARKS = re.compile(r"[\\`*\[\]<>|~&#]|(?<!\w)_|_(?!\w)")
"""What Markdown, of a chat or of a page, could take for its own; not the underscore within a word."""


def literal(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    return MARKS.sub(lambda mark: f"\\{mark[0]}", printable(" ".join(text.split())))


def sparkline(picture: Picture) -> str:
    """The picture in one line of text."""
    floor = picture.floor
    return "".join(
        MISSING if one.quality is None else bar((one.quality - floor) / (1 - floor)) for one in picture.bars
    )


def markdown(read: Document) -> str:
    """The document as Markdown."""
    return "\n".join(_lines(read)) + "\n"


def _lines(read: Document) -> Iterator[str]:
    yield f"# {literal(read.title)}"
    yield ""
    yield literal(read.subtitle)
    for section in read.sections:
        yield ""
        yield f"## {section.title}"
        yield ""
        if section.note:
            yield literal(section.note)
            yield ""
        for item in section.items:
            days = f" {sparkline(item.picture)}" if item.picture is not None else ""
            yield f"- **{literal(item.lead)}**: {literal(item.text)}{days}"
