"""`docs/architecture.md` names functions that exist, names every package, and stays one page."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FUNCTIONS = sorted(set(re.findall(r"`(watcher/[\w/]+\.py)`\s+`(\w+(?:\.\w+)?)`", PAGE)))
STEPS = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)


def defined_in(path):
    """Functions, classes and methods of a file: `record_poll`, `Store.save`."""
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize(("path", "name"), FUNCTIONS)
def test_each_function_is_in_its_file(path, name):
    assert name in set(defined_in(path))


def test_every_package_is_named():
    packages = [each.name for each in (ROOT / "watcher").iterdir() if (each / "__init__.py").exists()]
    assert [name for name in sorted(packages) if f"`watcher/{name}/`" not in PAGE] == []


def test_a_reading_becomes_a_notification_in_at_most_eight_steps_and_fifteen_files():
    assert 5 <= len(STEPS) <= 8
    assert len({path for step in STEPS for path in re.findall(r"`(watcher/[\w/]+\.py)`", step)}) <= 15
    assert len(FUNCTIONS) >= len(STEPS)


def test_it_is_one_page_with_one_diagram():
    assert len(PAGE.splitlines()) <= 100
    assert PAGE.count("```text") == 1
