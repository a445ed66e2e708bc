"""`watcher init`: finds logins, writes a commented config, and tests the channels. It overwrites nothing.

On a terminal it asks before each step; without one, options choose the steps.
"""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from watcher.cli.agent import install
from watcher.cli.check import check
from watcher.cli.config import format_schema
from watcher.cli.context import create_private_file, load_effective_config
from watcher.cli.notify import test
from watcher.cli.output import echo_wrapped, format_columns, format_toml, get_output_width
from watcher.cli.providers import describe_login
from watcher.config import json_schema
from watcher.config.file import MAX_FILE_BYTES
from watcher.config.secrets import is_reference
from watcher.core.model import Command
from watcher.core.rules.diagnostics import suggest_word
from watcher.core.rules.rule import build_rules_schema
from watcher.credentials import HostInfo
from watcher.doctor import DesktopUnavailableError
from watcher.doctor.runner import describe_desktop
from watcher.errors import UsageError, WatcherError
from watcher.notifiers import NOTIFIERS
from watcher.providers.registry import PROVIDERS
from watcher.status.document import read_status
from watcher.system import environment, paths
from watcher.system.clock import utc_now
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
NEXT_COMMANDS = {
    "check": ("watcher check", "poll once, and show the result"),
    "test": ("watcher notify test", "does a notification reach you?"),
    "login item": ("watcher agent install", "watch from now on, and at every login"),
}
NO_CHANNEL_MESSAGE = (
    "No alert is sent from this machine until it has a channel: `watcher channels add slack --url ADDRESS`."
)
ADD_CHANNEL_COMMAND = ("watcher channels add", "where alerts go: slack, discord, ntfy, email, ...")
OFFERED_CHANNELS = {"slack": "url", "discord": "url", "ntfy": "topic"}
"""Type -> the setting that has its address."""

_DESKTOP_TABLE = '[channels.desktop]\ntype = "desktop"\n\n'


@click.command()
@click.option("--channel", "given", multiple=True, metavar="TYPE=ADDRESS", help="Also notify there; may be repeated.")
@click.option("--check/--no-check", "polls", default=None, help="Poll once, and show the readings.")
@click.option("--test/--no-test", "tests", default=None, help="Send a test notification.")
@click.option("--login-item/--no-login-item", "installs", default=None, help="Watch from now on, and at every login.")
@click.option("--menu-bar/--no-menu-bar", "adds_plugin", default=None, help="Add a plugin for SwiftBar, xbar or Argos.")
@click.option("--yes", "is_confirmed", is_flag=True, help="All of this, without a question.")
@click.pass_context
def init(  # noqa: PLR0913 - what the command takes
    context: click.Context,
    given: tuple[str, ...],
    *,
    polls: bool | None,
    tests: bool | None,
    installs: bool | None,
    adds_plugin: bool | None,
    is_confirmed: bool,
) -> None:
    """Look for logins, write the config and the default rules.

    Nothing is overwritten: run it again whenever you like. On a terminal it asks for more channels, and whether to
    poll, to send a test notification and to watch at every login; Enter is yes. Without a terminal it asks nothing and
    does what the options say. `watcher channels add` adds a channel later.

    \b
    watcher init                                        the usual places
    watcher init --yes --channel slack=env:SLACK_URL    everything, asks nothing
    WATCHER_CONFIG_DIR=~/dotfiles/watcher watcher init  your own

    \b
    Exit code:  0  done
                1  something that you wanted could not be done; its line says why
               78  the config has a mistake, or cannot be read
    """
    host_info = environment.read_host_info()
    own = paths.resolve_paths(host_info.env, host_info.home)
    can_ask = is_interactive() and not is_confirmed
    has_login = _report_logins(host_info)
    sends = _write_files(host_info, own, dict(map(_parse_channel, given)), can_ask=can_ask)
    if not has_login:
        _echo_paragraph("No login was found: sign in to one of the tools first, then run `watcher init` again.")
    done: dict[str, bool] = {}  # step -> whether it succeeded

    def take(step: str, answer: bool | None, question: str, work: Callable[[], bool]) -> None:  # noqa: FBT001 - an option
        if answer is None:
            answer = click.confirm(f"\n{question}", default=True) if can_ask else is_confirmed
        if answer:
            done[step] = work()

    if has_login:
        take("check", polls, "Poll now, and show the readings?", lambda: _poll(context, own))
    if sends:
        take("test", tests, "Send a test notification?", lambda: _run(context, test, channel=None) == 0)
    begin = partial(_run, context, install, dry_run=False, writes_network=False)
    take("login item", installs, "Watch from now on, and at every login?", lambda: begin() == 0)
    for host, folder in find_menu_bars(host_info).items():
        add = partial(_install_plugin, folder / PLUGIN_NAME)
        take(host, adds_plugin, f"Show the usage in the menu bar, by {host}?", add)
    _echo_next(done, sends=sends)
    if not all(done.values()):
        context.exit(1)


