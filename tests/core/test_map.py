"""The map in `watcher/core/__init__.py`: complete, in reading order, true to the imports."""

import ast
import re
from pathlib import Path

import pytest

from watcher import core

HERE = Path(core.__file__).parent
MAP = re.findall(r"^    (\w+)( \*)? +(\S.*)$", core.__doc__ or "", re.MULTILINE)
ORDER = [name for name, _, _ in MAP]
MAIN = {"model", "expression", "rulebook", "cycle", "forecast", "evaluate", "judge", "plan", "cadence", "wording"}


def imported(path):
    """Modules of the core that a file imports where it runs; for its annotations alone it may look ahead."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "watcher.core":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("watcher.core."):
            yield node.module.split(".")[2]


def test_every_module_is_on_the_map_once():
    assert sorted(ORDER) == sorted(path.stem for path in HERE.glob("*.py") if path.stem != "__init__")


def test_the_main_file_of_each_idea_is_marked():
    assert {name for name, star, _ in MAP if star} == MAIN


@pytest.mark.parametrize("name", ORDER)
def test_a_file_uses_only_what_is_read_before_it(name):
    later = ORDER[ORDER.index(name) :]
    assert [used for used in imported(HERE / f"{name}.py") if used in later] == []


@pytest.mark.parametrize("name", ORDER)
def test_a_file_is_short_enough_to_be_read_at_once_or_says_why_not(name):
    text = (HERE / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 300 or "One file although it is a long one" in text
