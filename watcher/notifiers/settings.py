"""Checks that several channels' settings share. Never echo a value here: it may be a secret."""

import re
from urllib.parse import urlsplit

from msgspec import Struct


class ChannelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What every channel's settings are: their own record, which never shows what it holds."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(self.__struct_fields__)})"


_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


def check_url(value: str, key: str = "url", *, is_secret: bool = False) -> None:
    """Raise ValueError unless `value` is a web address; where it is itself a secret, one that nobody can overhear."""
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise ValueError(f"`{key}` must be a web address that begins with https://")
    if is_secret and parts.scheme == "http" and host not in _LOOPBACK_HOSTS:
        raise ValueError(f"`{key}` must begin with https://: whoever sees this address can write to the channel")


def check_header(value: str, key: str) -> None:
    """Raise ValueError unless `value` can stand in an HTTP header."""
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"`{key}` must be plain ASCII without line ends")
