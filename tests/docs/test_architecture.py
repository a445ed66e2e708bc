"""`docs/architecture.md` names files and functions: each is there, and the walk leaves no room of the core out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FILES = sorted(set(re.findall(r"`((?:watcher|tests|docs)/[\w/.]*)`", PAGE)))
NAMED = sorted(set(re.findall(r"`(watcher/[\w/]+\.py)`\s+`(\w+(?:\.\w+)?)`", PAGE)))
MAIN = re.findall(r"^    (\w+) \*", (ROOT / "watcher" / "core" / "__init__.py").read_text("utf-8"), re.MULTILINE)


def defined(path):
    """Functions, classes and methods of a file: `look`, `Desk.take`."""
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize("name", FILES)
def test_each_file_and_folder_that_is_named_exists(name):
    assert (ROOT / name).exists()


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_function_that_is_named_is_in_its_file(path, name):
    assert name in set(defined(path))


def test_the_walk_is_a_walk():
    assert len(NAMED) >= 30


def test_every_room_stands_in_the_table():
    rooms = [each.name for each in (ROOT / "watcher").iterdir() if (each / "__init__.py").exists()]
    assert [room for room in sorted(rooms) if f"`watcher/{room}/`" not in PAGE] == []


def test_the_walk_passes_the_main_file_of_each_idea_that_a_reading_meets():
    met = set(MAIN) - {"model", "expression", "rulebook", "forecast"}  # nouns, the language, and what only rules ask
    assert [name for name in sorted(met) if f"`watcher/core/{name}.py`" not in PAGE] == []


def test_it_is_one_page():
    assert len(PAGE.splitlines()) <= 100
