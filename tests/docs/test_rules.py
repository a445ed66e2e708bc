"""`docs/rules.md` is true: its blocks load, its examples pass, its tables match the code."""

import re
from pathlib import Path

import msgspec
import pytest

from watcher.core.engine.rule_tests import run_example
from watcher.core.rules.hysteresis import make_default_clear
from watcher.core.rules.loader import parse_rules
from watcher.core.rules.parser import parse_condition
from watcher.core.rules.rule import ExampleEntry, RuleEntry
from watcher.core.rules.template import TEMPLATE_FIELDS
from watcher.core.rules.vocabulary import FIELD_UNITS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "rules.md").read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def section(title):
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    """The cells of the table in that section, without the header."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def keys(title):
    return [row[0].strip("`") for row in rows(title)]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_loads_and_its_examples_pass(block):
    for rule in parse_rules(block, "rules.md"):
        for example in rule.examples:
            assert run_example(rule, example).passed, rule.name


def test_no_example_has_the_name_of_a_default_rule():
    """An example can be pasted beside the rules that `watcher init` writes."""
    shipped = {rule.name for rule in parse_rules((ROOT / "rules/default.toml").read_text("utf-8"), "default.toml")}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        named = re.findall(r'^\[\[rule\]\]\nname +?= "([^"]+)"', page.read_text("utf-8"), re.MULTILINE)
        assert (page.name, shipped & set(named)) == (page.name, set())


def test_the_tables_of_keys_match_the_code():
    assert set(keys("Keys")) == {each.encode_name for each in msgspec.structs.fields(RuleEntry)}
    assert set(keys("Examples")) == {each.encode_name for each in msgspec.structs.fields(ExampleEntry)}


def test_the_table_of_fields_matches_the_code():
    assert {row[0].strip("`"): row[1] for row in rows("Fields")} == {
        name: unit.value for name, unit in FIELD_UNITS.items()
    }


def test_every_row_of_the_table_of_series_parses():
    for written, _meaning in rows("Series"):
        assert parse_condition(f"{written.strip('`')} > 5%")


def test_the_default_ends_match_the_code():
    found = rows("When an alert ends")
    assert len(found) > 3
    for when, ends in found:
        assert str(make_default_clear(parse_condition(when.strip("`")))) == ends.strip("`")


def test_every_template_word_is_listed():
    words = re.findall(r"`\{(\w+)\}`", section("Template words"))
    assert words == list(TEMPLATE_FIELDS)
