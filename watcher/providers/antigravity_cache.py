"""Antigravity's cache as a snapshot: whose it is, and which of its readings are still true.

Never put here how the message in it is laid out (`antigravity_message`), nor where the file is (`credentials`).
"""

from collections.abc import Generator
from datetime import datetime, timedelta

from msgspec import structs

from watcher.core.model import DatabaseQuery, QueryResult, Snapshot
from watcher.credentials import antigravity as places
from watcher.errors import NotSignedInError, ShapeChangedError
from watcher.providers import ProviderState, antigravity_message, fractions
from watcher.providers.protobuf import MalformedError

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
        said = antigravity_message.parse_user_status(encoded)
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
