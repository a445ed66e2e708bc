"""`watcher config`: where the files are, and what editors need to check them while you type."""

import json
from typing import Any

import click

from watcher import config_schema, doors, paths
from watcher.core import entries


@click.group()
def config() -> None:
    r"""Show where the config is, and its JSON Schema.

    \b
    watcher config path
    watcher config schema > ~/.config/ai-usage-watcher/watcher.schema.json
    """


@config.command("path")
def path_command() -> None:
    """Print the folders that are used, one a line: config, rules, state."""
    around = doors.surroundings()
    own = paths.find(around.env, around.home)
    for name, path in (("config", own.config_file), ("rules", own.rules_dir), ("state", own.state_dir)):
        click.echo(f"{name:8}{path}")


@config.command("schema")
@click.option("--rules", "of_rules", is_flag=True, help="Of a file in rules/ instead of config.toml.")
def schema_command(*, of_rules: bool) -> None:
    """Print the JSON Schema of config.toml, for editors: put its path after `#:schema` in the first line."""
    click.echo(as_json(entries.schema() if of_rules else config_schema.schema()), nl=False)


def as_json(schema: dict[str, Any]) -> str:
    """A schema as the text of a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