def _echo_next(done: Mapping[str, bool], *, sends: bool) -> None:
    """Print the commands that are left to run."""
    commands = {**NEXT_COMMANDS, **({} if sends else {"test": ADD_CHANNEL_COMMAND})}
    if done.get("login item") is False:  # a machine without systemd
        commands["login item"] = ("watcher run", "watch in a terminal; or `watcher check` from cron")
    left = [f"  {command:23} {purpose}" for step, (command, purpose) in commands.items() if not done.get(step)]
    if left:
        click.echo("\n".join(["", "Next:", *left]))
    else:
        _echo_paragraph("It works. `watcher status` shows the readings, `watcher dashboard` a live page.")


def _poll(context: click.Context, own: Paths) -> bool:
    """Poll once and print the readings; returns whether any provider answered."""
    _run(context, check, quiet=False, as_document=False)
    document = read_status(own.state_dir, now=utc_now())
    accounts = document.providers if document is not None else []
    if not all(account.ok for account in accounts):
        _echo_paragraph("`watcher doctor` says more about each provider that gives no reading.")
    return any(account.ok for account in accounts)


def _report_logins(host_info: HostInfo) -> bool:
    """Print the logins of each provider; returns whether there is one."""
    settings = load_effective_config().providers
    found = [(each, *describe_login(each, settings[each.id], host_info)) for each in PROVIDERS.values()]
    rows = [(provider.name, why) for provider, is_on, why in found if is_on or provider.is_common]
    click.echo("\n".join(["Logins:", *format_columns(rows, "  ", width=get_output_width())]))
    return any(is_on for _, is_on, _ in found)


def _write_files(host_info: HostInfo, own: Paths, channels: Mapping[str, str], *, can_ask: bool) -> bool:
    """Write the missing files; returns whether there is a channel for alerts."""
    is_first = not may_exist(own.config_file)
    if channels and not is_first:
        raise UsageError(
            f"{own.config_file} is there already: add one by `watcher channels add {next(iter(channels))}`"
        )
    no_desktop = find_desktop_problem(host_info) if is_first else ""
    if no_desktop:
        _echo_paragraph(f"Notifications cannot be shown here: {no_desktop}.")
    if can_ask and is_first and not channels:
        channels = _ask_for_channels(has_desktop=not no_desktop)
    click.echo("\nFiles:")
    for path, text, is_generated in list_files(own, channels, has_desktop=not no_desktop):
        click.echo(f"  {_write_file(path, text, overwrite=is_generated)}: {path}")
    if no_desktop and not channels:
        _echo_paragraph(NO_CHANNEL_MESSAGE)
    return not no_desktop or bool(channels)


def _echo_paragraph(text: str) -> None:
    click.echo()
    echo_wrapped(text)


def _run(context: click.Context, command: click.Command, **options: Any) -> int:
    """Run another command; returns its exit code. An error is printed, and `init` goes on."""
    try:
        return int(context.invoke(command, **options) or 0)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (WatcherError, click.ClickException) as error:
        echo_wrapped(f"  {error}")
        return 1


def find_desktop_problem(host_info: HostInfo) -> str:
    """Why no notification can be shown on this machine; empty if one can."""
    try:
        describe_desktop(host_info)
    except DesktopUnavailableError as error:
        return str(error)
    return ""


