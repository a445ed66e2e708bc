"""The channels: one file each, and the registry.

A notifier is one pure function from a `Message` and its channel's settings to a `Request` or a `Command`. What the far
side's answer means (delivered, try again, never again) is decided once, here, and overridden only where a service
differs. Never sleep, retry, log or read a file here.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from watcher.core.model import Command, Finished, Message, Outcome, Request, Response


class Notifier(Struct, frozen=True, kw_only=True):
    """What the rest of the program knows of one kind of channel."""

    type: str  # the word in TOML: `type = "slack"`
    settings: type[Struct]  # the channel's keys in TOML, beside `type`
    compose: Callable[[Message, Any], Request | Command]
    judge: Callable[[Response | Finished], Outcome]
    secrets: tuple[str, ...] = ()  # names of the settings that hold secrets
