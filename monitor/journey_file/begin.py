"""A first journey file, from five answers: `touchpoint init`. Whoever writes it goes on from its comments."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.journey_file.nodes import NAME


class NameProblemError(ValueError):
    """An answer that no journey file takes; one line that says which and what it may be."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered. Stages are names, in the order in which customers meet them."""

    journey: str
    met: tuple[str, ...]
    behind: tuple[str, ...]
    owner: str
    timezone: str


def name_of(text: str) -> str:
    """A name as journey files write it: `Web checkout` is `web_checkout`. NameProblemError if it is none."""
    name = "_".join(text.lower().replace("-", " ").split())
    if not NAME.fullmatch(name):
        told = "a name has up to 40 of a-z, 0-9 and _, and begins with a letter"
        raise NameProblemError(f"`{text.strip()}` is no name: {told}")
    return name


def names_of(text: str) -> tuple[str, ...]:
    """Names with commas between them, in their order. NameProblemError for one that is none, or is twice."""
    names = tuple(name_of(part) for part in text.split(",") if part.strip())
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise NameProblemError(f"`{twice}` is named twice")
    return names


def written(answers: Answers) -> str:
    """The file. It expects nothing, so nothing is called silent before anybody knows how much comes."""
    stages = [_stage(name, "customer", answers.owner, CUSTOMERS, answers.behind) for name in answers.met]
    stages += [_stage(name, "background", answers.owner, WORK, ()) for name in answers.behind]
    return HEAD.format(journey=answers.journey, timezone=answers.timezone) + "\n".join(stages)


def _stage(name: str, kind: str, owner: str, experience: str, behind: Sequence[str]) -> str:
    begun = f"  {name}:\n    kind: {kind}\n    owner: {owner}\n"
    if behind:
        begun += f"    depends_on: [{', '.join(behind)}]   # strike out what it does not wait for\n"
    return f"{begun}{SILENCE}    experiences:\n{experience}"


HEAD = """\
# `touchpoint check` says what is wrong with this file, `touchpoint validate` what it makes of your events.
version: 1
journey: {journey}
timezone: {timezone}
segments: []                     # kinds of customers, the most important first, such as [business, new]

stages:                          # in the order in which customers meet them
"""

SILENCE = """\
    # expects: {per_hour: 120}   # once you know how much comes: then an alert says when nothing does
"""

CUSTOMERS = """\
      succeeds:
        title: Customers get what they came for
        judges: {outcome: [ok, wow, failed, abandoned]}
        good: {outcome: [ok, wow]}
        target: 0.95             # a first guess: look at a week on the board, then write what you promise
      # fast:                    # if your events say how long customers wait
      #   title: Customers wait at most 20 seconds
      #   judges: {outcome: [ok, wow, failed, abandoned]}
      #   good: {wait_s: {at_most: 20}}
      #   target: 0.80
"""

WORK = """\
      works:
        title: What customers wait for is done
        judges: {outcome: [ok, wow, failed]}
        good: {outcome: [ok, wow]}
        target: 0.99             # a first guess: look at a week on the board, then write what you promise
"""
