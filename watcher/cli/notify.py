"""`watcher notify test`: send a test message to each channel, and say what the far side answered and what to do."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import click
from click.shell_completion import CompletionItem

from watcher import environment as doors
from watcher import notifiers
from watcher.cli.output import get_output_width, wrap_line
from watcher.config import loader as configuration
from watcher.config import secrets
from watcher.config.loader import Config
from watcher.core.model import DeliveryOutcome, Message, Severity
from watcher.core.redaction import Redactor
from watcher.core.rules.diagnostics import find_close_match
from watcher.delivery import attempts
from watcher.environment import Environment
from watcher.errors import UsageError, WatcherError
from watcher.notifiers import Channel
from watcher.status.status_file import write_status
from watcher.storage.store import CHANNEL_TESTED_PREFIX, DATABASE_FILE_NAME, Store
from watcher.system import paths
from watcher.system.lock import Lock
from watcher.system.paths import may_exist


def _complete_channels(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        channels = _load_config(doors.create_environment()).channels
    except WatcherError:  # a config with a mistake completes nothing
        return []
    return [CompletionItem(name, help=each.type) for name, each in channels.items() if name.startswith(incomplete)]


@click.group()
def notify() -> None:
    """Try the channels out."""


@notify.command()
@click.argument("channel", required=False, shell_complete=_complete_channels)
def test(channel: str | None) -> None:
    """Send a test message to CHANNEL, or to all, and say what came of it.

    \b
    watcher notify test           every channel of the config
    watcher notify test desktop   that one alone

    A channel that had refused for good and takes the message is used again, and what waited for it is sent.

    \b
    Exit code:  0  every channel took it
                1  some channel did not; its line says why and what to do
               64  there is no such channel
               78  the config has a mistake
    """
    world = doors.create_environment()
    config = _load_config(world)
    clean = Redactor()
    clean.add_secrets(config.secrets)
    tried = select_channels(config.channels, channel)
    working = []
    for each in tried.values():
        outcome = send_test_message(each, config.broken_channels.get(each.name), world)
        click.echo("\n".join(wrap_line(clean(format_outcome(each, outcome)), get_output_width(), indent=4)))
        working += [each.name] if was_accepted(outcome) else []
    for said in _resume_working_channels(working, world):
        click.echo(said)
    sys.exit(0 if len(working) == len(tried) else 1)


def _resume_working_channels(tested_channels: Sequence[str], environment: Environment) -> Iterator[str]:
    """End the stops of channels that work, and tell a daemon that runs; a line for each."""
    around, now = environment.read_host_info(), environment.clock.now()
    own = paths.resolve_paths(around.env, around.home)
    if not may_exist(own.state_dir / DATABASE_FILE_NAME):
        return
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)
    try:
        resumed = store.run_transaction(lambda: _resume_tested_channels(store, tested_channels, now), now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    if not resumed:
        return
    running = Lock(own.state_dir).signal_holder()
    for name in resumed:
        when = "now" if running else "by the next `watcher run` or `watcher check`"
        yield f"{name} had stopped and is used again; what waited for it is sent {when}"


def _resume_tested_channels(store: Store, tested_channels: Sequence[str], now: datetime) -> list[str]:
    for name in tested_channels:
        store.facts.save(CHANNEL_TESTED_PREFIX + name, "taken", now)  # for `watcher doctor`
    resumed = sorted(stop.channel for stop in store.outbox.load_stops() if stop.channel in tested_channels)
    attempts.resume_channels(store.outbox, resumed, now)
    return resumed


def _load_config(environment: Environment) -> Config:
    around = environment.read_host_info()
    resolve = secrets.make_secret_resolver(around.env, around.home, environment.run)
    return configuration.load_config(paths.resolve_paths(around.env, around.home), resolve, around.home)


def select_channels(channels: Mapping[str, Channel], name: str | None) -> Mapping[str, Channel]:
    """The channels to try.

    Raises:
        UsageError: there is none of that name, or none at all.
    """
    if not channels:
        raise UsageError('no channel is configured; add one to config.toml: [channels.desktop] and type = "desktop"')
    if name is None:
        return channels
    if name not in channels:
        meant = find_close_match(name, tuple(channels))
        hint = f"did you mean {meant}?" if meant else f"there are: {', '.join(channels)}"
        raise UsageError(f"no channel is called {name}; {hint}")
    return {name: channels[name]}


def send_test_message(channel: Channel, secret_error: str | None, environment: Environment) -> DeliveryOutcome:
    """One try, past the outbox: nothing of it is kept or repeated."""
    if secret_error is not None:
        return DeliveryOutcome(delivered=False, detail=f"{secret_error}; nothing was sent")
    return notifiers.send_message(
        make_test_message(channel, environment.clock.now()), channel, send=environment.send, run=environment.run
    )


def make_test_message(channel: Channel, now: datetime) -> Message:
    """A message that nobody takes for an alert."""
    return Message(
        id=f"test|{channel.name}|{now:%Y-%m-%dT%H:%M:%SZ}",
        thread=f"test|{channel.name}",
        event="test",
        severity=Severity.INFO,
        title="Test message of the AI usage watcher",
        body=f"The channel {channel.name} works. Nothing is wrong with your quotas.",
        at=now,
        since=now,
    )


def was_accepted(outcome: DeliveryOutcome) -> bool:
    """Whether there is nothing to mend."""
    return outcome.delivered is True or outcome.accepted


def format_outcome(channel: Channel, outcome: DeliveryOutcome) -> str:
    """Channel, verdict, and the far side's answer in words."""
    if outcome.delivered:
        verdict = "delivered"
    elif outcome.accepted:
        verdict = "handed over"
    elif outcome.delivered is None:
        verdict = "perhaps delivered"
    else:
        verdict = "NOT delivered"
    detail = outcome.detail.replace("will be sent again", "a real message would be sent again")
    return f"{channel.name} ({channel.type}): {verdict}: {detail}"
