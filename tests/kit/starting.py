"""Which tests start a process: found from the code they run, so no marker can be forgotten."""

from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

OURS = ("tests.", "conftest", "deploy.", "streams.demo.broker", "streams.demo.child")
"""Where code is followed. Elsewhere in `streams` and `monitor` nothing starts a process."""
STARTERS = {"subprocess", "multiprocessing", "create_subprocess_exec", "create_subprocess_shell"}
EVENTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system"}
"""Python's audit events of a process that starts: https://docs.python.org/3/library/audit_events.html"""


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _functions(value: object) -> Iterator[FunctionType]:
    """The functions of ours behind a name: itself, what it wraps, or the methods of a class and its bases."""
    value = getattr(value, "__wrapped__", value)
    if not str(getattr(value, "__module__", "")).startswith(OURS):
        return
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for member in (member for kind in value.__mro__ for member in vars(kind).values()):
            yield from _functions(getattr(member, "fget", member))


def _reached(known: Mapping[str, object], names: set[str]) -> Iterator[object]:
    for name in names & known.keys():
        yield known[name]
        if isinstance(module := known[name], ModuleType):
            yield from (vars(module)[inner] for inner in names & vars(module).keys())


def starts_process(*functions: Callable[..., Any]) -> bool:
    """Whether one of them, or any function of ours that they name, starts a process."""
    waiting = [inner for function in functions for inner in _functions(function)]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        seen.add(function)
        names = set(_names(function.__code__))
        if names & STARTERS:
            return True
        for value in _reached(function.__globals__, names):
            waiting += [inner for inner in _functions(value) if inner not in seen]
    return False


def mark(item: pytest.Function) -> None:
    """Marks a test `process` if it, or a fixture it asks for, starts one."""
    definitions = item._fixtureinfo.name2fixturedefs.values()
    fixtures = [definition.func for definitions_of_name in definitions for definition in definitions_of_name]
    if starts_process(item.function, *fixtures):
        item.add_marker(pytest.mark.process)


class Guard:
    """Fails a test that starts a process and is not marked: then the rule above has a hole."""

    def __init__(self) -> None:
        self.watched: pytest.Item | None = None

    def __call__(self, event: str, _arguments: object) -> None:
        """An audit hook."""
        if event in EVENTS and self.watched and not self.watched.get_closest_marker("process"):
            name, self.watched = self.watched.nodeid, None
            raise AssertionError(f"{name} starts a process that tests/kit/starting.py does not see")
