"""The example's stages are data of the story: code that serves any journey file knows none of them."""

import ast
from pathlib import Path

from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED

STORY = ROOT / "streams/demo/story.py"
KINDS_TOO = {"feedback"}
"""Also a kind of stage: a word of the product, not of the example alone."""
NAMES = {stage.name for stage in SHIPPED.stages} - KINDS_TOO


def named(file: Path) -> set[str]:
    """The example's stages that a file has as a text of their own."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and node.value in NAMES}


def test_only_the_story_knows_the_stages_of_the_example() -> None:
    """Every stage but the story's own stands nowhere else, and the walk does find those."""
    files = [*(ROOT / "monitor").rglob("*.py"), *(ROOT / "streams").rglob("*.py")]
    assert named(STORY) == NAMES
    assert {file.relative_to(ROOT).as_posix(): named(file) for file in files if named(file)} == {
        "streams/demo/story.py": NAMES
    }
