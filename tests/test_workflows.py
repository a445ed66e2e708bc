"""The workflows of the repository: pinned, and true to the README."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_and_names_its_version(path):
    uses = re.findall(r"uses: (.+)", path.read_text("utf-8"))
    assert uses
    assert [each for each in uses if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[\d.]+", each)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_more_rights_than_to_read(path):
    assert "\npermissions:\n  contents: read\n" in path.read_text("utf-8")


def test_the_first_command_of_the_readme_is_run_on_three_systems_and_four_pythons():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in text
    assert 'python: ["3.11", "3.12", "3.13", "3.14"]' in text
    assert 'pip" install -q -e ".[dev]" && "$BIN/watcher" demo' in text
    readme = (ROOT / "README.md").read_text("utf-8")
    assert 'pip install -q -e ".[dev]" && .venv/bin/watcher demo' in readme
