"""The channels: one file each, and the registry.

A notifier is one pure function from a `Message` and its channel's settings to a `Request` or a `Command`. What the far
side's answer means (delivered, try again, never again) is decided once, in `answers`, and overridden only where a
service differs. Never sleep, retry, log or read a file here.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from watcher.core.model import Command, CommandResult, DeliveryOutcome, Message, Request, Response
from watcher.errors import ProviderError, ServerError, ShapeChangedError
from watcher.notifiers import responses, text

Send = Callable[[Request], Response]
Run = Callable[[Command], CommandResult]
SettingsClass = type[Struct]


class Notifier(Struct, frozen=True, kw_only=True):
    """What the rest of the program knows of one kind of channel. Either `compose` or `deliver` is given."""

    type: str  # the word in TOML: `type = "slack"`
    settings_class: SettingsClass  # the channel's keys in TOML, beside `type`
    build_request: Callable[[Message, Any], Request | Command] | None = None
    interpret_result: Callable[[Response | CommandResult], DeliveryOutcome] = responses.interpret_result
    deliver: Callable[[Message, Any, Run], DeliveryOutcome] | None = None  # where one message may take several attempts
    secret_settings: tuple[str, ...] = ()  # names of the settings that hold secrets


class Channel(Struct, frozen=True, kw_only=True):
    """One `[channels.NAME]` of the config: its name, the notifier it uses, and that notifier's settings."""

    name: str
    type: str
    settings: Any  # the notifier's own record, secrets resolved

    def __repr__(self) -> str:
        return f"Channel({self.name}, {self.type})"  # never the settings: a webhook's address is its password


def send_message(message: Message, channel: Channel, *, send: Send, run: Run) -> DeliveryOutcome:
    """Try once to deliver `message` to `channel`. Never raises: whatever goes wrong is in the outcome."""
    from watcher.notifiers.registry import NOTIFIERS  # noqa: PLC0415 - the registry imports the channels, they this

    try:
        return _deliver_once(NOTIFIERS[channel.type], text.clean_message(message), channel.settings, send, run)
    except (ServerError, ShapeChangedError) as error:  # an answer began: the far side had the message
        return DeliveryOutcome(delivered=None, detail=f"it may have arrived: {_describe_error(error)}")
    except ProviderError as error:
        doubt = "it may have arrived: " if error.request_sent else ""
        return DeliveryOutcome(
            delivered=None if error.request_sent else False, detail=f"{doubt}{_describe_error(error)}"
        )
    except Exception as error:  # noqa: BLE001 - one broken channel must not stop the others; its text may hold a secret
        return DeliveryOutcome(
            delivered=False, detail=f"{channel.type}: failed with {type(error).__name__}; please report this"
        )


def _describe_error(error: ProviderError) -> str:
    """The network's words; what it says of questions holds for messages."""
    return str(error).replace("it is asked again later", "it will be sent again")


def _deliver_once(notifier: Notifier, message: Message, settings: Any, send: Send, run: Run) -> DeliveryOutcome:
    """The notifier's own way, or compose, send or run, judge."""
    if notifier.deliver is not None:
        return notifier.deliver(message, settings, run)
    if notifier.build_request is None:
        raise TypeError(notifier.type)
    work = notifier.build_request(message, settings)
    return notifier.interpret_result(send(work) if isinstance(work, Request) else run(work))
