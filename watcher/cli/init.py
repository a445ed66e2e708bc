"""`watcher init`: looks for logins and writes a commented config. It overwrites nothing and asks no server.

On a terminal it asks questions; Enter is always the safe answer.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec import Struct

from watcher.cli.config import format_schema
from watcher.cli.context import create_private_file, load_effective_config
from watcher.cli.output import get_output_width, wrap_line
from watcher.config import json_schema
from watcher.config.file import MAX_FILE_BYTES
from watcher.core.rules.diagnostics import suggest_word
from watcher.core.rules.rule import build_rules_schema
from watcher.credentials import HostInfo
from watcher.errors import ConfigError, WatcherError
from watcher.notifiers import NOTIFIERS
from watcher.notifiers.desktop import linux
from watcher.polling.fetch import find_logins
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.system import environment, paths
from watcher.system.files import read_file
from watcher.system.paths import Paths, may_exist, read_default_rules

CONFIG_TEMPLATE = """\
#:schema ./watcher.schema.json
# The watcher's config. Everything here may be left out; `watcher config show` prints what is in force.

[poll]
# every = "5m"                  # left out: each provider's own; sooner near a threshold, later when nothing changes

# A provider is watched when a login of it is found. One may be switched off, or polled at its own pace:
# [providers.claude]
# enabled = false
# every = "10m"

[channels.desktop]
type = "desktop"

# More channels; `watcher notify test team` sends a test message.
# [channels.team]
# type = "slack"                  # also: discord, webhook, ntfy, email, command, apprise
# url = "env:SLACK_WEBHOOK_URL"   # env:NAME, file:PATH, cmd:ARGV, or the address itself

[route]
default = ["desktop"]
# critical = ["desktop", "team"]  # critical alerts may go to more channels

# [quiet]
# hours = "22:00-08:00"           # held back until the morning, all but critical

# Shipped rules beside those in rules/; `watcher rules list --packs` lists them.
# [rules]
# use = ["reset-reminders"]
"""
_CHANNEL_EXAMPLE = CONFIG_TEMPLATE[CONFIG_TEMPLATE.index("# More channels;") : CONFIG_TEMPLATE.index("[route]")]
_ROUTE_SECTION = CONFIG_TEMPLATE[CONFIG_TEMPLATE.index("[route]") : CONFIG_TEMPLATE.index("# [quiet]")]

NEXT_COMMANDS = (
    ("watcher check", "poll once, and show the result"),
    ("watcher notify test", "does a notification reach you?"),
    ("watcher agent install", "watch from now on, and at every login"),
)
NO_DESKTOP_MESSAGE = """\
No desktop session was found, so notifications cannot be shown here: add a
channel to config.toml, as its comments show, and name it under [route]."""
OFFERED_CHANNELS = ("slack", "discord", "ntfy")


class RequestedChannel(Struct, frozen=True):
    """A channel that the person asked for."""

    type: str  # slack, discord, ntfy
    address: str  # a webhook's address, or a topic


@click.command()
def init() -> None:
    """Look for logins, write the config and the default rules.

    Nothing is overwritten: run it again whenever you like. On a terminal it offers more channels and the login item,
    and Enter means no; without one it asks nothing. `watcher channels add` adds a channel later.

    \b
    watcher init                                        the usual places
    WATCHER_CONFIG_DIR=~/dotfiles/watcher watcher init  your own
    """
    host_info = environment.read_host_info()
    own = paths.resolve_paths(host_info.env, host_info.home)
    can_ask = is_interactive()
    click.echo("Logins:")
    rows = list(describe_logins(host_info, _load_overrides(own)))
    for name, text, _ in rows:
        click.echo("\n".join(wrap_line(f"  {name:15} {text}", get_output_width(), indent=18)))
    is_first = not may_exist(own.config_file)
    channels = _ask_for_channels() if can_ask and is_first else []
    click.echo("\nFiles:")
    for path, text, is_generated in list_files(own, channels):
        click.echo(f"  {_write_file(path, text, overwrite=is_generated)}: {path}")
    if not any(is_found for _, _, is_found in rows):
        message = "No login was found: sign in to one of the tools first, then run `watcher init` again."
        click.echo("\n" + "\n".join(wrap_line(message, get_output_width(), indent=0)))
    if is_first and not channels and host_info.platform == "linux" and not linux.list_bus_addresses(host_info.env):
        click.echo(f"\n{NO_DESKTOP_MESSAGE}")
    is_installed = can_ask and _ask_for_login_item()
    click.echo("\nNext:")
    for command, purpose in NEXT_COMMANDS:
        if not (is_installed and command == "watcher agent install"):
            click.echo(f"  {command:23} {purpose}")


def is_interactive() -> bool:
    """Whether a person can answer questions."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def describe_logins(host_info: HostInfo, overrides: dict[str, Overrides]) -> Iterator[tuple[str, str, bool]]:
    """For each provider: its name, what was found and where, and whether that is a login."""
    for provider in PROVIDERS.values():
        found = find_logins(provider, host_info, overrides.get(provider.id))
        for credential in found.credentials:
            who = f" ({credential.account_name})" if credential.account_name else ""
            where = f": {credential.path}" if credential.path else ""
            yield provider.name, f"found in {credential.source_name}{who}{where}", True
        for failure in found.failures:
            yield provider.name, failure.message, False
        if not found.credentials and not found.failures and provider.is_common:
            yield provider.name, f"not found; {provider.sign_in_hint}", False


