"""YAML text in, nodes with typed readers out; what is wrong is noted, so that all of it is told at once.

The text is read as YAML nodes, not as Python values, for two reasons: nodes know their line, and a
target written `0.98` stays the exact decimal 0.98.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Concatenate, ParamSpec, TypeVar

import yaml

from monitor.journey_file.links import is_address
from monitor.journey_file.model import ALL, NONE, OTHER, SCALES

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names become label values, topic names and Grafana uids (at most 40 characters)."""

NUMBER = re.compile(r"-?(?=\.?[0-9])[0-9]{0,12}(\.[0-9]{0,12})?")
"""Digits enough for any target, few enough that no float overflows and 1 - target is never 0."""

SURROGATE = re.compile("[\ud800-\udfff]")

DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class FileError:
    """One thing wrong in a journey file."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}"


class JourneyFileError(ValueError):
    """A journey file that cannot be used; `errors` holds everything wrong with it."""

    def __init__(self, errors: Iterable[FileError]) -> None:
        self.errors = sorted(errors, key=lambda error: (error.line, error.path))
        super().__init__("; ".join(map(str, self.errors)))


Known = Mapping[str, tuple[str, ...]]
"""Field of an event -> every value it can have."""

FIXED = {"initiator": ("company", "customer"), "score.kind": tuple(SCALES)}
"""What no journey file changes."""

A = TypeVar("A")
B = TypeVar("B")
P = ParamSpec("P")


class Fields(dict[str, "At"]):
    """The members of a mapping whose keys are known."""

    complete = False
    """Whether every required one is among them."""

    def take(
        self,
        key: str,
        read: Callable[Concatenate["At", P], A],
        otherwise: B,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> A | B:
        """What `read` makes of the member and the further arguments; `otherwise` when it is not given."""
        return read(self[key], *args, **kwargs) if key in self else otherwise


@dataclass(slots=True)
class At:
    """A YAML node and where it stands; the typed readers below report instead of raising."""

    node: yaml.Node | None
    path: str
    line: int
    errors: list[FileError]

    def wrong(self, message: str) -> None:
        self.errors.append(FileError(self.line, self.path, message))

    def check(self, fine: object, message: str) -> None:
        if not fine:
            self.wrong(message)

    def fields(
        self, required: Iterable[str] = (), optional: Iterable[str] = (), empty: str | None = None
    ) -> Fields:
        """The mapping's members, after reporting unknown, repeated and missing keys."""
        members = self.members(empty)
        required = tuple(required)
        known = (*required, *optional)
        for key, member in members.items():
            if key not in known:
                member.wrong(f"unknown key{nearest(key, known)}")
        for key in required if isinstance(self.node, yaml.MappingNode) else ():
            self.check(key in members, f"missing key `{key}`")
        found = Fields((key, member) for key, member in members.items() if key in known)
        found.complete = found.keys() >= set(required)
        return found

    def members(self, empty: str | None = None) -> dict[str, "At"]:
        """The mapping's members by key; `empty` is what is wrong with one that has none."""
        if not isinstance(self.node, yaml.MappingNode):
            self.wrong("must be a mapping of keys to values")
            return {}
        if empty and not self.node.value:
            self.wrong(empty)
        found: dict[str, At] = {}
        for key_node, value_node in self.node.value:
            key = _text(key_node)
            line = key_node.start_mark.line + 1
            if key is None:
                self.errors.append(FileError(line, self.path, "a key must be text"))
                continue
            path = f"{self.path}.{key}" if self.path != "file" else key
            at = At(value_node, path, line, self.errors)
            at.check(key not in found, "is given twice")
            found[key] = at
        return found

    def items(self) -> list["At"]:
        if not isinstance(self.node, yaml.SequenceNode):
            self.wrong("must be a list")
            return []
        return [
            At(node, f"{self.path}[{i}]", node.start_mark.line + 1, self.errors)
            for i, node in enumerate(self.node.value)
        ]

    def text(self) -> str:
        text = _text(self.node)
        self.check(text is not None, "must be text")
        return text or ""

    def name(self) -> str:
        text = self.text()
        if text:
            self.check_name(text)
        return text

    def check_name(self, name: str) -> None:
        """Report a name, given here or as the key, that could not be a label value or part of a topic."""
        if not NAME.fullmatch(name):
            self.wrong(f"`{name}` must be lower case letters, digits and _, at most 40, a letter first")

    def one_of(self, known: Iterable[str], what: str) -> str:
        text, known = self.text(), tuple(known)
        if text and text not in known:
            self.wrong(f"unknown {what} `{text}`{nearest(text, known)}")
        return text

    def names(self, known: Iterable[str] | None = None, what: str = "name") -> tuple[str, ...]:
        """A list of names without repeats; with `known`, each must be one of them."""
        known = None if known is None else tuple(known)
        found: list[str] = []
        for item in self.items():
            name = item.name() if known is None else item.one_of(known, what)
            item.check(known is not None or name not in (ALL, NONE, OTHER), f"`{name}` is reserved")
            item.check(name not in found, f"`{name}` is given twice")
            found.append(name)
        return tuple(found)

    def values(self, known: Iterable[str] | None = None, what: str = "name") -> tuple[str, ...]:
        """Names as of `names` of which an event is to have one: an empty list would fit none, ever."""
        if isinstance(self.node, yaml.SequenceNode) and not self.node.value:
            self.wrong("must name at least one value")
        return self.names(known, what)

    def address(self) -> str:
        """Where a link leads: people click on it, so nothing but http and https."""
        text = self.text()
        self.check(not text or is_address(text), f"`{text}` must be an http or https address")
        return text

    def decimal(self, otherwise: str = "1") -> Decimal:
        """The exact number, after a noted error `otherwise`, which passes the caller's own checks."""
        text = self.text()
        if NUMBER.fullmatch(text):
            return Decimal(text)
        self.check(not text, f"`{text}` must be a number such as 0.98 or 20")
        return Decimal(otherwise)

    def number(self) -> float:
        return float(self.decimal())

    def target(self) -> Decimal:
        value = self.decimal(otherwise="0.5")
        if not 0 < value < 1:
            self.wrong(f"target {value} must lie between 0 and 1, both excluded; 98 % is written 0.98")
            return Decimal("0.5")
        return value

    def targets(self, segments: Iterable[str]) -> dict[str, Decimal]:
        """Targets of segments that have one of their own."""
        return {segment: member.target() for segment, member in self.fields(optional=segments).items()}

    def duration_ms(self, otherwise: int) -> int:
        """Milliseconds; after a noted error `otherwise`, which passes the caller's own checks."""
        text = self.text()
        match = DURATION.fullmatch(text)
        if match:
            return int(match[1]) * UNIT_MS[match[2]]
        self.check(not text, f"`{text}` must be a duration such as 30s, 5m, 6h or 8d")
        return otherwise


