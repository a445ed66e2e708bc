"""The shipped rule files load together, have examples, and match the schema for editors."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from watcher.core.rules.loader import check_rule_files, parse_rules
from watcher.core.rules.rule import ExampleEntry, LevelsEntry, RuleEntry, build_rules_schema

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules"
FILES = sorted(RULES.glob("*.toml"))
SCHEMA_FILE = RULES / "rules.schema.json"
RULE_FILES = ROOT / "tests" / "core" / "rules" / "files"


def test_the_shipped_files_are_the_documented_ones():
    names = [
        *("default", "expiring-resets", "paid-usage", "quiet", "reset-reminders", "strict", "team", "usable-again"),
        "use-it-or-lose-it",
    ]
    assert [path.stem for path in FILES] == names


def test_all_files_load_together():
    book, mistakes = check_rule_files(
        [(path.name, path.read_text("utf-8")) for path in FILES], channels=["desktop", "team"]
    )
    assert not mistakes
    assert len(book) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_rule_has_an_example_that_fires(path):
    for rule in parse_rules(path.read_text("utf-8"), path.name):
        assert rule.examples, rule.name
        assert any("F" in example.expect for example in rule.examples), rule.name


def test_only_the_team_rules_name_a_channel():
    for path in FILES:
        for rule in parse_rules(path.read_text("utf-8"), path.name):
            assert rule.notify == (("team",) if path.stem == "team" else None)


def test_the_shipped_schema_matches_the_types():
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == build_rules_schema()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_names_the_schema_and_is_valid(path):
    text = path.read_text("utf-8")
    assert text.startswith(f"#:schema ./{SCHEMA_FILE.name}\n")
    validator().validate(plain(tomllib.loads(text)))


@pytest.mark.parametrize("name", ["unknown_key", "wrong_types", "missing_keys", "not_an_array", "rule_is_a_number"])
def test_the_schema_rejects_what_the_loader_rejects(name):
    document = plain(tomllib.loads((RULE_FILES / "invalid" / f"{name}.toml").read_text("utf-8")))
    assert not validator().is_valid(document)


@pytest.mark.parametrize("path", sorted((RULE_FILES / "valid").glob("*.toml")), ids=lambda path: path.stem)
def test_the_schema_accepts_what_the_loader_accepts(path):
    validator().validate(plain(tomllib.loads(path.read_text("utf-8"))))


def test_every_key_has_a_description_in_the_schema():
    for entry in (RuleEntry, ExampleEntry):
        for key, described in build_rules_schema()["$defs"][entry.__name__]["properties"].items():
            assert described.get("description"), key
            assert "null" not in json.dumps(described), key
    assert set(build_rules_schema()["$defs"][LevelsEntry.__name__]["properties"]) == {"info", "warning", "critical"}


def validator():
    return jsonschema.Draft202012Validator(build_rules_schema())


def plain(value):
    """A TOML document with its dates as text, as in JSON."""
    return json.loads(json.dumps(value, default=lambda each: each.isoformat()))
