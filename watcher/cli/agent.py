"""`watcher agent`: the login item. Asks nothing; says what it did and where the logs are.

Never decide here how a system starts things at login: `watcher.agent` knows.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from threading import Event

import click
from msgspec import structs

from watcher.agent import LoginItem, Manager, Step, perform_steps
from watcher.agent.managers import get_manager, make_current_login_item
from watcher.agent.systemd import has_desktop
from watcher.errors import WatcherError
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import environment, paths
from watcher.system.clock import utc_now as clock_now
from watcher.system.lock import Lock
from watcher.system.paths import Paths

_ENV_REFERENCE_PATTERN = re.compile("""["']env:([A-Za-z_][A-Za-z0-9_]*)["']""")

_dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
_desktop_option = click.option(
    "--headless/--graphical",
    default=None,
    help="Linux: start with any login, or with the graphical session; left out: what this session has.",
)


@click.group(short_help="Watch from every login on: the login item.")
def agent() -> None:
    """Start the watcher at every login: launchd, a systemd user unit, or a Windows task.

    \b
    watcher agent install            now and at every login; again to upgrade
    watcher agent install --dry-run  what that would do
    watcher agent status             is it there, does it run, where are its logs
    watcher agent uninstall          leaves your config and the readings
    """


@agent.command(short_help="Put the login item in, and start it.")
@_dry_run_option
@_desktop_option
def install(*, dry_run: bool, headless: bool | None) -> None:
    """Put the login item in and start it; what an older one left is replaced."""
    own, here, manager = _resolve_agent(headless)
    if dry_run:
        _print_steps(manager.plan_install(here))
        return
    already = Lock(own.state_dir).read_holder_pid()
    if already is not None and not manager.get_state(here, environment.create_environment().run).running:
        click.echo(f"A watcher runs in the foreground (process {already}): end it, and the login item takes over.")
    _run_steps(manager.plan_install(here), here)
    click.echo(f"Installed for {manager.NAME} and started: {manager.get_path(here)}")
    for line in [*_format_log_lines(manager, here), *_list_notes(manager, here, own)]:
        click.echo(line)


@agent.command()
@_dry_run_option
def uninstall(*, dry_run: bool) -> None:
    """Stop it and take the login item out."""
    own, here, manager = _resolve_agent(headless=True)
    if dry_run:
        _print_steps(manager.plan_uninstall(here))
        return
    _run_steps(manager.plan_uninstall(here), here)
    click.echo(
        f"Uninstalled from {manager.NAME}. Your config stays in {own.config_dir}, the readings in {own.state_dir}"
    )


@agent.command(short_help="Say whether it is installed and runs.")
@click.pass_context
def status(context: click.Context) -> None:
    """Say whether it is installed and runs, and where its logs are; exit code 1 where it is not or does not."""
    own, here, manager = _resolve_agent(headless=True)
    state = manager.get_state(here, environment.create_environment().run)
    beat = _read_heartbeat(own)
    alive = beat is not None and beat[1]
    installed = "installed" if state.installed else "not installed: run `watcher agent install`"
    if state.installed and not state.current:
        installed = "installed by another version or environment: run `watcher agent install` to renew it"
    click.echo(f"{manager.NAME}: {installed}")
    click.echo(f"state: {state.detail}")
    click.echo(f"heartbeat: {'none yet' if beat is None else beat[0]}")
    click.echo(f"file: {manager.get_path(here)}")
    for line in _format_log_lines(manager, here):
        click.echo(line)
    runs = alive if state.running is None else state.running
    if not (state.installed and runs):
        context.exit(1)


@agent.command(name="print")
@_desktop_option
def print_(*, headless: bool | None) -> None:
    """Print the file that `install` would write."""
    _, here, manager = _resolve_agent(headless)
    content = manager.render(here)
    click.echo(content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"), nl=False)


def _resolve_agent(headless: bool | None) -> tuple[Paths, LoginItem, Manager]:  # noqa: FBT001 - the option as it was given
    """This environment's own folders, item and manager."""
    world = environment.create_environment()
    around = world.read_host_info()
    own = paths.resolve_paths(around.env, around.home)
    manager = get_manager(around.platform)
    here = make_current_login_item(around, own.state_dir, headless=bool(headless))
    if headless is None and around.platform == "linux":
        here = structs.replace(here, headless=not has_desktop(world.run, here))
    return own, here, manager


def _run_steps(steps: Sequence[Step], item: LoginItem) -> None:
    pause = Event()

    def wait(span: timedelta) -> None:
        pause.wait(span.total_seconds())

    perform_steps(steps, run=environment.create_environment().run, wait=wait, env=item.session_env)


def _print_steps(steps: Sequence[Step]) -> None:
    for step in steps:
        click.echo(step)


def _format_log_lines(manager: Manager, item: LoginItem) -> list[str]:
    first, *others = manager.describe_logs(item).splitlines()
    return [f"logs: {first}", *(f"      {other}" for other in others)]


def _list_notes(manager: Manager, item: LoginItem, paths: Paths) -> Iterator[str]:
    """What the person may have to do besides."""
    after = manager.describe_next_steps(item)
    if after:
        yield from after.splitlines()
    names = sorted(_find_env_references(paths))
    if names:
        yield f"note: the config takes {', '.join(names)} from the environment, and a login item does not see your"
        yield "      shell's; file:PATH and cmd:ARGV work everywhere"


def _find_env_references(paths: Paths) -> set[str]:
    try:
        return set(_ENV_REFERENCE_PATTERN.findall(paths.config_file.read_text("utf-8", errors="replace")))
    except OSError:
        return set()


def _read_heartbeat(paths: Paths) -> tuple[str, bool] | None:
    """When the daemon was last heard, in words, and whether that is recent enough to be alive; None: never."""
    try:
        store = Store(paths.state_dir / DATABASE_FILE_NAME, now=clock_now(), read_only=True)
    except WatcherError:
        return None
    beat = store.facts.load("heartbeat")
    store.close()
    return None if beat is None else _format_heartbeat(*beat, clock_now())


def _format_heartbeat(state: str, at: datetime, now: datetime) -> tuple[str, bool]:
    minutes = int((now - at).total_seconds() // 60)
    ago = "just now" if minutes < 1 else f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"  # noqa: PLR2004 - two hours
    if state == "stopped":
        return f"stopped {ago}", False
    return ago, now - at < timedelta(minutes=11)
