"""What the vendors answered becomes the same readings, errors and requests: recorded answers, frozen."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blackbox_answers import check_home
from blackbox_world import DATA, differences, load

HOMES = sorted((DATA / "answers").glob("*.json"))

each_home = pytest.mark.parametrize("path", HOMES, ids=lambda path: path.stem)


@cache
def load_outcome(path: Path):
    """The frozen outcome of a home, and the one of today."""
    case = load(path)
    with TemporaryDirectory() as folder:
        return case["expected"], check_home(case, Path(folder).resolve())


@each_home
def test_recorded_answers_give_the_same_status(path):
    expected, found = load_outcome(path)
    assert differences(expected["status"], found["status"]) == []


@each_home
def test_vendors_are_asked_the_same_questions_with_the_same_login(path):
    expected, found = load_outcome(path)
    assert found["asked"].keys() == expected["asked"].keys()
    assert differences(expected["asked"], found["asked"]) == []


@each_home
def test_the_check_ends_with_the_same_code_and_leaves_every_login_as_it_was(path):
    expected, found = load_outcome(path)
    assert found["check"] == expected["check"]
    assert found["untouched"]
    assert not found["traceback"]


@pytest.mark.parametrize("path", [path for path in HOMES if load(path)["again"]], ids=lambda path: path.stem)
def test_the_next_check_requests_only_providers_without_a_cooldown(path):
    expected, found = load_outcome(path)
    assert found["again"] == expected["again"]


def test_no_home_is_missing():
    homes = [load(path) for path in HOMES]
    assert len(homes) >= 20
    assert sum(len(home["records"]) for home in homes) >= 190