def _load_overrides(paths: Paths) -> dict[str, Overrides]:
    """The paths that the person's own config sets; none if there is no config that can be read."""
    if not may_exist(paths.config_file):
        return {}
    try:
        return {name: settings.overrides for name, settings in load_effective_config().providers.items()}
    except ConfigError as error:
        click.echo(f"The config has a mistake, so only the usual places are searched:\n{error}\n", err=True)
        return {}


# --- files ------------------------------------------------------------------------------------------------------------


def list_files(paths: Paths, channels: Sequence[RequestedChannel]) -> Iterator[tuple[Path, str, bool]]:
    """Every file to write: path, text, and whether it is generated, to be renewed after an upgrade."""
    for each in channels:
        if each.type != "ntfy":  # a topic is in the config itself
            yield get_secret_path(paths, each), each.address + "\n", False
    yield paths.config_file, render_config(paths, channels), False
    yield paths.rules_dir / "default.toml", read_default_rules()[1], False
    yield paths.config_dir / "watcher.schema.json", format_schema(json_schema.build_config_schema()), True
    yield paths.rules_dir / "rules.schema.json", format_schema(build_rules_schema()), True
    yield paths.providers_dir / "providers.schema.json", format_schema(json_schema.build_provider_schema()), True


def get_secret_path(paths: Paths, requested_channel: RequestedChannel) -> Path:
    """Where the address of a channel is kept: it is a secret, because it lets anyone send."""
    return paths.config_dir / f"{requested_channel.type}.secret"


def render_config(paths: Paths, channels: Sequence[RequestedChannel]) -> str:
    """The config, with the channels that were asked for."""
    if not channels:
        return CONFIG_TEMPLATE
    tables = ""
    for each in channels:
        topic, url = f"topic = '{each.address}'", f"url = 'file:{get_secret_path(paths, each)}'"
        tables += f'[channels.{each.type}]\ntype = "{each.type}"\n{topic if each.type == "ntfy" else url}\n\n'
    names = ", ".join(f'"{each.type}"' for each in channels)
    route = f'[route]\ndefault = ["desktop", {names}]\n\n'
    return CONFIG_TEMPLATE.replace(_CHANNEL_EXAMPLE, tables).replace(_ROUTE_SECTION, route)


def _write_file(path: Path, text: str, *, overwrite: bool) -> str:
    """Write a file that only its owner may read; returns what was done."""
    try:
        try:
            create_private_file(path, text)
        except FileExistsError:
            if not overwrite or read_file(path, MAX_FILE_BYTES).decode(errors="replace") == text:
                return "kept, it was there already"
            path.write_text(text, "utf-8")
            return "renewed, it belongs to this program"
    except OSError as error:
        cure = "make the folder writable or set WATCHER_CONFIG_DIR"
        raise WatcherError(f"cannot write {path}: {error.strerror}; {cure}") from error
    return "written"


# --- questions --------------------------------------------------------------------------------------------------------


def _ask_for_channels() -> list[RequestedChannel]:
    """The channels that the person wants; asks again after an answer that cannot be used, and says why."""
    click.echo("")
    while True:
        question = f"Also notify, besides the desktop ({', '.join(OFFERED_CHANNELS)}; several with commas; Enter: none)"
        answer = click.prompt(question, default="", show_default=False)
        kinds = list(dict.fromkeys(re.findall(r"[^\s,]+", answer.lower())))
        unknown = next((kind for kind in kinds if kind not in OFFERED_CHANNELS), None)
        if unknown is None:
            break
        click.echo(f"  `{unknown}` is not offered here: {suggest_word(unknown, OFFERED_CHANNELS)}")
    found = [_ask_for_address(kind) for kind in kinds]
    return [each for each in found if each is not None]


def _ask_for_address(kind: str) -> RequestedChannel | None:
    """The channel; None where Enter leaves it out."""
    is_topic = kind == "ntfy"
    prompt = "Topic (choose one that cannot be guessed)" if is_topic else "Address of its incoming webhook (not shown)"
    while True:
        address = click.prompt(f"{kind}: {prompt}", default="", show_default=False, hide_input=not is_topic).strip()
        if not address:
            click.echo(f"  {kind} is left out; `watcher channels add {kind}` adds it later")
            return None
        try:
            NOTIFIERS[kind].settings_class(**{"topic" if is_topic else "url": address})
        except ValueError as error:
            click.echo(f"  {error}; try again, or Enter to leave {kind} out")
        else:
            return RequestedChannel(kind, address)


def _ask_for_login_item() -> bool:
    """Whether the person wanted it and it was installed."""
    if not click.confirm("\nWatch from now on, and at every login?", default=False):
        return False
    from watcher.cli.agent import install  # noqa: PLC0415 - only where it is wanted

    try:
        click.get_current_context().invoke(install)
    except (WatcherError, click.ClickException) as error:
        click.echo(f"  {error}")
        return False
    return True
