"""Antigravity's cache: the owner and what is left of each model, from one value of `state.vscdb`.

Observed only; last checked 2026-11-22. Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey,
userStatusProtoBinaryBase64}`. In the message root.7 is the email; root.33.1 are the models, each {1: label, 15: {1:
fraction left, as float32, else float64 or varint, 2: {1: reset s, 2: ns}}}. A model that cannot be read costs only
itself. The cache is as old as Antigravity left it: a reading past its reset, or one without a reset time that was not
written for a day, is stale.
"""

from base64 import b64decode
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct, structs

from watcher.core.model import DatabaseQuery, QueryResult, Snapshot
from watcher.credentials import antigravity as antigravity_logins
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import ProviderState, parsing
from watcher.providers.parsing import slugify
from watcher.providers.protobuf import Field, MalformedError, WireType, iter_fields, iter_values, to_float

NAME = "Antigravity"
SIGN_IN_HINT = "open Antigravity and sign in"
STALE_AFTER = timedelta(hours=24)  # for a cache without a reset time

EMAIL_FIELD, GROUP_FIELD, MODEL_FIELD, LABEL_FIELD, QUOTA_FIELD = 7, 33, 1, 1, 15  # field numbers
FRACTION_FIELD, RESET_FIELD = 1, 2
MAX_TIMESTAMP_S = 253402300799  # of the year 9999
MAX_BASE64_CHARS = 1_500_000


class ModelQuota(Struct, frozen=True):
    """One model: its label, the fraction left and when it resets; None: unknown."""

    label: str
    remaining_fraction: float | None
    resets_at: datetime | None


class UserStatus(Struct, frozen=True):
    """The whole message."""

    email: str
    models: tuple[ModelQuota, ...]
    unreadable_count: int  # how many models or groups could not be read


def fetch_cached_usage(
    path: str, provider_state: ProviderState, account_name: str
) -> Generator[DatabaseQuery, QueryResult, Snapshot]:
    """The snapshot in the cache; the file is only read again if it has changed.

    Raises:
        NotSignedInError: no login is cached.
        ShapeChangedError: the cache cannot be read.
    """
    last: QueryResult | None = provider_state.get(path)
    rows = yield DatabaseQuery(
        path=path,
        sql=antigravity_logins.ITEM_QUERY,
        parameters=(antigravity_logins.STATUS_KEY,),
        known_version=last.version if last else "",
    )
    if rows.unchanged and last:
        rows = structs.replace(last, received_at=rows.received_at)
    provider_state[path] = rows
    return parse_snapshot(rows, path, account_name)


def parse_snapshot(rows: QueryResult, path: str, account_name: str = "") -> Snapshot:
    """The snapshot in the cache's rows; errors as in `fetch_cached_usage`."""
    status = antigravity_logins.parse_status(rows, path)
    encoded = status.get("userStatusProtoBinaryBase64")
    if not isinstance(encoded, str) or not encoded.strip():
        raise NotSignedInError(f"{NAME}: signed out: no login in {path}: {SIGN_IN_HINT}")
    try:
        message = parse_user_status(encoded)
    except MalformedError as error:
        raise ShapeChangedError(f"{NAME}: the cache in {path} cannot be read ({error}): open {NAME} once") from None
    if not message.models:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner = status["email"] if isinstance(status.get("email"), str) else ""
    is_foreign = bool(owner and message.email and owner.casefold() != message.email.casefold())
    readings = tuple(
        parsing.make_reading(
            each.label,
            each.remaining_fraction,
            each.resets_at,
            stale=is_foreign or _is_stale(each.resets_at, rows),
            source="cache",
        )
        for each in message.models
    )
    notes = parsing.describe_unknown(readings)
    if message.unreadable_count:
        notes.append(f"{message.unreadable_count} models could not be read")
    if is_foreign:
        notes.append("the cache belongs to another account: open Antigravity once")
    name = account_name or message.email or owner
    return Snapshot(
        provider="antigravity",
        account=name.casefold(),
        account_name=name,
        at=rows.received_at,
        readings=readings,
        note="; ".join(notes) or None,
    )


def _is_stale(resets_at: datetime | None, rows: QueryResult) -> bool:
    if resets_at is None:
        return rows.received_at - rows.modified_at > STALE_AFTER
    return resets_at <= rows.received_at


def parse_user_status(encoded: str) -> UserStatus:
    """The message, from base64; of two models with one name the last counts.

    Raises:
        MalformedError: it is no such message.
    """
    root = list(iter_fields(decode_base64(encoded)))
    models: dict[str, ModelQuota] = {}
    unreadable_count = 0
    for group in iter_values(root, GROUP_FIELD):
        try:
            encoded_models = list(iter_values(iter_fields(group), MODEL_FIELD))
        except MalformedError:
            unreadable_count += 1
            continue
        for encoded_model in encoded_models:
            try:
                model = _parse_model(encoded_model)
            except MalformedError:
                unreadable_count += 1
            else:
                if model:
                    models[slugify(model.label)] = model
    return UserStatus(_get_text(root, EMAIL_FIELD), tuple(models.values()), unreadable_count)


def decode_base64(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64_CHARS:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _parse_model(encoded: bytes) -> ModelQuota | None:
    """One model; None if it has no name or no quota."""
    fields = list(iter_fields(encoded))
    label, quotas = _get_text(fields, LABEL_FIELD), list(iter_values(fields, QUOTA_FIELD))
    if not label or not quotas:
        return None
    quota = list(iter_fields(quotas[0]))
    fractions_left = [to_float(each) for each in quota if each.number == FRACTION_FIELD]
    resets = list(iter_values(quota, RESET_FIELD))
    return ModelQuota(
        label, fractions_left[-1] if fractions_left else None, _parse_timestamp(resets[-1]) if resets else None
    )


def _get_text(fields: Sequence[Field], number: int) -> str:
    """The text of that field; empty if it is missing, blank or not UTF-8."""
    try:
        return next(iter_values(fields, number), b"").decode().strip()
    except UnicodeDecodeError:
        return ""


def _parse_timestamp(encoded: bytes) -> datetime | None:
    """A Timestamp message; None if it is not one: only the reset time is lost."""
    try:
        values = {each.number: each.value for each in iter_fields(encoded) if each.wire_type is WireType.VARINT}
    except MalformedError:
        return None
    seconds, nanos = values.get(1), values.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return None
    if not 0 < seconds <= MAX_TIMESTAMP_S or nanos >= 10**9:
        return None
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)
