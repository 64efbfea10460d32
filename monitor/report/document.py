"""What the digest is made of when it is read, in no format: labels are in it as they came."""

from dataclasses import dataclass
from typing import Literal

Mood = Literal["good", "bad", "plain", "unknown"]

UNKNOWN = "Nothing known."
"""What is said of anything that nobody counted."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of a picture: what to say of it, its quality if known, and whether it met the target."""

    words: str
    quality: float | None
    is_met: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Quality day by day, oldest first, from `floor` up to 1."""

    bars: tuple[Bar, ...]
    target: float
    floor: float


@dataclass(frozen=True, slots=True)
class Item:
    """A few sentences about one thing. The mood says nothing that the words do not."""

    lead: str
    text: str
    mood: Mood = "plain"
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs together; `note` explains it."""

    title: str
    items: tuple[Item, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """The digest as read from top to bottom."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
