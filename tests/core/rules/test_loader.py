"""Rule files: valid ones, wrong ones with their exact messages, and ones that are too large."""

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.core.model import Severity
from watcher.core.rules.diagnostics import MAX_DIAGNOSTICS, format_diagnostics
from watcher.core.rules.loader import (
    MAX_FILE_LENGTH,
    check_rule_files,
    decode_utf8,
    parse_rules,
)
from watcher.core.rules.rule import ExampleEntry, RuleEntry
from watcher.errors import ConfigError

FILES = Path(__file__).parent / "files"
CHANNELS = ["desktop", "team"]
BOUND_S = 10.0  # a hundred times what it takes; a quadratic walk over a full file takes minutes
RULE = '[[rule]]\nname = "{}"\nwhen = "claude > 80%"\n'


def get_errors(text, path="rules.toml", **more):
    with pytest.raises(ConfigError) as caught:
        parse_rules(text, path, **more)
    return str(caught.value)


def parse_one(text):
    (rule,) = parse_rules(text, "rules.toml")
    return rule


@pytest.mark.parametrize("path", sorted((FILES / "invalid").glob("*.toml")), ids=lambda path: path.stem)
def test_a_wrong_file_gives_these_messages(path):
    text = decode_utf8(path.read_bytes(), path.name)
    assert get_errors(text, path.name, channels=CHANNELS) + "\n" == path.with_suffix(".txt").read_text("utf-8")


@pytest.mark.parametrize("path", sorted((FILES / "valid").glob("*.toml")), ids=lambda path: path.stem)
def test_a_right_file_is_read(path):
    text = decode_utf8(path.read_bytes(), path.name)
    assert len(parse_rules(text, path.name, channels=CHANNELS)) == text.count("name =") + text.count("name     =")


def test_every_wrong_file_has_its_messages():
    assert {path.stem for path in (FILES / "invalid").glob("*.toml")} == {
        path.stem for path in (FILES / "invalid").glob("*.txt")
    }


def test_rules_of_several_files_keep_their_order():
    rules, mistakes = check_rule_files([("a.toml", RULE.format("b")), ("c.toml", RULE.format("a"))])
    assert [(rule.name, rule.path) for rule in rules] == [("b", "a.toml"), ("a", "c.toml")]
    assert not mistakes


def test_two_rules_with_one_name_in_two_files_are_a_mistake():
    rules, mistakes = check_rule_files([("a.toml", RULE.format("x")), ("b.toml", "\n" + RULE.format("x"))])
    assert [rule.path for rule in rules] == ["a.toml"]
    assert format_diagnostics(mistakes) == (
        'b.toml:3:8: rule "x": this name is taken by the rule in a.toml, line 1; rename or remove one\n'
        '  3 | name = "x"\n'
        "    |        ^^^"
    )


def test_the_mistakes_of_all_files_are_reported_together():
    _rules, mistakes = check_rule_files([("b.toml", "x = 1"), ("a.toml", "[[rule]]\n")])
    assert [line for line in format_diagnostics(mistakes).split("\n") if ".toml:" in line] == [
        "a.toml:1:1: `name` is missing",
        "a.toml:1:1: `when` is missing",
        "b.toml:1:1: unknown key `x`; valid: rule",
    ]


def test_only_a_config_has_other_keys():
    text = '[poll]\nevery = "5m"\n' + RULE.format("a")
    assert len(parse_rules(text, "config.toml", is_config=True)) == 1
    assert "unknown key `poll`; valid: rule" in get_errors(text)
    assert check_rule_files([("config.toml", text), ("a.toml", "")], config_path="config.toml")[1] == []
    assert len(check_rule_files([("a.toml", text)], config_path="config.toml")[1]) == 1


def test_a_wrong_rule_does_not_hide_the_right_ones():
    rules, wrong = check_rule_files([("rules.toml", RULE.format("a") + '[[rule]]\nname = "b"\nwhen = "x"\n')])
    assert [rule.name for rule in rules] == ["a"]
    assert [(each.line, each.column, each.rule) for each in wrong] == [(6, 9, "b")]


# --- what a rule means ---


def test_severity_is_that_of_the_only_level():
    assert parse_one(RULE.format("a") + 'severity = "critical"\n').levels[0].severity is Severity.CRITICAL


