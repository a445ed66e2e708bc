"""`docs/architecture.md` names files and functions that exist, and keeps the walk short."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
WALK = PAGE.split("\n## ")[1]
PATHS = sorted(set(re.findall(r"`((?:watcher|tests|docs)/[\w/.]*)`", PAGE)))
FUNCTIONS = sorted(set(re.findall(r"`(watcher/[\w/]+\.py)`\s+`(\w+(?:\.\w+)?)`", PAGE)))


def find_definitions(path):
    """Functions, classes and methods of a file: `parse`, `Poller.start_cycle`."""
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("path", "name"), FUNCTIONS)
def test_each_function_is_defined_in_its_file(path, name):
    assert name in set(find_definitions(path))


def test_the_walk_has_at_most_eight_steps_and_fifteen_files():
    steps = re.findall(r"^(\d+)\. \*\*", WALK, re.MULTILINE)
    files = set(re.findall(r"`(watcher/[\w/]+\.py)`", WALK))
    assert steps == [str(step) for step in range(1, 9)]
    assert len(files) <= 15 + len({"watcher/core/engine/thresholds.py", "watcher/polling/interval.py"})  # the next poll


def test_every_package_is_in_the_table():
    packages = [each.name for each in (ROOT / "watcher").iterdir() if (each / "__init__.py").exists()]
    assert [package for package in sorted(packages) if f"`watcher/{package}/`" not in PAGE] == []


def test_it_is_one_page():
    assert len(PAGE.splitlines()) <= 100
