"""Any program that takes a POST: `{url, secret?, headers?}`.

Body: the JSON object `watcher.alert.v1` (`build_payload`). `X-Watcher-Signature-256` is `sha256=` and the hex
HMAC-SHA256 of the body's bytes; `Idempotency-Key` is the same for every attempt at one message. Lost: nothing.
Permanent: 3xx and 4xx but 408, 409, 425 and 429.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import field

from watcher.core.model import Message, Request
from watcher.notifiers.base import ChannelSettings, Notifier, check_header, check_url

PAYLOAD_SCHEMA = "watcher.alert.v1"

_PAYLOAD_ENCODER = msgspec.json.Encoder(decimal_format="number")

MAX_KEY_LENGTH = 200


class Settings(ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "webhook"`."""

    url: str
    secret: str = ""  # signs the body; left out: no signature
    headers: Mapping[str, str] = field(default_factory=dict)  # added, for instance an Authorization

    def __post_init__(self) -> None:
        check_url(self.url)
        for name, value in self.headers.items():
            check_header(name, "headers")
            check_header(value, f"headers.{name}")


def build_request(message: Message, settings: Settings) -> Request:
    """One signed POST."""
    body = encode_payload(message)
    headers = {
        "Content-Type": "application/json",
        **settings.headers,
        "Idempotency-Key": make_idempotency_key(message.id),
    }
    if settings.secret:
        signature = hmac.new(settings.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Watcher-Signature-256"] = f"sha256={signature}"
    return Request(method="POST", url=settings.url, headers=headers, body=body)


def make_idempotency_key(delivery_key: str) -> str:
    """The delivery's key as a header can hold it: readable, and where that is too long, its SHA-256."""
    readable = quote(delivery_key, safe="|:.@[] /-_+", encoding="utf-8", errors="replace")
    return readable if len(readable) <= MAX_KEY_LENGTH else hashlib.sha256(readable.encode()).hexdigest()


def build_payload(message: Message) -> dict[str, Any]:
    """The keys of `watcher.alert.v1` in order; None for what is unknown or does not apply (a digest has no window)."""
    return {
        "schema": PAYLOAD_SCHEMA,
        "id": message.id,
        "event": message.event,
        "rule": message.rule or None,
        "severity": message.severity.value,
        "provider": message.provider or None,
        "account": message.account or None,
        "window": message.window or None,
        "label": message.label or None,
        "used_percent": message.used_percent,
        "remaining": message.remaining,
        "unit": message.unit or None,
        "resets_at": message.resets_at,
        "at": message.at,
        "since": message.since,
        "title": message.title,
        "message": message.body,
    }


def encode_payload(message: Message) -> bytes:
    """The payload as UTF-8 JSON; instants in RFC 3339, amounts as numbers."""
    return _PAYLOAD_ENCODER.encode(build_payload(message))


NOTIFIER = Notifier(
    type="webhook", settings_class=Settings, build_request=build_request, secret_settings=("url", "secret", "headers")
)
