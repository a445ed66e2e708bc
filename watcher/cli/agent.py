"""`watcher agent`: the login item. Asks nothing; says what it did and where the logs are.

Never decide here how a system starts things at login: `watcher.agent` knows.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from threading import Event

import click
from msgspec import structs

from watcher import doors, paths
from watcher.agent import Item, Manager, Step
from watcher.agent.registry import item_here
from watcher.agent.registry import manager as find_manager
from watcher.agent.steps import describe, perform
from watcher.agent.systemd import has_desktop
from watcher.clock import now as clock_now
from watcher.errors import WatcherError
from watcher.lock import Lock
from watcher.paths import Paths
from watcher.store import FILE_NAME, Store

_FROM_ENVIRONMENT = re.compile("""["']env:([A-Za-z_][A-Za-z0-9_]*)["']""")

_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
_desktop = click.option(
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
@_dry_run
@_desktop
def install(*, dry_run: bool, headless: bool | None) -> None:
    """Put the login item in and start it; what an older one left is replaced."""
    own, here, manager = _found(headless)
    if dry_run:
        _say_steps(manager.install(here))
        return
    already = Lock(own.state_dir).holder()
    if already is not None and not manager.state(here, doors.real().run).running:
        click.echo(f"A watcher runs in the foreground (process {already}): end it, and the login item takes over.")
    _perform(manager.install(here), here)
    click.echo(f"Installed for {manager.name} and started: {manager.path(here)}")
    for line in [*_log_lines(manager, here), *_notes(manager, here, own)]:
        click.echo(line)


@agent.command()
@_dry_run
def uninstall(*, dry_run: bool) -> None:
    """Stop it and take the login item out."""
    own, here, manager = _found(headless=True)
    if dry_run:
        _say_steps(manager.uninstall(here))
        return
    _perform(manager.uninstall(here), here)
    click.echo(
        f"Uninstalled from {manager.name}. Your config stays in {own.config_dir}, the readings in {own.state_dir}"
    )


@agent.command(short_help="Say whether it is installed and runs.")
@click.pass_context
def status(context: click.Context) -> None:
    """Say whether it is installed and runs, and where its logs are; exit code 1 where it is not or does not."""
    own, here, manager = _found(headless=True)
    state = manager.state(here, doors.real().run)
    beat = _heartbeat(own)
    alive = beat is not None and beat[1]
    installed = "installed" if state.installed else "not installed: run `watcher agent install`"
    if state.installed and not state.current:
        installed = "installed by another version or environment: run `watcher agent install` to renew it"
    click.echo(f"{manager.name}: {installed}")
    click.echo(f"state: {state.detail}")
    click.echo(f"heartbeat: {'none yet' if beat is None else beat[0]}")
    click.echo(f"file: {manager.path(here)}")
    for line in _log_lines(manager, here):
        click.echo(line)
    runs = alive if state.running is None else state.running
    if not (state.installed and runs):
        context.exit(1)


@agent.command(name="print")
@_desktop
def print_(*, headless: bool | None) -> None:
    """Print the file that `install` would write."""
    _, here, manager = _found(headless)
    content = manager.render(here)
    click.echo(content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"), nl=False)


def _found(headless: bool | None) -> tuple[Paths, Item, Manager]:  # noqa: FBT001 - the option as it was given
    """This environment's own folders, item and manager."""
    world = doors.real()
    around = world.surroundings()
    own = paths.find(around.env, around.home)
    manager = find_manager(around.platform)
    here = item_here(around, own.state_dir, headless=bool(headless))
    if headless is None and around.platform == "linux":
        here = structs.replace(here, headless=not has_desktop(world.run, here))
    return own, here, manager


def _perform(steps: Sequence[Step], here: Item) -> None:
    pause = Event()

    def wait(span: timedelta) -> None:
        pause.wait(span.total_seconds())

    perform(steps, run=doors.real().run, wait=wait, env=here.session_env)


def _say_steps(steps: Sequence[Step]) -> None:
    for line in describe(steps):
        click.echo(line)


def _log_lines(manager: Manager, here: Item) -> list[str]:
    first, *others = manager.logs(here).splitlines()
    return [f"logs: {first}", *(f"      {other}" for other in others)]


def _notes(manager: Manager, here: Item, own: Paths) -> Iterator[str]:
    """What the person may have to do besides."""
    after = manager.after(here)
    if after:
        yield from after.splitlines()
    names = sorted(_named_variables(own))
    if names:
        yield f"note: the config takes {', '.join(names)} from the environment, and a login item does not see your"
        yield "      shell's; file:PATH and cmd:ARGV work everywhere"


def _named_variables(own: Paths) -> set[str]:
    try:
        return set(_FROM_ENVIRONMENT.findall(own.config_file.read_text("utf-8", errors="replace")))
    except OSError:
        return set()


def _heartbeat(own: Paths) -> tuple[str, bool] | None:
    """When the daemon was last heard, in words, and whether that is recent enough to be alive; None: never."""
    try:
        store = Store(own.state_dir / FILE_NAME, now=clock_now(), read_only=True)
    except WatcherError:
        return None
    beat = store.fact("heartbeat")
    store.close()
    return None if beat is None else _in_words(*beat, clock_now())


def _in_words(word: str, at: datetime, now: datetime) -> tuple[str, bool]:
    minutes = int((now - at).total_seconds() // 60)
    ago = "just now" if minutes < 1 else f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"  # noqa: PLR2004 - two hours
    if word == "stopped":
        return f"stopped {ago}", False
    return ago, now - at < timedelta(minutes=11)
