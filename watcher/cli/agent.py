"""`watcher agent`, `uninstall` and `logs`: the login item, its removal with or without all files, and its log."""

import os
import re
import sys
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import click
from msgspec import structs

from watcher.agent import (
    LOGIN_VARIABLES,
    NO_PROXY_VARIABLES,
    PROXY_VARIABLES,
    AgentError,
    LoginItem,
    Manager,
    RemovePath,
    Step,
    perform_steps,
)
from watcher.agent.managers import get_manager, make_login_item
from watcher.agent.systemd import has_desktop
from watcher.cli.context import create_private_file, find_paths, load_effective_config
from watcher.cli.output import echo, echo_wrapped, format_toml
from watcher.cli.status import load_status
from watcher.cli.status_text import StatusFormatter
from watcher.config.file import MAX_FILE_BYTES
from watcher.core.model import CA_BUNDLE_VARIABLES, NetworkSettings
from watcher.errors import WatcherError
from watcher.system import clock
from watcher.system.environment import create_environment, read_host_info
from watcher.system.files import read_file
from watcher.system.lock import Lock
from watcher.system.log import LOG_FILE_NAME
from watcher.system.paths import Paths, resolve_paths

_ENV_REFERENCE_PATTERN = re.compile(r"""^(?!\s*#).*?["']env:([A-Za-z_][A-Za-z0-9_]*)["']""")

_dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group()
def agent() -> None:
    """Start the watcher at every login: launchd, a systemd user unit, or a Windows task.

    \b
    watcher agent install            now and at every login; again to upgrade
    watcher agent install --dry-run  what that would do
    watcher agent install --network  also put this shell's proxy into the config
    watcher agent status             is it there, does it run, where are its logs
    watcher agent uninstall          leaves your config and the readings
    """


@agent.command(short_help="Install the login item, and start it.")
@_dry_run_option
@click.option(
    "--network",
    "writes_network",
    is_flag=True,
    help="Write the proxy and the certificates of this shell's variables into [network] of the config.",
)
def install(*, dry_run: bool, writes_network: bool) -> None:
    """Install the login item and start it; an older one is replaced."""
    paths, item, manager = _resolve_agent()
    if writes_network:
        echo_wrapped(_write_network(paths, dry_run=dry_run))
    notes = list(_list_notes(manager, item, paths, includes_network=not writes_network))
    if dry_run:
        for line in [*map(str, manager.plan_install(item)), *notes]:
            echo_wrapped(line)
        return
    is_new = not manager.get_path(item).exists()
    process_id = Lock(paths.state_dir).read_holder_pid()
    if process_id is not None and not manager.get_state(item, create_environment().run).running:
        echo_wrapped(f"A watcher runs in the foreground (process {process_id}): end it, and the login item takes over.")
    try:
        _perform_steps(manager.plan_install(item), item)
    except AgentError:
        if is_new:  # an item that does not start must not be there
            with suppress(AgentError):
                _perform_steps(manager.plan_uninstall(item), item)
        raise
    echo_wrapped(f"Installed for {manager.NAME} and started: {manager.get_path(item)}")
    for line in [*_format_log_lines(manager, item), *notes]:
        echo_wrapped(line)


@agent.command(short_help="Stop it and remove the login item.")
@_dry_run_option
def uninstall(*, dry_run: bool) -> None:
    """Stop it and remove the login item. Your config and the readings stay."""
    paths, item, manager = _resolve_agent()
    if dry_run:
        click.echo("\n".join(map(str, manager.plan_uninstall(item))))
        return
    is_installed = _is_installed(manager, item)
    _perform_steps(manager.plan_uninstall(item), item)
    if not is_installed:
        click.echo(f"Nothing was installed for {manager.NAME}.")
        return
    kept = f"Your config stays in {paths.config_dir}, the readings in {paths.state_dir}"
    echo_wrapped(f"Uninstalled from {manager.NAME}. {kept}")


def _is_installed(manager: Manager, item: LoginItem) -> bool:
    """Whether the system knows the item, or its file is there."""
    return manager.get_path(item).exists() or manager.get_state(item, create_environment().run).installed