def test_the_fingerprint_changes_only_with_the_condition():
    plain = parse_one(RULE.format("a")).fingerprint
    for same in (
        'severity = "info"',
        'title = "x"',
        'notify = ["x"]',
        'remind = "2h"',
        'on = ["firing"]',
        'for = "0m"',
    ):
        assert parse_one(RULE.format("a") + same + "\n").fingerprint == plain
    assert parse_one('[[rule]]\nname = "b"\nwhen = "claude>80 %"').fingerprint == plain
    for other in ('for = "5m"', 'clear = "< 70%"'):
        assert parse_one(RULE.format("a") + other + "\n").fingerprint != plain
    assert parse_one(RULE.format("a").replace("80", "81")).fingerprint != plain


def test_the_fingerprint_of_levels_includes_their_severities():
    text = '[[rule]]\nname = "a"\nwhen = "claude > level"\nlevels = { %s = "80%%", critical = "90%%" }\n'
    assert parse_one(text % "info").fingerprint != parse_one(text % "warning").fingerprint


def test_a_channel_given_twice_is_kept_once():
    assert parse_one(RULE.format("a") + 'notify = ["x", "y", "x"]\n').notify == ("x", "y")


def test_any_channel_is_valid_if_none_are_known():
    assert parse_one(RULE.format("a") + 'notify = ["x"]\n').notify == ("x",)


def test_the_line_is_that_of_the_rules_header():
    assert parse_one("# one\n\n" + RULE.format("a")).line == 3


# --- files that are no text, or too large ---


def test_a_byte_that_is_not_utf_8_is_reported_with_its_position():
    with pytest.raises(ConfigError) as caught:
        decode_utf8('# café\nname = "é"\n'.encode() + b"x = \xff\n", "rules.toml")
    assert str(caught.value) == "rules.toml:3:5: byte 0xff is not UTF-8; save the file in that encoding"


def test_a_byte_order_mark_is_no_mistake():
    assert parse_rules(decode_utf8(b"\xef\xbb\xbf" + RULE.format("a").encode(), "x"), "x")[0].line == 1


def test_utf_16_is_refused():
    with pytest.raises(ConfigError, match="byte 0xff is not UTF-8"):
        decode_utf8(RULE.format("a").encode("utf-16"), "rules.toml")


def test_windows_line_ends_are_one_character():
    assert get_errors('[[rule]]\r\nname = "a"\r\nwhen = "clade > 5%"\r\n').startswith(
        'rules.toml:3:9: rule "a": unknown'
    )


def test_a_file_of_a_million_characters_is_refused():
    assert get_errors("#" * 1_000_000) == (
        f"rules.toml:1:1: 1,000,000 characters long; a file of rules holds at most {MAX_FILE_LENGTH:,}"
    )


def test_only_the_first_of_many_mistakes_are_reported():
    text = get_errors("".join(f"key{i} = 1\n" for i in range(1000)))
    assert text.count("unknown key") == MAX_DIAGNOSTICS
    assert text.endswith("\n... and 950 more")


def fill(head, part, tail=""):
    return head + part * ((MAX_FILE_LENGTH - len(head) - len(tail)) // len(part)) + tail


@pytest.mark.slow  # bounded time
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(fill("", "[[rule]]\n"), id="rules"),
        pytest.param(fill("", "[[x]]\n"), id="tables"),
        pytest.param(fill("x = ", "[\n"), id="brackets"),
        pytest.param(fill("x = ", "[\n") + "]", id="one bracket closed"),
        pytest.param(fill("", "x = {\n"), id="braces"),
        pytest.param("".join(f"k{i} = 1\n" for i in range(20_000)), id="keys"),
        pytest.param("[[rule]]\n" + "".join(f"k{i} = 1\n" for i in range(20_000)), id="keys of a rule"),
        pytest.param("".join(f"{'a.' * 15}k{i} = 1\n" for i in range(6_000)), id="dotted keys"),
        pytest.param("\n".join(f"{'a.' * 1900}k{i} = 1" for i in range(60)), id="long dotted keys"),
        pytest.param(fill("", f"{'a' * 3900}\n"), id="long words"),
        pytest.param(fill("", f"{'a-' * 1900}.\n"), id="long words with a dot"),
        pytest.param(fill("", f"{chr(34) * 3998}\n"), id="quotes"),
        pytest.param(fill('[[rule]]\nname = "a"\nwhen = """', "claude and\n", '"""'), id="condition"),
        pytest.param(fill('[[rule]]\nname = "a"\nwhen = "claude > 5%"\ntitle = """', "{a}\n", '"""'), id="template"),
        pytest.param(fill(RULE.format("a") + "notify = [\n", '"a",\n', "]"), id="channels"),
        pytest.param(
            fill(
                RULE.format("a") + '[[rule.example]]\nseries = "claude.five_hour"\nexpect = ["."]\nused = [\n',
                "1e999,\n",
                "]",
            ),
            id="readings",
        ),
        pytest.param(fill(RULE.format("a") + 'active = """', "Mon,\\\n", '"""'), id="days"),
        pytest.param(fill('[[rule]]\nwhen = "', "\\u0041" * 600 + "\\\n", '"'), id="escapes"),
        pytest.param("x = " + "9" * 3990, id="digits"),
        pytest.param("x = 0x" + "f" * 3990, id="hexadecimal digits"),
    ],
)
def test_the_largest_files_are_refused_in_bounded_time(text):
    began = time.process_time()
    get_errors(text, channels=CHANNELS)
    assert time.process_time() - began < BOUND_S