def _text(node: yaml.Node | None) -> str | None:
    """A scalar's text; None for null, blanks, and half a surrogate pair, which no output takes."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return None
    text = str(node.value)
    return text if text.strip() and not SURROGATE.search(text) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint of an error: the known name most like `name`, or all of them when none is near."""
    known = tuple(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known are {', '.join(known)}" if known else "; none is declared"


class _Untagged(yaml.SafeLoader):
    """Composes nodes without tags: nobody reads tags here, so whoever writes one expects something else."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node; ComposerError for one with a tag."""
        event = self.peek_event()  # type: ignore[no-untyped-call] # PyYAML has no types
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = re.sub(r"^tag:yaml\.org,2002:", "!!", tag)
            problem = f"the tag `{shown}` means nothing here: leave it out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


def read(text: str) -> At:
    """The root of a YAML text; JourneyFileError when it is no YAML."""
    try:
        node = yaml.compose(text, Loader=_Untagged)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character U+{error.character:04X} is not allowed"
        raise JourneyFileError([FileError(line, "file", problem)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise JourneyFileError([FileError(mark.line + 1 if mark else 1, "file", problem)]) from None
    except RecursionError:
        raise JourneyFileError([FileError(1, "file", "is nested too deeply")]) from None
    except (ValueError, OverflowError):  # PyYAML's own slips: "\\UFFFFFFFF", %YAML 1.<5000 digits>
        problem = "holds an escape or a version number out of range"
        raise JourneyFileError([FileError(1, "file", problem)]) from None
    return At(node, "file", 1, [])
