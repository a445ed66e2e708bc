"""Mistakes in files are reported at the frozen place: file, line, column, carets and the suggested word."""

import pytest
from blackbox_diagnostics import check_config_file, check_rule_file
from blackbox_world import DATA, Home, load

FROZEN = load(DATA / "diagnostics.json")


@pytest.mark.parametrize("name", [name for name in FROZEN if name.startswith("rules/")])
def test_a_rule_file_is_accepted_or_refused_at_the_same_spots(tmp_path, name):
    path = DATA / name
    assert check_rule_file(Home(tmp_path), path.name, path.read_bytes()) == FROZEN[name]


@pytest.mark.parametrize("name", [name for name in FROZEN if name.startswith("configs/")])
def test_a_config_is_refused_at_the_same_spots(tmp_path, name):
    assert check_config_file(Home(tmp_path), (DATA / name).read_bytes()) == FROZEN[name]


def test_every_file_of_the_data_is_frozen():
    files = [*(DATA / "rules").glob("*/*.toml"), *(DATA / "configs").glob("*.toml")]
    assert {path.relative_to(DATA).as_posix() for path in files} == FROZEN.keys()
    assert sum(each["code"] == 78 for each in FROZEN.values()) >= 60
