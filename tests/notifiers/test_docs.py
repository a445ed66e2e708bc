"""docs/channels.md knows every channel and every setting, and its examples are configs that work."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from watcher.notifiers import NOTIFIERS
from watcher.notifiers.webhook import build_payload

PAGE = Path(__file__).parents[2].joinpath("docs", "channels.md").read_text("utf-8")
SECRETS = {
    "slack": "https://hooks.slack.com/services/x",
    "discord": "https://discord.com/api/webhooks/1/x",
    "apprise": "json://x",
}


@pytest.mark.parametrize("kind", NOTIFIERS)
def test_every_channel_has_a_section_whose_example_shows_every_setting(kind):
    section = re.search(rf"^## {kind}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/channels.md says nothing of {kind}"
    example = tomllib.loads(re.search(r"```toml\n(.*?)```", section[1], re.DOTALL)[1])
    [table] = example["channels"].values()
    assert table.pop("type") == kind
    if "url" in table and kind in SECRETS:
        table["url"] = SECRETS[kind]
    settings = msgspec.convert(table, NOTIFIERS[kind].settings_class)
    assert set(table) == set(settings.__struct_encode_fields__)


def test_the_example_of_the_payload_has_the_contracts_keys(message):
    example = msgspec.json.decode(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    assert list(example) == list(build_payload(message()))
