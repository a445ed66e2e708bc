"""A message as a JSON object, for programs: the contract `watcher.alert.v1` of the webhook and the command."""

from typing import Any

import msgspec

from watcher.core.model import Message

PAYLOAD_SCHEMA = "watcher.alert.v1"

_PAYLOAD_ENCODER = msgspec.json.Encoder(decimal_format="number")


def build_payload(message: Message) -> dict[str, Any]:
    """The contract's keys in its order; None for what is unknown or does not apply (a digest has no window)."""
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
