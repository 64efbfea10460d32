"""A function fits on a screen and a module in a head: their lines are bounded in product code.

Parameters and complexity are bounded by ruff, which knows no length in lines.
"""

import ast

import pytest

from tests.kit.programs import ROOT

MAX_FUNCTION = 60
MAX_MODULE = 400

FILES = sorted(
    file.relative_to(ROOT).as_posix()
    for layer in ("monitor", "streams", "deploy")
    for file in (ROOT / layer).rglob("*.py")
)


def too_long(path: str, source: str) -> list[str]:
    """Every function over the bound, and the module if it is, each with how many lines it has."""
    lines = len(source.splitlines())
    found = [f"{path}: {lines} lines"] if lines > MAX_MODULE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    return found


@pytest.mark.parametrize("path", FILES)
def test_sizes(path: str) -> None:
    """No function and no module is longer than its bound."""
    assert too_long(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize("head", ["def f():", "async def f():", "class C:\n    def f(self):"])
def test_the_bounds_are_exact(head: str) -> None:
    """A function at the bound passes, a line more is told of; likewise a module."""
    inside = f"\n{'    ' * (head.count('    ') + 1)}x = 1"
    first = head.count("\n") + 1
    assert too_long("a.py", head + inside * (MAX_FUNCTION - 1)) == []
    assert too_long("a.py", head + inside * MAX_FUNCTION) == [f"a.py:{first}: f has 61 lines"]
    assert too_long("a.py", "x = 1\n" * MAX_MODULE) == []
    assert too_long("a.py", "x = 1\n" * (MAX_MODULE + 1)) == ["a.py: 401 lines"]
