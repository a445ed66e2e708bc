"""`watcher notify test`: send a test message to each channel, and print the receiver's answer and what to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import click

from watcher import notifiers
from watcher.cli.completion import complete_channels
from watcher.cli.context import find_paths, load_effective_config
from watcher.cli.output import echo_wrapped
from watcher.core.model import DeliveryOutcome, Message, Severity
from watcher.core.redaction import Redactor
from watcher.core.rules.diagnostics import find_close_match
from watcher.delivery import dispatcher
from watcher.errors import UsageError
from watcher.notifiers import Channel
from watcher.status.builder import write_status
from watcher.storage.store import CHANNEL_TESTED_PREFIX, DATABASE_FILE_NAME, Store
from watcher.system.environment import Environment, create_environment
from watcher.system.lock import Lock
from watcher.system.paths import may_exist


@click.group()
def notify() -> None:
    """Test the channels."""


@notify.command()
@click.argument("channel", required=False, shell_complete=complete_channels)
@click.pass_context
def test(context: click.Context, channel: str | None) -> None:
    """Send a test message to CHANNEL, or to all, and print the outcome.

    \b
    watcher notify test           every channel of the config
    watcher notify test desktop   only that one

    A channel that had refused permanently and accepts the message is used again, and what waited for it is sent.

    \b
    Exit code:  0  every channel accepted it
                1  some channel did not; its line says why and what to do
               64  there is no such channel
               78  the config has a mistake
    """
    config = load_effective_config(with_secrets=True)
    world = create_environment(config.network)
    redact = Redactor()
    redact.add_secrets(config.secrets)
    tested = select_channels(config.channels, channel)
    working = []
    for each in tested.values():
        outcome = send_test_message(each, config.broken_channels.get(each.name), world)
        echo_wrapped(redact(format_outcome(each, outcome)))
        if outcome.delivered is True or outcome.accepted:
            working.append(each.name)
    _resume_working_channels(working, world.clock.now())
    context.exit(0 if len(working) == len(tested) else 1)


def _resume_working_channels(names: Sequence[str], now: datetime) -> None:
    """End the stops of channels that work, and signal the daemon."""
    own = find_paths()
    if not may_exist(own.state_dir / DATABASE_FILE_NAME):
        return
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=now)

    def resume() -> list[str]:
        for name in names:
            store.facts.save(CHANNEL_TESTED_PREFIX + name, "taken", now)  # for `watcher doctor`
        stopped = sorted(stop.channel for stop in store.outbox.load_stops() if stop.channel in names)
        dispatcher.resume_channels(store.outbox, stopped, now)
        return stopped

    try:
        resumed = store.run_transaction(resume, now=now)
        write_status(store, None, now=now)
    finally:
        store.close()
    if resumed:
        when = "now" if Lock(own.state_dir).signal_holder() else "by the next `watcher run` or `watcher check`"
        for name in resumed:
            click.echo(f"{name} had stopped and is used again; what waited for it is sent {when}")


def select_channels(channels: Mapping[str, Channel], name: str | None) -> Mapping[str, Channel]:
    """The channels to test.

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
    """One attempt, without the outbox: it is neither recorded nor retried."""
    if secret_error is not None:
        return DeliveryOutcome(delivered=False, detail=f"{secret_error}; nothing was sent")
    return notifiers.send_message(
        make_test_message(channel, environment.clock.now()), channel, send=environment.send, run=environment.run
    )


def make_test_message(channel: Channel, now: datetime) -> Message:
    """A message that is clearly no alert."""
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


def format_outcome(channel: Channel, outcome: DeliveryOutcome) -> str:
    """Channel, verdict, and the receiver's answer in words."""
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
