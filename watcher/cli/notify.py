"""`watcher notify test`: send a test message to each channel, and say what the far side answered and what to do."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import click
from click.shell_completion import CompletionItem

from watcher import config as configuration
from watcher import doors, notifiers, outbox, paths, secrets
from watcher.cli.columns import room, wrapped
from watcher.config import Config
from watcher.config_stamp import is_there
from watcher.core.model import Message, Outcome, Severity
from watcher.core.redaction import Redactor
from watcher.core.vocabulary import near
from watcher.doors import Doors
from watcher.errors import UsageError, WatcherError
from watcher.lock import Lock
from watcher.notifiers import Channel
from watcher.store import FILE_NAME, TRIED, Store


def _names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        channels = _load(doors.real()).channels
    except WatcherError:  # a config with a mistake completes nothing
        return []
    return [CompletionItem(name, help=each.type) for name, each in channels.items() if name.startswith(incomplete)]


@click.group()
def notify() -> None:
    """Try the channels out."""


@notify.command()
@click.argument("channel", required=False, shell_complete=_names)
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
    world = doors.real()
    config = _load(world)
    clean = Redactor()
    clean.learn(config.secrets)
    tried = chosen(config.channels, channel)
    working = []
    for each in tried.values():
        outcome = attempt(each, config.broken_channels.get(each.name), world)
        click.echo("\n".join(wrapped(clean(line(each, outcome)), room(), indent=4)))
        working += [each.name] if arrived(outcome) else []
    for said in _use_again(working, world):
        click.echo(said)
    sys.exit(0 if len(working) == len(tried) else 1)


def _use_again(working: Sequence[str], world: Doors) -> Iterator[str]:
    """End the stops of channels that work, and tell a daemon that runs; a line for each."""
    around, now = world.surroundings(), world.clock.now()
    own = paths.find(around.env, around.home)
    if not is_there(own.state_dir / FILE_NAME):
        return
    store = Store(own.state_dir / FILE_NAME, now=now)
    try:
        resumed = store.write(lambda: _resume(store, working, now), now=now)
    finally:
        store.close()
    if not resumed.channels:
        return
    running = Lock(own.state_dir).tell()
    for name in resumed.channels:
        when = "now" if running else "by the next `watcher run` or `watcher check`"
        yield f"{name} had stopped and is used again; what waited for it is sent {when}"


def _resume(store: Store, working: Sequence[str], now: datetime) -> outbox.Resumed:
    for name in working:
        store.set_fact(TRIED + name, "taken", now)  # for `watcher doctor`
    resumed = outbox.resume_working(store.stops(), working, store.outbox(), now)
    for name in resumed.channels:
        store.resume(name)
    store.update(resumed.changed)
    return resumed


def _load(world: Doors) -> Config:
    around = world.surroundings()
    resolve = secrets.resolver(around.env, around.home, world.run)
    return configuration.load(paths.find(around.env, around.home), resolve, around.home)


def chosen(channels: Mapping[str, Channel], name: str | None) -> Mapping[str, Channel]:
    """The channels to try.

    Raises:
        UsageError: there is none of that name, or none at all.
    """
    if not channels:
        raise UsageError('no channel is configured; add one to config.toml: [channels.desktop] and type = "desktop"')
    if name is None:
        return channels
    if name not in channels:
        meant = near(name, tuple(channels))
        hint = f"did you mean {meant}?" if meant else f"there are: {', '.join(channels)}"
        raise UsageError(f"no channel is called {name}; {hint}")
    return {name: channels[name]}


def attempt(channel: Channel, broken: str | None, world: Doors) -> Outcome:
    """One try, past the outbox: nothing of it is kept or repeated."""
    if broken is not None:
        return Outcome(delivered=False, detail=f"{broken}; nothing was sent")
    return notifiers.send(message(channel, world.clock.now()), channel, send=world.send, run=world.run)


def message(channel: Channel, now: datetime) -> Message:
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


def arrived(outcome: Outcome) -> bool:
    """Whether there is nothing to mend."""
    return outcome.delivered is True or outcome.accepted


def line(channel: Channel, outcome: Outcome) -> str:
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