@given(st.text(alphabet="[]{}=\"'#.,\n\\ rulenamewhex>%501\x00", max_size=80))
def test_any_text_is_read_or_refused(text):
    _rules, wrong = check_rule_files([("rules.toml", text)])
    for each in wrong:
        assert 1 <= each.line <= text.count("\n") + 1
        assert each.column >= 1


@given(st.sampled_from(sorted((FILES / "valid").glob("*.toml"))), st.integers(0, 2000), st.sampled_from('"[]{}=x,\n\\'))
def test_a_file_with_one_character_changed_is_read_or_refused(path, at, character):
    text = path.read_text("utf-8")
    at = min(at, len(text))
    _rules, wrong = check_rule_files([("rules.toml", text[:at] + character + text[at + 1 :])], channels=CHANNELS)
    for each in wrong:
        assert each.message
        assert "\x1b" not in str(each)


def test_every_key_changes_the_rule():
    base = '[[rule]]\nname = "a"\nwhen = "claude > level"\nlevels = { info = "50%" }\nactive = "Mon"\n'
    changes = {
        "name": ('name = "a"', 'name = "b"'),
        "when": ("claude > level", "codex > level"),
        "levels": ("50%", "60%"),
        "active": ('"Mon"', '"Tue"'),
        "clear": ("", 'clear = "< 10%"\n'),
        "notify": ("", 'notify = ["desktop"]\n'),
        "for": ("", 'for = "5m"\n'),
        "remind": ("", 'remind = "5m"\n'),
        "on": ("", 'on = ["reset"]\n'),
        "tz": ("", 'tz = "Europe/Berlin"\n'),
        "title": ("", 'title = "x"\n'),
        "message": ("", 'message = "x"\n'),
        "example": ("", '[[rule.example]]\nseries = "claude.five_hour"\nused = [1]\nexpect = ["."]\n'),
    }
    keys = {field.encode_name for field in msgspec.structs.fields(RuleEntry)}
    assert keys == {*changes, "severity"}
    for key, (old, new) in changes.items():
        text = base.replace(old, new) if old else base + new
        assert parse_one(text) != parse_one(base), key
    plain = base.replace("level\n", "5%\n").replace('levels = { info = "50%" }\n', "").replace("> level", "> 5%")
    assert parse_one(plain + 'severity = "critical"\n') != parse_one(plain)


def test_every_key_of_an_example_changes_it():
    base = '[[rule.example]]\nseries = "claude.five_hour"\nremaining = [1]\nexpect = ["."]\n'
    changes = {
        "series": ("five_hour", "seven_day"),
        "remaining": ("[1]", "[2]"),
        "used": ("remaining", "used"),
        "expect": ('"."', '"F"'),
        "every": ("", 'every = "7m"\n'),
        "limit": ("", "limit = 5\n"),
        "window": ("", 'window = "7d"\n'),
        "resets_in": ("", 'resets_in = "1h"\n'),
        "start": ("", "start = 2026-03-04T12:00:00Z\n"),
    }
    assert {field.encode_name for field in msgspec.structs.fields(ExampleEntry)} == set(changes)
    for key, (old, new) in changes.items():
        text = base.replace(old, new) if old else base + new
        assert parse_one(RULE.format("a") + text).examples != parse_one(RULE.format("a") + base).examples, key
