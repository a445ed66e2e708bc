"""The message in Antigravity's cache: whose it is, and what is left of each of its models.

Observed only; last checked 2026-11-22. root.7 is the email; root.33.1 are the models, each {1: label, 15: {1: fraction
left, as float32, else float64 or varint, 2: {1: reset s, 2: ns}}}. Whatever cannot be right costs its model alone.
Never decide here whether a value is still true.
"""

from base64 import b64decode
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct, structs

from watcher.core.model import DatabaseQuery, QueryResult, Snapshot
from watcher.credentials import antigravity as places
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import ProviderState, fractions
from watcher.providers.parsing import slugify
from watcher.providers.protobuf import Field, MalformedError, WireType, get_messages, iter_fields, to_float

EMAIL_FIELD, GROUP_FIELD, MODEL_FIELD, LABEL_FIELD, QUOTA_FIELD = 7, 33, 1, 1, 15  # field numbers
FRACTION_FIELD, RESET_FIELD = 1, 2
MAX_TIMESTAMP_S = 253402300799  # of the year 9999
MAX_BASE64_CHARS = 1_500_000


class ModelQuota(Struct, frozen=True):
    """One model: what people call it, the fraction left (None: not said), when it is full again (None: not said)."""

    label: str
    remaining_fraction: float | None
    resets_at: datetime | None


class UserStatus(Struct, frozen=True):
    """The whole message."""

    email: str
    models: tuple[ModelQuota, ...]
    unreadable_count: int  # how many models or groups could not be read


def parse_user_status(encoded: str) -> UserStatus:
    """The message, from base64; `MalformedError` where it is none at all."""
    root = list(iter_fields(decode_base64(encoded)))
    models, lost = _parse_models(root)
    return UserStatus(_get_text(root, EMAIL_FIELD), tuple(models.values()), lost)


def decode_base64(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64_CHARS:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _parse_models(root: Sequence[Field]) -> tuple[dict[str, ModelQuota], int]:
    """Models by window, the last of two alike winning, and how many could not be read: a bad one loses only itself."""
    found: dict[str, ModelQuota] = {}
    lost = 0
    for group in root:
        if group.number != GROUP_FIELD or not isinstance(group.value, bytes) or group.wire_type is not WireType.BYTES:
            continue
        try:
            raws = get_messages(group.value, MODEL_FIELD)
        except MalformedError:
            lost += 1
            continue
        for raw in raws:
            try:
                model = _parse_model(raw)
            except MalformedError:
                lost += 1
            else:
                if model:
                    found[slugify(model.label)] = model
    return found, lost


def _parse_model(raw: bytes) -> ModelQuota | None:
    """One model; None where it has no name or no quota."""
    parts = list(iter_fields(raw))
    label, quotas = (
        _get_text(parts, LABEL_FIELD),
        [each.value for each in parts if each.number == QUOTA_FIELD and each.wire_type is WireType.BYTES],
    )
    if not label or not quotas or not isinstance(quotas[0], bytes):
        return None
    quota = list(iter_fields(quotas[0]))
    left = [to_float(each) for each in quota if each.number == FRACTION_FIELD]
    resets = [each.value for each in quota if each.number == RESET_FIELD and each.wire_type is WireType.BYTES]
    return ModelQuota(label, left[-1] if left else None, _parse_timestamp(resets[-1]) if resets else None)


def _get_text(parts: Sequence[Field], field_number: int) -> str:
    """The text of that field; empty where it is missing, blank or not UTF-8."""
    for part in parts:
        if part.number == field_number and part.wire_type is WireType.BYTES and isinstance(part.value, bytes):
            try:
                return part.value.decode().strip()
            except UnicodeDecodeError:
                return ""
    return ""


def _parse_timestamp(raw: int | bytes) -> datetime | None:
    """A Timestamp message; None where it is not one: only the reset is lost."""
    if not isinstance(raw, bytes):
        return None
    try:
        parts = {each.number: each.value for each in iter_fields(raw) if each.wire_type is WireType.VARINT}
    except MalformedError:
        return None
    seconds, nanos = parts.get(1), parts.get(2, 0)
    if (
        not isinstance(seconds, int)
        or not isinstance(nanos, int)
        or not 0 < seconds <= MAX_TIMESTAMP_S
        or nanos >= 10**9
    ):
        return None
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)


# --- Antigravity's cache as a snapshot: whose it is, and which of its readings are still true


NAME = "Antigravity"
SIGN_IN_HINT = "open Antigravity and sign in"
STALE_AFTER = timedelta(hours=24)  # a cache without a reset time that nobody wrote to for so long


def fetch_cached_usage(
    path: str, provider_state: ProviderState, account_name: str
) -> Generator[DatabaseQuery, QueryResult, Snapshot]:
    """The snapshot in the cache.

    Errors: `NotSignedInError` where no login is cached, `ShapeChangedError` where it cannot be read.
    """
    return parse_snapshot((yield from _fetch_rows(path, provider_state)), path, account_name)


def _fetch_rows(path: str, provider_state: ProviderState) -> Generator[DatabaseQuery, QueryResult, QueryResult]:
    """The cache's rows; those of the last time, as of now, where nobody has written to it since."""
    last: QueryResult | None = provider_state.get(path)
    known = last.version if last else ""
    rows = yield DatabaseQuery(path=path, sql=places.ITEM_QUERY, parameters=(places.STATUS_KEY,), known_version=known)
    if rows.unchanged and last:
        rows = structs.replace(last, received_at=rows.received_at)
    provider_state[path] = rows
    return rows


def parse_snapshot(rows: QueryResult, path: str, account_name: str = "") -> Snapshot:
    """The snapshot in the cache's rows.

    Errors: `NotSignedInError` where no login is cached, `ShapeChangedError` where it cannot be read.
    """
    status = places.parse_status(rows, path)
    encoded = status.get("userStatusProtoBinaryBase64")
    if not isinstance(encoded, str) or not encoded.strip():
        raise NotSignedInError(f"{NAME}: signed out: no login in {path}: {SIGN_IN_HINT}")
    try:
        said = parse_user_status(encoded)
    except MalformedError as error:
        raise ShapeChangedError(f"{NAME}: the cache in {path} cannot be read ({error}): open {NAME} once") from None
    if not said.models:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner = status.get("email")
    foreign = bool(isinstance(owner, str) and owner and said.email and owner.casefold() != said.email.casefold())
    readings = tuple(
        fractions.make_reading(
            each.label,
            each.remaining_fraction,
            each.resets_at,
            stale=foreign or _is_stale(each.resets_at, rows),
            source="cache",
        )
        for each in said.models
    )
    notes = [
        *fractions.describe_unknown(readings),
        *([f"{said.unreadable_count} models could not be read"] if said.unreadable_count else []),
    ]
    if foreign:
        notes.append("the cache belongs to another account: open Antigravity once")
    name = account_name or said.email or (owner if isinstance(owner, str) else "")
    return Snapshot(
        provider="antigravity",
        account=name.casefold(),
        account_name=name,
        at=rows.received_at,
        readings=readings,
        note="; ".join(notes) or None,
    )


def _is_stale(resets_at: datetime | None, rows: QueryResult) -> bool:
    """Whether the window has turned over since, or, without a reset time, nobody wrote the cache for long."""
    return rows.received_at - rows.modified_at > STALE_AFTER if resets_at is None else resets_at <= rows.received_at
