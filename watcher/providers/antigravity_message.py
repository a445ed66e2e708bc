"""The message in Antigravity's cache: whose it is, and what is left of each of its models.

Observed only; last checked 2026-11-22. root.7 is the email; root.33.1 are the models, each {1: label, 15: {1: fraction
left, as float32, else float64 or varint, 2: {1: reset s, 2: ns}}}. Whatever cannot be right costs its model alone.
Never decide here whether a value is still true.
"""

from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from watcher.providers.answers import slug
from watcher.providers.protobuf import Field, MalformedError, Wire, fields, messages, real

EMAIL, GROUP, MODEL, LABEL, QUOTA = 7, 33, 1, 1, 15  # field numbers
FRACTION, RESET = 1, 2
LAST_SECOND = 253402300799  # of the year 9999
MAX_BASE64 = 1_500_000


class Model(Struct, frozen=True):
    """One model: what people call it, the fraction left (None: not said), when it is full again (None: not said)."""

    label: str
    left: float | None
    resets_at: datetime | None


class Status(Struct, frozen=True):
    """The whole message."""

    email: str
    models: tuple[Model, ...]
    lost: int  # how many models or groups could not be read


def read(encoded: str) -> Status:
    """The message, from base64; `MalformedError` where it is none at all."""
    root = list(fields(decoded(encoded)))
    models, lost = _models(root)
    return Status(_text(root, EMAIL), tuple(models.values()), lost)


def decoded(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _models(root: Sequence[Field]) -> tuple[dict[str, Model], int]:
    """Models by window, the last of two alike winning, and how many could not be read: a bad one loses only itself."""
    found: dict[str, Model] = {}
    lost = 0
    for group in root:
        if group.number != GROUP or not isinstance(group.value, bytes) or group.wire is not Wire.BYTES:
            continue
        try:
            raws = messages(group.value, MODEL)
        except MalformedError:
            lost += 1
            continue
        for raw in raws:
            try:
                model = _model(raw)
            except MalformedError:
                lost += 1
            else:
                if model:
                    found[slug(model.label)] = model
    return found, lost


def _model(raw: bytes) -> Model | None:
    """One model; None where it has no name or no quota."""
    parts = list(fields(raw))
    label, quotas = (
        _text(parts, LABEL),
        [each.value for each in parts if each.number == QUOTA and each.wire is Wire.BYTES],
    )
    if not label or not quotas or not isinstance(quotas[0], bytes):
        return None
    quota = list(fields(quotas[0]))
    left = [real(each) for each in quota if each.number == FRACTION]
    resets = [each.value for each in quota if each.number == RESET and each.wire is Wire.BYTES]
    return Model(label, left[-1] if left else None, _instant(resets[-1]) if resets else None)


def _text(parts: Sequence[Field], number: int) -> str:
    """The text of that field; empty where it is missing, blank or not UTF-8."""
    for part in parts:
        if part.number == number and part.wire is Wire.BYTES and isinstance(part.value, bytes):
            try:
                return part.value.decode().strip()
            except UnicodeDecodeError:
                return ""
    return ""


def _instant(raw: int | bytes) -> datetime | None:
    """A Timestamp message; None where it is not one: only the reset is lost."""
    if not isinstance(raw, bytes):
        return None
    try:
        parts = {each.number: each.value for each in fields(raw) if each.wire is Wire.VARINT}
    except MalformedError:
        return None
    seconds, nanos = parts.get(1), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or not 0 < seconds <= LAST_SECOND or nanos >= 10**9:
        return None
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)