@agent.command(short_help="Say whether it is installed and runs.")
@click.pass_context
def status(context: click.Context) -> None:
    """Say whether it is installed and runs, and where its logs are; exit code 1 where it is not or does not."""
    paths, item, manager = _resolve_agent()
    state = manager.get_state(item, create_environment().run)
    now = clock.utc_now()
    document = load_status(paths, now)
    seen = document.daemon_seen_at
    heartbeat = "none yet" if seen is None else StatusFormatter(now, clock.LocalZone()).format_ago(seen)
    installed = "installed" if state.installed else "not installed: run `watcher agent install`"
    if state.installed and not state.current:
        installed = "installed by another version or environment: run `watcher agent install` to renew it"
    click.echo(f"{manager.NAME}: {installed}")
    echo_wrapped(f"state: {state.detail}")
    click.echo(f"heartbeat: {heartbeat}")
    click.echo(f"file: {manager.get_path(item)}")
    for line in _format_log_lines(manager, item):
        click.echo(line)
    if not (state.installed and (document.daemon_running if state.running is None else state.running)):
        context.exit(1)


@agent.command(name="print")
def print_() -> None:
    """Print the file that `install` would write."""
    _, item, manager = _resolve_agent()
    content = manager.render(item)
    click.echo(content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"), nl=False)


def _resolve_agent() -> tuple[Paths, LoginItem, Manager]:
    environment = create_environment()
    host_info = environment.read_host_info()
    paths = resolve_paths(host_info.env, host_info.home)
    item = make_login_item(host_info, paths.state_dir)
    if host_info.platform == "linux":
        item = structs.replace(item, headless=not has_desktop(environment.run, item))
    return paths, item, get_manager(host_info.platform)


def _perform_steps(steps: Sequence[Step], item: LoginItem) -> None:
    perform_steps(steps, run=create_environment().run, wait=Event().wait, env=item.session_env)


def _format_log_lines(manager: Manager, item: LoginItem) -> list[str]:
    first, *others = manager.describe_logs(item).splitlines()
    return [f"logs: {first}", *(f"      {other}" for other in others)]


def _list_notes(manager: Manager, item: LoginItem, paths: Paths, *, includes_network: bool) -> Iterator[str]:
    """What the user may have to do in addition, and what of this shell the item will miss; never a value."""
    yield from manager.describe_next_steps(item).splitlines()
    env, config = os.environ, _read_config(paths)
    names = sorted({name for line in config.splitlines() for name in _ENV_REFERENCE_PATTERN.findall(line)})
    if names:
        yield f"note: the config takes {', '.join(names)} from the environment, and {_UNSEEN}; file:PATH works"
    written = _parse_network_table(config)
    groups = {"proxy": PROXY_VARIABLES, "no_proxy": NO_PROXY_VARIABLES, "ca_bundle": CA_BUNDLE_VARIABLES}
    names = [name for key, group in groups.items() if key not in written for name in group if env.get(name)]
    if names and includes_network:
        yield f"note: this shell has {', '.join(names)}, and {_UNSEEN}; `watcher agent install --network` writes it"
    logins = [name for name in LOGIN_VARIABLES if env.get(name)]
    if logins:
        cure = 'sign in with the tool itself, or write token = "file:PATH" under its [providers.NAME]'
        yield f"note: this shell has {', '.join(logins)}, and {_UNSEEN}; {cure}"


_UNSEEN = "a login item does not see the shell's variables"


def _read_config(paths: Paths) -> str:
    """The text of the config; empty without one, or where it cannot be read."""
    try:
        return read_file(paths.config_file, MAX_FILE_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def _parse_network_table(config: str) -> dict[str, Any]:
    """`[network]` as it is written; empty without one, or where the config has a mistake."""
    try:
        table = tomllib.loads(config).get("network", {})
    except tomllib.TOMLDecodeError:
        return {}
    return table if isinstance(table, dict) else {}


def _write_network(paths: Paths, *, dry_run: bool) -> str:
    """Write what this shell's variables say into `[network]`, and say so; what is set there already stays."""
    env = os.environ
    _, bundle = NetworkSettings().find_ca_bundle(env)
    found = {
        "proxy": next((env[name] for name in PROXY_VARIABLES if env.get(name)), ""),
        "no_proxy": next((env[name] for name in NO_PROXY_VARIABLES if env.get(name)), ""),
        "ca_bundle": str(Path(bundle).absolute()) if bundle else "",
    }
    if found["proxy"] and "://" not in found["proxy"]:
        found["proxy"] = f"http://{found['proxy']}"
    table = {key: value for key, value in found.items() if value}
    keys = ", ".join(table)
    if not table:
        return "This shell has neither a proxy nor certificates of its own: [network] stays as it is."
    if _parse_network_table(_read_config(paths)):
        return f"{paths.config_file} has a [network] table already, which stays as it is; this shell sets {keys}."
    if dry_run:
        return f"write {keys} into [network] of {paths.config_file}"
    load_effective_config()  # never add to a config that cannot be read
    if not paths.config_file.exists():
        create_private_file(paths.config_file, "")
    if "@" in found["proxy"] and sys.platform != "win32":
        paths.config_file.chmod(0o600)  # it holds a password from now on
    with paths.config_file.open("a", encoding="utf-8") as file:
        file.write(f"\n{format_toml({'network': table})}\n")
    return f"Wrote {keys} into [network] of {paths.config_file}"


# --- `watcher uninstall` --------------------------------------------------------------------------------------------


_OWN_CONFIG_FILES = ("config.toml", "*.schema.json", "rules", "providers")
_OWN_STATE_FILES = ("watcher.*", "status.json*", "metrics.salt", "inbox", "login-task.xml")


@click.command("uninstall")
@click.option("--purge", is_flag=True, help="Also remove your config and rules, the readings and the log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def uninstall_everything(context: click.Context, *, purge: bool, yes: bool) -> None:
    """Remove the login item and the plugin of a menu bar, and with --purge all files. It lists them and asks first.

    The program itself is removed by what installed it: pipx, uv or pip.

    \b
    Exit code:  0  removed, or there was nothing to remove
                1  not removed: you said no, or it failed
               64  there is no terminal to ask at: add --yes
    """
    from watcher.cli import init  # noqa: PLC0415 - it imports this module

    paths, item, manager = _resolve_agent()
    item_steps = manager.plan_uninstall(item) if _is_installed(manager, item) else []
    files = [*init.list_plugins(read_host_info()), *(_list_own_files(paths) if purge else ())]
    file_steps = [RemovePath(path) for path in files]
    if item_steps or file_steps:
        click.echo("This will be done:")
        for step in [*item_steps, *file_steps]:
            click.echo(f"  {step}")
        if not yes and not sys.stdin.isatty():
            raise click.UsageError("nothing was removed: there is no terminal to ask at; add --yes")
        if not yes and not click.confirm("Do all of this?"):
            click.echo("Nothing was removed.")
            context.exit(1)
        _perform_steps(item_steps, item)
        process_id = Lock(paths.state_dir).read_holder_pid() if purge else None
        if process_id is not None:
            raise AgentError(f"a watcher runs (process {process_id}): end it and try again; no file was removed")
        _perform_steps(file_steps, item)
        click.echo("Removed.")
    else:
        click.echo(f"Nothing to remove: no login item for {manager.NAME}{' and no files' if purge else ''}.")
    for folder in (paths.config_dir, paths.state_dir):
        if folder.is_dir():
            click.echo(f"{folder} stays{' with what the program did not write' if purge else ': --purge removes it'}.")
    click.echo("To remove the program: `pipx`, `uv tool` or `pip uninstall ai-usage-watcher`, whichever installed it")


def _list_own_files(paths: Paths) -> Iterator[Path]:
    """What this program writes into its folders, then the folders; another file may be the user's own."""
    for folder, patterns in ((paths.config_dir, _OWN_CONFIG_FILES), (paths.state_dir, _OWN_STATE_FILES)):
        for path in sorted(each for pattern in patterns for each in folder.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                yield from sorted(path.rglob("*"), reverse=True)
            yield path
        if folder.is_dir():
            yield folder


# --- `watcher logs` -------------------------------------------------------------------------------------------------


@click.command()
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(0), help="How many lines.")
def logs(*, lines: int) -> None:
    """Print the end of the daemon's log; on stderr, where else the system keeps its output.

    \b
    watcher logs -n 100
    """
    path = find_paths().state_dir / LOG_FILE_NAME
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            recent = deque(file, maxlen=lines)
    except FileNotFoundError:
        raise WatcherError(f"no log yet in {path}: the daemon writes it, `watcher agent install` starts it") from None
    except OSError as error:
        raise WatcherError(f"cannot read {path}: {error.strerror}") from error
    with suppress(WatcherError):  # a system without login items
        _, item, manager = _resolve_agent()
        for other in manager.describe_logs(item).splitlines()[1:]:
            click.echo(f"see also: {other}", err=True)
    for line in recent:
        echo(line.rstrip("\n"))
