"""`watcher notify test` and `watcher channels`: test and add channels."""

import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from watcher import notifiers
from watcher.cli.completion import complete_channels
from watcher.cli.context import change_store, find_paths, load_effective_config
from watcher.cli.output import echo_wrapped, format_toml
from watcher.config.loader import Config, load_config
from watcher.config.secrets import make_secret_resolver
from watcher.core.model import DeliveryOutcome, Message, Severity
from watcher.core.redaction import Redactor
from watcher.core.routing import messages
from watcher.core.rules.diagnostics import suggest_word
from watcher.delivery import dispatcher
from watcher.errors import ConfigError, UsageError
from watcher.notifiers import NOTIFIERS, Channel
from watcher.storage.store import CHANNEL_TESTED_PREFIX, DATABASE_FILE_NAME, Store
from watcher.system.clock import utc_now
from watcher.system.environment import Environment, create_environment, read_host_info
from watcher.system.lock import Lock
from watcher.system.paths import Paths, may_exist


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
    redact = Redactor(config.secrets)
    tested = select_channels(config.channels, channel)
    working = []
    for each in tested.values():
        outcome = send_test_message(each, config.broken_channels.get(each.name), world)
        echo_wrapped(redact(format_outcome(each, outcome)))
        if outcome.delivered is True or outcome.accepted:
            working.append(each.name)
    _record_tests(working, world.clock.now())
    context.exit(0 if len(working) == len(tested) else 1)


def _record_tests(names: Sequence[str], now: datetime, config: Config | None = None) -> None:
    """Record which channels work, for `watcher doctor`; delete their stops, and signal the daemon."""
    own = find_paths()
    if not may_exist(own.state_dir / DATABASE_FILE_NAME):
        return

    def record(store: Store) -> list[str]:
        for name in names:
            store.facts.save(CHANNEL_TESTED_PREFIX + name, "taken", now)
        stopped = sorted(stop.channel for stop in store.outbox.load_stops() if stop.channel in names)
        dispatcher.resume_channels(store.outbox, stopped, now)
        return stopped

    resumed = change_store(own, now, record, config)
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
        hint = suggest_word(name, tuple(channels), f"there are: {', '.join(channels)}")
        raise UsageError(f"no channel is called `{name}`; {hint}")
    return {name: channels[name]}


def send_test_message(channel: Channel, secret_error: str | None, environment: Environment) -> DeliveryOutcome:
    """Send a test message once, without the outbox and without a retry."""
    if secret_error is not None:
        return DeliveryOutcome(delivered=False, detail=f"{secret_error}; nothing was sent")
    message = make_test_message(channel, environment.clock.now())
    if notifiers.is_read_elsewhere(channel):
        message = messages.add_origin(message, environment.read_host_info().name, is_repeat=False)
    return notifiers.send_message(message, channel, send=environment.send, run=environment.run)


def make_test_message(channel: Channel, now: datetime) -> Message:
    """The test message."""
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
    """One line: the channel, whether the message was delivered, and the receiver's answer."""
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


# --- watcher channels -------------------------------------------------------------------------------------------------


@click.group()
def channels() -> None:
    """Add a channel."""


_EMPTY_DEFAULT = re.compile(r"^default *= *\[ *\].*$", re.MULTILINE)


@channels.command(short_help="Add a channel, after a test message.")
@click.argument("kind", metavar="TYPE", type=click.Choice(tuple(NOTIFIERS)))
@click.option("--name", help="Its name in routes and rules. Default: the type.")
@click.option("--url", help="Its address: env:NAME, file:PATH, cmd:ARGV, or the address itself.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting; may be repeated.")
@click.option("--no-test", is_flag=True, help="Send no test message.")
@click.pass_context
def add(  # noqa: PLR0913 - what the command takes
    context: click.Context, kind: str, name: str | None, url: str | None, settings: tuple[str, ...], *, no_test: bool
) -> None:
    """Add a channel of TYPE to config.toml, after a test message has arrived. The rest of the file stays as it is.

    \b
    watcher channels add slack --url env:SLACK_WEBHOOK_URL
    watcher channels add ntfy --name phone --set topic=env:NTFY_TOPIC
    watcher channels add email --set from=w@example.com --set to=me@example.com \\
      --set host=localhost --set port=25

    \b
    Exit code:  0  it is in the config
                1  the test message did not arrive; nothing was written
               64  the type, the name or a setting is wrong
               78  the config has a mistake, or would have; nothing was written
    """
    own, name = find_paths(), name or kind
    if not may_exist(own.config_file):
        raise UsageError(f"there is no {own.config_file}: `watcher init` writes it")
    present = load_effective_config()
    before, routing = present.channels, present.routing
    if name in before:
        raise UsageError(f"a channel is called {name} already: give another --name, or `watcher config edit`")
    table = {"type": kind, **({} if url is None else {"url": url}), **dict(map(_parse_setting, settings))}
    text = "\n" + format_toml({"channels": {name: table}})
    config = _load_draft(own, text)
    if not before.keys() <= config.channels.keys() and routing.default:  # the desktop, used while no channel is there
        text += '\n[channels.desktop]\ntype = "desktop"\n'
        config = _load_draft(own, text)
    if not no_test:
        redact = Redactor(config.secrets)
        world = create_environment(config.network)
        outcome = send_test_message(config.channels[name], config.broken_channels.get(name), world)
        echo_wrapped(redact(format_outcome(config.channels[name], outcome)))
        if outcome.delivered is False and not outcome.accepted:
            click.echo("nothing was written")
            context.exit(1)
    whole = own.config_file.read_text("utf-8") + text
    if not routing.default and not NOTIFIERS[kind].is_mirror:  # as `init` writes it where there is no desktop
        whole = _EMPTY_DEFAULT.sub(lambda _: format_toml({"default": [name]}).strip(), whole, count=1)
    try:
        own.config_file.write_text(whole, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {own.config_file}: {error.strerror}") from error
    present = load_effective_config()
    _record_tests([] if no_test else [name], utc_now(), structs.replace(config, routing=present.routing))
    Lock(own.state_dir).signal_holder()
    echo_wrapped(f"written: [channels.{name}] in {own.config_file}")
    default = present.routing.default
    if name not in default and not NOTIFIERS[kind].is_mirror:
        line = format_toml({"default": [*default, name]}).strip()
        click.echo(f"nothing is sent to it yet: name it under [route], such as\n  {line}")


def _parse_setting(text: str) -> tuple[str, Any]:
    """Parse `KEY=VALUE`; VALUE is a TOML value, such as a number or a list, else a string."""
    key, separator, value = text.partition("=")
    if not (separator and key.strip()):
        raise UsageError(f"--set takes KEY=VALUE, such as topic=env:NTFY_TOPIC, not `{key}`")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return key.strip(), value


def _load_draft(own: Paths, addition: str) -> Config:
    """Load the config with `addition` at its end, before that is written.

    Raises:
        ConfigError: its places are those in the config, with the lines to be added.
    """
    host_info = read_host_info()
    with tempfile.TemporaryDirectory() as folder:
        draft = Paths(config_dir=Path(folder), state_dir=own.state_dir)
        draft.config_file.write_text(own.config_file.read_text("utf-8") + addition, "utf-8")
        shutil.copymode(own.config_file, draft.config_file)
        if may_exist(own.providers_dir):
            draft.providers_dir.symlink_to(own.providers_dir)
        try:
            return load_config(draft, make_secret_resolver(host_info), host_info.home)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(draft.config_file), str(own.config_file))) from None
