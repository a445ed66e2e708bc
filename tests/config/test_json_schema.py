"""The schema of `config.toml` takes what the reader takes, and refuses what it refuses."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from watcher.cli import app
from watcher.cli.init import CONFIG_TEMPLATE
from watcher.config.file import ConfigDocument
from watcher.config.json_schema import build_config_schema, build_provider_schema
from watcher.core.rules.rule import build_rules_schema as rules_schema
from watcher.notifiers import NOTIFIERS
from watcher.providers.registry import CATALOGUE_DIR, PROVIDERS

VALIDATOR = jsonschema.Draft202012Validator(build_config_schema())
UNCOMMENTED = "\n".join(
    line.removeprefix("# ")
    if line.startswith(("# [", "# type", "# url", "# every", "# enabled", "# hours", "# critical"))
    else line
    for line in CONFIG_TEMPLATE.splitlines()
)
CONTRACT = """
[poll]
every = "5m"
[providers.claude]
enabled  = true
every    = "10m"
base_url = "http://127.0.0.1:8080"
[providers.antigravity]
database = "~/elsewhere/state.vscdb"
[channels.desktop]
type = "desktop"
[channels.team]
type = "slack"
url  = "env:SLACK_WEBHOOK_URL"
[route]
default  = ["desktop"]
critical = ["desktop", "team"]
[quiet]
hours = "22:00-08:00"
[[rule]]
name = "mine"
when = "claude.five_hour > 80%"
"""


@pytest.mark.parametrize("text", ["", CONTRACT, CONFIG_TEMPLATE, UNCOMMENTED])
def test_what_is_right_is_taken(text):
    VALIDATOR.validate(tomllib.loads(text))


def test_the_commented_config_has_everything_once_it_is_uncommented():
    assert {"poll", "providers", "channels", "route", "quiet"} <= set(tomllib.loads(UNCOMMENTED))


@pytest.mark.parametrize(
    "text",
    [
        "polls = {}",
        '[poll]\nevery = "5 minutes"',
        "[poll]\nevery = 5",
        "[providers.openai]\nenabled = true",
        '[providers.claude]\nevry = "5m"',
        '[channels.x]\ntype = "pager"',
        '[channels.x]\ntype = "slack"',
        '[channels.x]\ntype = "slack"\nurl = "env:X"\ncolour = "red"',
        '[channels.x]\nurl = "env:X"',
        '[route]\ndefault = "desktop"',
        "[route]\nurgent = []",
        "[quiet]\ntz = 'UTC'",
        '[[rule]]\nname = "x"',
        '[[rule]]\nname = "x"\nwhen = "claude > 5%"\nseverity = "loud"',
    ],
)
def test_what_is_wrong_is_refused(text):
    assert not VALIDATOR.is_valid(tomllib.loads(text))


def test_the_schema_itself_is_one():
    jsonschema.Draft202012Validator.check_schema(build_config_schema())
    jsonschema.Draft202012Validator.check_schema(rules_schema())


def test_every_key_provider_and_channel_is_in_it():
    document = build_config_schema()
    assert set(document["properties"]) == set(ConfigDocument.__struct_fields__)
    assert list(document["properties"]["providers"]["properties"]) == list(PROVIDERS)
    kinds = document["properties"]["channels"]["additionalProperties"]["oneOf"]
    assert [each["properties"]["type"]["const"] for each in kinds] == list(NOTIFIERS)


def test_every_key_has_a_description():
    document = build_config_schema()
    for name, table in [("", document), *((name, document["$defs"][name]) for name in document["$defs"])]:
        if name in ("LevelsEntry", "Severity"):
            continue
        for key, described in table["properties"].items():
            assert described.get("description"), f"{name}.{key}"


def test_the_command_prints_either(capsys):
    assert app.run(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == build_config_schema()
    assert app.run(["config", "schema", "--rules"]) == 0
    assert json.loads(capsys.readouterr().out) == rules_schema()


def test_init_writes_the_schemas_that_its_files_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    assert app.run(["init"]) == 0
    capsys.readouterr()
    for file in (tmp_path / "config" / "config.toml", tmp_path / "config" / "rules" / "default.toml"):
        named = file.parent / file.read_text("utf-8").splitlines()[0].removeprefix("#:schema ")
        validator = jsonschema.Draft202012Validator(json.loads(Path(named).read_text("utf-8")))
        validator.validate(tomllib.loads(file.read_text("utf-8")))


@pytest.mark.parametrize("path", sorted(CATALOGUE_DIR.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_provider_satisfies_the_schema_of_providers(path):
    schema = build_provider_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    content = tomllib.loads(path.read_text("utf-8"))
    jsonschema.validate(content, schema)
    for wrong in ({"tokn": 1}, {"window": [{"id": "a", "usd": "x"}]}, {"every": "often"}, {"token": "env:A"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content | wrong, schema)
