"""Antigravity's cache: the owner and what is left of each model, from one value of `state.vscdb`.

Observed only; last checked 2026-11-22. Key `antigravityAuthStatus` of `ItemTable` holds JSON `{email, apiKey,
userStatusProtoBinaryBase64}`. In the message root.7 is the email; root.33.1 are the models, each {1: label, 15: {1:
fraction left, as float32, else float64 or varint, 2: {1: reset s, 2: ns}}}. A model that cannot be read costs only
itself. The cache is as old as Antigravity left it: a reading past its reset, or one without a reset time that was not
written for a day, is stale.
"""

from base64 import b64decode
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from watcher.core.model import DatabaseQuery, QueryResult, Reading, Snapshot
from watcher.credentials import antigravity as antigravity_logins
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import ProviderState, parsing
from watcher.providers.protobuf import Field, MalformedError, iter_fields, iter_values

NAME = "Antigravity"
SIGN_IN_HINT = "open Antigravity and sign in"
STALE_AFTER = timedelta(hours=24)  # for a cache without a reset time

EMAIL_FIELD, GROUP_FIELD, MODEL_FIELD, LABEL_FIELD, QUOTA_FIELD = 7, 33, 1, 1, 15  # field numbers
FRACTION_FIELD, RESET_FIELD = 1, 2
FLOAT32_DIGITS = 6  # decimal places of a fraction that a float32 is sure to hold
MAX_BASE64_CHARS = 1_500_000


class UserStatus(NamedTuple):
    """The whole message."""

    email: str
    readings: Sequence[Reading]  # one for each model
    unreadable_count: int  # how many models could not be read


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
        rows = replace(last, received_at=rows.received_at)
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
    if not message.readings:
        raise ShapeChangedError(f"{NAME}: the cache in {path} names no model: open {NAME} once")
    owner = status["email"] if isinstance(status.get("email"), str) else ""
    is_foreign = bool(owner and message.email and owner.casefold() != message.email.casefold())
    readings = tuple(replace(each, stale=is_foreign or _is_stale(each.resets_at, rows)) for each in message.readings)
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
    readings: dict[str, Reading] = {}
    unreadable_count = 0
    for group in iter_values(root, GROUP_FIELD):
        try:
            models = list(iter_values(iter_fields(group), MODEL_FIELD))
        except MalformedError:
            models = [group]  # counts as one model that cannot be read
        for model in models:
            try:
                reading = _parse_model(model)
            except MalformedError:
                unreadable_count += 1
                continue
            if reading is not None:
                readings[reading.window] = reading
    return UserStatus(_get_text(root, EMAIL_FIELD), tuple(readings.values()), unreadable_count)


def decode_base64(encoded: str) -> bytes:
    """Base64 in either alphabet, with or without blanks and padding."""
    if len(encoded) > MAX_BASE64_CHARS:
        raise MalformedError("too large")
    letters = "".join(encoded.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise MalformedError("not base64") from None


def _parse_model(encoded: bytes) -> Reading | None:
    """One model; None if it has no name or no quota."""
    fields = list(iter_fields(encoded))
    label, quotas = _get_text(fields, LABEL_FIELD), list(iter_values(fields, QUOTA_FIELD))
    if not label or not quotas:
        return None
    fraction_left, resets_at = None, None
    for field in iter_fields(quotas[0]):
        if field.number == FRACTION_FIELD and not isinstance(field.value, bytes):
            fraction_left = round(float(field.value), FLOAT32_DIGITS)
        elif field.number == RESET_FIELD and isinstance(field.value, bytes):
            resets_at = _parse_timestamp(field.value)
    return parsing.make_reading(label, fraction_left, resets_at, source="cache")


def _get_text(fields: Sequence[Field], number: int) -> str:
    """The text of that field; empty if it is missing, blank or not UTF-8."""
    try:
        return next(iter_values(fields, number), b"").decode().strip()
    except UnicodeDecodeError:
        return ""


def _parse_timestamp(encoded: bytes) -> datetime | None:
    """A Timestamp message; None if it is not one: only the reset time is lost."""
    try:
        values = {each.number: each.value for each in iter_fields(encoded)}
    except MalformedError:
        return None
    at, nanos = parsing.parse_timestamp(values.get(1)), parsing.parse_count(values.get(2, 0))
    return None if at is None or nanos is None or nanos >= 10**9 else at + timedelta(microseconds=nanos // 1000)
