"""Fails on prose that is hard to read: sentences of more than 20 words on average, or one of more than 40."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEAN_WORDS, MOST_WORDS = 20, 40
"""Plain English for whoever reads it at night, in a second language: https://www.gov.uk/guidance/content-design."""

FENCE = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=\|)|^#.*$", re.MULTILINE)
"""Where a paragraph, an item of a list, a row of a table or a heading begins."""
MARK = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"*(/\d])|:$")
"""A sentence ends here. A colon or a semicolon ends none."""


def pages() -> list[Path]:
    """READMEs, runbooks and what stands under `.github/`; of the changelog every line is short already."""
    folders = (".github", "deploy", "grafana", "monitor", "streams", "tests")
    return [ROOT / "README.md", *sorted(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page. A name in code is one word; blocks of code and tables are no prose."""
    for block in BLOCK.split(LINK.sub(r"\1", CODE.sub("`code`", FENCE.sub("\n\n", text)))):
        if not block.startswith(("   ", "\t", "|")):
            for sentence in END.split(MARK.sub("", block.strip())):
                if sentence.strip():
                    yield " ".join(sentence.split())


def faults(name: str, text: str) -> list[str]:
    """What is too long on a page: its mean sentence, or single ones; empty if nothing is."""
    lengths = {sentence: len(sentence.split()) for sentence in sentences(text)}
    mean = sum(lengths.values()) / max(1, len(lengths))
    found = (
        [f"{name}: {mean:.1f} words a sentence on average, at most {MEAN_WORDS}"] if mean > MEAN_WORDS else []
    )
    return found + [
        f"{name}: {words} words in one sentence, at most {MOST_WORDS}: {sentence}"
        for sentence, words in lengths.items()
        if words > MOST_WORDS
    ]


def main() -> int:
    """One line for each fault; 1 if there is any."""
    found = [line for page in pages() for line in faults(str(page.relative_to(ROOT)), page.read_text())]
    for line in found:
        print(line, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