def is_interactive() -> bool:
    """Whether stdin and stdout are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


# --- files ------------------------------------------------------------------------------------------------------------


def list_files(paths: Paths, channels: Mapping[str, str], *, has_desktop: bool) -> Iterator[tuple[Path, str, bool]]:
    """Every file to write: path, text, and whether it is generated, to be renewed after an upgrade."""
    yield paths.config_file, render_config(channels, has_desktop=has_desktop), False
    yield paths.rules_dir / "default.toml", read_default_rules()[1], False
    yield paths.config_dir / "watcher.schema.json", format_schema(json_schema.build_config_schema()), True
    yield paths.rules_dir / "rules.schema.json", format_schema(build_rules_schema()), True
    yield paths.providers_dir / "providers.schema.json", format_schema(json_schema.build_provider_schema()), True


def render_config(channels: Mapping[str, str], *, has_desktop: bool) -> str:
    """The text of the config, with the chosen channels, and the desktop if it can show notifications."""
    text = CONFIG_TEMPLATE if has_desktop else CONFIG_TEMPLATE.replace(_DESKTOP_TABLE, "")
    tables = ""
    for kind, address in channels.items():
        tables += format_toml({"channels": {kind: {"type": kind, OFFERED_CHANNELS[kind]: address}}}) + "\n"
    names = [*(["desktop"] if has_desktop else []), *channels]
    note = "" if names else "                    # no alert is sent; `watcher channels add` adds a channel here"
    default = format_toml({"default": names}).strip() + note
    return text.replace("[route]\n", f"{tables}[route]\n").replace('default = ["desktop"]', default)


def _write_file(path: Path, text: str, *, overwrite: bool) -> str:
    """Write a file that only its owner can read; returns what was done."""
    try:
        try:
            create_private_file(path, text)
        except FileExistsError:
            if not overwrite or read_file(path, MAX_FILE_BYTES).decode(errors="replace") == text:
                return "kept, it was there already"
            path.write_text(text, "utf-8", newline="")
            return "renewed, it belongs to this program"
    except OSError as error:
        hint = "make the folder writable or set WATCHER_CONFIG_DIR"
        raise WatcherError(f"cannot write {path}: {error.strerror}; {hint}") from error
    return "written"


# --- menu bars --------------------------------------------------------------------------------------------------------


PLUGIN_NAME = "usage.1m.sh"  # once a minute


def find_menu_bars(host_info: HostInfo) -> dict[str, Path]:
    """Name of each menu bar program that is installed -> its folder of plugins."""
    support = host_info.home / "Library" / "Application Support"
    folders = {"xbar": support / "xbar" / "plugins"}
    if host_info.platform == "darwin":
        setting = Command(argv=("defaults", "read", "com.ameba.SwiftBar", "PluginDirectory"))
        chosen = host_info.run_command(setting).stdout.strip()
        folders["SwiftBar"] = Path(chosen) if chosen else support / "SwiftBar" / "Plugins"
    else:
        config_home = host_info.env.get("XDG_CONFIG_HOME") or host_info.home / ".config"
        folders = {"Argos": Path(config_home) / "argos"}
    return {name: folder for name, folder in folders.items() if folder.is_dir() and host_info.platform != "win32"}


def list_plugins(host_info: HostInfo) -> list[Path]:
    """The plugin files that this program wrote."""
    files = [folder / PLUGIN_NAME for folder in find_menu_bars(host_info).values()]
    return [file for file in files if may_exist(file) and _PLUGIN_MARK in file.read_text("utf-8", "replace")]


_PLUGIN_MARK = "-m watcher status --format swiftbar"


def _install_plugin(path: Path) -> bool:
    """Write the plugin file; False where it cannot be written. A file of that name stays as it is."""
    text = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {_PLUGIN_MARK}\n"
    try:
        create_private_file(path, text)
        path.chmod(0o700)
    except FileExistsError:
        click.echo(f"  kept, it was there already: {path}")
    except OSError as error:
        click.echo(f"  cannot write {path}: {error.strerror}")
        return False
    else:
        click.echo(f"  written: {path}")
    return True


# --- questions --------------------------------------------------------------------------------------------------------


def _parse_channel(text: str) -> tuple[str, str]:
    """`slack=env:SLACK_WEBHOOK_URL`: the type and the address."""
    kind, _, address = text.partition("=")
    if kind not in OFFERED_CHANNELS or not address:
        hint = f"{suggest_word(kind, tuple(OFFERED_CHANNELS))}; `watcher channels add` adds any other"
        raise UsageError(f"--channel takes TYPE=ADDRESS, such as slack=env:SLACK_WEBHOOK_URL, not `{kind}`; {hint}")
    if problem := _find_address_problem(kind, address):
        raise UsageError(f"--channel {kind}: {problem}")
    return kind, address


def _find_address_problem(kind: str, address: str) -> str:
    if is_reference(address):
        return ""
    try:
        NOTIFIERS[kind].settings_class(**{OFFERED_CHANNELS[kind]: address})
    except ValueError as error:
        return str(error)
    return ""


def _ask_for_channels(*, has_desktop: bool) -> dict[str, str]:
    """Ask for channels until the answer is valid; type -> address."""
    click.echo("")
    while True:
        where = "Also notify by" if has_desktop else "Notify by"
        question = f"{where} ({', '.join(OFFERED_CHANNELS)}; several with commas; Enter: none)"
        answer = click.prompt(question, default="", show_default=False)
        kinds = list(dict.fromkeys(re.findall(r"[^\s,]+", answer.lower())))
        unknown = next((kind for kind in kinds if kind not in OFFERED_CHANNELS), None)
        if unknown is None:
            break
        click.echo(f"  `{unknown}` is not offered here: {suggest_word(unknown, tuple(OFFERED_CHANNELS))}")
    found = {kind: _ask_for_address(kind) for kind in kinds}
    return {kind: address for kind, address in found.items() if address}


def _ask_for_address(kind: str) -> str:
    """Ask for the address of a channel until it is valid; empty if it is left out."""
    is_topic = OFFERED_CHANNELS[kind] == "topic"
    prompt = "Topic (choose one that cannot be guessed)" if is_topic else "Address of its incoming webhook (not shown)"
    while True:
        address: str = click.prompt(
            f"{kind}: {prompt}", default="", show_default=False, hide_input=not is_topic
        ).strip()
        if not address:
            click.echo(f"  {kind} is left out; `watcher channels add {kind}` adds it later")
            return ""
        if problem := _find_address_problem(kind, address):
            click.echo(f"  {problem}; try again, or Enter to leave {kind} out")
        else:
            return address
