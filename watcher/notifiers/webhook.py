"""Any program that takes a POST: `{url, secret?, headers?}`.

Body: the contract `watcher.alert.v1` (see `payload`). Lost: nothing. `X-Watcher-Signature-256` is `sha256=` and the hex
HMAC-SHA256 of the very bytes of the body; `Idempotency-Key` is the same for every attempt at one message. Permanent:
3xx and 4xx but 408, 409, 425 and 429.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from msgspec import field

from watcher.core.model import Message, Request
from watcher.notifiers import Notifier
from watcher.notifiers.payload import encode
from watcher.notifiers.settings import Own, check_header, check_url

LONGEST_KEY = 200


class Settings(Own, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "webhook"`."""

    url: str
    secret: str = ""  # signs the body; left out: no signature
    headers: Mapping[str, str] = field(default_factory=dict)  # added, for instance an Authorization

    def __post_init__(self) -> None:
        check_url(self.url)
        for name, value in self.headers.items():
            check_header(name, "headers")
            check_header(value, f"headers.{name}")


def compose(message: Message, settings: Settings) -> Request:
    """One signed POST."""
    body = encode(message)
    headers = {"Content-Type": "application/json", **settings.headers, "Idempotency-Key": idempotency_key(message.id)}
    if settings.secret:
        signature = hmac.new(settings.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Watcher-Signature-256"] = f"sha256={signature}"
    return Request(method="POST", url=settings.url, headers=headers, body=body)


def idempotency_key(identity: str) -> str:
    """The delivery's key as a header can hold it: readable, and where that is too long, its SHA-256."""
    readable = quote(identity, safe="|:.@[] /-_+", encoding="utf-8", errors="replace")
    return readable if len(readable) <= LONGEST_KEY else hashlib.sha256(readable.encode()).hexdigest()


NOTIFIER = Notifier(type="webhook", settings=Settings, compose=compose, secrets=("url", "secret", "headers"))
